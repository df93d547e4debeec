"""NRRD, for the job folder: raw files that both processes write straight from the array and map into memory.

Format: http://teem.sourceforge.net/nrrd/format.html, single file with attached header. Files are written in
left-posterior-superior, as ITK and Slicer write them; the volume's affine is RAS like everywhere.
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt

from genaug.errors import GenaugError, Reason
from genaug.files import writing
from genaug.gzipping import best_way, gzipped
from genaug.storage import (
    MODALITY_KEY,
    SYNTHETIC_KEY,
    SYNTHETIC_MARK,
    require_orthogonal,
    storable,
    write_voxels,
)
from genaug.volume import Volume

_MAGIC = b"NRRD000"
_HEADER_LIMIT = 1 << 20

_TYPES = {
    "int8": ("int8", "signed char"),
    "uint8": ("uint8", "uchar", "unsigned char", "uint8_t"),
    "int16": ("int16", "short", "short int", "signed short", "signed short int", "int16_t"),
    "uint16": ("uint16", "ushort", "unsigned short", "unsigned short int", "uint16_t"),
    "int32": ("int32", "int", "signed int", "int32_t"),
    "uint32": ("uint32", "uint", "unsigned int", "uint32_t"),
    "int64": ("int64", "longlong", "long long", "long long int", "signed long long", "int64_t"),
    "uint64": ("uint64", "ulonglong", "unsigned long long", "unsigned long long int", "uint64_t"),
    "float32": ("float",),
    "float64": ("double",),
}
_DTYPES = {name: np.dtype(dtype) for dtype, names in _TYPES.items() for name in names}

# Signs that turn each space's axes into RAS.
_SPACES = {
    "left-posterior-superior": (-1, -1, 1),
    "lps": (-1, -1, 1),
    "right-anterior-superior": (1, 1, 1),
    "ras": (1, 1, 1),
    "left-anterior-superior": (-1, 1, 1),
    "las": (-1, 1, 1),
}


def write_nrrd(path: Path, volume: Volume, compress: bool = False, synthetic: bool = False) -> None:
    """Write atomically; raw unless `compress` (gzip). The modality and the synthetic mark go into the header.

    Raises:
        GenaugError: as `storage.storable`; GEOMETRY_MISMATCH for a sheared affine; DISK_FULL, NO_PERMISSION.
    """
    require_orthogonal(volume, path)
    array = storable(volume)
    with writing(path) as temporary, temporary.open("wb") as stream:
        stream.write(_header(volume, array.dtype, "gzip" if compress else "raw", synthetic))
        if compress:
            with gzipped(stream, best_way(array)) as packed:
                write_voxels(packed, array)
        else:
            write_voxels(stream, array)


def map_nrrd(path: Path, modality: str | None = None) -> Volume:
    """Map a raw NRRD into memory, read-only: nothing is read until a voxel is used.

    Args:
        path: a single-file, three-dimensional, little-endian, uncompressed NRRD.
        modality: overrides the one in the header; "MR" when neither says.

    Raises:
        GenaugError: MISSING_FILE; UNREADABLE_FILE for other encodings, detached data, wrong dimension or too few bytes.
    """
    fields, keys, offset = read_nrrd_header(path)
    dtype = _dtype(path, fields)
    _require(path, fields, "encoding", "raw")
    _require(path, fields, "dimension", "3")
    for forbidden in ("data file", "datafile", "byte skip", "byteskip", "line skip", "lineskip"):
        if forbidden in fields:
            raise _unreadable(
                path, f"'{forbidden}: {fields[forbidden]}'", "header and voxels in one file, back to back"
            )
    shape = tuple(int(size) for size in fields.get("sizes", "").split())
    if len(shape) != 3 or min(shape) < 1:
        raise _unreadable(path, f"sizes '{fields.get('sizes', '')}'", "three positive sizes")
    expected = offset + math.prod(shape) * dtype.itemsize
    if path.stat().st_size != expected:
        raise _unreadable(path, f"{path.stat().st_size} bytes", f"{expected} bytes for size {shape} of {dtype}")
    array = np.memmap(path, dtype=dtype, mode="r", offset=offset, shape=shape, order="F")
    return Volume(array, _affine(path, fields), modality or keys.get(MODALITY_KEY, "MR"), source=path)


def read_nrrd_header(path: Path) -> tuple[dict[str, str], dict[str, str], int]:
    """The fields ("name: value"), the key/value pairs ("name:=value") and the offset of the voxels in bytes.

    Raises:
        GenaugError: MISSING_FILE or UNREADABLE_FILE.
    """
    if not path.is_file():
        raise GenaugError(Reason.MISSING_FILE, path, "no such file", "a NRRD file", "Check the path.")
    fields: dict[str, str] = {}
    keys: dict[str, str] = {}
    with path.open("rb") as stream:
        if not stream.readline(16).startswith(_MAGIC):
            raise _unreadable(path, "no NRRD magic at its start", "a NRRD file")
        for line in _lines(path, stream):
            if line.startswith("#"):
                continue
            name, mark, value = re.split(r"(:=|: ?)", line, maxsplit=1) if ":" in line else (line, "", "")
            (keys if mark == ":=" else fields)[name if mark == ":=" else name.lower()] = value.strip()
        return fields, keys, stream.tell()


def _lines(path: Path, stream: IO[bytes]) -> list[str]:
    lines: list[str] = []
    while raw := stream.readline(_HEADER_LIMIT):
        line = raw.decode("utf-8", "replace").rstrip("\r\n")
        if not line:
            return lines
        lines.append(line)
    raise _unreadable(path, "a header without the empty line that ends it", "a complete NRRD header")


def _header(volume: Volume, dtype: np.dtype[np.generic], encoding: str, synthetic: bool) -> bytes:
    lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ volume.affine
    name = next(names[0] for key, names in _TYPES.items() if np.dtype(key) == dtype)
    lines = [
        "NRRD0004",
        f"type: {name}",
        "dimension: 3",
        "space: left-posterior-superior",
        "sizes: {} {} {}".format(*volume.shape),
        "space directions: " + " ".join(_vector(lps[:3, axis]) for axis in range(3)),
        "kinds: domain domain domain",
        "endian: little",
        f"encoding: {encoding}",
        f"space origin: {_vector(lps[:3, 3])}",
        f"{MODALITY_KEY}:={volume.modality}",
    ]
    if synthetic:
        lines.append(f"{SYNTHETIC_KEY}:={SYNTHETIC_MARK}")
    return ("\n".join(lines) + "\n\n").encode()


def _vector(values: npt.NDArray[np.float64]) -> str:
    # repr of a float is the shortest text that reads back as the same number; + 0.0 turns -0 into 0.
    return "(" + ",".join(repr(float(value) + 0.0) for value in values) + ")"


def _dtype(path: Path, fields: dict[str, str]) -> np.dtype[np.generic]:
    dtype = _DTYPES.get(fields.get("type", ""))
    if dtype is None:
        raise _unreadable(path, f"voxel type '{fields.get('type', '')}'", f"one of {', '.join(_TYPES)}")
    if dtype.itemsize > 1:
        _require(path, fields, "endian", "little")
    return dtype


def _affine(path: Path, fields: dict[str, str]) -> npt.NDArray[np.float64]:
    signs = _SPACES.get(fields.get("space", "").lower())
    if signs is None:
        raise _unreadable(path, f"space '{fields.get('space', '')}'", "left-posterior-superior")
    vectors = re.findall(r"\(([^)]*)\)", f"{fields.get('space directions', '')} {fields.get('space origin', '')}")
    try:
        columns = np.array([[float(value) for value in vector.split(",")] for vector in vectors])
    except ValueError:
        columns = np.empty(0)
    if columns.shape != (4, 3):
        raise _unreadable(
            path, f"space directions '{fields.get('space directions', '')}'", "three vectors and an origin"
        )
    affine = np.eye(4)
    affine[:3] = columns.T * np.asarray(signs)[:, None] + 0.0
    return affine


def _require(path: Path, fields: dict[str, str], name: str, value: str) -> None:
    if fields.get(name, "").lower() != value:
        raise _unreadable(path, f"'{name}: {fields.get(name, '')}'", f"'{name}: {value}'")


def _unreadable(path: Path, found: str, expected: str) -> GenaugError:
    return GenaugError(
        Reason.UNREADABLE_FILE, path, found, expected, "Write the volume as one uncompressed NRRD file and try again."
    )
