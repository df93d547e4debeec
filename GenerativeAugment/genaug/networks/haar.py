"""Orthonormal Haar transform: a lossless front that hands a network half the resolution and 2^d times the channels.

On a CPU the convolutions at full resolution are where the time goes; behind this front there are none. Because the
transform is orthonormal, isotropic Gaussian noise stays isotropic Gaussian noise, so a diffusion model that sees the
image through it is still a diffusion model of the voxels (as in wavelet diffusion, Friedrich 2024, arXiv:2402.19043).
"""

from __future__ import annotations

import math

import torch
from monai.networks.layers.factories import Conv
from torch import Tensor, nn


def haar(x: Tensor) -> Tensor:
    """(B, C, *S) to (B, C * 2^d, *S/2), d = number of spatial axes. Sizes must be even. Low-pass bands come first."""
    for axis in range(2, x.ndim):
        if x.shape[axis] % 2:
            raise ValueError(f"the Haar transform needs even sizes, got {tuple(x.shape[2:])}")
        even, odd = x.reshape(*x.shape[:axis], -1, 2, *x.shape[axis + 1 :]).unbind(axis + 1)
        x = torch.cat([even + odd, even - odd], dim=1)
    return x * math.sqrt(0.5) ** (x.ndim - 2)


def inverse_haar(x: Tensor) -> Tensor:
    """Exact inverse of `haar`: (B, C * 2^d, *S) to (B, C, 2 * *S)."""
    for axis in reversed(range(2, x.ndim)):
        total, difference = x.chunk(2, dim=1)
        x = torch.stack([total + difference, total - difference], dim=axis + 1).flatten(axis, axis + 1)
    return x * math.sqrt(0.5) ** (x.ndim - 2)


class Haar(nn.Module):
    """`levels` of the transform on all channels."""

    def __init__(self, levels: int, inverse: bool = False) -> None:
        super().__init__()
        self.levels, self.inverse = levels, inverse

    def forward(self, x: Tensor) -> Tensor:
        """Apply all levels."""
        for _ in range(self.levels):
            x = inverse_haar(x) if self.inverse else haar(x)
        return x


def with_detail_at(rate: float, bands: Tensor, coarse: int) -> Tensor:
    """`bands` (B, C, *S), whose first `coarse` are the low-pass ones, with all others times `rate`.

    An optimiser such as Adam moves every weight by about as much, whatever it does; a network whose last layer makes
    bands so learns single voxels as fast as shapes, though real images hold far less of them. In a game that shows as a
    grid: the critic misses the grain of real images, and the same sign everywhere is the first that gives it some.
    """
    return bands if rate == 1 else torch.cat([bands[:, :coarse], rate * bands[:, coarse:]], dim=1)


def to_features(channels: int, features: int, dimension: int, levels: int) -> nn.Sequential:
    """Image to feature maps at 1 / 2^levels of the resolution: the transform, then a convolution of kernel 1.

    A wider kernel on the many bands would cost more than all the rest of the network, and sees nothing that the next
    layer does not see.
    """
    bands = band_channels(channels, dimension, levels)
    return nn.Sequential(Haar(levels), Conv[Conv.CONV, dimension](bands, features, 1))


def band_channels(channels: int, dimension: int, levels: int) -> int:
    """Channels behind `levels` of the transform."""
    return int(channels * (2**dimension) ** levels)
