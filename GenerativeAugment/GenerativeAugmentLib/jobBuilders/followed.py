"""The case that new images are made for: a label map, and for some models the image in which it is filled."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import slicer
import vtk

from GenerativeAugmentLib import exchange, provenance
from GenerativeAugmentLib.catalogueFile import ModelEntry
from GenerativeAugmentLib.cohorts import MANIFEST, safeName, segmentNames
from GenerativeAugmentLib.errors import JobError, _
from GenerativeAugmentLib.files import readJson, writeJson
from GenerativeAugmentLib.frozen import FrozenSegmentation, FrozenVolume
from GenerativeAugmentLib.jobBuilders.common import patientOf
from GenerativeAugmentLib.modelFit import geometryProblem
from GenerativeAugmentLib.steps import Steps


class FollowedCase:
    """Label map and images as they are at Apply, to be written as a cohort of one case.

    Args:
        labelNode: label map or segmentation.
        images: channel to volume on the same voxels; none for a model that only follows the label map.
        entry: the model.

    Raises:
        JobError: what freezing raises; "geometry_mismatch" for an image on other voxels.
    """

    def __init__(self, labelNode: Any, images: Mapping[str, Any], entry: ModelEntry) -> None:
        self._name, self._patient = labelNode.GetName(), patientOf(labelNode)
        nodes = [labelNode, *images.values()]
        self._synthetic = any(provenance.isSynthetic(node) for node in nodes)
        records = [record for record in map(provenance.recordOf, nodes) if record is not None]
        expected = _("the Record of a case")
        self._ancestors = [name for path in records for name in readJson(path, expected).get("patients", ())]
        self._entry = entry
        self._values: list[int] = []
        self._label: FrozenVolume | FrozenSegmentation
        if labelNode.IsA("vtkMRMLSegmentationNode"):
            reference = next(iter(images.values()), None) or segmentationGrid(labelNode)
            self._label = FrozenSegmentation(labelNode, reference)
            self._values = [valuesByName(entry)[name.casefold()] for name in self._label.names]
        else:
            self._label = FrozenVolume(labelNode, self._synthetic)
        self._images = {channel: FrozenVolume(node, self._synthetic) for channel, node in images.items()}
        for image in self._images.values():
            exchange.requireSameGeometry(
                image.geometry,
                self.geometry,
                image.name,
                _("the voxel grid of {volume}").format(volume=self._name),
                _("Resample one of them onto the grid of the other, or choose a segmentation in place of a label map."),
            )

    @property
    def geometry(self) -> exchange.Geometry:
        """The voxel grid of what is made."""
        return self._label.geometry

    @property
    def bytes(self) -> int:
        """That `writing` yields."""
        return sum(file.bytes for file in (self._label, *self._images.values()))

    def writing(self, folder: Path) -> Steps[None]:
        """Write it into a new folder."""
        if isinstance(self._label, FrozenSegmentation):
            yield from self._label.writing(folder / "label.nrrd", self._values, self._synthetic)
        else:
            yield from self._label.writing(folder / "label.nrrd")
        for channel, image in self._images.items():
            yield from image.writing(folder / f"{channel}.nrrd")
        case = {
            "id": safeName(self._name),
            "patient": self._patient,
            "images": {channel: f"{channel}.nrrd" for channel in self._images},
            "label": "label.nrrd",
            "origin": "synthetic" if self._synthetic else "real",
            "derived_from": list(dict.fromkeys(self._ancestors)),
        }
        manifest = {
            "schema_version": 1,
            "name": self._name,
            "channels": {channel: self._entry.modality[channel] for channel in self._images},
            "label_names": {str(value): name for value, name in self._entry.labels.items()},
            "cases": [case],
        }
        writeJson(folder / MANIFEST, manifest)


def segmentationGrid(segmentationNode: Any) -> Any:
    """A volume without voxels of its own on the grid of a segmentation, not in the scene.

    Raises:
        JobError: "wrong_labels" for a segmentation that has no grid yet.
    """
    image = slicer.vtkOrientedImageData()
    converter = slicer.vtkSegmentationConverter
    text = segmentationNode.GetSegmentation().GetConversionParameter(converter.GetReferenceImageGeometryParameterName())
    if not text or not converter.DeserializeImageGeometry(text, image, False):
        raise JobError(
            "wrong_labels",
            segmentationNode.GetName(),
            _("no source geometry"),
            _("a segmentation that was made on a volume"),
            _("Choose the source volume in the Segment Editor."),
        )
    matrix = vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(matrix)
    node = slicer.vtkMRMLScalarVolumeNode()
    extent = image.GetExtent()
    # A grid may begin at another voxel than 0; a volume in the scene does not.
    origin = matrix.MultiplyPoint((extent[0], extent[2], extent[4], 1))
    for axis in range(3):
        matrix.SetElement(axis, 3, origin[axis])
    empty = vtk.vtkImageData()
    empty.SetDimensions(*(extent[2 * axis + 1] - extent[2 * axis] + 1 for axis in range(3)))
    node.SetAndObserveImageData(empty)
    node.SetIJKToRASMatrix(matrix)
    return node


def labelGeometry(labelNode: Any) -> exchange.Geometry:
    """The voxel grid of a label map or of a segmentation."""
    isSegmentation = labelNode.IsA("vtkMRMLSegmentationNode")
    return exchange.volumeGeometry(segmentationGrid(labelNode) if isSegmentation else labelNode)


def labelProblem(labelNode: Any, entry: ModelEntry, grid: Mapping[str, Any]) -> JobError | None:
    """Why a model cannot make an image for a label map or segmentation; None when it can."""
    problem = geometryProblem(dict(grid), labelGeometry(labelNode), whole=False)
    if problem:
        remedy = _("Crop or pad the label map to the region the model was trained on.")
        return JobError("field_of_view", labelNode.GetName(), problem, _("a label map this model takes"), remedy)
    if not labelNode.IsA("vtkMRMLSegmentationNode"):
        return None
    unknown = [name for name in segmentNames(labelNode) if name.casefold() not in valuesByName(entry)]
    if unknown or not segmentNames(labelNode):
        return JobError(
            "wrong_labels",
            labelNode.GetName(),
            _("segments {names}").format(names=", ".join(unknown) or _("none")),
            ", ".join(entry.labels.values()),
            _("Name the segments as the model's labels are called."),
        )
    return None


def valuesByName(entry: ModelEntry) -> dict[str, int]:
    """Label name in lower case to value."""
    return {name.casefold(): value for value, name in entry.labels.items()}
