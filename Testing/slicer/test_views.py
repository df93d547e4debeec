"""The views of the host show the scene as the application does: at the right place, and the right way round."""

import numpy as np
import pytest
from panelKit import nodeIds

SIZE = 160
RIGHT, ANTERIOR, SUPERIOR = (15.0, 5.0, -5.0), (5.0, 15.0, 5.0), (-5.0, 0.0, 15.0)


@pytest.fixture
def views(scene):
    from slicerHost.views import Views, canDraw

    if not canDraw():
        pytest.skip("VTK cannot draw off screen here: it needs EGL (libegl1, libgl1-mesa-dri) or OSMesa")
    opened = Views(SIZE, SIZE)
    yield opened
    opened.close()


def balls(*places, ijkToRAS=None, name="balls", value=100.0):
    """A volume with a bright ball of 3 mm radius about each place, on a grid that holds the middle 40 mm."""
    import slicer

    matrix = np.diag([1.0, 1.0, 1.0, 1.0]) if ijkToRAS is None else np.array(ijkToRAS, dtype=float)
    shape = np.array([40, 40, 40])
    if ijkToRAS is None:
        matrix[:3, 3] = -19.5
    else:
        shape = np.ceil(40 / np.linalg.norm(matrix[:3, :3], axis=0)).astype(int)
        matrix[:3, 3] = -matrix[:3, :3] @ ((shape - 1) / 2)
    ijk = np.indices(shape).reshape(3, -1)
    ras = matrix[:3, :3] @ ijk + matrix[:3, 3:]
    inside = np.zeros(ijk.shape[1], dtype=bool)
    for place in places:
        inside |= np.linalg.norm(ras - np.array(place)[:, None], axis=0) < 3
    voxels = np.where(inside, value, 0).astype(np.float32).reshape(shape).transpose(2, 1, 0)
    node = slicer.util.addVolumeFromArray(np.ascontiguousarray(voxels), matrix, name)
    node.GetDisplayNode().SetAutoWindowLevel(False)
    node.GetDisplayNode().SetWindowLevel(100, 50)
    return node


def segmentationOf(volumeNode, color):
    import slicer

    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "segmentation")
    node.CreateDefaultDisplayNodes()
    node.SetReferenceImageGeometryParameterFromVolumeNode(volumeNode)
    key = node.GetSegmentation().AddEmptySegment("ball", "ball", color)
    mask = (slicer.util.arrayFromVolume(volumeNode) > 50).astype(np.uint8)
    slicer.util.updateSegmentBinaryLabelmapFromArray(mask, node, key, volumeNode)
    return node, key


def show(views, volumeNode, ras):
    import slicer

    slicer.util.setSliceViewerLayers(background=volumeNode)
    views.resetSliceViews()
    views.jumpTo(ras)


def brightMiddle(view):
    """Row and column of the middle of what is bright."""
    rows, columns = np.nonzero(view.pixels().max(axis=2) > 128)
    assert rows.size, "nothing is bright"
    return rows.mean(), columns.mean()


def test_right_is_left_anterior_is_up_and_superior_is_up(views):
    middle = SIZE / 2
    volume = balls(RIGHT)
    show(views, volume, RIGHT)
    row, column = brightMiddle(views.sliceWidget("Red"))
    assert column < middle - 20 and row < middle
    row, column = brightMiddle(views.sliceWidget("Green"))
    assert column < middle - 20 and row > middle
    row, column = brightMiddle(views.sliceWidget("Yellow"))
    assert column < middle and row > middle  # the nose points to the left

    show(views, balls(SUPERIOR), SUPERIOR)
    assert brightMiddle(views.sliceWidget("Green"))[0] < middle - 20
    assert brightMiddle(views.sliceWidget("Yellow"))[0] < middle - 20
    assert brightMiddle(views.sliceWidget("Green"))[1] > middle


GRIDS = {
    "left-handed": np.diag([-1.0, 1.0, 1.0, 1.0]),
    "sagittal slices": [[0, 0, 2, 0], [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1]],
    "oblique": [[0.9, -0.3, 0.1, 0], [0.3, 0.9, 0, 0], [-0.1, 0.03, 1.5, 0], [0, 0, 0, 1]],
}


@pytest.mark.parametrize("grid", GRIDS)
def test_a_place_is_drawn_where_it_is_whatever_the_grid(views, grid):
    show(views, balls(RIGHT, ijkToRAS=GRIDS[grid]), RIGHT)
    for name in views.sliceViewNames():
        view = views.sliceWidget(name)
        expected = view.toPixel(RIGHT)
        assert np.abs(np.subtract(brightMiddle(view), expected)).max() < 4, name


def test_a_slice_beside_the_ball_is_dark_and_without_volume_all_is_black(views):
    assert not views.sliceWidget("Red").pixels().any()
    show(views, balls(RIGHT), RIGHT)
    views.jumpTo((0, 0, 10))
    assert views.sliceWidget("Red").pixels().max() < 10


def test_a_segmentation_lies_on_its_voxels_in_its_color(views):
    volume = balls(ANTERIOR)
    node, key = segmentationOf(volume, (1.0, 0.0, 0.0))
    show(views, balls(name="empty"), ANTERIOR)
    view = views.sliceWidget("Red")
    red, green, _ = np.moveaxis(view.pixels().astype(int), 2, 0)
    rows, columns = np.nonzero(red - green > 60)
    assert np.abs(np.subtract((rows.mean(), columns.mean()), view.toPixel(ANTERIOR))).max() < 4
    node.GetDisplayNode().SetSegmentVisibility(key, False)
    red, green, _ = np.moveaxis(view.pixels().astype(int), 2, 0)
    assert (red == green).all()


def test_a_label_map_is_drawn_over_the_image(views):
    import slicer

    volume = balls(ANTERIOR)
    labels = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "labels")
    slicer.modules.volumes.logic().CreateLabelVolumeFromVolume(slicer.mrmlScene, labels, volume)
    slicer.util.updateVolumeFromArray(labels, (slicer.util.arrayFromVolume(volume) > 50).astype(np.uint8))
    slicer.util.setSliceViewerLayers(background=volume, label=labels, labelOpacity=1.0)
    views.resetSliceViews()
    views.jumpTo(ANTERIOR)
    view = views.sliceWidget("Red")
    color = view.pixels()[view.toPixel(ANTERIOR)].astype(int)
    assert color.max() - color.min() > 40
    slicer.util.setSliceViewerLayers(labelOpacity=0.0)
    assert (view.pixels()[view.toPixel(ANTERIOR)] > 200).all()


def test_points_are_drawn_in_their_slice_only(views):
    import slicer

    show(views, balls(name="empty"), (0, 0, 0))
    points = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "points")
    points.CreateDefaultDisplayNodes()
    points.GetDisplayNode().SetPointLabelsVisibility(False)
    points.AddControlPoint(10, -8, 0)
    view = views.sliceWidget("Red")
    rows, columns = np.nonzero(view.pixels().max(axis=2) > 60)
    assert np.abs(np.subtract((rows.mean(), columns.mean()), view.toPixel((10, -8, 0)))).max() < 4
    views.jumpTo((0, 0, 9))
    assert view.pixels().max() < 60


def test_the_difference_of_a_result_is_red_where_it_is_brighter_and_blue_where_darker(views):
    import slicer
    from GenerativeAugmentLib import sliceViews

    before, after = balls(RIGHT, ANTERIOR, name="before", value=60), balls(name="after", value=0)
    brighter = slicer.util.arrayFromVolume(balls(RIGHT, value=40)) > 0
    darker = slicer.util.arrayFromVolume(balls(ANTERIOR, value=40)) > 0
    voxels = slicer.util.arrayFromVolume(before).copy()
    voxels[brighter] += 30
    voxels[darker] -= 30
    slicer.util.updateVolumeFromArray(after, voxels)
    show(views, after, RIGHT)
    sliceViews.showVolume(after)
    difference = sliceViews.addDifference(before, after)
    sliceViews.showForeground(difference)
    view = views.sliceWidget("Red")
    red, _, blue = (int(part) for part in view.pixels()[view.toPixel(RIGHT)])
    assert red > blue + 40
    views.jumpTo(ANTERIOR)
    red, _, blue = (int(part) for part in view.pixels()[view.toPixel(ANTERIOR)])
    assert blue > red + 40
    sliceViews.showForeground(None)
    red, _, blue = (int(part) for part in view.pixels()[view.toPixel(ANTERIOR)])
    assert red == blue


def test_a_stage_fits_the_views_to_another_grid_only_and_gives_them_back(views):
    import slicer
    from GenerativeAugmentLib.sliceViews import Stage

    own = balls(RIGHT, name="own")
    show(views, own, RIGHT)
    view = views.sliceWidget("Red")
    own_view = view.mrmlSliceNode().GetFieldOfView()
    view.mrmlSliceNode().SetFieldOfView(20, 20, 1)
    stage = Stage()
    same, other = balls(ANTERIOR, name="same"), balls(ANTERIOR, ijkToRAS=GRIDS["oblique"], name="other")
    mask, _ = segmentationOf(same, (1.0, 0.0, 0.0))
    stage.show(same, mask)
    assert view.mrmlSliceNode().GetFieldOfView()[:2] == (20, 20)
    stage.show(other)
    assert view.mrmlSliceNode().GetFieldOfView()[0] > 0.9 * own_view[0] and not mask.GetDisplayVisibility()
    views.jumpTo(ANTERIOR)
    assert np.abs(np.subtract(brightMiddle(view), view.toPixel(ANTERIOR))).max() < 4
    stage.giveBack()
    views.jumpTo(RIGHT)
    assert np.abs(np.subtract(brightMiddle(view), view.toPixel(RIGHT))).max() < 4
    assert mask.GetDisplayVisibility()
    # What the user has chosen meanwhile stays.
    stage.show(other)
    slicer.util.setSliceViewerLayers(background=same)
    stage.giveBack()
    assert slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")[0].GetBackgroundVolumeID() == same.GetID()


def test_views_answer_as_a_layout_manager_and_leave_nothing_behind(scene):
    import slicer
    from slicerHost.views import Views, canDraw

    if not canDraw():
        pytest.skip("VTK cannot draw off screen here")
    before = nodeIds()
    views = Views(100, 80, threeD=True)
    assert slicer.app.layoutManager() is views
    volume = balls(RIGHT, ijkToRAS=GRIDS["oblique"])
    slicer.util.setSliceViewerLayers(background=volume, fit=True, rotateToVolumePlane=True)
    node = views.sliceWidget("Red").mrmlSliceNode()
    assert node.GetOrientationString() != "Axial"
    slicer.util.resetSliceViews()
    slicer.util.forceRenderAllViews()
    assert views.sliceWidget("Red").pixels().shape == (80, 100, 3)
    views.sliceWidget("Red").resize(120, 90)
    assert views.sliceWidget("Red").pixels().shape == (90, 120, 3)
    scene.Clear(0)
    assert not views.sliceWidget("Red").pixels().any()
    views.close()
    assert slicer.app.layoutManager() is None
    assert slicer.app.applicationLogic().GetSliceLogics().GetNumberOfItems() == 0
    assert nodeIds() <= before


def test_a_closed_surface_is_seen_in_3d(scene):
    from slicerHost.views import Views, canDraw

    if not canDraw():
        pytest.skip("VTK cannot draw off screen here")
    views = Views(80, 80, threeD=True)
    node, _ = segmentationOf(balls((0, 0, 0)), (1.0, 0.0, 0.0))
    view = views.threeDWidget(0)
    view.mrmlViewNode().SetBoxVisible(False)
    view.mrmlViewNode().SetAxisLabelsVisible(False)
    node.CreateClosedSurfaceRepresentation()
    view.resetFocalPoint()
    red, green, _ = np.moveaxis(view.pixels().astype(int), 2, 0)
    assert (red - green > 40).sum() > 500
    views.close()
