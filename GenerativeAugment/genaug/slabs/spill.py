"""Rows of a tensor in a temporary file that vanishes with its last user, even after a crash."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Sequence
from io import FileIO
from pathlib import Path

import numpy as np
import torch
from torch import Tensor


class SpillFile:
    """Rows of one shape, float32, read and written by number.

    Plain reads and writes: the system may keep what it likes of the file in its cache, but none of it belongs to the
    process, as pages of a mapped file would.

    Args:
        row: shape of a row.
        folder: on the disk with room for it; the system's place for temporary files when None.
        device: where rows come from and go to. On "meta" nothing is stored, for runs that only count memory.
    """

    def __init__(self, row: Sequence[int], folder: Path | None, device: torch.device) -> None:
        self._row, self._device = tuple(row), device
        self._bytes = 4 * math.prod(self._row)
        self._file: FileIO | None = None
        if device.type != "meta":
            self._file = tempfile.TemporaryFile(prefix="genaug-", dir=folder, buffering=0)  # noqa: SIM115

    def write(self, first: int, rows: Tensor) -> None:
        """Put rows (n, *row) where row `first` and those after it belong.

        Raises:
            OSError: the disk is full.
        """
        if self._file is None:
            return
        self._file.seek(first * self._bytes)
        left = memoryview(rows.contiguous().cpu().numpy().data).cast("B")
        # A raw file may write less than it is given.
        while left:
            left = left[self._file.write(left) :]

    def read(self, first: int, last: int) -> Tensor:
        """Rows (last - first, *row), as they were written.

        Raises:
            EOFError: some were never written.
        """
        shape = (last - first, *self._row)
        if self._file is None:
            return torch.empty(shape, device=self._device)
        self._file.seek(first * self._bytes)
        rows = np.empty(shape, dtype=np.float32)
        left = memoryview(rows.data).cast("B")
        while left:
            count = self._file.readinto(left)
            if not count:
                raise EOFError(f"rows {first} to {last} of a temporary file were never written")
            left = left[count:]
        return torch.from_numpy(rows).to(self._device)
