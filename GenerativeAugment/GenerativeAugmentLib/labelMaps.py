"""Label maps as segmentations, with names, terminology and colors."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import slicer
import vtk

from GenerativeAugmentLib.errors import JobError, _
from GenerativeAugmentLib.imageFiles import readImageInto
from GenerativeAugmentLib.terminology import segmentStyle

COUNTED = 1 << 18
"""Voxels that are counted at once: few enough for the processor's cache."""

HIGHEST_COUNTED = 1 << 16
"""Higher values than these are sorted."""


def readSegmentation(path: Path, names: Mapping[int, str]) -> slicer.vtkMRMLSegmentationNode:
    """A segmentation, not yet in the scene, with a segment for each label that occurs in a label map file.

    The segments share the one label map, so nothing is copied and no helper node is made. Their ids are "Segment_" and
    the value, and their label values are those of the file.

    Args:
        path: the label map.
        names: label value to name; others are called "label 7".

    Raises:
        JobError: as `imageFiles.readImageInto`; "wrong_labels" for what is no label map.
    """
    labels = slicer.vtkMRMLLabelMapVolumeNode()
    readImageInto(path, labels)
    array = slicer.util.arrayFromVolume(labels)
    values = presentValues(array, path)
    if array.dtype.kind == "f":
        slicer.util.updateVolumeFromArray(
            labels, array.astype(np.uint16 if max(values, default=0) < 2**16 else np.int32)
        )
    image = slicer.vtkOrientedImageData()
    image.ShallowCopy(labels.GetImageData())
    matrix = vtk.vtkMatrix4x4()
    labels.GetIJKToRASMatrix(matrix)
    image.SetGeometryFromImageToWorldMatrix(matrix)
    node = slicer.vtkMRMLSegmentationNode()
    segmentation = node.GetSegmentation()
    converter = slicer.vtkSegmentationConverter
    representation = converter.GetSegmentationBinaryLabelmapRepresentationName()
    segmentation.SetSourceRepresentationName(representation)
    segmentation.SetConversionParameter(
        converter.GetReferenceImageGeometryParameterName(), converter.SerializeImageGeometry(image)
    )
    for value in values:
        segmentation.AddSegment(_segment(value, names, representation, image), f"Segment_{value}")
    return node


def segmentNames(segmentation: slicer.vtkSegmentation) -> dict[str, str]:
    """Id to name of its segments, in their order."""
    return {key: segmentation.GetSegment(key).GetName() for key in segmentation.GetSegmentIDs()}


def nodeValues(volumeNode: slicer.vtkMRMLScalarVolumeNode) -> list[int]:
    """Label values above 0 that occur in a volume; none in one that has no voxels yet. Raises as `presentValues`."""
    image = volumeNode.GetImageData()
    if image is None or image.GetPointData().GetScalars() is None:
        return []
    return presentValues(slicer.util.arrayFromVolume(volumeNode), volumeNode.GetName())


def presentValues(voxels: np.ndarray, subject: str | Path) -> list[int]:
    """Label values above 0 that occur among voxels.

    Raises:
        JobError: "wrong_labels", naming `subject`, for negative or fractional voxels.
    """
    flat, found = voxels.reshape(-1), set()
    for start in range(0, flat.size, COUNTED):
        found.update(_countedValues(flat[start : start + COUNTED], subject))
    return sorted(found - {0})


def _countedValues(voxels: np.ndarray, subject: str | Path) -> list[int]:
    lowest, highest = voxels.min(), voxels.max()
    if lowest == highest:
        # Most of a label map is background.
        values = voxels[:1]
    elif (
        lowest >= 0 and highest < HIGHEST_COUNTED and (voxels.dtype.kind in "biu" or (voxels == np.rint(voxels)).all())
    ):
        # Counting is many times faster than sorting.
        values = np.flatnonzero(np.bincount(voxels.astype(np.intp)))
    else:
        values = np.unique(voxels)
    wrong = values[~np.isfinite(values) | (values < 0) | (values != np.rint(values))]
    if wrong.size:
        raise JobError(
            "wrong_labels",
            subject,
            _("the value {value}").format(value=f"{wrong[0]:g}"),
            _("whole numbers from 0 up"),
            _("Convert the volume to a label map, or use a segmentation."),
        )
    return [int(value) for value in values]


def _segment(
    value: int, names: Mapping[int, str], representation: str, image: slicer.vtkOrientedImageData
) -> slicer.vtkSegment:
    name = names.get(value) or _("label {value}").format(value=value)
    style = segmentStyle(name, value)
    segment = slicer.vtkSegment()
    segment.SetName(name)
    segment.SetColor(*style.color)
    segment.SetTag(slicer.vtkSegment.GetTerminologyEntryTagName(), style.terminology)
    segment.SetLabelValue(value)
    segment.AddRepresentation(representation, image)
    return segment
