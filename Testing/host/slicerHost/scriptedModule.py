"""slicer.ScriptedLoadableModule: base classes of a scripted module.

The application's file (Slicer/Base/Python/slicer/ScriptedLoadableModule.py) is not part of slicer-core.
"""

import importlib
import logging
import os
import unittest

import qt
import slicer

__all__ = [
    "ScriptedLoadableModule",
    "ScriptedLoadableModuleLogic",
    "ScriptedLoadableModuleTest",
    "ScriptedLoadableModuleWidget",
]


class ScriptedLoadableModule:
    """Describes the module to the application."""

    def __init__(self, parent):
        super().__init__()
        self.parent = parent
        self.moduleName = type(self).__name__
        for name, value in (("title", ""), ("categories", []), ("dependencies", []), ("contributors", [])):
            setattr(parent, name, value)
        parent.helpText = parent.acknowledgementText = ""
        for extension in ("svg", "png"):
            icon = self.resourcePath(f"Icons/{self.moduleName}.{extension}")
            if os.path.isfile(icon):  # noqa: PTH113
                parent.icon = qt.QIcon(icon)
                break
        if not hasattr(slicer, "selfTests"):
            slicer.selfTests = {}
        slicer.selfTests[self.moduleName] = self.runTest

    def resourcePath(self, filename: str) -> str:
        return os.path.join(os.path.dirname(self.parent.path), "Resources", filename)  # noqa: PTH118, PTH120

    def getDefaultModuleDocumentationLink(self, docPage: str | None = None) -> str:
        url = slicer.app.moduleDocumentationUrl(self.moduleName)
        if docPage:
            url = slicer.app.documentationBaseUrl + docPage
        return f'<p>For more information, see the <a href="{url}">online documentation</a>.</p>'

    def runTest(self, msec: int = 100, **kwargs) -> None:
        """What the button "Reload and Test" calls."""
        testClass = getattr(importlib.import_module(type(self).__module__), f"{self.moduleName}Test", None)
        if testClass is None:
            raise AssertionError(f"There is no class {self.moduleName}Test in {type(self).__module__}")
        test = testClass()
        test.messageDelay = msec
        test.runTest(**kwargs)


class ScriptedLoadableModuleWidget:
    """The module's panel."""

    def __init__(self, parent=None):
        super().__init__()
        self.moduleName = type(self).__name__.removesuffix("Widget")
        self.developerMode = slicer.util.settingsValue("Developer/DeveloperMode", False, converter=slicer.util.toBool)
        if parent is None:
            self.parent = slicer.qMRMLWidget()
            self.parent.setLayout(qt.QVBoxLayout())
            self.parent.setMRMLScene(slicer.mrmlScene)
        else:
            self.parent = parent
        self.layout = self.parent.layout()
        if parent is None:
            self.setup()
            self.parent.show()
        slicer.app.moduleManager().connect("moduleAboutToBeUnloaded(QString)", self._onModuleAboutToBeUnloaded)

    def resourcePath(self, filename: str) -> str:
        folder = os.path.dirname(slicer.util.modulePath(self.moduleName))  # noqa: PTH120
        return os.path.join(folder, "Resources", filename)  # noqa: PTH118

    def setup(self) -> None:
        self.setupDeveloperSection()

    def setupDeveloperSection(self) -> None:
        """Buttons for developers, as far as tests press them."""
        if not self.developerMode:
            return
        for text, method in (("Reload", self.onReload), ("Reload and Test", self.onReloadAndTest)):
            button = qt.QPushButton(text)
            button.clicked.connect(lambda _checked, method=method: method())
            self.layout.addWidget(button)

    def cleanup(self) -> None:
        """For subclasses: the module is about to be unloaded or reloaded."""

    def _onModuleAboutToBeUnloaded(self, moduleName: str) -> None:
        if moduleName == self.moduleName:
            self.cleanup()
            slicer.app.moduleManager().disconnect("moduleAboutToBeUnloaded(QString)", self._onModuleAboutToBeUnloaded)

    def onReload(self) -> None:
        slicer.util.reloadScriptedModule(self.moduleName)

    def onTest(self, **kwargs) -> None:
        with slicer.util.tryWithErrorDisplay("Test failed."):
            slicer.selfTests[self.moduleName](msec=0, **kwargs)

    def onReloadAndTest(self, **kwargs) -> None:
        with slicer.util.tryWithErrorDisplay("Reload and Test failed."):
            self.onReload()
            slicer.selfTests[self.moduleName](msec=0, **kwargs)

    def onEditSource(self) -> None:
        qt.QDesktopServices.openUrl(qt.QUrl.fromLocalFile(slicer.util.modulePath(self.moduleName)))


class ScriptedLoadableModuleLogic:
    """What the module does, without its panel."""

    def __init__(self, parent=None):
        super().__init__()
        self.moduleName = type(self).__name__.removesuffix("Logic")
        self.isSingletonParameterNode = True

    def getParameterNode(self):
        """The module's vtkMRMLScriptedModuleNode; made if there is none."""
        if self.isSingletonParameterNode:
            node = slicer.mrmlScene.GetSingletonNode(self.moduleName, "vtkMRMLScriptedModuleNode")
            if node is not None:
                node.SetAttribute("ModuleName", self.moduleName)  # closing a scene takes it away
                return node
        else:
            nodes = self.getAllParameterNodes()
            if nodes:
                return nodes[0]
        return slicer.mrmlScene.AddNode(self.createParameterNode())

    def getAllParameterNodes(self) -> list:
        nodes = slicer.util.getNodesByClass("vtkMRMLScriptedModuleNode")
        return [node for node in nodes if node.GetAttribute("ModuleName") == self.moduleName]

    def createParameterNode(self):
        node = slicer.vtkMRMLScriptedModuleNode()
        if self.isSingletonParameterNode:
            node.SetSingletonTag(self.moduleName)
        node.SetAttribute("ModuleName", self.moduleName)
        node.SetName(slicer.mrmlScene.GenerateUniqueName(self.moduleName))
        return node


class ScriptedLoadableModuleTest(unittest.TestCase):
    """The module's self test."""

    def __init__(self, *args, **kwargs):
        self.moduleTestNames: list[str] = []
        super().__init__(*args, **kwargs)
        self.enableScreenshots = False
        self.screenshotScaleFactor = 1.0
        self.messageDelay = 0
        if not self.moduleTestNames:
            found = (name for name in dir(self) if "test" in name and callable(getattr(self, name)))
            self.moduleTestNames = list(found)

    def setUp(self) -> None:
        """For subclasses: clear the scene."""

    def tearDown(self) -> None:
        """For subclasses: called after each test."""

    def runTest(self) -> None:
        """Run the tests one after the other."""
        if not self.moduleTestNames:
            logging.warning("No test is defined in %s", type(self).__name__)
            return
        self.setUpClass()
        for name in self.moduleTestNames:
            self.setUp()
            logging.info("Running %s", name)
            getattr(self, name)()
            self.tearDown()
        self.tearDownClass()

    def run(self, result=None):
        return super().run(result)

    def delayDisplay(self, message: str, requestedDelay: int | None = None, msec: int | None = None) -> None:
        """Show a message; without a delay, as tests want none."""
        logging.info(message)
        slicer.app.processEvents()

    def takeScreenshot(self, name: str, description: str, type: int = -1) -> None:
        self.delayDisplay(description)
        if self.enableScreenshots:
            raise RuntimeError("The host has no views to take a screenshot of")
