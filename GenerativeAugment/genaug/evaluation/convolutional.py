"""Features of a fixed random convolutional network: "conv2d-v1" and "conv3d-v1".

Random convolutional features with a kernel distance separate image distributions without any trained weights, so the
score needs no network access and favours no modality. The architecture and weights below define the extractor: a change
of either is a new name.

Four levels of 3-wide convolutions (8, 8, 12, 16 channels) with ReLU and halving between them. Every level gives the
mean of each channel in each cell of a coarse grid (2 x 2 x 2 in 3D, 3 x 3 in 2D), so that anatomy in the wrong place
counts, and the standard deviation of each channel over the whole image. Each image channel passes through the network
by itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from genaug.evaluation.arrays import CaseArrays
from genaug.volume import FloatArray

CHANNELS = (8, 8, 12, 16)
CELLS = {2: 3, 3: 2}
SEED = {2: 20_240_201, 3: 20_240_301}


class ConvolutionalFeatures:
    """The extractor; always on the CPU and one case at a time, so that neither device nor batch changes a digit."""

    def __init__(self, spatial_dims: int) -> None:
        self.name = f"conv{spatial_dims}d-v1"
        self._spatial_dims = spatial_dims

    def __call__(self, case: CaseArrays) -> FloatArray:
        """(C × 396,) in 3D, (C × 440,) in 2D."""
        image = torch.from_numpy(np.ascontiguousarray(case.image, dtype=np.float32))
        with torch.inference_mode():
            levels = _describe(image[:, None], self._spatial_dims)
        return levels.flatten().numpy()


def feature_maps(image: Tensor, dims: int, seed: int) -> Iterator[Tensor]:
    """The maps (C, channels, *S / 2^level) of each level for images (C, 1, *S), each through the network by itself."""
    convolve = functional.conv2d if dims == 2 else functional.conv3d
    halve = functional.avg_pool2d if dims == 2 else functional.avg_pool3d
    for level, (weight, bias) in enumerate(_weights(dims, seed)):
        if level:
            # ceil_mode keeps the last voxel of an odd axis; an axis of one voxel stays.
            image = halve(image, 2, ceil_mode=True)
        # Replicated borders: zeros would be a grey frame in model space, where background is -1.
        padded = functional.pad(image, (1, 1) * dims, mode="replicate")
        image = functional.relu(convolve(padded, weight.to(image), bias.to(image)))
        yield image


def _describe(image: Tensor, dims: int) -> Tensor:
    """(C, features) of the channels (C, 1, *S)."""
    cells = functional.adaptive_avg_pool2d if dims == 2 else functional.adaptive_avg_pool3d
    parts = []
    for maps in feature_maps(image, dims, SEED[dims]):
        parts.append(cells(maps, CELLS[dims]).flatten(1))
        parts.append(maps.flatten(2).std(dim=2, correction=0))
    return torch.cat(parts, dim=1)


@lru_cache(maxsize=4)
def _weights(dims: int, seed: int) -> tuple[tuple[Tensor, Tensor], ...]:
    """(weight, bias) of each level: filters of one level are orthonormal, times sqrt(2) for the halving by ReLU.

    Drawn from the raw bits of PCG64, whose stream is fixed for all versions and machines, unlike that of the
    distributions built on it.
    """
    bits = np.random.PCG64(seed)
    levels = []
    for before, after in zip((1, *CHANNELS), CHANNELS):
        fan_in = before * 3**dims
        # QR is unique once the diagonal of R is positive.
        q, r = np.linalg.qr(_uniform(bits, fan_in * after).reshape(fan_in, after))
        filters = (q * np.sign(np.diag(r))).T * np.sqrt(2)
        weight = torch.from_numpy(filters.reshape(after, before, *(3,) * dims).astype(np.float32))
        bias = torch.from_numpy((0.3 * _uniform(bits, after)).astype(np.float32))
        levels.append((weight, bias))
    return tuple(levels)


def _uniform(bits: np.random.PCG64, n: int) -> FloatArray:
    """(n,) float64 in [-1, 1)."""
    raw = np.asarray(bits.random_raw(n), dtype=np.uint64)
    return (raw >> np.uint64(11)).astype(np.float64) * 2.0**-52 - 1
