"""The Translate panel, by its widgets and with a real worker; what a model cannot take is refused before any job."""

import numpy as np
import pytest
from panelKit import blob, choose, finish, hierarchyItems, nodeIds, recordOf, tissueOf, visible


@pytest.fixture
def panel(shell):
    shell.selectPanel("translate")
    choose(shell.panel.ui.modelSelector, "pix2pix")
    return shell.panel


@pytest.fixture
def study(scene):
    """A study of a patient in the subject hierarchy."""
    from GenerativeAugmentLib import hierarchy

    tree = hierarchy.hierarchyNode()
    patient = tree.CreateSubjectItem(tree.GetSceneItemID(), "Doe")
    return tree.CreateStudyItem(patient, "MR 2026")


def test_the_result_lies_on_the_inputs_voxels_in_its_study_and_undo_removes_exactly_it(shell, panel, study, waitFor):
    import slicer
    from GenerativeAugmentLib import exchange, hierarchy

    node = blob(32)
    tree = hierarchy.hierarchyNode()
    hierarchy.place(node, study)
    # Oblique and left-handed.
    cosine, sine = np.cos(0.25), np.sin(0.25)
    matrix = [[1.5 * cosine, -sine, 0, 3], [1.5 * sine, cosine, 0, 5], [0, 0, -2, 7], [0, 0, 0, 1]]
    node.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(np.array(matrix)))
    panel.ui.firstInputSelector.setCurrentNode(node)
    tissueOf(node)
    composite = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSliceCompositeNode")
    composite.SetBackgroundVolumeID(node.GetID())
    before, items = nodeIds(), hierarchyItems()
    finish(shell, waitFor)
    (made,) = [n for n in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode") if n is not node]
    assert exchange.sameGeometry(exchange.volumeGeometry(made), exchange.volumeGeometry(node))
    folder = tree.GetItemParent(hierarchy.itemOf(made))
    assert tree.GetItemParent(folder) == study
    assert "head by" in tree.GetItemName(folder)
    assert made.GetAttribute("GenerativeAugment.packageSha256") == shell.logic.catalogue.entry("pix2pix").sha256
    assert "Doe" in recordOf(made)["patients"]
    # What is shown over the input fits the result as well.
    assert composite.GetBackgroundVolumeID() == made.GetID() and visible() == ["tissue"]
    shell.ui.undoButton.click()
    assert composite.GetBackgroundVolumeID() == node.GetID()
    assert nodeIds() == before and hierarchyItems() == items


def test_another_selection_while_the_job_runs_changes_nothing(shell, panel, study, waitFor):
    import slicer
    from GenerativeAugmentLib import exchange, hierarchy

    node, other = blob(32), blob(36, "other")
    hierarchy.place(node, study)
    panel.ui.firstInputSelector.setCurrentNode(node)
    shell.ui.applyButton.click()
    panel.ui.firstInputSelector.setCurrentNode(other)
    waitFor(lambda: not shell.jobs.busy)
    (made,) = [n for n in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode") if n not in (node, other)]
    assert exchange.sameGeometry(exchange.volumeGeometry(made), exchange.volumeGeometry(node))
    assert hierarchy.studyOf(hierarchy.itemOf(made)) == study


def unknownCt(node):
    """As a NIfTI file of a CT would be loaded."""
    import slicer

    node.RemoveAttribute("GenerativeAugment.modality")
    slicer.util.updateVolumeFromArray(node, slicer.util.arrayFromVolume(node) * 10 - 1500)


@pytest.mark.parametrize(
    "change, reason",
    [
        (lambda node: node.SetAttribute("GenerativeAugment.modality", "CT"), "modality: CT"),
        (unknownCt, "modality: not known, and the values look like those of CT"),
        (lambda node: node.SetSpacing(0.5, 0.5, 0.5), "field of view: 16 mm"),
    ],
)
def test_a_wrong_volume_is_refused_with_the_numbers_before_a_job(shell, panel, change, reason):
    node = blob(32)
    change(node)
    panel.ui.firstInputSelector.setCurrentNode(node)
    assert reason in shell.ui.reasonLabel.text
    assert "trained on" in shell.ui.reasonLabel.text
    assert not shell.ui.applyButton.enabled
    assert shell.jobs.runner.state == "idle"


def test_a_stated_modality_overrules_what_the_scene_believes(shell, panel):
    from GenerativeAugmentLib.parameters import InputModality

    node = blob(32)
    node.SetAttribute("GenerativeAugment.modality", "CT")
    panel.ui.firstInputSelector.setCurrentNode(node)
    assert not shell.ui.applyButton.enabled
    panel.ui.modalitySelector.currentIndex = list(InputModality).index(InputModality.MR)
    assert shell.ui.applyButton.enabled, shell.ui.reasonLabel.text


def test_a_volume_under_a_transform_is_refused_at_apply(shell, panel):
    import slicer
    from GenerativeAugmentLib.jobs import jobsRoot

    node = blob(32)
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    node.SetAndObserveTransformNodeID(transform.GetID())
    panel.ui.firstInputSelector.setCurrentNode(node)
    before = set(jobsRoot().glob("*"))
    shell.ui.applyButton.click()
    assert not shell.jobs.busy
    assert "transform" in shell.ui.reasonLabel.text
    assert set(jobsRoot().glob("*")) == before, "a folder of a job that never was"


def test_a_model_of_any_sources_does_with_one_of_them_and_refuses_none(shell, panel, waitFor):
    import slicer
    from GenerativeAugmentLib import exchange

    choose(panel.ui.modelSelector, "mm-gan")
    assert [label.text for label, _selector in panel._inputs[:2]] == ["A (optional):", "C (optional):"]
    assert not panel.ui.thirdInputSelector.visible
    assert "Choose the input volume" in shell.ui.reasonLabel.text and not shell.ui.applyButton.enabled
    node = blob(32)
    panel.ui.secondInputSelector.setCurrentNode(node)
    assert shell.ui.applyButton.enabled, shell.ui.reasonLabel.text
    node.SetAttribute("GenerativeAugment.modality", "CT")
    slicer.app.processEvents()
    assert "modality: CT" in shell.ui.reasonLabel.text and not shell.ui.applyButton.enabled
    node.SetAttribute("GenerativeAugment.modality", "MR")
    slicer.app.processEvents()
    finish(shell, waitFor)
    (made,) = [n for n in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode") if n is not node]
    assert exchange.sameGeometry(exchange.volumeGeometry(made), exchange.volumeGeometry(node))
    assert list(recordOf(made)["inputs"]) == ["C"]


def test_a_model_that_needs_every_source_says_which_is_missing(shell, panel, models):
    import json

    path = models / "mm-gan" / "configs" / "genaug.json"
    info = json.loads(path.read_text())
    info["recipe"]["conditions"] = ["image"]
    path.write_text(json.dumps(info))
    shell.services.modelsChanged()
    choose(panel.ui.modelSelector, "mm-gan")
    assert panel.ui.firstInputLabel.text == "A:"
    panel.ui.firstInputSelector.setCurrentNode(blob(32))
    assert "C" in shell.ui.reasonLabel.text and "no volume" in shell.ui.reasonLabel.text
    assert not shell.ui.applyButton.enabled
