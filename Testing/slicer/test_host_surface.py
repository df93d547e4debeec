"""Whatever the stand-ins show, the application shows too, as the same kind of thing."""

import enum
import inspect
import types

import pytest

# Classes that are only looked at: abstract, static, or in need of another object that outlives them.
NOT_MADE = {"QAbstractItemView", "QApplication", "QClipboard", "QDesktopServices", "QEvent", "QHeaderView", "QShortcut"}
NOT_MADE |= {"QSignalBlocker", "QStandardPaths", "app"}
# Spellings that PythonQt understands without listing them, and PySide6's handle on the meta-object.
ALWAYS_THERE = {"name", "exec_", "raise_", "staticMetaObject"}


def _kindOf(value) -> str:
    from PySide6 import QtCore

    if isinstance(value, QtCore.SignalInstance):
        return "signals"
    routines = (types.BuiltinMethodType, types.MethodType, types.FunctionType, QtCore.MetaFunction)
    return "methods" if isinstance(value, routines) else "attributes"


def _isConstant(value) -> bool:
    return isinstance(value, enum.Enum) or (isinstance(value, type) and issubclass(value, enum.Enum))


def _shown(instance, cls):
    """Public names and values of an object, without constants and names that cannot be used."""
    from slicerHost.pythonqt import HiddenMethod

    for name in dir(cls):
        if name.startswith("_") or name in ALWAYS_THERE or isinstance(inspect.getattr_static(cls, name), int):
            continue
        try:
            value = getattr(instance, name)
        except AttributeError:
            continue
        if not isinstance(value, HiddenMethod) and not _isConstant(value):
            yield name, value


def _standIns(package: str):
    import ctk
    import qt
    import slicer
    from slicerHost import facts

    module = {"qt": qt, "ctk": ctk, "slicer": slicer}[package]
    for name in facts.classNames(package):
        if name == "app":
            yield name, slicer.app, type(slicer.app)
        elif hasattr(module, name):
            cls = getattr(module, name)
            yield name, cls if name in NOT_MADE else cls(), cls


@pytest.mark.parametrize("package", ["qt", "ctk", "slicer"])
def test_stand_ins_show_nothing_that_the_application_does_not_show(slicerHost, package):
    from slicerHost import facts

    wrong = []
    for className, instance, cls in _standIns(package):
        surface = facts.surface(f"{package}.{className}") if className != "QApplication" else facts.application()
        for name, value in _shown(instance, cls) if surface.complete else ():
            kinds = [kind for kind in ("attributes", "methods", "signals") if name in getattr(surface, kind)]
            if not kinds:
                wrong.append(f"{className}.{name} does not exist")
            elif instance is not cls and _kindOf(value) not in kinds:
                wrong.append(f"{className}.{name} is one of the {kinds[0]}, here of the {_kindOf(value)}")
    assert wrong == []


def test_every_class_of_the_facts_has_a_stand_in(slicerHost):
    import ctk
    import qt
    import slicer
    from slicerHost import facts

    for package, module in (("qt", qt), ("ctk", ctk), ("slicer", slicer)):
        assert [name for name in facts.classNames(package) if not hasattr(module, name)] == []


def test_stand_ins_have_every_attribute_and_signal_of_the_widgets_they_stand_for(slicerHost):
    """Methods may be missing and then raise; a property or signal that is missing would be found too late."""
    import ctk
    import slicer
    from slicerHost import facts

    missing = []
    for package, module in (("ctk", ctk), ("slicer", slicer)):
        for name in facts.classNames(package):
            if name == "app":
                continue
            surface, instance = facts.surface(f"{package}.{name}"), getattr(module, name)()
            missing += [f"{name}.{one}" for one in surface.attributes | surface.signals if not hasattr(instance, one)]
    assert sorted(missing) == KNOWN_GAPS


# Properties of Qt 5.15 that are gone in Qt 6, and deprecated names.
KNOWN_GAPS = [
    "ctkComboBox.autoCompletion",
    "ctkComboBox.autoCompletionCaseSensitivity",
    "ctkFittedTextBrowser.tabStopWidth",
    "qMRMLSegmentEditorWidget.autoShowMasterVolumeNode",
    "qMRMLSegmentEditorWidget.masterVolumeNodeSelectorVisible",
    "qMRMLSubjectHierarchyComboBox.autoCompletion",
    "qMRMLSubjectHierarchyComboBox.autoCompletionCaseSensitivity",
]


def test_functions_have_the_signatures_of_the_application(slicerHost):
    import slicer.packaging
    from slicer import ScriptedLoadableModule as module
    from slicerHost import facts

    def names(signature: str) -> list[str]:
        text = "def f" + signature.partition(" ->")[0] + ": pass"
        scope: dict = {}
        exec("from __future__ import annotations\n" + text, scope)
        return list(inspect.signature(scope["f"]).parameters)

    for name, signature in facts.signatures("slicer.packaging").items():
        if name in ("canonicalize_name", "default_environment"):
            continue  # the package "packaging" itself
        assert list(inspect.signature(getattr(slicer.packaging, name)).parameters) == names(signature), name
    for className in module.__all__:
        for name, signature in facts.signatures(className).items():
            method = inspect.signature(getattr(getattr(module, className), name))
            assert list(method.parameters) == names(signature), f"{className}.{name}"


def test_slicer_util_is_that_of_the_application(slicerHost):
    import slicer.util
    from slicerHost import facts

    assert [name for name in facts.signatures("slicer.util") if not hasattr(slicer.util, name)] == []


def test_what_nobody_knows_raises(slicerHost):
    import ctk
    import qt
    import slicer

    for module, name in ((qt, "QNoSuchClass"), (ctk, "ctkNoSuch"), (slicer, "loadVolume"), (slicer, "qMRMLNoSuch")):
        with pytest.raises(AttributeError):
            getattr(module, name)
    with pytest.raises(AttributeError):
        qt.QPushButton().accessibleIdentifier  # noqa: B018 (Qt 6.9)
    with pytest.raises(AttributeError):
        qt.QTableView().updateEditorGeometries()
