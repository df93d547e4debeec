"""Loading, saving and exporting with slicer.util in the host."""

import numpy as np
import pytest

IJK_TO_RAS = np.array([[0.0, -1.5, 0.3, 10], [0.9, 0.0, 0.0, -20], [0.1, 0.0, 2.0, 30], [0, 0, 0, 1]])


@pytest.fixture
def volume(scene):
    import slicer

    array = np.arange(8 * 9 * 10, dtype=np.int16).reshape(8, 9, 10)
    oblique = IJK_TO_RAS.copy()
    oblique[:3, :3] = np.linalg.qr(oblique[:3, :3])[0] @ np.diag([0.9, 1.5, 2.0])
    return slicer.util.addVolumeFromArray(array, ijkToRAS=oblique, name="head")


@pytest.mark.parametrize("extension", ["nrrd", "nii.gz", "mha"])
def test_export_and_load_keep_voxels_and_geometry(volume, tmp_path, extension):
    import slicer

    path = str(tmp_path / f"head.{extension}")
    assert slicer.util.exportNode(volume, path, {"useCompression": 0})
    assert volume.GetStorageNode().GetFileName() is None
    loaded = slicer.util.loadVolume(path, {"name": "again", "show": False})
    assert loaded.GetName() == "again"
    np.testing.assert_array_equal(slicer.util.arrayFromVolume(loaded), slicer.util.arrayFromVolume(volume))
    assert slicer.modules.volumes.logic().CompareVolumeGeometry(volume, loaded) == ""


def test_save_node_and_load_a_label_map(volume, tmp_path):
    import slicer

    path = str(tmp_path / "head.nrrd")
    assert slicer.util.saveNode(volume, path, {})
    assert volume.GetStorageNode().GetFileName() == path
    assert slicer.util.loadLabelVolume(path, {}).GetClassName() == "vtkMRMLLabelMapVolumeNode"


def test_world_export_hardens_the_transform_of_the_copy_only(scene, volume, tmp_path):
    import slicer

    transform = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    matrix = np.eye(4)
    matrix[0, 3] = 25
    slicer.util.updateTransformMatrixFromArray(transform, matrix)
    volume.SetAndObserveTransformNodeID(transform.GetID())
    path = str(tmp_path / "world.nrrd")
    assert slicer.util.exportNode(volume, path, {}, world=True)
    loaded = slicer.util.loadVolume(path, {"show": False})
    assert loaded.GetOrigin()[0] == pytest.approx(volume.GetOrigin()[0] + 25)


def test_failures_are_told(scene, volume, tmp_path):
    import slicer

    with pytest.raises(RuntimeError, match="Failed to load node from file"):
        slicer.util.loadVolume(str(tmp_path / "nothing.nrrd"), {})
    with pytest.raises(ValueError, match="no known file format"):
        slicer.util.exportNode(volume, str(tmp_path / "head.nonsense"), {})


def test_segmentation_file_keeps_names_colors_and_mask(scene, volume, tmp_path):
    import slicer

    segmentation = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "seg")
    segmentation.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    segment = segmentation.GetSegmentation().AddEmptySegment("s1", "lesion", [1.0, 0.5, 0.25])
    mask = (slicer.util.arrayFromVolume(volume) % 5 == 0).astype(np.uint8)
    slicer.util.updateSegmentBinaryLabelmapFromArray(mask, segmentation, segment, volume)
    path = str(tmp_path / "mask.seg.nrrd")
    assert slicer.util.saveNode(segmentation, path, {})
    loaded = slicer.util.loadSegmentation(path, {})
    again = loaded.GetSegmentation().GetSegment("s1")
    assert again.GetName() == "lesion"
    assert again.GetColor() == pytest.approx((1.0, 0.5, 0.25), abs=0.01)
    np.testing.assert_array_equal(slicer.util.arrayFromSegmentBinaryLabelmap(loaded, "s1", volume), mask)


def test_a_bundle_keeps_attributes_and_folders(scene, volume, tmp_path):
    import slicer

    def hierarchy():
        return slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)

    study = hierarchy().CreateStudyItem(hierarchy().GetSceneItemID(), "study")
    folder = hierarchy().CreateFolderItem(study, "job")
    hierarchy().SetItemParent(hierarchy().GetItemByDataNode(volume), folder)
    volume.SetAttribute("GenerativeAugment.synthetic", "true")
    path = str(tmp_path / "scene.mrb")
    assert slicer.util.saveScene(path, {})
    scene.Clear()
    assert slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode") == []
    slicer.util.loadScene(path, {})
    loaded = slicer.util.getNode("head")
    assert loaded.GetAttribute("GenerativeAugment.synthetic") == "true"
    item = hierarchy().GetItemByDataNode(loaded)
    assert hierarchy().GetItemName(hierarchy().GetItemParent(item)) == "job"
    assert hierarchy().GetNumberOfItems() == 3  # study, folder, volume
