"""NIfTI: writing it, and what must not be left to ITK when it is read.

ITK finds the position, but not the voxels: it looks for them by the name, and takes those of T1.nii where T1.nii.gz was
asked for and both are there. It also fills a truncated file with zeros and turns NaN into 0, without a word. So
`read_nifti_voxels` reads them, as ITK would scale them. Where two forms contradict each other ITK takes one of them, so
`require_one_position` looks.

Format: https://nifti.nimh.nih.gov/nifti-1 and nifti-2.
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

import numpy as np
import numpy.typing as npt

from genaug.errors import GenaugError, Reason
from genaug.files import writing
from genaug.gzipping import best_way, gzipped
from genaug.storage import SYNTHETIC_MARK, Sink, require_orthogonal, storable, write_voxels
from genaug.volume import AnyArray, Volume

_HEADER = struct.Struct("<i10s18sihcB8h3f4h8f3fhBB4f2i80s24s2h6f12f16s4s")
_DATATYPES = {
    "uint8": 2,
    "int16": 4,
    "int32": 8,
    "float32": 16,
    "float64": 64,
    "int8": 256,
    "uint16": 512,
    "uint32": 768,
    "int64": 1024,
    "uint64": 1280,
}
_NUMBERS = {code: np.dtype(name).str[1:] for name, code in _DATATYPES.items()}
_VOXELS_AT = 352
_LARGEST_SIZE = 32767
_MILLIMETRES_AND_SECONDS = 2 | 8
_SCANNER = 1
_BLOCK = 1 << 20
_LONGEST_HEADER = 540
_IN_MILLIMETRES = {1: 1e3, 3: 1e-3}
"""Metres and microns; ITK takes every other unit for millimetres."""

_RIGID_TOLERANCE = 2e-3
"""How far lengths and cosines of an sform may be from those of the grid, relative to it."""

_SMALLEST_SLOPE = float(np.finfo(np.float64).eps)
"""A smaller one counts as none, as it does for ITK."""


@dataclass(frozen=True)
class NiftiHeader:
    """What the checks need of a header.

    Attributes:
        start: offset of the voxels, in bytes of the unpacked file.
        shape: as stored, one to seven axes.
        dtype: of the stored voxels where each is one real number, else None.
        scaling: slope and intercept, (1, 0) where there is none.
        sform: (3, 4) RAS in mm, None when its code is 0.
        description: the free text.
    """

    start: int
    shape: tuple[int, ...]
    dtype: np.dtype[np.generic] | None
    scaling: tuple[float, float]
    sform: npt.NDArray[np.float64] | None
    description: str


def write_nifti(path: Path, volume: Volume, compress: bool = True, synthetic: bool = False) -> None:
    """Write NIfTI-1 atomically, gzip when `compress`; the same voxels always give the same bytes.

    Raises:
        GenaugError: as `storage.storable`; GEOMETRY_MISMATCH for a sheared affine; BAD_PARAMETER above 32767 voxels
            along an axis; DISK_FULL, NO_PERMISSION.
    """
    require_orthogonal(volume, path)
    if max(volume.shape) > _LARGEST_SIZE:
        raise GenaugError(
            Reason.BAD_PARAMETER, path, f"size {volume.shape}", f"at most {_LARGEST_SIZE}", "Write NRRD instead."
        )
    array = storable(volume)
    with writing(path) as temporary, temporary.open("wb") as stream:
        if compress:
            with gzipped(stream, best_way(array)) as packed:
                _write(packed, volume, array.dtype, synthetic)
                write_voxels(packed, array)
        else:
            _write(stream, volume, array.dtype, synthetic)
            write_voxels(stream, array)


def read_nifti_header(path: Path) -> NiftiHeader:
    """Read the header.

    Raises:
        GenaugError: UNREADABLE_FILE.
    """
    with _unpacked(path) as stream:
        return _parse(path, stream.read(_LONGEST_HEADER))


def read_nifti_voxels(path: Path, header: NiftiHeader, dtype: np.dtype[np.generic]) -> AnyArray:
    """Read the whole file once: its voxels as (I, J, K), rescaled.

    Args:
        path: the file.
        header: of the file; three axes, further ones of length 1.
        dtype: of the result.

    Raises:
        GenaugError: UNREADABLE_FILE, with the bytes found and expected where it is cut short.
    """
    if header.dtype is None:
        raise _unreadable(path, "voxels that are no integers or floating point numbers of at most 64 bits")
    size = math.prod(header.shape) * header.dtype.itemsize
    # It grows as the voxels come: a damaged header may announce more than the memory has.
    content = bytearray()
    with _unpacked(path) as stream:
        begin = stream.seek(header.start)
        # To the very end, where gzip has its checksum.
        while block := stream.read(_BLOCK):
            content += block[: size - len(content)]
    if len(content) < size:
        raise _unreadable(path, f"{begin + len(content)} bytes where its header announces {header.start + size}")
    array: AnyArray = np.frombuffer(content, header.dtype).astype(dtype, copy=False)
    slope, intercept = header.scaling
    if header.scaling != (1.0, 0.0):
        for start in range(0, array.size, _BLOCK):
            portion = array[start : start + _BLOCK]
            portion[:] = portion.astype(np.float64) * slope + intercept
    return array.reshape((*header.shape, 1, 1)[:3], order="F")


def require_one_position(path: Path, header: NiftiHeader, grid: Volume, tolerance_mm: float = 0.1) -> None:
    """Raise GEOMETRY_MISMATCH when the file's sform puts a corner of `grid`, which ITK has read, somewhere else."""
    if header.sform is None:
        return
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in grid.shape], indexing="ij")).reshape(3, -1)
    difference = (header.sform - grid.affine[:3]) @ np.vstack([corners, np.ones(corners.shape[1])])
    distance = float(np.linalg.norm(difference, axis=0).max())
    if distance <= tolerance_mm:
        return
    # What turns and moves the one onto the other leaves lengths and angles as they are.
    products = header.sform[:, :3].T @ header.sform[:, :3] / np.outer(grid.spacing, grid.spacing)
    if np.abs(products - np.eye(3)).max() < _RIGID_TOLERANCE:
        raise GenaugError(
            Reason.GEOMETRY_MISMATCH,
            path,
            f"an sform up to {distance:.2f} mm from the qform: nibabel, FSL and SPM follow the former, ITK and Slicer"
            " the latter",
            "one position for each voxel",
            "Find out which of them is right and write it over the other: fslorient -copysform2qform keeps the sform,"
            " fslorient -copyqform2sform the qform.",
        )
    raise GenaugError(
        Reason.GEOMETRY_MISMATCH,
        path,
        f"a sheared or scaled sform, up to {distance:.2f} mm from the qform and voxel sizes that ITK and Slicer follow",
        "one position for each voxel",
        "Resample the image onto an orthogonal grid with a tool that follows the sform (nibabel, FSL, SPM). Where it is"
        " right as Slicer shows it, remove the sform (code 0) instead.",
    )


@contextmanager
def _unpacked(path: Path) -> Iterator[IO[bytes]]:
    with path.open("rb") as stream:
        packed = stream.read(2) == b"\x1f\x8b"
    try:
        with cast("IO[bytes]", gzip.open(path, "rb")) if packed else path.open("rb") as unpacked:
            yield unpacked
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise _unreadable(path, f"a broken gzip stream ({error})") from error


def _parse(path: Path, raw: bytes) -> NiftiHeader:
    for order in "<>":
        length = struct.unpack_from(order + "i", raw)[0] if len(raw) >= 4 else 0
        if length == 348 and len(raw) >= 348:
            dimensions = struct.unpack_from(order + "8h", raw, 40)
            (kind,) = struct.unpack_from(order + "h", raw, 70)
            start, *scaling = struct.unpack_from(order + "3f", raw, 108)
            units = raw[123]
            (code,) = struct.unpack_from(order + "h", raw, 254)
            sform, text = struct.unpack_from(order + "12f", raw, 280), raw[148:228]
        elif length == 540 and len(raw) >= 540:
            dimensions = struct.unpack_from(order + "8q", raw, 16)
            (kind,) = struct.unpack_from(order + "h", raw, 12)
            start, *scaling = struct.unpack_from(order + "q2d", raw, 168)
            (units,) = struct.unpack_from(order + "i", raw, 500)
            (code,) = struct.unpack_from(order + "i", raw, 348)
            sform, text = struct.unpack_from(order + "12d", raw, 400), raw[240:320]
        else:
            continue
        if not 1 <= dimensions[0] <= 7:
            raise _unreadable(path, f"{dimensions[0]} dimensions")
        dtype = np.dtype(order + _NUMBERS[kind]) if kind in _NUMBERS else None
        affine = np.array(sform, dtype=np.float64).reshape(3, 4) * _IN_MILLIMETRES.get(units & 7, 1.0)
        return NiftiHeader(
            # The voxels of one file begin behind the header, whatever it says.
            max(int(start) if math.isfinite(start) else 0, length),
            tuple(max(n, 1) for n in dimensions[1 : dimensions[0] + 1]),
            dtype,
            _scaling(*scaling),
            affine if code > 0 else None,
            text.split(b"\0")[0].decode("utf-8", "replace"),
        )
    raise _unreadable(path, f"no NIfTI header in its first {len(raw)} bytes")


def _scaling(slope: float, intercept: float) -> tuple[float, float]:
    finite = math.isfinite(slope) and abs(slope) >= _SMALLEST_SLOPE
    return (slope if finite else 1.0), (intercept if math.isfinite(intercept) else 0.0)


def _write(stream: Sink, volume: Volume, dtype: np.dtype[np.generic], synthetic: bool) -> None:
    quaternion, handedness = _quaternion(volume)
    header = _HEADER.pack(
        348,
        *(b"", b"", 0, 0, b"r", 0),
        *(3, *volume.shape, 1, 1, 1, 1),
        *(0.0, 0.0, 0.0),
        *(0, _DATATYPES[dtype.name], dtype.itemsize * 8, 0),
        *(handedness, *volume.spacing, 0.0, 0.0, 0.0, 0.0),
        *(float(_VOXELS_AT), 1.0, 0.0),
        *(0, 0, _MILLIMETRES_AND_SECONDS),
        *(0.0, 0.0, 0.0, 0.0),
        *(0, 0),
        SYNTHETIC_MARK.encode() if synthetic else b"",
        b"",
        *(_SCANNER, _SCANNER),
        *(*quaternion, *(float(value) for value in volume.affine[:3, 3])),
        *(float(value) for value in volume.affine[:3].ravel()),
        b"",
        b"n+1\0",
    )
    stream.write(header + bytes(_VOXELS_AT - len(header)))


def _quaternion(volume: Volume) -> tuple[tuple[float, float, float], float]:
    """(b, c, d) of the qform and its handedness qfac: the third axis is turned round where the grid is left-handed."""
    from scipy.spatial.transform import Rotation

    axes = volume.affine[:3, :3] / np.asarray(volume.spacing)
    handedness = 1.0 if np.linalg.det(axes) > 0 else -1.0
    b, c, d, a = Rotation.from_matrix(axes * [1.0, 1.0, handedness]).as_quat()
    sign = -1.0 if a < 0 else 1.0
    return (float(sign * b), float(sign * c), float(sign * d)), handedness


def _unreadable(path: Path, found: str) -> GenaugError:
    return GenaugError(
        Reason.UNREADABLE_FILE,
        path,
        found,
        "a complete NIfTI file",
        "The file is truncated or damaged: copy or export it again.",
    )
