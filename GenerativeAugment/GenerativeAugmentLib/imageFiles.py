"""Image files of any kind a cohort may have: raw NRRD by way of `exchange`, everything else by way of ITK."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import slicer

from GenerativeAugmentLib import exchange
from GenerativeAugmentLib.errors import JobError, _


def imageGeometry(path: Path) -> exchange.Geometry:
    """Voxels along I, J, K and the matrix from voxel index to RAS millimeters, without reading the voxels.

    Raises:
        JobError: "missing_file" or "unreadable_file".
    """
    if isRaw(path):
        return exchange.fileGeometry(path)
    import SimpleITK

    reader = SimpleITK.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise _unreadable(path, error) from error
    if reader.GetDimension() != 3 or reader.GetNumberOfComponents() != 1:
        found = _("{dimension} dimensions and {count} numbers a voxel").format(
            dimension=reader.GetDimension(), count=reader.GetNumberOfComponents()
        )
        raise _unreadable(path, found)
    matrix = np.eye(4)
    matrix[:3, :3] = np.array(reader.GetDirection()).reshape(3, 3) * np.array(reader.GetSpacing())
    matrix[:3, 3] = reader.GetOrigin()
    return tuple(reader.GetSize()), np.diag([-1.0, -1.0, 1.0, 1.0]) @ matrix


def readImageInto(path: Path, volumeNode: slicer.vtkMRMLScalarVolumeNode) -> None:
    """Replace voxels and geometry of a volume, in the scene or outside, by those of a file.

    The file is not remembered by the node: what is saved with the scene is a copy, never the job's own file.

    Raises:
        JobError: "missing_file" or "unreadable_file".
    """
    if isRaw(path):
        exchange.readVolumeInto(path, volumeNode)
        return
    import SimpleITK

    # Slicer's own reader turns left-handed grids over, so that what is read is no longer the grid of the file.
    geometry = imageGeometry(path)
    try:
        with _unmistakable(path) as named:
            image = SimpleITK.ReadImage(str(named))
    except RuntimeError as error:
        raise _unreadable(path, error) from error
    voxels = SimpleITK.GetArrayViewFromImage(image)
    if voxels.dtype.itemsize == 8 and voxels.dtype.kind in "iu":
        # Slicer cannot save these.
        whole = np.int32 if np.abs(voxels, dtype=np.float64).max() < 2**31 else np.float64
        voxels = voxels.astype(whole)
    with slicer.util.NodeModify(volumeNode):
        volumeNode.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(geometry[1]))
        slicer.util.updateVolumeFromArray(volumeNode, voxels)


def isRaw(path: Path) -> bool:
    """Whether a file is what jobs exchange: one raw NRRD file. A missing file is refused."""
    path = Path(path)
    if not path.is_file():
        raise JobError("missing_file", path, _("no such file"), _("an image file"), _("Check the path."))
    if path.suffix.lower() != ".nrrd":
        return False
    try:
        exchange.readHeader(path)
    except JobError:
        # Compressed, of another space, or damaged: ITK reads the former two and names the third.
        return False
    return True


@contextlib.contextmanager
def _unmistakable(path: Path) -> Iterator[Path]:
    """The file, or a copy of it: where a T1.nii lies beside it, ITK takes that one's voxels for those of T1.nii.gz."""
    path = Path(path)
    if path.suffix.lower() != ".gz" or not path.with_suffix("").exists():
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        yield Path(shutil.copyfile(path, Path(folder) / path.name))


def _unreadable(path: Path, found: object) -> JobError:
    return JobError(
        "unreadable_file",
        path,
        str(found).strip().splitlines()[-1] if str(found).strip() else _("nothing that could be read"),
        _("a three-dimensional image with one number a voxel"),
        _("Check the file, or make it again."),
    )
