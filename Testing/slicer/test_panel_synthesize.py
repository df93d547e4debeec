"""The Synthesize panel, by its widgets and with a real worker."""

import numpy as np
import pytest
from panelKit import blob, choose, finish, hierarchyItems, nodeIds, recordOf, tissueOf


@pytest.fixture
def panel(shell):
    shell.selectPanel("synthesize")
    return shell.panel


def test_cases_appear_with_names_and_provenance_and_undo_takes_them_out(shell, panel, waitFor):
    import slicer

    choose(panel.ui.modelSelector, "vae")
    panel.ui.countSpinBox.value = 2
    panel.ui.seedSpinBox.value = 5
    before, items = nodeIds(), hierarchyItems()
    finish(shell, waitFor)
    volumes = slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
    segmentations = slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
    assert len(volumes) == 2 and len(segmentations) == 2
    for node in volumes:
        assert node.GetAttribute("GenerativeAugment.synthetic") == "true"
        assert node.GetAttribute("GenerativeAugment.seed") == "5"
        assert node.GetAttribute("GenerativeAugment.recipe") == "vae"
        assert recordOf(node)["seed"] == 5
    assert segmentations[0].GetSegmentation().GetNthSegment(0).GetName() == "sphere"
    assert "2 in the scene" in shell.ui.reasonLabel.text
    assert any("Synthesis with" in item for item in hierarchyItems())
    shell.ui.undoButton.click()
    assert nodeIds() == before and hierarchyItems() == items
    assert not shell.ui.undoButton.enabled


def test_the_same_seed_gives_the_same_case_and_later_edits_do_not_reach_a_job(shell, panel, waitFor):
    import slicer

    choose(panel.ui.modelSelector, "vae")
    arrays = []
    for _ in range(2):
        panel.ui.seedSpinBox.value = 3
        shell.ui.applyButton.click()
        panel.ui.seedSpinBox.value = 4
        waitFor(lambda: not shell.jobs.busy, 60)
        node = slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")[-1]
        assert node.GetAttribute("GenerativeAugment.seed") == "3"
        arrays.append(slicer.util.arrayFromVolume(node).copy())
    np.testing.assert_array_equal(*arrays)


def test_a_label_map_is_asked_for_and_followed_on_its_own_voxels(shell, panel, waitFor):
    import slicer
    from GenerativeAugmentLib import exchange, hierarchy

    choose(panel.ui.modelSelector, "vae")
    assert not panel.ui.labelSelector.visible
    choose(panel.ui.modelSelector, "spade")
    assert panel.ui.labelSelector.visible
    assert "label map" in shell.ui.reasonLabel.text and not shell.ui.applyButton.enabled
    head = blob()
    wrong = tissueOf(head, "wrong", segment="liver")
    panel.ui.labelSelector.setCurrentNode(wrong)
    assert "liver" in shell.ui.reasonLabel.text and "sphere" in shell.ui.reasonLabel.text
    tissue = tissueOf(head, "given")
    panel.ui.labelSelector.setCurrentNode(tissue)
    finish(shell, waitFor)
    (made,) = [n for n in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode") if n is not head]
    assert exchange.sameGeometry(exchange.volumeGeometry(made), exchange.volumeGeometry(head))
    folder = hierarchy.hierarchyNode().GetItemParent(hierarchy.itemOf(made))
    assert "Synthesis with" in hierarchy.hierarchyNode().GetItemName(folder)
    assert "given" in recordOf(made)["patients"]


def test_a_label_map_of_another_field_of_view_is_refused_before_a_job(shell, panel):
    choose(panel.ui.modelSelector, "spade")
    panel.ui.labelSelector.setCurrentNode(tissueOf(blob(size=24)))
    assert not shell.ui.applyButton.enabled
    assert "field of view" in shell.ui.reasonLabel.text and "mm" in shell.ui.reasonLabel.text


def test_results_are_kept_where_the_user_wants_them(shell, panel, waitFor, tmp_path):
    choose(panel.ui.modelSelector, "vae")
    assert panel.ui.outputFolderEdit.currentPath == ""
    panel.ui.outputFolderEdit.currentPath = str(tmp_path)
    finish(shell, waitFor)
    (folder,) = tmp_path.iterdir()
    assert (folder / "cohort.json").is_file()


def test_without_a_model_the_panel_says_what_to_do(moduleWidget, scene, tmp_path):
    from GenerativeAugmentLib.catalogue import Catalogue

    shell = moduleWidget().shell
    shell.services.catalogue = Catalogue([tmp_path / "none", tmp_path / "mine"], {})
    shell.selectPanel("synthesize")
    assert "Models panel" in shell.ui.reasonLabel.text and not shell.ui.applyButton.enabled
