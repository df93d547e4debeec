"""Loads a scripted module from its file, as Slicer's factory does, and shows its panel.

Source: Slicer/Base/QTGUI/qSlicerScriptedLoadableModule.cxx and qSlicerScriptedLoadableModuleWidget.cxx.
"""

import importlib.util
import sys
from pathlib import Path

import slicer
from PySide6 import QtCore, QtGui, QtWidgets

from .widgets.mrml import qMRMLWidget
from .widgets.stored import stored


class qSlicerScriptedLoadableModuleWidget(qMRMLWidget):
    """The widget that a scripted module's panel lives in."""

    def __init__(self, path: str):
        super().__init__()
        QtWidgets.QVBoxLayout(self)
        self._path = path
        self._python = None
        self._entered = False

    isEntered = QtCore.Property(bool, lambda self: self._entered)

    def _instantiate(self) -> None:
        name = Path(self._path).stem
        self._python = getattr(_source(self._path), f"{name}Widget")(self)
        setattr(slicer.modules, f"{name}Widget", self._python)

    def self(self):
        """The module's own widget object."""
        return self._python

    def setup(self) -> None:
        self._instantiate()
        self._python.setup()

    def reload(self) -> None:
        """Nothing tells the new object that the panel is shown."""
        self.setup()

    def enter(self) -> None:
        self._entered = True
        getattr(self._python, "enter", lambda: None)()

    def exit(self) -> None:
        self._entered = False
        getattr(self._python, "exit", lambda: None)()


class qSlicerScriptedLoadableModule(QtWidgets.QWidget):
    """What a scripted module sees as its parent. (A plain QObject in the application.)"""

    title = stored("title", str, "")
    categories = stored("categories", "QStringList", ())
    dependencies = stored("dependencies", "QStringList", ())
    contributors = stored("contributors", "QStringList", ())
    associatedNodeTypes = stored("associatedNodeTypes", "QStringList", ())
    helpText = stored("helpText", str, "")
    acknowledgementText = stored("acknowledgementText", str, "")
    icon = stored("icon", QtGui.QIcon, QtGui.QIcon())
    hidden = stored("hidden", bool, False)
    index = stored("index", int, -1)
    path = stored("path", str, "")

    def __init__(self, path: str):
        super().__init__()
        self.path = path
        self.setObjectName(Path(path).stem)
        self._widget: qSlicerScriptedLoadableModuleWidget | None = None
        name = Path(path).stem
        instance = getattr(_source(path), name)(self)
        setattr(slicer.modules, f"{name}Instance", instance)

    def logic(self):
        """An empty VTK logic; the module's own is in its widget."""
        return slicer.vtkSlicerScriptedLoadableModuleLogic()

    def widgetRepresentation(self) -> qSlicerScriptedLoadableModuleWidget:
        """The module's panel, made when it is first asked for."""
        if self._widget is None:
            self._widget = self.createNewWidgetRepresentation()
        return self._widget

    def createNewWidgetRepresentation(self) -> qSlicerScriptedLoadableModuleWidget:
        widget = qSlicerScriptedLoadableModuleWidget(self.path)
        widget.setup()
        widget.setMRMLScene(slicer.mrmlScene)
        return widget


def _source(path: str):
    """The Python module of a file, imported once under the name of the file."""
    name = Path(path).stem
    if name not in sys.modules or getattr(sys.modules[name], "__file__", None) != path:
        spec = importlib.util.spec_from_file_location(name, path)
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    return sys.modules[name]


def loadModule(path: Path) -> qSlicerScriptedLoadableModule:
    """Make a module known to the application; its panel is made later."""
    folder = str(path.parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    module = qSlicerScriptedLoadableModule(str(path))
    slicer.app.moduleManager().add(module)
    return module


def unloadModule(module: qSlicerScriptedLoadableModule) -> None:
    """Take a module out again, as the application does when it quits."""
    name = module.objectName
    slicer.app.moduleManager().remove(module)
    for suffix in ("Widget", "Instance"):
        vars(slicer.modules).pop(f"{name}{suffix}", None)
    if module._widget is not None:
        module._widget.deleteLater()
    module.deleteLater()
    deletePosted()
    sys.modules.pop(name, None)


def deletePosted() -> None:
    """Delete what waits for the event loop to be deleted; processEvents alone does not."""
    QtCore.QCoreApplication.sendPostedEvents(None, QtCore.QEvent.DeferredDelete)
