"""A sample of images that takes no memory however many there are: it lies in a temporary file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import overload

from genaug.spill import SpillFile
from genaug.volume import FloatArray


class KeptImages(Sequence[FloatArray]):
    """Images (C, *S) float32 of one shape, read from the file when they are asked for."""

    def __init__(self, shape: Sequence[int]) -> None:
        self._shape = tuple(shape)
        self._file: SpillFile | None = None
        self._count = 0

    def __len__(self) -> int:
        """Number of images."""
        return self._count

    @overload
    def __getitem__(self, index: int) -> FloatArray: ...

    @overload
    def __getitem__(self, index: slice) -> list[FloatArray]: ...

    def __getitem__(self, index: int | slice) -> FloatArray | list[FloatArray]:
        """An image, or several as a list."""
        if isinstance(index, slice):
            return [self[one] for one in range(*index.indices(self._count))]
        place = index + self._count if index < 0 else index
        if not 0 <= place < self._count or self._file is None:
            raise IndexError(f"image {index} of {self._count}")
        image: FloatArray = self._file.read(place, place + 1)[0]
        return image

    def put(self, place: int, image: FloatArray) -> None:
        """Replace an image, or add one behind the last.

        Raises:
            OSError: the disk is full.
        """
        if self._file is None:
            self._file = SpillFile(self._shape)
        self._file.write(place, image[None])
        self._count = max(self._count, place + 1)
