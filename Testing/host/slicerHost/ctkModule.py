"""The module ctk: the stand-ins for CTK's widgets."""

import types

from .widgets import buttons, paths, sliders

CLASSES = (
    buttons.ctkCheckBox,
    buttons.ctkCheckablePushButton,
    buttons.ctkCollapsibleButton,
    buttons.ctkCollapsibleGroupBox,
    buttons.ctkMessageBox,
    buttons.ctkPushButton,
    paths.ctkComboBox,
    paths.ctkDirectoryButton,
    paths.ctkFittedTextBrowser,
    paths.ctkPathLineEdit,
    sliders.ctkDoubleSpinBox,
    sliders.ctkRangeWidget,
    sliders.ctkSliderWidget,
)


def build() -> types.ModuleType:
    """Make the module."""
    module = types.ModuleType("ctk", __doc__)
    for cls in CLASSES:
        setattr(module, cls.__name__, cls)
    module.__getattr__ = _unknown
    return module


def _unknown(name: str):
    raise AttributeError(f"module 'ctk' has no attribute '{name}'; the host has no stand-in for it")
