"""Generative augmentation: from a handful of annotated cases to a reviewed, measured and traceable cohort."""

import logging
import sys
from pathlib import Path

import qt
import slicer
from GenerativeAugmentLib import console
from GenerativeAugmentLib.catalogue import Catalogue, modelFolders
from GenerativeAugmentLib.environment import Environment
from GenerativeAugmentLib.jobCenter import JobCenter
from GenerativeAugmentLib.jobRunner import JobRunner
from GenerativeAugmentLib.parameters import parameterNodeOf
from GenerativeAugmentLib.sampleData import registerSampleData
from GenerativeAugmentLib.selfTest import GenerativeAugmentTestCases
from GenerativeAugmentLib.shell import Shell
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)
from slicer.util import VTKObservationMixin

OLDEST_SLICER = (5, 12)


class GenerativeAugment(ScriptedLoadableModule):
    """What the application knows of the module before it is opened."""

    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = _("Generative Augment")
        self.parent.categories = [translate("qSlicerAbstractCoreModule", "Image Synthesis")]
        self.parent.dependencies = []
        self.parent.contributors = ["The GenerativeAugment developers"]
        self.parent.helpText = _(
            "Synthesize images with their label maps, translate between MR and CT, insert lesions, review the results, "
            "and export an augmented cohort that says of every case how it came to be."
        )
        self.parent.acknowledgementText = _("Built on MONAI and PyTorch, which run in a process of their own.")
        slicer.app.connect("startupCompleted()", registerSampleData)


class GenerativeAugmentWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """The module's panel: hands the application's events to the shell."""

    def __init__(self, parent=None):
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.logic = None
        self.shell = None

    def setup(self):
        """Build the panel; nothing is started."""
        ScriptedLoadableModuleWidget.setup(self)
        if (slicer.app.majorVersion, slicer.app.minorVersion) < OLDEST_SLICER:
            self.refuse()
            return
        self.logic = GenerativeAugmentLogic()
        self.shell = Shell(self.logic, self.layout)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.StartCloseEvent, self.onSceneStartClose)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndCloseEvent, self.onSceneEndClose)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.StartImportEvent, self.onSceneStartImport)
        # After the node selectors of the panels, which look for the new nodes at the same event.
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndImportEvent, self.onSceneEndImport, priority=-1.0)
        # After a reload nobody else says that the module is shown.
        if self.parent.isEntered:
            self.enter()

    def refuse(self):
        """Say which Slicer is needed, instead of a panel that fails at one job or another."""
        needed, running = ".".join(map(str, OLDEST_SLICER)), slicer.app.applicationVersion
        text = _("Generative Augment needs Slicer {needed} or newer; this is {running}. Install the current version.")
        label = qt.QLabel(text.format(needed=needed, running=running))
        label.wordWrap = True
        self.layout.addWidget(label)
        self.layout.addStretch(1)

    def enter(self):
        """The module is shown."""
        if self.shell is not None:
            self.shell.enter()

    def exit(self):
        """Another module is shown."""
        if self.shell is not None:
            self.shell.exit()

    def cleanup(self):
        """The module is unloaded or reloaded: jobs stop."""
        self.removeObservers()
        if self.shell is not None:
            self.shell.cleanup()
        if self.logic is not None:
            self.logic.shutdown()

    def onSceneStartClose(self, caller, event):
        """Let go of the scene's nodes."""
        self.shell.onSceneStartClose()

    def onSceneEndClose(self, caller, event):
        """Begin again with the empty scene."""
        self.shell.onSceneEndClose()

    def onSceneStartImport(self, caller, event):
        """Let go of the parameters while nodes come in."""
        self.shell.onSceneStartImport()

    def onSceneEndImport(self, caller, event):
        """Begin again with what has come in."""
        self.shell.onSceneEndImport()

    def onReload(self):
        """Reload the library as well, for developers."""
        for name in [name for name in sys.modules if name.partition(".")[0] == "GenerativeAugmentLib"]:
            del sys.modules[name]
        ScriptedLoadableModuleWidget.onReload(self)


class GenerativeAugmentLogic(console.Console, ScriptedLoadableModuleLogic):
    """Every job of the panels for the Python console and for scripts; see `GenerativeAugmentLib.console.Console`.

    Args:
        environment: which Python runs the jobs; the one the user has chosen by default.
        catalogue: the models; those of the extension and of the user by default.
    """

    def __init__(self, environment=None, catalogue=None):
        ScriptedLoadableModuleLogic.__init__(self)
        environment = environment or Environment()
        settingsFolder = Path(slicer.app.slicerUserSettingsFilePath).parent
        catalogue = catalogue or Catalogue(modelFolders(settingsFolder), qt.QSettings())
        console.Console.__init__(self, environment, catalogue, JobCenter(JobRunner(environment.command)))

    def getParameterNode(self):
        """The scene's parameters of the module, typed."""
        return parameterNodeOf(ScriptedLoadableModuleLogic.getParameterNode(self))


class GenerativeAugmentTest(GenerativeAugmentTestCases, ScriptedLoadableModuleTest):
    """The self test: from "Reload and Test" and from ctest; see `GenerativeAugmentLib.selfTest`."""

    def setUp(self):
        """Begin with an empty scene."""
        slicer.mrmlScene.Clear()

    def runTest(self):
        """Run every test, each in a scene of its own."""
        for name in (name for name in dir(self) if name.startswith("test_")):
            self.setUp()
            logging.info("GenerativeAugment: %s", name)
            getattr(self, name)()
