"""A scripted module in the host: loading, panel, parameters, self test, reload."""

import textwrap

import pytest

PANEL = """<?xml version="1.0" encoding="UTF-8"?>
<ui version="4.0"><class>Toy</class>
<widget class="qMRMLWidget" name="Toy"><layout class="QFormLayout" name="formLayout">
<item row="0" column="1"><widget class="qMRMLNodeComboBox" name="volumeSelector">
<property name="noneEnabled"><bool>true</bool></property>
<property name="SlicerParameterName" stdset="0"><string>inputs.volume</string></property></widget></item>
<item row="1" column="1"><widget class="QSpinBox" name="countBox">
<property name="SlicerParameterName" stdset="0"><string>inputs.count</string></property></widget></item>
<item row="2" column="1"><widget class="QPushButton" name="applyButton">
<property name="text"><string>Apply</string></property></widget></item>
</layout></widget>
<connections><connection><sender>Toy</sender><signal>mrmlSceneChanged(vtkMRMLScene*)</signal>
<receiver>volumeSelector</receiver><slot>setMRMLScene(vtkMRMLScene*)</slot></connection></connections></ui>"""

SOURCE = """
    from typing import Annotated

    import slicer
    from slicer.i18n import tr as _
    from slicer.parameterNodeWrapper import Minimum, parameterNodeWrapper, parameterPack
    from slicer.ScriptedLoadableModule import *
    from slicer.util import VTKObservationMixin
    from slicer import vtkMRMLScalarVolumeNode

    @parameterPack
    class Inputs:
        volume: vtkMRMLScalarVolumeNode
        count: Annotated[int, Minimum(1)] = 3

    @parameterNodeWrapper
    class ToyParameterNode:
        inputs: Inputs

    class Toy(ScriptedLoadableModule):
        def __init__(self, parent):
            ScriptedLoadableModule.__init__(self, parent)
            self.parent.title = _("Toy")
            self.parent.categories = ["Testing"]
            slicer.app.connect("startupCompleted()", lambda: setattr(self, "started", True))

    class ToyWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
        def __init__(self, parent=None):
            ScriptedLoadableModuleWidget.__init__(self, parent)
            VTKObservationMixin.__init__(self)
            self.cleanedUp = False

        def setup(self):
            ScriptedLoadableModuleWidget.setup(self)
            uiWidget = slicer.util.loadUI(self.resourcePath("UI/Toy.ui"))
            self.layout.addWidget(uiWidget)
            self.ui = slicer.util.childWidgetVariables(uiWidget)
            uiWidget.setMRMLScene(slicer.mrmlScene)
            self.logic = ToyLogic()
            self.parameters = self.logic.getParameterNode()
            self.tag = self.parameters.connectGui(self.ui)
            self.applied = 0
            self.ui.applyButton.connect("clicked(bool)", self.onApply)

        def onApply(self):
            self.applied += self.parameters.inputs.count

        def cleanup(self):
            self.parameters.disconnectGui(self.tag)
            self.cleanedUp = True

    class ToyLogic(ScriptedLoadableModuleLogic):
        def getParameterNode(self):
            return ToyParameterNode(super().getParameterNode())

    class ToyTest(ScriptedLoadableModuleTest):
        def setUp(self):
            slicer.mrmlScene.Clear()

        def test_nothing(self):
            self.assertEqual(len(slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")), 0)
"""


def _writeToy(folder):
    (folder / "Resources" / "UI").mkdir(parents=True)
    (folder / "Resources" / "UI" / "Toy.ui").write_text(PANEL)
    (folder / "Toy.py").write_text(textwrap.dedent(SOURCE))


@pytest.fixture
def toy(openModule, tmp_path):
    _writeToy(tmp_path)
    return openModule(tmp_path / "Toy.py")


def test_module_is_known_to_the_application(toy):
    import slicer

    assert slicer.modules.toy.title == "Toy"
    assert slicer.modules.toy.categories == ("Testing",)
    assert slicer.modules.ToyWidget is toy
    assert slicer.modules.ToyInstance.started
    assert slicer.util.getModuleWidget("Toy") is toy
    assert slicer.util.getModuleLogic("Toy") is toy.logic
    with pytest.raises(AttributeError):
        slicer.modules.nosuchmodule  # noqa: B018


def test_widgets_and_parameters_follow_each_other(toy, scene):
    import numpy as np
    import slicer

    volume = slicer.util.addVolumeFromArray(np.zeros((2, 3, 4), np.int16), name="head")
    assert toy.ui.volumeSelector.currentNode() is None
    toy.ui.volumeSelector.setCurrentNode(volume)
    assert toy.parameters.inputs.volume is volume
    toy.parameters.inputs.count = 7
    assert toy.ui.countBox.value == 7
    toy.ui.applyButton.click()
    assert toy.applied == 7
    scene.RemoveNode(volume)
    assert toy.parameters.inputs.volume is None


def test_reload_and_test_cleans_up_and_starts_anew(toy, slicerHost):
    import slicer

    toy.onReloadAndTest()
    assert toy.cleanedUp
    assert slicer.modules.ToyWidget is not toy
    assert slicer.modules.ToyWidget.ui.countBox.value == 3


def test_an_error_in_a_slot_is_noticed(toy, slotErrors):
    toy.ui.applyButton.clicked.connect(lambda: 1 / 0)
    toy.ui.applyButton.click()
    assert isinstance(slotErrors.pop(), ZeroDivisionError)


def test_nothing_of_a_closed_module_stays_alive(slicerHost, scene, tmp_path):
    """Timers and observers of an old panel would disturb the tests after it."""
    import shiboken6
    from slicerHost.moduleLoading import loadModule, unloadModule

    _writeToy(tmp_path)
    module = loadModule(tmp_path / "Toy.py")
    panel = module.widgetRepresentation()
    button = panel.self().ui.applyButton
    unloadModule(module)
    assert not shiboken6.isValid(button)
    assert not shiboken6.isValid(panel)
