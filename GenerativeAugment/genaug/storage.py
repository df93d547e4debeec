"""What a voxel array looks like in a file: its type, its order, and the mark that says it is synthetic."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import numpy as np

from genaug.errors import GenaugError, Reason
from genaug.volume import AnyArray, Volume

SYNTHETIC_MARK = "SYNTHETIC image made by genaug, not a patient scan"
"""Stands in the header of every synthetic file: NIfTI `descrip`, a key in NRRD and MetaImage."""

SYNTHETIC_KEY = "genaug_synthetic"
MODALITY_KEY = "genaug_modality"

ORTHOGONAL_TOLERANCE = 1e-4
"""Largest cosine between two voxel axes that still counts as a right angle: 0.05 mm over 500 mm."""

_PORTION = 1 << 20
"""Bytes written at a time: voxels that are mapped from a file take half the time that they take in one piece."""

_UNSIGNED: tuple[type[np.unsignedinteger[Any]], ...] = (np.uint8, np.uint16, np.uint32, np.uint64)


def storable(volume: Volume) -> AnyArray:
    """The voxels as a file will hold them and as a reader of that file gets them back.

    Label maps become the smallest unsigned integer that fits, booleans uint8, half precision float32. Everything else
    stays as it is, in little endian.

    Raises:
        GenaugError: WRONG_LABELS, NOT_FINITE, or BAD_PARAMETER for complex and other exotic types.
    """
    array = volume.array
    subject = volume.source or f"{volume.modality} volume"
    require_finite(array, subject)
    if volume.is_label:
        return as_labels(array, subject)
    if array.dtype.kind == "b":
        return array.astype(np.uint8)
    if array.dtype == np.float16:
        return array.astype(np.float32)
    if array.dtype.kind not in "iuf" or array.dtype.itemsize > 8:
        raise GenaugError(
            Reason.BAD_PARAMETER,
            subject,
            f"voxels of type {array.dtype}",
            "integers or floating point numbers of at most 64 bits",
            "Convert the voxels before writing them.",
        )
    return array.astype(array.dtype.newbyteorder("<"), copy=False)


def as_labels(array: AnyArray, subject: str | Path) -> AnyArray:
    """The array as the smallest unsigned integer type that holds its values.

    Raises:
        GenaugError: WRONG_LABELS when a voxel is negative, no whole number or above 64 bits, with the count and an
            example.
    """
    if array.dtype == np.uint8:
        return array
    if array.dtype.kind == "b":
        return array.astype(np.uint8)
    wrong = array < 0 if array.dtype.kind != "f" else (array < 0) | (array != np.rint(array)) | (array >= 2.0**64)
    count = int(np.count_nonzero(wrong))
    if count:
        raise GenaugError(
            Reason.WRONG_LABELS,
            subject,
            f"{count} voxels that are no label, for instance {array[wrong][0]:g}",
            "whole numbers from 0 up",
            "Export the segmentation as a label map; a probability map or a resampled mask must be thresholded first.",
        )
    largest = int(array.max(initial=0))
    return array.astype(next(kind for kind in _UNSIGNED if largest <= np.iinfo(kind).max))


def require_finite(array: AnyArray, subject: str | Path) -> None:
    """Raise NOT_FINITE, with the count and an index, when a voxel is NaN or infinite."""
    # The sum is finite unless a voxel is not (or the sum overflows): one cheap pass for nearly every volume.
    if array.dtype.kind != "f" or np.isfinite(np.sum(array, dtype=np.float64)):
        return
    bad = ~np.isfinite(array)
    count = int(np.count_nonzero(bad))
    if count:
        raise not_finite(subject, count, array.size, tuple(int(index[0]) for index in np.nonzero(bad)))


def not_finite(subject: str | Path, count: int, total: int, first: tuple[int, ...]) -> GenaugError:
    """The error for `count` voxels of `total` that are NaN or infinite, one of them at index `first`."""
    return GenaugError(
        Reason.NOT_FINITE,
        subject,
        f"{count} of {total} voxels NaN or infinite, one at index {first}",
        "a finite number in every voxel",
        "Replace these voxels, for instance by the background value, and save the file again.",
    )


def require_orthogonal(volume: Volume, subject: str | Path) -> None:
    """Raise GEOMETRY_MISMATCH when the voxel axes are not at right angles: no ITK reader could place such a file."""
    axes = volume.affine[:3, :3] / np.asarray(volume.spacing)
    cosine = float(np.abs(axes.T @ axes - np.eye(3)).max())
    if cosine > ORTHOGONAL_TOLERANCE:
        raise GenaugError(
            Reason.GEOMETRY_MISMATCH,
            subject,
            f"sheared voxel axes (cosine {cosine:.4f} between two of them)",
            f"axes at right angles (cosine at most {ORTHOGONAL_TOLERANCE:g})",
            "Resample the volume onto an orthogonal grid, in Slicer with Resample Scalar/Vector/DWI Volume.",
        )


class Sink(Protocol):
    """Where bytes go: a file, or a compressor around one."""

    def write(self, data: Any, /) -> int:
        """Write a buffer whole."""


def write_voxels(stream: Sink, array: AnyArray) -> None:
    """Write an (I, J, K) array with I fastest, the order of all three formats, slab by slab unless it lies so already.

    Raises:
        OSError: from the stream, with its errno, so that a full disk is told as one.
    """
    files_order = array.T
    if files_order.flags.c_contiguous:
        flat = files_order.reshape(-1)
        step = _PORTION // flat.itemsize
        for start in range(0, flat.size, step):
            stream.write(flat[start : start + step].data)
        return
    for slab in files_order:
        stream.write(np.ascontiguousarray(slab).data)
