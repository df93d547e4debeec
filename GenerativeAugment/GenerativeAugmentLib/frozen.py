"""Volumes and segmentations of the scene as they are at one moment, to be written in portions later.

Nothing is copied: the voxels are the scene's own. They are held, so whatever replaces or removes them in the scene
does no harm; a change in their place is noticed by their modification time, which Slicer itself relies on to draw them,
and what was written by then is thrown away.
"""

from __future__ import annotations

import math
import tempfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import slicer
import vtk
from vtk.util import numpy_support

from GenerativeAugmentLib.errors import JobError, _
from GenerativeAugmentLib.exchange import (
    LABEL,
    SYNTHETIC_ATTRIBUTE,
    SYNTHETIC_MARK,
    Geometry,
    ijkToRAS,
    modalityOf,
    nodeName,
    rawHeader,
    requireOrthogonal,
    volumeGeometry,
    worldMatrix,
)
from GenerativeAugmentLib.files import aside, explained, rename
from GenerativeAugmentLib.steps import PORTION, Steps, finish

RAW, COMPRESSED = "nrrd", "nii.gz"
FORMATS = (RAW, COMPRESSED)

ALIGNED = 1e-2
"""Voxels; two grids of which no corner lies further than this from a voxel of the other have their voxels in common."""

_NIFTI_SIZE_OFFSET = 42
_NIFTI_HEADER = 352
_COMPRESSION = 4


class FrozenVolume:
    """A volume or label map.

    Args:
        volumeNode: a scalar volume or label map.
        synthetic: mark it as synthetic; a volume that came in with this mark keeps it in any case.
        modality: by default what `modalityOf` says.
        inWorld: take it where the linear transforms above the node put it, instead of refusing such a volume.

    Raises:
        JobError: "geometry_mismatch" for a volume under a transform or with sheared axes, "bad_parameter" for one
            without voxels or with several numbers a voxel.
    """

    def __init__(self, volumeNode: Any, synthetic: bool = False, modality: str = "", inWorld: bool = False) -> None:
        self.name = nodeName(volumeNode)
        scalars, self.voxels = _voxels(volumeNode)
        shape, matrix = volumeGeometry(volumeNode)
        self.geometry: Geometry = (shape, worldMatrix(volumeNode, matrix, inWorld))
        requireOrthogonal(self.geometry[1], self.name)
        self.modality = modality or modalityOf(volumeNode)
        self.synthetic = synthetic or volumeNode.GetAttribute(SYNTHETIC_ATTRIBUTE) == "true"
        self._stamps = _Stamps(self.name, [scalars])

    @property
    def bytes(self) -> int:
        """That `writing` yields."""
        return self.voxels.nbytes

    def slabs(self) -> Iterator[np.ndarray]:
        """The voxels, a portion at a time; JobError when they are no longer those of the beginning."""
        self._stamps.require()
        yield from _portions(self.voxels.reshape(-1))
        self._stamps.require()

    def writing(self, path: Path) -> Steps[None]:
        """Write it; the format is that of the name. The file appears when it is whole, and replaces an existing one.

        Raises:
            JobError: "bad_parameter" when the voxels were changed meanwhile; "disk_full", "no_permission".
        """
        return _writing(path, self.slabs(), self.voxels.dtype, self.geometry, self.modality, self.synthetic)


@dataclass(frozen=True)
class _Layer:
    """The voxels in which a segment has its label value."""

    voxels: np.ndarray
    first: tuple[int, int, int]
    ijkToRAS: np.ndarray
    value: int


class FrozenSegmentation:
    """Segments, on the grid of a volume.

    Args:
        segmentationNode: the segmentation.
        referenceVolumeNode: has the grid.
        segmentIds: all by default. Where segments overlap, the later one has the voxel.

    Raises:
        JobError: "geometry_mismatch" for nodes under a transform or sheared axes; "wrong_labels" without a segment.
    """

    def __init__(
        self, segmentationNode: Any, referenceVolumeNode: Any, segmentIds: Sequence[str] | None = None
    ) -> None:
        self.name = nodeName(segmentationNode)
        worldMatrix(referenceVolumeNode, ijkToRAS(referenceVolumeNode), inWorld=False)
        worldMatrix(segmentationNode, np.eye(4), inWorld=False)
        self.geometry: Geometry = volumeGeometry(referenceVolumeNode)
        requireOrthogonal(self.geometry[1], self.name)
        segmentation = segmentationNode.GetSegmentation()
        self._ids = list(segmentation.GetSegmentIDs() if segmentIds is None else segmentIds)
        unknown = [segmentId for segmentId in self._ids if segmentation.GetSegment(segmentId) is None]
        if unknown or not self._ids:
            raise _noSegments(self.name, _("no segment {ids}").format(ids=", ".join(unknown)).strip())
        self.names = [segmentation.GetSegment(segmentId).GetName() for segmentId in self._ids]
        self._node = segmentationNode
        if not segmentation.ContainsRepresentation(_labelmapName()):
            # Label maps are made of it later, and the scene's own must not get them.
            self._node = slicer.vtkMRMLSegmentationNode()
            self._node.GetSegmentation().DeepCopy(segmentation)
        self._layers: list[_Layer] = []
        self._stamps = _Stamps(self.name, [])
        if self._node is segmentationNode:
            self._readLayers()

    @property
    def bytes(self) -> int:
        """That `writing` yields, for less than 256 labels."""
        return math.prod(self.geometry[0])

    def writing(self, path: Path, values: Sequence[int] = (), synthetic: bool = False) -> Steps[None]:
        """Write it as a label map; see `FrozenVolume.writing`.

        Args:
            path: the file.
            values: label value of each segment; 1, 2, ... by default.
            synthetic: mark the file as synthetic.

        Raises:
            JobError: as `FrozenVolume.writing`; "wrong_labels" for what cannot be made into a label map.
        """
        given = list(values) or list(range(1, len(self._ids) + 1))
        dtype = np.dtype(np.uint8 if max(given) < 2**8 else np.uint16)
        return _writing(path, self._slabs(given, dtype), dtype, self.geometry, LABEL, synthetic)

    def _readLayers(self) -> None:
        segmentation, scalars = self._node.GetSegmentation(), []
        for segmentId in self._ids:
            segment = segmentation.GetSegment(segmentId)
            image = segment.GetRepresentation(_labelmapName())
            array = None if image is None else image.GetPointData().GetScalars()
            if array is None or array.GetNumberOfTuples() == 0:
                # Nothing was drawn yet.
                self._layers.append(_Layer(np.zeros((0, 0, 0), np.uint8), (0, 0, 0), np.eye(4), 1))
                continue
            matrix = vtk.vtkMatrix4x4()
            image.GetImageToWorldMatrix(matrix)
            voxels = numpy_support.vtk_to_numpy(array).reshape(image.GetDimensions()[::-1])
            self._layers.append(
                _Layer(
                    voxels,
                    image.GetExtent()[::2],
                    slicer.util.arrayFromVTKMatrix(matrix),
                    segment.GetLabelValue(),
                )
            )
            scalars.append(array)
        self._stamps = _Stamps(self.name, scalars)

    def _slabs(self, values: list[int], dtype: np.dtype) -> Iterator[np.ndarray]:
        """The label map, a portion at a time."""
        if not self._layers:
            if not self._node.CreateBinaryLabelmapRepresentation():
                raise _noSegments(self.name, _("segments that cannot be made into a binary label map"))
            self._readLayers()
        self._stamps.require()
        offsets = [_offset(layer, self.geometry) for layer in self._layers]
        if all(offset is not None for offset in offsets):
            yield from _pasted(self._layers, offsets, values, dtype, self.geometry[0])
        else:
            yield from _portions(self._merged(values).astype(dtype, copy=False))
        self._stamps.require()

    def _merged(self, values: list[int]) -> np.ndarray:
        """The label map where segments lie on other grids than the reference: Slicer resamples them, all at once."""
        shape, matrix = self.geometry
        reference = slicer.vtkOrientedImageData()
        reference.SetDimensions(shape)
        reference.SetGeometryFromImageToWorldMatrix(slicer.util.vtkMatrixFromArray(matrix))
        segmentIds, labelValues = vtk.vtkStringArray(), vtk.vtkIntArray()
        for value, segmentId in zip(values, self._ids):
            segmentIds.InsertNextValue(segmentId)
            labelValues.InsertNextValue(value)
        merged = slicer.vtkOrientedImageData()
        extentMode = slicer.vtkSegmentation.EXTENT_REFERENCE_GEOMETRY
        made = self._node.GenerateMergedLabelmapForAllSegments(merged, extentMode, reference, segmentIds, labelValues)
        if not made or tuple(merged.GetDimensions()) != tuple(shape):
            raise _noSegments(self.name, _("segments that cannot be brought onto the grid of the volume"))
        return numpy_support.vtk_to_numpy(merged.GetPointData().GetScalars())


def writeVolume(
    volumeNode: Any, path: Path, synthetic: bool = False, modality: str = "", inWorld: bool = False
) -> None:
    """Write a volume at once; see `FrozenVolume`."""
    finish(FrozenVolume(volumeNode, synthetic, modality, inWorld).writing(path))


def writeSegmentation(
    segmentationNode: Any, referenceVolumeNode: Any, path: Path, segmentIds: Sequence[str] | None = None
) -> dict[int, str]:
    """Write segments as a label map at once, see `FrozenSegmentation`; label value to segment name."""
    segmentation = FrozenSegmentation(segmentationNode, referenceVolumeNode, segmentIds)
    finish(segmentation.writing(path))
    return dict(enumerate(segmentation.names, 1))


class _Stamps:
    """When voxels were last changed."""

    def __init__(self, name: str, scalars: Sequence[Any]) -> None:
        self._name = name
        self._times = [(array, array.GetMTime()) for array in scalars]

    def require(self) -> None:
        """Refuse voxels that were changed since."""
        if any(array.GetMTime() != time for array, time in self._times):
            raise JobError(
                "bad_parameter",
                self._name,
                _("voxels that were changed after Apply"),
                _("the voxels as they were at Apply"),
                _("Press Apply again, and leave it as it is until the inputs are written."),
            )


def _writing(
    path: Path, slabs: Iterator[np.ndarray], dtype: np.dtype, geometry: Geometry, modality: str, synthetic: bool
) -> Steps[None]:
    """Write portions of voxels, I fastest."""
    path = Path(path)
    compressed = path.name.endswith("." + COMPRESSED)
    # The window of 31 makes a gzip file of it.
    packer = zlib.compressobj(_COMPRESSION, zlib.DEFLATED, 31) if compressed else None
    header = (_niftiHeader if compressed else rawHeader)(dtype, geometry, modality, synthetic)
    temporary = aside(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as stream:
            stream.write(packer.compress(header) if packer else header)
            for slab in slabs:
                data = np.ascontiguousarray(slab.astype(dtype.newbyteorder("<"), copy=False)).data.cast("B")
                stream.write(packer.compress(data) if packer else data)
                yield len(data)
            if packer:
                stream.write(packer.flush())
        rename(temporary, path)
    except OSError as error:
        raise explained(error, path) from error
    finally:
        temporary.unlink(missing_ok=True)


def _niftiHeader(dtype: np.dtype, geometry: Geometry, modality: str, synthetic: bool) -> bytes:
    """The header of a NIfTI file, as ITK writes it for a single voxel, with the size of the whole volume."""
    import SimpleITK

    shape, matrix = geometry
    lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ matrix
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    image = SimpleITK.GetImageFromArray(np.zeros((1, 1, 1), dtype))
    image.SetSpacing(spacing.tolist())
    image.SetOrigin(lps[:3, 3].tolist())
    image.SetDirection((lps[:3, :3] / spacing).ravel().tolist())
    if synthetic:
        # This key becomes the description, where the worker has its mark, too.
        image.SetMetaData("ITK_FileNotes", SYNTHETIC_MARK)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "header.nii"
        SimpleITK.WriteImage(image, str(path))
        header = bytearray(path.read_bytes()[:_NIFTI_HEADER])
    header[_NIFTI_SIZE_OFFSET : _NIFTI_SIZE_OFFSET + 6] = np.array(shape, "<i2").tobytes()
    return bytes(header)


def _offset(layer: _Layer, geometry: Geometry) -> tuple[int, int, int] | None:
    """From voxel indices of a grid to those of a layer, where both have their voxels in common; None elsewhere."""
    relative = np.linalg.inv(layer.ijkToRAS) @ geometry[1]
    drift = np.abs((relative[:3, :3] - np.eye(3)) @ np.asarray(geometry[0])).max()
    offset = np.rint(relative[:3, 3])
    if drift > ALIGNED or np.abs(relative[:3, 3] - offset).max() > ALIGNED:
        return None
    return tuple(int(each) for each in offset)


def _pasted(
    layers: Sequence[_Layer],
    offsets: Sequence[tuple[int, int, int]],
    values: Sequence[int],
    dtype: np.dtype,
    shape: tuple[int, int, int],
) -> Iterator[np.ndarray]:
    """A label map of layers on its own voxels, some slices at a time."""
    size = np.array(shape[::-1])
    # First index of the label map, in its (K, J, I), at which each layer begins.
    starts = [np.subtract(layer.first, offset)[::-1] for layer, offset in zip(layers, offsets)]
    step = max(1, PORTION // int(size[1:].prod() * dtype.itemsize))
    for first in range(0, int(size[0]), step):
        lowest = np.array([first, 0, 0])
        highest = np.minimum(size, [first + step, *size[1:]])
        slab = np.zeros(highest - lowest, dtype)
        for layer, start, value in zip(layers, starts, values):
            begin = np.maximum(lowest, start)
            end = np.minimum(highest, start + layer.voxels.shape)
            if (begin < end).all():
                target = slab[tuple(slice(a, b) for a, b in zip(begin - lowest, end - lowest))]
                source = layer.voxels[tuple(slice(a, b) for a, b in zip(begin - start, end - start))]
                target[source == layer.value] = value
        yield slab


def _portions(voxels: np.ndarray) -> Iterator[np.ndarray]:
    """Flat voxels, a portion at a time."""
    step = max(1, PORTION // voxels.itemsize)
    for start in range(0, voxels.size, step):
        yield voxels[start : start + step]


def _voxels(volumeNode: Any) -> tuple[Any, np.ndarray]:
    """The scene's own voxels, as VTK's array and as (K, J, I)."""
    image = volumeNode.GetImageData()
    scalars = image.GetPointData().GetScalars() if image is not None else None
    expected = _("a volume with one number a voxel")
    if scalars is None or scalars.GetNumberOfTuples() == 0:
        raise _unsuitable(volumeNode, _("a volume without voxels"), expected, _("Load or create its voxels first."))
    if scalars.GetNumberOfComponents() != 1:
        found = _("{count} numbers a voxel").format(count=scalars.GetNumberOfComponents())
        remedy = _("Convert it with Vector to Scalar Volume, or choose another volume.")
        raise _unsuitable(volumeNode, found, expected, remedy)
    extent = image.GetExtent()
    if any(extent[::2]):
        # Slicer itself is not of one mind about where such a volume is.
        found = _("voxel indices that begin at {start}").format(start=extent[::2])
        remedy = _("Resample it with Crop Volume, which makes a volume with indices from 0.")
        raise _unsuitable(volumeNode, found, _("voxel indices from 0"), remedy)
    return scalars, numpy_support.vtk_to_numpy(scalars).reshape(image.GetDimensions()[::-1])


def _unsuitable(node: Any, found: str, expected: str, remedy: str) -> JobError:
    return JobError("bad_parameter", nodeName(node), found, expected, remedy)


def _noSegments(subject: str, found: str) -> JobError:
    return JobError(
        "wrong_labels",
        subject,
        found,
        _("at least one segment that fills voxels"),
        _("Check the segmentation in the Segmentations module, where its binary labelmap can be created."),
    )


def _labelmapName() -> str:
    return slicer.vtkSegmentationConverter.GetSegmentationBinaryLabelmapRepresentationName()
