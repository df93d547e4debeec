"""Which widget shows which type; the application matches exact widget classes, so do these."""

from . import nodeConnectors, numberConnectors, textConnectors
from .guiConnector import GuiConnector

_connectors: list[type[GuiConnector]] = [
    numberConnectors.BoolInCheckBox,
    numberConnectors.BoolInButton,
    numberConnectors.IntInSpinBox,
    numberConnectors.NumberInSpinBox,
    numberConnectors.RangeInRangeWidget,
    textConnectors.ChoiceInComboBox,
    textConnectors.EnumInComboBox,
    textConnectors.TextInLineEdit,
    textConnectors.TextInLabel,
    textConnectors.TextInTextEdit,
    textConnectors.PathInLineEdit,
    textConnectors.PathInDirectoryButton,
    nodeConnectors.NodeInComboBox,
    nodeConnectors.NodeInHierarchyTree,
    nodeConnectors.NodeInHierarchyComboBox,
]


def parameterNodeGuiConnector(cls: type[GuiConnector] | None = None):
    """Class decorator that makes a connector known."""
    if cls is None:
        return parameterNodeGuiConnector
    if not issubclass(cls, GuiConnector):
        raise TypeError(f"{cls.__name__} is no GuiConnector")
    _connectors.append(cls)
    return cls


def createGuiConnector(widget, datatype) -> GuiConnector:
    """The connector of a widget and a type; RuntimeError if there is none."""
    for cls in _connectors:
        if cls.canRepresent(widget, datatype):
            return cls.create(widget, datatype)
    raise RuntimeError(f"A {type(widget).__name__} cannot show a parameter of the type {datatype}")
