"""The Lesions panel, by its widgets and with a real worker."""

import numpy as np
import pytest
from panelKit import blob, choose, finish, hierarchyItems, nodeIds, recordOf, tissueOf, visible


@pytest.fixture
def panel(shell):
    shell.selectPanel("lesions")
    return shell.panel


@pytest.fixture
def host(shell, panel):
    """A head with a tissue, both chosen, and lesions that fit."""
    node = blob(32, spacing=(1, 1, 1))
    panel.ui.hostSelector.setCurrentNode(node)
    panel.ui.tissueSelector.setCurrentNode(tissueOf(node))
    panel.ui.diameterRange.setValues(4, 6)
    panel.ui.marginSpinBox.value = 1
    return node


def result():
    """The volume that was made, and the segmentation of its lesions."""
    import slicer

    volumes = slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
    volume = next(node for node in volumes if node.GetAttribute("GenerativeAugment.synthetic") == "true")
    return volume, slicer.util.getNodesByClass("vtkMRMLSegmentationNode")[-1]


def enumerate_(comboBox, value):
    comboBox.currentIndex = list(type(value)).index(value)


def test_drawn_lesions_make_a_new_volume_and_segmentation(shell, panel, host, waitFor):
    import slicer
    from GenerativeAugmentLib import exchange

    assert panel.ui.segmentSelector.currentText == "sphere"
    panel.ui.countSpinBox.value = 2
    panel.ui.lesionNameEdit.text = "plaque"
    voxels = slicer.util.arrayFromVolume(host).copy()
    before, items = nodeIds(), hierarchyItems()
    finish(shell, waitFor)
    volume, lesions = result()
    np.testing.assert_array_equal(slicer.util.arrayFromVolume(host), voxels)
    assert exchange.sameGeometry(exchange.volumeGeometry(volume), exchange.volumeGeometry(host))
    assert lesions.GetSegmentation().GetNthSegment(0).GetName() == "plaque"
    mask = slicer.util.arrayFromSegmentBinaryLabelmap(lesions, "Segment_1", volume) > 0
    change = slicer.util.arrayFromVolume(volume).astype(float) - voxels
    assert mask.any() and change[mask].mean() < -5
    assert np.abs(change[~mask]).max() < np.abs(change[mask]).max()
    assert recordOf(volume)["parameters"]["count"] == 2
    shell.ui.undoButton.click()
    assert nodeIds() == before and hierarchyItems() == items
    assert not panel.ui.resultGroupBox.visible


def test_lesions_lie_at_the_points_the_user_sets(shell, panel, host, waitFor):
    import slicer
    from GenerativeAugmentLib.parameters import Placement

    enumerate_(panel.ui.placementSelector, Placement.POINTS)
    assert "point list" in shell.ui.reasonLabel.text
    panel.ui.placeButton.click()
    points = panel.ui.pointsSelector.currentNode()
    assert "Set a point" in shell.ui.reasonLabel.text and not shell.ui.applyButton.enabled
    wanted = np.array([14.0, 18.0, 16.0])
    points.AddControlPoint(*wanted)
    slicer.app.processEvents()
    assert shell.ui.applyButton.enabled, shell.ui.reasonLabel.text
    points.RemoveNthControlPoint(0)
    slicer.app.processEvents()
    assert "Set a point" in shell.ui.reasonLabel.text and not shell.ui.applyButton.enabled
    points.AddControlPoint(*wanted)
    slicer.app.processEvents()
    finish(shell, waitFor)
    volume, lesions = result()
    mask = slicer.util.arrayFromSegmentBinaryLabelmap(lesions, "Segment_1", volume) > 0
    center = np.argwhere(mask).mean(axis=0)[::-1]
    assert np.linalg.norm(center - wanted) < 1.5
    assert recordOf(volume)["parameters"]["at"] == [wanted.tolist()]


@pytest.mark.parametrize("source", ["BANK", "MODEL"])
def test_lesions_come_from_annotated_cases_or_from_a_model(shell, panel, host, waitFor, trained, source):
    from GenerativeAugmentLib.parameters import LesionSource

    enumerate_(panel.ui.sourceSelector, LesionSource[source])
    assert panel.ui.bankFolderEdit.visible == (source == "BANK")
    assert panel.ui.modelSelector.visible == (source == "MODEL")
    if source == "BANK":
        assert "annotated cases" in shell.ui.reasonLabel.text
        panel.ui.bankFolderEdit.currentPath = str(trained / "cohort")
    else:
        choose(panel.ui.modelSelector, "vae")
        panel.ui.modelCasesSpinBox.value = 2
    # As large as the balls they come from; the tissue has to be larger.
    panel.ui.diameterRange.setValues(1, 60)
    panel.ui.marginSpinBox.value = 0
    tissue = blob(96, "large", spacing=(1, 1, 1))
    panel.ui.hostSelector.setCurrentNode(tissue)
    panel.ui.tissueSelector.setCurrentNode(tissueOf(tissue, "large tissue"))
    panel.ui.ownContrastCheckBox.checked = True
    finish(shell, waitFor)
    assert "done" in shell.ui.reasonLabel.text, shell.ui.reasonLabel.text
    volume, _ = result()
    assert recordOf(volume)["parameters"]["source"]["kind"] == "bank"


def test_a_lesion_that_has_no_room_says_how_much_there_is(shell, panel, host, waitFor):
    before = nodeIds()
    panel.ui.diameterRange.setValues(60, 80)
    finish(shell, waitFor)
    assert "room for a sphere of" in shell.ui.reasonLabel.text
    assert nodeIds() == before


def test_the_lesions_are_shown_in_outline_and_the_slices_go_through_them(shell, panel, host, waitFor):
    import slicer
    import vtk

    composite = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSliceCompositeNode")
    composite.SetBackgroundVolumeID(host.GetID())
    axial = slicer.vtkMRMLSliceNode()
    axial.SetLayoutName("Red")
    axial.SetOrientationToAxial()
    slicer.mrmlScene.AddNode(axial)
    finish(shell, waitFor)
    volume, lesions = result()
    assert composite.GetBackgroundVolumeID() == volume.GetID() and visible() == [lesions.GetName()]
    assert lesions.GetDisplayNode().GetOpacity2DFill() == 0 and lesions.GetDisplayNode().GetVisibility2DOutline()
    mask = slicer.util.arrayFromSegmentBinaryLabelmap(lesions, "Segment_1", volume) > 0
    toIJK = vtk.vtkMatrix4x4()
    volume.GetRASToIJKMatrix(toIJK)
    slab = toIJK.MultiplyPoint((0, 0, axial.GetSliceOffset(), 1))[2]
    assert np.count_nonzero(mask[round(slab)]) == np.count_nonzero(mask, axis=(1, 2)).max()
    shell.ui.undoButton.click()
    assert visible() == ["tissue"] and composite.GetBackgroundVolumeID() == host.GetID()


def test_before_and_after_take_turns_and_the_difference_is_laid_over(shell, panel, host, waitFor):
    import slicer

    composite = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSliceCompositeNode")
    before = nodeIds()
    finish(shell, waitFor)
    volume, _ = result()
    assert composite.GetBackgroundVolumeID() == volume.GetID()
    assert panel.ui.resultGroupBox.visible
    panel.flicker._milliseconds = 20
    panel.ui.flickerButton.click()
    seen = []

    def bothSeen():
        seen.append(composite.GetBackgroundVolumeID())
        return {host.GetID(), volume.GetID()} <= set(seen)

    waitFor(bothSeen)
    panel.ui.flickerButton.click()
    assert composite.GetBackgroundVolumeID() == volume.GetID() and not panel.flicker.active

    panel.ui.differenceButton.click()
    difference = slicer.mrmlScene.GetNodeByID(composite.GetForegroundVolumeID())
    expected = slicer.util.arrayFromVolume(volume).astype(np.float32) - slicer.util.arrayFromVolume(host)
    np.testing.assert_allclose(slicer.util.arrayFromVolume(difference), expected)
    display = difference.GetDisplayNode()
    assert display.GetLevel() == 0 and display.GetWindow() == pytest.approx(2 * np.abs(expected).max())
    colors = display.GetColorNode().GetLookupTable()
    assert colors.GetOpacity(0) == 0 or colors.GetTableValue(128)[3] == 0
    told = panel.ui.differenceLabel
    assert told.visible and f"full color from {np.abs(expected).max() / 2:.3g} on" in told.text
    assert f"Here {expected.min():.3g} to {expected.max():.3g}." in told.text
    panel.ui.differenceButton.click()
    assert not told.visible
    assert composite.GetForegroundVolumeID() is None
    shell.ui.undoButton.click()
    assert nodeIds() == before


def test_a_difference_to_a_volume_that_was_moved_says_so(shell, panel, host, waitFor):
    import slicer

    finish(shell, waitFor)
    matrix = slicer.util.vtkMatrixFromArray(np.diag([1.0, 1.0, 1.0, 1.0]) + np.eye(4, k=3) * 5)
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    transform.SetMatrixTransformToParent(matrix)
    host.SetAndObserveTransformNodeID(transform.GetID())
    host.HardenTransform()
    panel.ui.differenceButton.click()
    said = shell.ui.reasonLabel.text
    assert host.GetName() in said and "moved or resampled" in said and "5.000 mm" in said
    assert not panel.ui.differenceButton.checked


def test_a_tissue_that_is_no_label_map_or_has_no_voxels_yet_is_said_to_be_so(shell, panel, host):
    import slicer

    label = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "tissue map")
    panel.ui.tissueSelector.setCurrentNode(label)
    assert panel.ui.segmentSelector.count == 0 and not shell.ui.applyButton.enabled
    assert "segment of the tissue" in shell.ui.reasonLabel.text
    for voxels, found in (
        (np.arange(-1, 7, dtype=np.int16), "the value -1"),
        (np.arange(8, dtype=np.float32) / 2, "the value 0.5"),
    ):
        slicer.util.updateVolumeFromArray(label, voxels.reshape(2, 2, 2))
        slicer.app.processEvents()
        assert not shell.ui.applyButton.enabled
        assert f"tissue map: found {found}" in shell.ui.reasonLabel.text and panel.ui.segmentSelector.count == 0
    slicer.util.updateVolumeFromArray(label, np.ones((32, 32, 32), np.int16))
    slicer.app.processEvents()
    assert panel.ui.segmentSelector.currentText == "label 1" and shell.ui.applyButton.enabled


def test_segments_that_come_go_or_are_renamed_are_offered(shell, panel, host):
    import slicer

    segmentation = panel.ui.tissueSelector.currentNode().GetSegmentation()
    segmentation.AddEmptySegment("edge", "edge")
    slicer.app.processEvents()
    assert [panel.ui.segmentSelector.itemText(index) for index in range(2)] == ["sphere", "edge"]
    segmentation.GetSegment("edge").SetName("rim")
    slicer.app.processEvents()
    assert panel.ui.segmentSelector.itemText(1) == "rim"
    for key in ("sphere", "edge"):
        segmentation.RemoveSegment(key)
    slicer.app.processEvents()
    assert panel.ui.segmentSelector.count == 0 and not shell.ui.applyButton.enabled


def test_nodes_are_watched_only_while_the_panel_is_shown(shell, panel, host):
    import slicer

    tissue = panel.ui.tissueSelector.currentNode()
    assert {node for node, _tag in panel._observed} == {host, tissue}
    # A change is looked at afterwards, when another module may be shown already.
    tissue.GetSegmentation().AddEmptySegment("edge", "edge")
    shell.exit()
    slicer.app.processEvents()
    assert panel._observed == [] and panel.ui.segmentSelector.count == 1
    shell.enter()
    assert panel._observed and panel.ui.segmentSelector.count == 2
    shell.selectPanel("models")
    assert panel._observed == []
    shell.selectPanel("lesions")
    slicer.mrmlScene.Clear(0)
    assert panel._observed == []


def test_a_label_map_of_another_grid_is_refused_at_apply(shell, panel, host):
    import slicer

    label = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "tissue map")
    slicer.util.updateVolumeFromArray(label, np.ones((5, 5, 5), np.uint8))
    panel.ui.tissueSelector.setCurrentNode(label)
    assert panel.ui.segmentSelector.currentText == "label 1"
    shell.ui.applyButton.click()
    assert not shell.jobs.busy
    assert "voxel grid of head" in shell.ui.reasonLabel.text
