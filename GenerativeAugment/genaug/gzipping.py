"""gzip around voxels, packed in the way that suits them.

What compression costs and gains depends on the image. In the noise of a scan there is next to nothing to be found, and
the search for it takes most of the time; where the background is exactly 0, runs are all there is. So a sample of the
voxels is packed in each of `WAYS`, and the quickest way whose result is nearly as small as the smallest is taken. The
same voxels always give the same bytes.

Format: RFC 1952.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from genaug.storage import Sink
from genaug.volume import AnyArray


class Way(NamedTuple):
    """How zlib packs."""

    level: int
    strategy: int


THOROUGH = Way(4, zlib.Z_DEFAULT_STRATEGY)

WAYS = (Way(4, zlib.Z_RLE), Way(1, zlib.Z_DEFAULT_STRATEGY), THOROUGH)
"""The quickest first."""

LOSS = 1.03
"""How much larger than the smallest a quicker way's result may be."""

PIECES, PIECE_BYTES = 8, 1 << 15
"""The sample: so many pieces of so many bytes, spread over the volume; deflate looks back 32 KiB."""

_PORTION = 1 << 22
_HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"


def best_way(array: AnyArray) -> Way:
    """The way in which to pack an (I, J, K) array; the thorough one where the choice would cost more than it saves."""
    if array.nbytes <= 8 * PIECES * PIECE_BYTES:
        return THOROUGH
    sample = _sample(array)
    sizes = [_size(sample, way) for way in WAYS]
    return next(way for way, size in zip(WAYS, sizes) if size <= LOSS * min(sizes))


@contextmanager
def gzipped(stream: Sink, way: Way) -> Iterator[Sink]:
    """A sink whose bytes arrive in `stream` as one gzip member without a name or a time.

    Raises:
        OSError: from the stream.
    """
    packer = _Packer(stream, way)
    stream.write(_HEADER)
    yield packer
    packer.finish()


class _Packer:
    def __init__(self, stream: Sink, way: Way) -> None:
        self._stream, self._compressor = stream, _compressor(way)
        self._checksum, self._length = 0, 0

    def write(self, data: Any, /) -> int:
        view = memoryview(data).cast("B")
        # In portions, so that what is packed need not be held whole; zlib lets other threads run meanwhile.
        for start in range(0, len(view), _PORTION):
            portion = view[start : start + _PORTION]
            self._checksum = zlib.crc32(portion, self._checksum)
            self._stream.write(self._compressor.compress(portion))
        self._length += len(view)
        return len(view)

    def finish(self) -> None:
        self._stream.write(self._compressor.flush())
        self._stream.write(struct.pack("<II", self._checksum, self._length & 0xFFFFFFFF))


def _compressor(way: Way) -> Any:
    return zlib.compressobj(way.level, zlib.DEFLATED, -zlib.MAX_WBITS, zlib.DEF_MEM_LEVEL, way.strategy)


def _size(sample: bytes, way: Way) -> int:
    compressor = _compressor(way)
    return len(compressor.compress(sample)) + len(compressor.flush())


def _sample(array: AnyArray) -> bytes:
    """Pieces from planes all over the volume, each from another part of its plane."""
    planes = array.T
    pieces = []
    for number, plane in enumerate(np.linspace(0, len(planes) - 1, PIECES).astype(int)):
        row = np.ascontiguousarray(planes[plane]).reshape(-1)
        length = min(PIECE_BYTES // row.itemsize, len(row))
        # Three has no factor in common with eight: every part of a plane is taken once.
        start = (len(row) - length) * (3 * number % PIECES) // (PIECES - 1)
        pieces.append(row[start : start + length].tobytes())
    return b"".join(pieces)
