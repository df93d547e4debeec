"""Local means under a Gaussian window, and the two terms of SSIM made from them (Wang et al. 2004).

The window is separable and is applied to each axis as a product with a banded matrix: at medical sizes one matrix
product is faster on a CPU than a convolution with few channels.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

K1, K2 = 0.01, 0.03
"""Stability constants of the paper."""


@lru_cache(maxsize=64)
def window_matrix(length: int, size: int, sigma: float) -> Tensor:
    """(length − size + 1, length) float32: row r is the normalised Gaussian window at positions r ... r + size − 1."""
    offsets = torch.arange(size, dtype=torch.float64) - (size - 1) / 2
    window = torch.exp(-0.5 * (offsets / sigma) ** 2)
    window /= window.sum()
    matrix = torch.zeros(length - size + 1, length, dtype=torch.float64)
    for row in range(len(matrix)):
        matrix[row, row : row + size] = window
    return matrix.float()


def local_mean(images: Tensor, spatial_dims: int, size: tuple[int, ...], sigma: float) -> Tensor:
    """Gaussian mean at every place where the whole window lies inside the image.

    Args:
        images: (..., *S) float32.
        spatial_dims: number of spatial axes, the last ones.
        size: window length along each of them, at most the image's; 1 leaves an axis alone.
        sigma: of the Gaussian, in voxels.

    Returns:
        (..., *(S − size + 1)).
    """
    shape = list(images.shape)
    for axis, length in zip(range(len(shape) - spatial_dims, len(shape)), size):
        if length == 1:
            continue
        matrix = window_matrix(shape[axis], length, sigma).to(images.device)
        before = _product(shape[:axis])
        after = _product(shape[axis + 1 :])
        if after == 1:
            images = images.reshape(before, shape[axis]) @ matrix.T
        else:
            images = matrix @ images.reshape(before, shape[axis], after)
        shape[axis] = matrix.shape[0]
    return images.reshape(shape)


def contrast(variance_x: Tensor, variance_y: Tensor, covariance: Tensor, data_range: float) -> Tensor:
    """The contrast and structure term: (2 σ_xy + c₂) / (σ_x² + σ_y² + c₂)."""
    c2 = (K2 * data_range) ** 2
    return (2 * covariance + c2) / (variance_x + variance_y + c2)


def luminance(mean_x: Tensor, mean_y: Tensor, data_range: float) -> Tensor:
    """The luminance term: (2 μ_x μ_y + c₁) / (μ_x² + μ_y² + c₁)."""
    c1 = (K1 * data_range) ** 2
    return (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)


def _product(lengths: list[int]) -> int:
    product = 1
    for length in lengths:
        product *= length
    return product
