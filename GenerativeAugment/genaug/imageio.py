"""Reading and writing image files. SimpleITK's (K, J, I) arrays and LPS affines end here."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from genaug import nifti
from genaug.dicom import is_marked_series, itk, lps_affine, read_dicom_series
from genaug.errors import GenaugError, Reason
from genaug.metaimage import write_metaimage
from genaug.nifti import write_nifti
from genaug.nrrd import read_nrrd_header, write_nrrd
from genaug.storage import (
    MODALITY_KEY,
    SYNTHETIC_KEY,
    SYNTHETIC_MARK,
    as_labels,
    require_finite,
    require_orthogonal,
)
from genaug.volume import LABEL, AnyArray, Volume

__all__ = [
    "FLAT_SUFFIXES",
    "IMAGE_SUFFIXES",
    "Header",
    "image_stem",
    "image_suffix",
    "is_marked_synthetic",
    "read_dicom_series",
    "read_header",
    "read_volume",
    "write_volume",
]

IMAGE_SUFFIXES = (".nii.gz", ".nii", ".nrrd", ".nhdr", ".mha", ".mhd")
"""Medical formats, which carry a geometry."""

FLAT_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
"""2D pictures, read with K = 1; most carry no spacing, so theirs is 1 mm."""

_NIFTI = (".nii.gz", ".nii")


@dataclass(frozen=True)
class Header:
    """What a file says about its grid, without its voxels.

    Attributes:
        shape: number of voxels along I, J, K.
        affine: (4, 4), voxel index to RAS millimetres.
        dtype: of the voxels as they are read, after any rescaling.
    """

    shape: tuple[int, int, int]
    affine: npt.NDArray[np.float64]
    dtype: np.dtype[np.generic]

    def grid(self, modality: str = "MR", source: Path | None = None) -> Volume:
        """A Volume on this grid without memory of its own, all zero: for comparing geometry."""
        return Volume(np.broadcast_to(np.zeros((), self.dtype), self.shape), self.affine, modality, source=source)


def image_suffix(path: Path) -> str:
    """The format's suffix in lower case (".nii.gz" in one piece), "" when the file is no image by its name."""
    name = path.name.lower()
    return next((suffix for suffix in IMAGE_SUFFIXES + FLAT_SUFFIXES if name.endswith(suffix)), "")


def image_stem(path: Path) -> str:
    """The file's name without its image suffix."""
    return path.name[: len(path.name) - len(image_suffix(path))]


def read_volume(path: Path, modality: str | None = None) -> Volume:
    """Read one scalar image or label map.

    Args:
        path: NIfTI, NRRD, MetaImage, a flat grey picture, or a folder that holds one DICOM series.
        modality: "label" demands whole numbers and yields the smallest unsigned integers. None takes the modality that
            genaug wrote into the header, else "MR".

    Raises:
        GenaugError: MISSING_FILE, NO_PERMISSION, UNREADABLE_FILE (unknown format, truncated, several components or
            time points), NOT_FINITE, WRONG_LABELS, GEOMETRY_MISMATCH (sheared axes, contradicting forms),
            WRONG_MODALITY (the DICOM tag says another).
    """
    path = Path(path)
    if path.is_dir():
        return _series_of(path, modality)
    _require_readable(path)
    header, reader = _opened(path)
    if modality is None:
        modality = reader.GetMetaData(MODALITY_KEY) if reader.HasMetaDataKey(MODALITY_KEY) else "MR"
    if header is None:
        array = _spatial(itk().GetArrayFromImage(_itk_read(path, reader.Execute)))
    else:
        array = nifti.read_nifti_voxels(path, header, _dtype(reader))
    volume = Volume(array, _affine(reader), modality, source=path)
    _require_position(volume, path, header)
    require_finite(array, path)
    if modality == LABEL:
        volume = Volume(as_labels(array, path), volume.affine, modality, source=path)
    return volume


def read_header(path: Path) -> Header:
    """Read size, position and type without the voxels.

    Raises:
        GenaugError: as `read_volume`, except for what only the voxels show.
    """
    path = Path(path)
    if path.is_dir():
        series = read_dicom_series(path)
        return Header(series.shape, series.affine, series.array.dtype)
    _require_readable(path)
    sound, reader = _opened(path)
    i, j, k = (*reader.GetSize(), 1)[:3]
    header = Header((i, j, k), _affine(reader), _dtype(reader))
    _require_position(header.grid(source=path), path, sound)
    return header


def voxel_count(path: Path) -> int:
    """How many voxels an image has; of a DICOM series, which had to be read to know it, as many as bytes.

    Raises:
        GenaugError: as `read_header`.
    """
    if path.is_dir():
        return sum(file.stat().st_size for file in path.iterdir())
    return math.prod(read_header(path).shape)


def write_volume(path: Path, volume: Volume, compress: bool = True, synthetic: bool = False) -> None:
    """Write atomically, in the format of the suffix (.nii.gz, .nii, .nrrd, .mha); label maps as small as they fit.

    Args:
        path: where to; an existing file is replaced.
        volume: its geometry is kept exactly in NRRD and MetaImage, to single precision in NIfTI.
        compress: ignored for NIfTI, where the suffix says it.
        synthetic: mark the file's header, so that it is known for synthetic even apart from its Record.

    Raises:
        GenaugError: BAD_PARAMETER for another suffix; NOT_FINITE, WRONG_LABELS; GEOMETRY_MISMATCH for sheared axes;
            DISK_FULL, NO_PERMISSION.
    """
    path = Path(path)
    suffix = image_suffix(path)
    if suffix in _NIFTI:
        write_nifti(path, volume, suffix == ".nii.gz", synthetic)
    elif suffix == ".nrrd":
        write_nrrd(path, volume, compress, synthetic)
    elif suffix == ".mha":
        write_metaimage(path, volume, compress, synthetic)
    else:
        raise GenaugError(
            Reason.BAD_PARAMETER,
            path,
            f"suffix '{path.suffix}'",
            ".nii.gz, .nii, .nrrd or .mha (one file each)",
            "Choose another file name.",
        )


def is_marked_synthetic(path: Path) -> bool:
    """Whether the file's header says that it was made, and a DICOM series' that it shows no patient.

    Reads no voxels; False for formats that hold no such mark.
    """
    if path.is_dir():
        return is_marked_series(path)
    suffix = image_suffix(path)
    _require_readable(path)
    if suffix in _NIFTI:
        return nifti.read_nifti_header(path).description == SYNTHETIC_MARK
    if suffix == ".nrrd":
        return SYNTHETIC_KEY in read_nrrd_header(path)[1]
    if suffix == ".mha":
        with path.open("rb") as stream:
            return f"\n{SYNTHETIC_KEY} = ".encode() in stream.read(4096).split(b"\nElementDataFile")[0]
    return False


def _series_of(folder: Path, modality: str | None) -> Volume:
    volume = read_dicom_series(folder)
    if modality in (None, volume.modality):
        return volume
    raise GenaugError(
        Reason.WRONG_MODALITY,
        folder,
        f"a DICOM series of modality {volume.modality}",
        f"modality {modality}",
        "Choose the other series, or correct the channel's modality.",
    )


def _require_readable(path: Path) -> None:
    if not path.exists():
        raise GenaugError(Reason.MISSING_FILE, path, "no such file", "an image file", "Check the path.")
    if not image_suffix(path):
        raise GenaugError(
            Reason.UNREADABLE_FILE,
            path,
            f"suffix '{path.suffix}'",
            f"one of {', '.join(IMAGE_SUFFIXES + FLAT_SUFFIXES)}, or a folder with a DICOM series",
            "Convert the image to NIfTI or NRRD.",
        )
    if not os.access(path, os.R_OK):
        raise GenaugError(
            Reason.NO_PERMISSION, path, "reading is not permitted", "a readable file", "Change the file's rights."
        )


def _opened(path: Path) -> tuple[nifti.NiftiHeader | None, Any]:
    """The header of a NIfTI file, and ITK's reader, which has read the header and no voxels; one number a voxel."""
    header = nifti.read_nifti_header(path) if image_suffix(path) in _NIFTI else None
    reader = itk().ImageFileReader()
    reader.SetFileName(str(path))
    _itk_read(path, reader.ReadImageInformation)
    kind = itk().GetPixelIDValueAsString(reader.GetPixelID())
    _require_scalar(path, reader.GetNumberOfComponents(), kind, reader.GetSize())
    return header, reader


def _itk_read(path: Path, read: Callable[[], Any]) -> Any:
    try:
        return read()
    except RuntimeError as error:
        if "orthonormal" in str(error):
            raise GenaugError(
                Reason.GEOMETRY_MISMATCH,
                path,
                "sheared voxel axes and no other orientation in the header",
                "axes at right angles",
                "Resample the image onto an orthogonal grid and save it again.",
            ) from error
        raise GenaugError(
            Reason.UNREADABLE_FILE,
            path,
            f"a file ITK cannot read ({str(error).strip().splitlines()[-1].strip()})",
            "a complete image file",
            "The file is truncated, damaged or of another format than its name says: copy or export it again.",
        ) from error


def _require_scalar(path: Path, components: int, kind: str, size: tuple[int, ...]) -> None:
    if components == 1 and "complex" not in kind and max(size[3:], default=1) == 1:
        return
    found = f"{components} components a voxel" if components > 1 else f"{kind}, {len(size)} dimensions, size {size}"
    raise GenaugError(
        Reason.UNREADABLE_FILE,
        path,
        found,
        "one real number a voxel, in two or three dimensions",
        "Split it into one file for each time point or component, each a channel of its own; turn colour to grey.",
    )


def _spatial(array: AnyArray) -> AnyArray:
    """ITK's (.., K, J, I) or (J, I) as (I, J, K); leading axes have length 1."""
    array = array.reshape(array.shape[-3:]) if array.ndim > 3 else array
    return array.T[:, :, None] if array.ndim == 2 else array.T


def _dtype(reader: Any) -> np.dtype[np.generic]:
    """Of the voxels as ITK gives them, after any rescaling."""
    array: AnyArray = itk().GetArrayViewFromImage(itk().Image([1, 1], reader.GetPixelID()))
    return array.dtype


def _affine(reader: Any) -> npt.NDArray[np.float64]:
    """RAS affine of an ITK reader of two to four dimensions."""
    n = reader.GetDimension()
    direction, spacing, origin = np.eye(3), np.ones(3), np.zeros(3)
    kept = min(n, 3)
    direction[:kept, :kept] = np.array(reader.GetDirection()).reshape(n, n)[:kept, :kept]
    spacing[:kept], origin[:kept] = reader.GetSpacing()[:kept], reader.GetOrigin()[:kept]
    return lps_affine(direction * spacing, origin)


def _require_position(grid: Volume, path: Path, header: nifti.NiftiHeader | None) -> None:
    require_orthogonal(grid, path)
    if header is not None:
        nifti.require_one_position(path, header, grid)
