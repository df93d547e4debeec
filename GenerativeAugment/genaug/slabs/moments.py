"""Group normalisation of a whole field that is only ever seen slab by slab."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Moments:
    """Mean and variance of each channel over all rows, in float64, slab by slab (Chan 1983, the pairwise update)."""

    def __init__(self) -> None:
        self._count = 0
        self._mean = self._squares = torch.zeros(())

    def add(self, rows: Tensor) -> None:
        """Take in rows (1, C, n, ...)."""
        axes = tuple(range(2, rows.ndim))
        mean32 = rows.mean(axes, keepdim=True)
        # Plane by plane, because a sum in single precision over more voxels would lose digits.
        norms = torch.linalg.vector_norm(rows - mean32, dim=axes[1:])
        mean, squares = mean32.double().flatten(), norms.double().square().sum(2).flatten()
        count = rows.numel() // rows.shape[1]
        # What rounding of the mean in single precision has added is far below it.
        if not self._count:
            self._count, self._mean, self._squares = count, mean, squares
            return
        total, apart = self._count + count, mean - self._mean
        self._squares = self._squares + squares + apart**2 * (self._count * count / total)
        self._mean = self._mean + apart * (count / total)
        self._count = total

    def normalising(self, norm: nn.GroupNorm) -> tuple[Tensor, Tensor]:
        """Scale and shift of each channel, (C,) float32, that are the group normalisation."""
        means = self._mean.view(norm.num_groups, -1)
        mean = means.mean(1, keepdim=True)
        variance = (self._squares.view_as(means) / self._count + (means - mean) ** 2).mean(1, keepdim=True)
        factor = (variance + norm.eps).rsqrt().expand_as(means).flatten()
        scale = factor if norm.weight is None else factor * norm.weight.double()
        shift = -mean.expand_as(means).flatten() * scale
        shift = shift if norm.bias is None else shift + norm.bias.double()
        return scale.float(), shift.float()
