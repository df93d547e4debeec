"""Feature maps that give their rows when asked: kept, in a file, or made anew from another one each time."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genaug.slabs.convolving import convolve, kernel, phase_weights, pointwise
from genaug.slabs.moments import Moments
from genaug.spill import SpillFile

Place: TypeAlias = tuple[int, int]
"""First row and the one after the last."""


class Field(ABC):
    """A feature map (1, channels, *size) that gives its rows.

    Attributes:
        channels: number of.
        size: voxels along each spatial axis.
        widest: bytes of the widest row that is touched when a row of this is made.
        device: where rows are.
    """

    def __init__(self, channels: int, size: Sequence[int], source: Field | torch.device) -> None:
        self.channels, self.size = channels, tuple(size)
        own = 4 * channels * math.prod(self.size[1:])
        self.widest: int = max(own, source.widest) if isinstance(source, Field) else own
        self.device: torch.device = source.device if isinstance(source, Field) else source

    @abstractmethod
    def rows(self, first: int, last: int) -> Tensor:
        """(1, channels, last - first, ...) float32; not to be written to."""

    def fill(self, out: Tensor, first: int) -> None:
        """Write rows from `first` on into `out` (1, channels, n, ...)."""
        out.copy_(self.rows(first, first + out.shape[2]))

    def slabs(self, slab_bytes: int) -> Iterator[Place]:
        """The rows in order, as many at once as the bytes allow.

        The first slab ends before an odd row, so that with the row that a kernel sees beyond, pairs are complete.
        """
        step = max(2, slab_bytes // self.widest // 2 * 2)
        first, last = 0, min(max(1, step - 1), self.size[0])
        while first < last:
            yield first, last
            first, last = last, min(last + step, self.size[0])

    def all(self) -> Tensor:
        """Every row at once."""
        return self.rows(0, self.size[0])


class Kept(Field):
    """A field in memory."""

    def __init__(self, values: Tensor) -> None:
        super().__init__(values.shape[1], values.shape[2:], values.device)
        self.values = values

    def rows(self, first: int, last: int) -> Tensor:
        """A view."""
        return self.values[:, :, first:last]

    def write(self, first: int, rows: Tensor) -> None:
        """Put rows in their place."""
        self.values[:, :, first : first + rows.shape[2]] = rows


class Spilled(Field):
    """A field in a temporary file, row after row. On "meta" nothing is stored, for runs that only count memory."""

    def __init__(self, channels: int, size: Sequence[int], folder: Path | None, device: torch.device) -> None:
        super().__init__(channels, size, device)
        self._file = None if device.type == "meta" else SpillFile((channels, *self.size[1:]), folder)

    def rows(self, first: int, last: int) -> Tensor:
        """Read them."""
        if self._file is None:
            return torch.empty(1, self.channels, last - first, *self.size[1:], device="meta")
        return torch.from_numpy(self._file.read(first, last)).to(self.device).movedim(1, 0)[None]

    def write(self, first: int, rows: Tensor) -> None:
        """Put rows in their place."""
        if self._file is not None:
            self._file.write(first, rows[0].movedim(0, 1).cpu().numpy())


class Convolved(Field):
    """A field behind a convolution of an odd kernel, zeros around it, or of kernel 1."""

    def __init__(self, field: Field, layer: nn.Module) -> None:
        self.weight, self.bias, self.halo = kernel(layer)
        super().__init__(self.weight.shape[0], field.size, field)
        self._field = field if self.halo == 0 else Sliding(field)

    def rows(self, first: int, last: int) -> Tensor:
        """Of the rows and `halo` more on both sides."""
        if self.halo == 0:
            return pointwise(self._field.rows(first, last), self.weight, self.bias)
        seen = _with_border(self._field, first - self.halo, last + self.halo)
        return convolve(seen, self.weight, self.bias, (0, *[self.halo] * (len(self.size) - 1)))


class Enlarged(Field):
    """A field at twice the resolution, by nearest neighbour, behind a convolution of kernel 3; see the module."""

    def __init__(self, field: Field, layer: nn.Module) -> None:
        weight, self.bias, _ = kernel(layer)
        super().__init__(weight.shape[0], [2 * n for n in field.size], field)
        self._field = field
        self._phases = list(phase_weights(weight))

    def rows(self, first: int, last: int) -> Tensor:
        """Made in pairs."""
        low, high = first // 2, -(-last // 2)
        dimension = len(self.size)
        seen = F.pad(_with_border(self._field, low - 1, high + 1), (1, 1) * (dimension - 1))
        made = seen.new_empty(1, self.channels, 2 * (high - low), *self.size[1:])
        for phase, weight in self._phases:
            at = tuple(slice(p, n - 1 + p) for p, n in zip(phase, seen.shape[2:], strict=True))
            every = tuple(slice(p, None, 2) for p in phase)
            part = seen[(slice(None), slice(None), *at)]
            made[(slice(None), slice(None), *every)] = convolve(part, weight, self.bias, (0,) * dimension)
        return made[:, :, first - 2 * low : last - 2 * low]


class Transposed(Field):
    """A field at twice the resolution by a transposed convolution whose kernel is its stride, so nothing overlaps."""

    def __init__(self, field: Field, layer: nn.Module) -> None:
        super().__init__(int(layer.out_channels), [2 * n for n in field.size], field)  # type: ignore[arg-type]
        self._field, self._layer = field, layer

    def rows(self, first: int, last: int) -> Tensor:
        """Made in pairs."""
        low, high = first // 2, -(-last // 2)
        made: Tensor = self._layer(self._field.rows(low, high))
        return made[:, :, first - 2 * low : last - 2 * low]


class Normalised(Field):
    """A field behind group normalisation, with the moments of the whole field, and SiLU where asked."""

    def __init__(self, field: Field, moments: Moments, norm: nn.GroupNorm, silu: bool) -> None:
        super().__init__(field.channels, field.size, field)
        self._field, self._silu = field, silu
        shape = (1, -1, *[1] * len(self.size))
        self._scale, self._shift = (vector.view(shape) for vector in moments.normalising(norm))

    def rows(self, first: int, last: int) -> Tensor:
        """Of the same rows."""
        seen = self._field.rows(first, last)
        return self._normalise(seen, torch.empty_like(seen, memory_format=torch.contiguous_format))

    def fill(self, out: Tensor, first: int) -> None:
        """Without a copy in between."""
        self._normalise(self._field.rows(first, first + out.shape[2]), out)

    def _normalise(self, seen: Tensor, out: Tensor) -> Tensor:
        torch.addcmul(self._shift, seen, self._scale, out=out)
        return F.silu(out, inplace=True) if self._silu else out


class Sum(Field):
    """Two fields added up."""

    def __init__(self, first: Field, second: Field) -> None:
        super().__init__(first.channels, first.size, first if first.widest > second.widest else second)
        self._terms = first, second

    def rows(self, first: int, last: int) -> Tensor:
        """The second's own rows are written to: they must have been made for this."""
        one, other = self._terms
        made = other.rows(first, last)
        return made.add_(one.rows(first, last))


class Sliding(Field):
    """Remembers the rows of a field that is read from front to back with overlaps, so that each is made once.

    What it has read it holds as its own, so a field may be written over behind it. Rows are valid until the next ones
    are asked for: they lie in one buffer, since fresh memory costs more time than what is done to it.
    """

    def __init__(self, field: Field) -> None:
        super().__init__(field.channels, field.size, field)
        self._field = field
        self._buffer: Tensor | None = None
        self._at: Place = (0, 0)

    def rows(self, first: int, last: int) -> Tensor:
        """The rows; those before `first` are forgotten."""
        begin, end = self._at
        held = self._buffer[:, :, first - begin : end - begin] if self._buffer is not None and first >= begin else None
        kept = 0 if held is None else held.shape[2]
        begin, end = first, first + kept
        # In pairs, as an enlarged field makes them.
        upto = max(end, min(last + (last - end) % 2, self.size[0]))
        buffer = self._room(upto - begin)
        if held is not None and kept:
            # By a copy, because the two may overlap.
            buffer[:, :, :kept] = held.clone()
        if end < upto:
            self._field.fill(buffer[:, :, kept : upto - begin], end)
        self._buffer, self._at = buffer, (begin, upto)
        return buffer[:, :, : last - first]

    def _room(self, rows: int) -> Tensor:
        buffer = self._buffer
        if buffer is None or buffer.shape[2] != rows:
            buffer = torch.empty(1, self.channels, rows, *self.size[1:], device=self.device)
        return buffer


def _with_border(field: Field, first: int, last: int) -> Tensor:
    """Rows of a field, zeros beyond its first and last."""
    rows = field.rows(max(first, 0), min(last, field.size[0]))
    before, after = max(-first, 0), max(last - field.size[0], 0)
    if not before and not after:
        return rows
    return F.pad(rows, (0, 0) * (rows.ndim - 3) + (before, after))
