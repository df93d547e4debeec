"""Convolutions of one slab, each the way that is fast for what it is."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor, nn

ALONE = 20480
"""Channels times planes times lines of a single volume up to which torch convolves it by a slow route of its own. As
two halves in one call it goes to oneDNN, which is four times as fast."""


def kernel(layer: nn.Module) -> tuple[Tensor, Tensor | None, int]:
    """Weight and bias of a convolution that keeps the size, and how far its kernel reaches."""
    if not isinstance(layer, (nn.Conv2d, nn.Conv3d)):
        raise ValueError(f"a {type(layer).__name__} is no convolution")
    reach = {n // 2 for n in layer.kernel_size}
    padding = {layer.padding} if isinstance(layer.padding, str) else set(layer.padding)
    plain = set(layer.stride) == set(layer.dilation) == {1} and layer.groups == 1 and len(reach) == 1
    if not plain or padding != reach or any(n % 2 == 0 for n in layer.kernel_size):
        raise ValueError(f"{layer} does not keep the size of what it sees")
    return layer.weight, layer.bias, reach.pop()


def convolve(rows: Tensor, weight: Tensor, bias: Tensor | None, padding: Sequence[int]) -> Tensor:
    """A convolution in 2D or 3D."""
    if weight.ndim == 4:
        return F.conv2d(rows, weight, bias, padding=tuple(padding))
    if math.prod(rows.shape[:4]) > ALONE or rows.shape[3] < 2 * weight.shape[3]:
        return F.conv3d(rows, weight, bias, padding=tuple(padding))
    seen = F.pad(rows, (0, 0, padding[1], padding[1])) if padding[1] else rows
    size = seen.shape[3] - weight.shape[3] + 1
    half = -(-size // 2)
    parts = [seen[:, :, :, first : first + half + weight.shape[3] - 1] for first in (0, size - half)]
    one, two = F.conv3d(torch.cat(parts), weight, bias, padding=(padding[0], 0, padding[2])).chunk(2)
    return torch.cat([one, two[:, :, :, 2 * half - size :]], dim=3)


def pointwise(rows: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """A convolution of kernel 1 as the matrix product that it is: of a large slab it takes a third of the time."""
    matrix, seen = weight.flatten(1), rows[0].flatten(1)
    made = matrix @ seen if bias is None else torch.addmm(bias[:, None], matrix, seen)
    return made.view(1, -1, *rows.shape[2:])


def phase_weights(weight: Tensor) -> Iterator[tuple[tuple[int, ...], Tensor]]:
    """For each of the 2^d voxels that stem from one: which it is, and the kernel of 2 by which it sees the small field.

    Along one axis the voxel 2i sees i - 1 by the kernel's first weight and i by the sum of the others, the voxel 2i + 1
    sees i by the sum of the first two and i + 1 by the last.
    """
    for phase in product((0, 1), repeat=weight.ndim - 2):
        taps = weight.double()
        for axis, odd in enumerate(phase, start=2):
            first, middle, last = taps.chunk(3, dim=axis)
            taps = torch.cat([first + middle, last] if odd else [first, middle + last], dim=axis)
        yield phase, taps.to(weight.dtype)
