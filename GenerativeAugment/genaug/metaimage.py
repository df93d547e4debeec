"""Writing MetaImage (.mha), in left-posterior-superior like ITK.

Format: https://itk.org/Wiki/ITK/MetaIO/Documentation.
"""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np

from genaug.files import writing
from genaug.storage import (
    MODALITY_KEY,
    SYNTHETIC_KEY,
    SYNTHETIC_MARK,
    require_orthogonal,
    storable,
    write_voxels,
)
from genaug.volume import Volume

_TYPES = {
    "int8": "MET_CHAR",
    "uint8": "MET_UCHAR",
    "int16": "MET_SHORT",
    "uint16": "MET_USHORT",
    "int32": "MET_INT",
    "uint32": "MET_UINT",
    "int64": "MET_LONG_LONG",
    "uint64": "MET_ULONG_LONG",
    "float32": "MET_FLOAT",
    "float64": "MET_DOUBLE",
}


def write_metaimage(path: Path, volume: Volume, compress: bool = True, synthetic: bool = False) -> None:
    """Write a single-file MetaImage atomically, zlib when `compress`.

    Raises:
        GenaugError: as `storage.storable`; GEOMETRY_MISMATCH for a sheared affine; DISK_FULL, NO_PERMISSION.
    """
    require_orthogonal(volume, path)
    array = storable(volume)
    # The header names the packed size, so the voxels are packed before it is written.
    packed = zlib.compress(np.ascontiguousarray(array.T).data, 4) if compress else b""
    lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ volume.affine
    axes = lps[:3, :3] / np.asarray(volume.spacing)
    lines = [
        "ObjectType = Image",
        "NDims = 3",
        "BinaryData = True",
        "BinaryDataByteOrderMSB = False",
        f"CompressedData = {compress}",
        *([f"CompressedDataSize = {len(packed)}"] if compress else []),
        f"TransformMatrix = {_numbers(axes.T.ravel())}",
        f"Offset = {_numbers(lps[:3, 3])}",
        "CenterOfRotation = 0 0 0",
        f"ElementSpacing = {_numbers(np.asarray(volume.spacing))}",
        f"{MODALITY_KEY} = {volume.modality}",
        *([f"{SYNTHETIC_KEY} = {SYNTHETIC_MARK}"] if synthetic else []),
        "DimSize = {} {} {}".format(*volume.shape),
        f"ElementType = {_TYPES[array.dtype.name]}",
        "ElementDataFile = LOCAL",
    ]
    with writing(path) as temporary, temporary.open("wb") as stream:
        stream.write(("\n".join(lines) + "\n").encode())
        if compress:
            stream.write(packed)
        else:
            write_voxels(stream, array)


def _numbers(values: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> str:
    return " ".join(repr(float(value) + 0.0) for value in values)
