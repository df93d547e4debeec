"""Rows of an array in a temporary file that vanishes with its last user, even after a crash."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from genaug.volume import FloatArray


class SpillFile:
    """Rows of one shape, float32, read and written by number.

    Plain reads and writes: the system may keep what it likes of the file in its cache, but none of it belongs to the
    process, as pages of a mapped file would.

    Args:
        row: shape of a row.
        folder: on the disk with room for it; the system's place for temporary files when None.
    """

    def __init__(self, row: Sequence[int], folder: Path | None = None) -> None:
        self._row = tuple(row)
        self._bytes = 4 * math.prod(self._row)
        self._file = tempfile.TemporaryFile(prefix="genaug-", dir=folder, buffering=0)  # noqa: SIM115

    def write(self, first: int, rows: FloatArray) -> None:
        """Put rows (n, *row) where row `first` and those after it belong.

        Raises:
            OSError: the disk is full.
        """
        self._file.seek(first * self._bytes)
        left = memoryview(np.ascontiguousarray(rows, dtype=np.float32).data).cast("B")
        # A raw file may write less than it is given.
        while left:
            left = left[self._file.write(left) :]

    def read(self, first: int, last: int) -> FloatArray:
        """Rows (last - first, *row), as they were written.

        Raises:
            EOFError: some were never written.
        """
        rows = np.empty((last - first, *self._row), dtype=np.float32)
        self._file.seek(first * self._bytes)
        left = memoryview(rows.data).cast("B")
        while left:
            count = self._file.readinto(left)
            if not count:
                raise EOFError(f"rows {first} to {last} of a temporary file were never written")
            left = left[count:]
        return rows
