"""slicer.app: the application object around the scene."""

import logging
import os
from pathlib import Path

import slicer
from PySide6 import QtCore, QtWidgets

from .inputOutput import InputOutputManager
from .modules import ModuleManager
from .scene import SceneServices
from .signals import spells

VERSION = (5, 13)
REVISION = "34000"


class CommandOptions:
    """What the command line said: --testing --no-main-window."""

    testingEnabled = True
    noMainWindow = True
    noSplash = True


def _constant(value):
    return QtCore.Property(type(value), lambda self: value, constant=True)


@spells("mrmlSceneChanged(vtkMRMLScene*)")
class Application(QtWidgets.QApplication):
    """Stands in for qSlicerApplication, started as Slicer --testing --no-main-window."""

    startupCompleted = QtCore.Signal()
    mrmlSceneChanged = QtCore.Signal(object)

    majorVersion = _constant(VERSION[0])
    minorVersion = _constant(VERSION[1])
    revision = _constant(REVISION)
    repositoryRevision = _constant(REVISION)
    releaseType = _constant("Experimental")
    platform = _constant("linux-amd64")
    os = _constant("linux")
    arch = _constant("amd64")
    isInstalled = _constant(True)
    isCustomMainApplication = _constant(False)
    mainApplicationName = _constant("Slicer")
    documentationBaseUrl = _constant("https://slicer.readthedocs.io/en/latest/")
    repositoryUrl = _constant("https://github.com/Slicer/Slicer")

    def __init__(self, home: Path):
        super().__init__(["Slicer"])
        self._home = home
        self._environment = QtCore.QProcessEnvironment.systemEnvironment()
        self._options = CommandOptions()
        self._layoutManager = None
        self._services: SceneServices | None = None
        self._modules = ModuleManager(self)
        self._inputOutput = InputOutputManager(self)
        self.setApplicationName("Slicer")
        self.setOrganizationName("NA-MIC")
        self.setApplicationVersion(f"{VERSION[0]}.{VERSION[1]}.0")
        for folder in (self.temporaryPath, self.cachePath, self.slicerHome, self.extensionsInstallPath):
            Path(folder).mkdir(parents=True, exist_ok=True)
        QtCore.QSettings.setDefaultFormat(QtCore.QSettings.IniFormat)
        QtCore.QSettings.setPath(QtCore.QSettings.IniFormat, QtCore.QSettings.UserScope, str(home / "settings"))

    def _folder(name):
        return QtCore.Property(str, lambda self: (self._home / name).as_posix(), constant=True)

    slicerHome = _folder("home")
    slicerSharePath = _folder("temporary/share")
    launcherExecutableFilePath = _folder("home/Slicer")
    temporaryPath = _folder("temporary")
    cachePath = _folder("cache")
    defaultScenePath = _folder("scenes")
    extensionsInstallPath = _folder("extensions")
    slicerUserSettingsFilePath = _folder("settings/NA-MIC/Slicer.ini")
    slicerRevisionUserSettingsFilePath = _folder(f"settings/NA-MIC/Slicer-{REVISION}.ini")
    startupWorkingPath = QtCore.Property(str, lambda self: os.getcwd(), constant=True)  # noqa: PTH109
    del _folder

    def mrmlScene(self):
        return self._services.scene

    def applicationLogic(self):
        return self._services.applicationLogic

    def moduleLogic(self, name: str):
        return self._services.applicationLogic.GetModuleLogic(name)

    def moduleManager(self) -> ModuleManager:
        return self._modules

    def coreIOManager(self) -> InputOutputManager:
        return self._inputOutput

    ioManager = coreIOManager

    def layoutManager(self):
        """None without a main window; the views of `slicerHost.views` while they are there."""
        return self._layoutManager

    def setLayoutManager(self, layoutManager) -> None:
        self._layoutManager = layoutManager

    def commandOptions(self) -> CommandOptions:
        return self._options

    def testingEnabled(self) -> bool:
        return self._options.testingEnabled

    def settings(self) -> QtCore.QSettings:
        return QtCore.QSettings()

    userSettings = settings

    def revisionUserSettings(self) -> QtCore.QSettings:
        return QtCore.QSettings(self.slicerRevisionUserSettingsFilePath, QtCore.QSettings.IniFormat)

    def environment(self) -> QtCore.QProcessEnvironment:
        return QtCore.QProcessEnvironment.systemEnvironment()

    def startupEnvironment(self) -> QtCore.QProcessEnvironment:
        return QtCore.QProcessEnvironment(self._environment)

    def moduleDocumentationUrl(self, moduleName: str) -> str:
        return f"{self.documentationBaseUrl}user_guide/modules/{moduleName.lower()}.html"

    def restart(self) -> None:
        raise RuntimeError("slicer.app.restart() was called; the host does not restart")

    def pauseRender(self) -> None:
        self._services.applicationLogic.PauseRender()

    def resumeRender(self) -> None:
        self._services.applicationLogic.ResumeRender()


def newScene(application: Application) -> SceneServices:
    """Close the scene and start over as a new application would."""
    if application._services is not None:
        application._services.close()
    application._services = SceneServices(Path(application.temporaryPath))
    slicer.mrmlScene = application._services.scene
    application.mrmlSceneChanged.emit(application._services.scene)
    return application._services


def _logMessage(kind: QtCore.QtMsgType, _context, text: str) -> None:
    if "propagateSizeHints" not in text:  # the offscreen platform says so of every window
        logging.getLogger("qt").log(logging.DEBUG if kind == QtCore.QtMsgType.QtDebugMsg else logging.WARNING, text)


def start(home: Path) -> Application:
    """The one application of the process."""
    QtCore.qInstallMessageHandler(_logMessage)
    existing = QtWidgets.QApplication.instance()
    if existing is not None and not isinstance(existing, Application):
        raise RuntimeError(f"A {type(existing).__name__} is already there; the host needs to be the first to make one")
    return existing or Application(home)
