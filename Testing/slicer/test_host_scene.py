"""The scene of the host: real MRML nodes, segmentations, hierarchy and bundles."""

import numpy as np


def test_segmentation_round_trip_and_bundle(scene, tmp_path):
    import slicer

    array = np.arange(20 * 30 * 40, dtype=np.int16).reshape(20, 30, 40)
    volume = slicer.util.addVolumeFromArray(array, name="head")
    segmentation = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "seg")
    segmentation.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    segmentation.CreateDefaultDisplayNodes()
    segment = segmentation.GetSegmentation().AddEmptySegment("", "lesion")
    mask = (array % 7 == 0).astype(np.uint8)
    slicer.util.updateSegmentBinaryLabelmapFromArray(mask, segmentation, segment, volume)
    np.testing.assert_array_equal(slicer.util.arrayFromSegmentBinaryLabelmap(segmentation, segment, volume), mask)
    assert slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene).GetItemByDataNode(volume)
