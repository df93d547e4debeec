"""NIfTI: writing it, and the three checks ITK leaves out when it reads.

ITK fills a truncated NIfTI with zeros, turns NaN into 0 and takes the qform where the sform is sheared, all without a
word. Each would put wrong voxels into a cohort, so `require_sound` and `require_sform_used` look.

Format: https://nifti.nimh.nih.gov/nifti-1 and nifti-2.
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

import numpy as np
import numpy.typing as npt

from genaug.errors import GenaugError, Reason
from genaug.files import writing
from genaug.gzipping import best_way, gzipped
from genaug.storage import SYNTHETIC_MARK, Sink, not_finite, require_orthogonal, storable, write_voxels
from genaug.volume import Volume

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
_FLOATS = {16: "f4", 64: "f8"}
_VOXELS_AT = 352
_LARGEST_SIZE = 32767
_MILLIMETRES_AND_SECONDS = 2 | 8
_SCANNER = 1
_BLOCK = 1 << 20


@dataclass(frozen=True)
class NiftiHeader:
    """What the checks need of a header.

    Attributes:
        start: offset of the voxels, in bytes of the unpacked file.
        shape: as stored, one to seven axes.
        dtype: of the stored voxels where they are floating point, else None.
        size: bytes of the whole unpacked file.
        sform: (3, 4) RAS, None when its code is 0.
        description: the free text.
    """

    start: int
    shape: tuple[int, ...]
    dtype: np.dtype[np.generic] | None
    size: int
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


def require_sound(path: Path, voxels: bool = True) -> NiftiHeader:
    """Read the header and, with `voxels`, the whole file once, refusing what ITK would repair in silence.

    Raises:
        GenaugError: UNREADABLE_FILE, with the bytes found and expected; NOT_FINITE, with the count.
    """
    try:
        with _open(path) as stream:
            header = _parse(path, stream.read(540))
            if not voxels:
                return header
            size, bad, first = _scan(stream, header)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise _unreadable(path, f"a broken gzip stream ({error})") from error
    if size < header.size:
        raise _unreadable(path, f"{size} bytes where its header announces {header.size}")
    if bad:
        index = tuple(int(i) for i in np.unravel_index(first, header.shape, order="F"))
        raise not_finite(path, bad, math.prod(header.shape), index)
    return header


def require_sform_used(path: Path, header: NiftiHeader, grid: Volume, tolerance_mm: float = 0.1) -> None:
    """Raise GEOMETRY_MISMATCH when the file's sform puts a corner of `grid`, which ITK has read, somewhere else."""
    if header.sform is None:
        return
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in grid.shape], indexing="ij")).reshape(3, -1)
    difference = (header.sform - grid.affine[:3]) @ np.vstack([corners, np.ones(corners.shape[1])])
    distance = float(np.linalg.norm(difference, axis=0).max())
    if distance > tolerance_mm:
        raise GenaugError(
            Reason.GEOMETRY_MISMATCH,
            path,
            f"a sheared or scaled sform, up to {distance:.2f} mm from the qform that ITK and Slicer follow instead",
            "one position for each voxel",
            "Resample the image onto an orthogonal grid, or remove the sform, and save it again.",
        )


def _scan(stream: IO[bytes], header: NiftiHeader) -> tuple[int, int, int]:
    """The file's unpacked size, how many voxels are not finite, and the position of the first of them."""
    size, bad, first = stream.seek(header.start), 0, 0
    while block := stream.read(_BLOCK):
        if header.dtype is not None:
            width = header.dtype.itemsize
            whole = max(min(len(block), header.size - size), 0) // width
            wrong = np.flatnonzero(~np.isfinite(np.frombuffer(block, header.dtype, whole)))
            if wrong.size and not bad:
                first = (size - header.start) // width + int(wrong[0])
            bad += wrong.size
        size += len(block)
    return size, bad, first


def _open(path: Path) -> IO[bytes]:
    with path.open("rb") as stream:
        packed = stream.read(2) == b"\x1f\x8b"
    return cast("IO[bytes]", gzip.open(path, "rb")) if packed else path.open("rb")


def _parse(path: Path, raw: bytes) -> NiftiHeader:
    for order in "<>":
        length = struct.unpack_from(order + "i", raw)[0] if len(raw) >= 4 else 0
        if length == 348 and len(raw) >= 348:
            dimensions = struct.unpack_from(order + "8h", raw, 40)
            kind, bits = struct.unpack_from(order + "2h", raw, 70)
            start = int(struct.unpack_from(order + "f", raw, 108)[0])
            (code,) = struct.unpack_from(order + "h", raw, 254)
            sform, text = struct.unpack_from(order + "12f", raw, 280), raw[148:228]
        elif length == 540 and len(raw) >= 540:
            dimensions = struct.unpack_from(order + "8q", raw, 16)
            kind, bits = struct.unpack_from(order + "2h", raw, 12)
            (start,) = struct.unpack_from(order + "q", raw, 168)
            (code,) = struct.unpack_from(order + "i", raw, 348)
            sform, text = struct.unpack_from(order + "12d", raw, 400), raw[240:320]
        else:
            continue
        if not 1 <= dimensions[0] <= 7:
            raise _unreadable(path, f"{dimensions[0]} dimensions")
        shape = tuple(max(n, 1) for n in dimensions[1 : dimensions[0] + 1])
        size = start + math.prod(shape) * bits // 8
        dtype = np.dtype(order + _FLOATS[kind]) if kind in _FLOATS else None
        affine = np.array(sform, dtype=np.float64).reshape(3, 4) if code > 0 else None
        return NiftiHeader(start, shape, dtype, size, affine, text.split(b"\0")[0].decode("utf-8", "replace"))
    raise _unreadable(path, f"no NIfTI header in its first {len(raw)} bytes")


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
