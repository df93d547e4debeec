"""Arranges sys.modules so that `import slicer, qt, ctk` work as in the application."""

import ctypes
import importlib
import os
import sys
import tempfile
import types
from pathlib import Path

# Modules of the application that slicer-core leaves out, and where they are here.
MODULES = {
    "slicer.i18n": "i18n",
    "slicer.parameterNodeWrapper": "parameterNodeWrapper",
    "slicer.ScriptedLoadableModule": "scriptedModule",
    "slicer.packaging": "packaging",
    "SampleData": "sampleData",
}

_home: tempfile.TemporaryDirectory | None = None


def install():
    """Set the host up once a process; returns the application."""
    if "qt" in sys.modules:
        return sys.modules["slicer"].app
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    _keepSingletons()
    import slicer
    import slicer.util

    _removeLeaks(slicer)
    from . import application, modules, qtModule, scene

    sys.modules["qt"] = qtModule.build()
    slicer.app = application.start(_makeHome())
    from . import ctkModule, loader, mrmlWidgets

    sys.modules["ctk"] = ctkModule.build()
    for cls in mrmlWidgets.CLASSES:
        setattr(slicer, cls.__name__, cls)
    loader.registerCustomWidgets((*ctkModule.CLASSES, *mrmlWidgets.CLASSES))
    for name, source in MODULES.items():
        sys.modules[name] = importlib.import_module(f"slicerHost.{source}")
        package, _, attribute = name.rpartition(".")
        if package:
            setattr(slicer, attribute, sys.modules[name])
    from . import moduleLoading

    slicer.qSlicerScriptedLoadableModule = moduleLoading.qSlicerScriptedLoadableModule
    slicer.qSlicerScriptedLoadableModuleWidget = moduleLoading.qSlicerScriptedLoadableModuleWidget
    manager = slicer.app.moduleManager()
    slicer.modules = modules.Modules(manager)
    for name in scene.LOGICS:
        manager.add(modules.Module(name, manager))
    application.newScene(slicer.app)
    return slicer.app


def _keepSingletons() -> None:
    """PySide6 6.12 takes None, True and False for immortal, as Python 3.12 made them: a call that returns one of them
    costs it a reference.

    A long session on an older Python would end with "deallocating None" without a large supply of them.
    """
    if sys.version_info < (3, 12):
        for singleton in (None, True, False, NotImplemented):
            ctypes.c_ssize_t.from_address(id(singleton)).value += 1 << 40


def _makeHome() -> Path:
    global _home
    _home = tempfile.TemporaryDirectory(prefix="slicerHost")
    return Path(_home.name)


def _removeLeaks(package: types.ModuleType) -> None:
    """slicer-core copies all of slicer.util into slicer; in the application slicer.loadVolume does not exist."""
    for name, value in list(vars(package).items()):
        if name.startswith(("_", "slicer_")) or name == "util":
            continue
        if vars(package.util).get(name) is value or not name.startswith(("vtk", "VTK", "qMRML", "itk")):
            delattr(package, name)
