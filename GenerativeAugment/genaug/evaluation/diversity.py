"""Pairwise MS-SSIM: how alike the cases of one cohort are.

Wang, Simoncelli and Bovik 2003. A generator that collapsed makes cases that resemble each other more than real ones do,
so the synthetic mean is to match the real one, not to be small. Number of scales and window follow from the image size,
because the usual five scales of an 11-voxel window need 176 voxels along every axis.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from genaug.evaluation.structural import contrast, local_mean, luminance
from genaug.volume import FloatArray

WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Exponents of the paper, finest scale first; fewer scales take the first ones, rescaled to sum to one."""

WINDOWS = ((11, 1.5, 3), (7, 1.0, 3), (5, 0.7, 2), (3, 0.5, 1))
"""Window size, its sigma, and how many scales it must allow to be chosen; the first that does is taken."""

CHUNK_BYTES = 4 << 20
"""Partners of one image that are compared at a time, in voxels of the finest scale: they stay in the cache."""

PYRAMID = 3.5
"""Memory of an image at all scales, with means and variances, over the image's own."""

WORKING_BYTES = 512 << 20
"""Images at all scales that are held at a time, however many are compared."""


@dataclass(frozen=True)
class ScalePlan:
    """How MS-SSIM is computed for images of one size.

    Attributes:
        window: length of the Gaussian window in voxels.
        sigma: its standard deviation in voxels.
        weights: exponent of each scale, finest first.
    """

    window: int
    sigma: float
    weights: tuple[float, ...]

    def __str__(self) -> str:
        return f"{len(self.weights)} scales, window {self.window}, sigma {self.sigma:g}"


def scale_plan(shape: Sequence[int]) -> ScalePlan:
    """The plan for spatial `shape`: as many of the five scales as the shortest axis allows.

    Raises:
        ValueError: an axis shorter than three voxels.
    """
    shortest = min(shape)
    for window, sigma, required in WINDOWS:
        scales = sum(shortest >> scale >= window for scale in range(len(WEIGHTS)))
        if scales >= required:
            total = sum(WEIGHTS[:scales])
            return ScalePlan(window, sigma, tuple(weight / total for weight in WEIGHTS[:scales]))
    raise ValueError(f"MS-SSIM needs at least 3 voxels along every axis, got {tuple(shape)}")


@dataclass(frozen=True)
class PairSimilarity:
    """MS-SSIM of pairs of cases.

    Attributes:
        pairs: (P, 2) case numbers.
        values: (P,) MS-SSIM in [0, 1].
    """

    pairs: npt.NDArray[np.intp]
    values: FloatArray


def pairwise_ms_ssim(images: Sequence[FloatArray], plan: ScalePlan | None = None) -> PairSimilarity:
    """MS-SSIM of every pair of `images`.

    Means and variances are computed once per image where all fit into WORKING_BYTES, and only the covariance is left to
    each pair. Where they do not, blocks of images are compared with each other, so that memory does not grow with N.

    Args:
        images: N arrays (C, *S) in [-1, 1], read as they are needed; they are mapped to [0, 1], on which the luminance
            term is defined.
        plan: None chooses by size.
    """
    count = len(images)
    if count < 2:
        raise ValueError("pairs need at least two images")
    shape = images[0].shape
    plan = plan or scale_plan(shape[1:])
    at_once = max(2, int(WORKING_BYTES / (PYRAMID * 4 * math.prod(shape))))
    # Two blocks are there at a time, or the only one.
    block = count if count <= at_once else at_once // 2
    table = torch.zeros(count, count)
    for first in range(0, count, block):
        own = _levels(images, first, min(first + block, count), plan)
        for second in range(first, count, block):
            others = own if second == first else _levels(images, second, min(second + block, count), plan)
            for number in range(len(own[0].images)):
                begin = number + 1 if second == first else 0
                row = _one_against(own, number, others, begin, plan)
                table[first + number, second + begin : second + begin + len(row)] = row
    first_of, second_of = np.triu_indices(count, 1)
    values = table[first_of, second_of].numpy().astype(np.float64)
    return PairSimilarity(np.stack([first_of, second_of], axis=1), values)


def _levels(images: Sequence[FloatArray], first: int, last: int, plan: ScalePlan) -> list[_Level]:
    stacked = np.empty((last - first, *images[first].shape), dtype=np.float32)
    for place, number in enumerate(range(first, last)):
        stacked[place] = images[number]
    return _pyramid(torch.from_numpy(stacked).add_(1).div_(2), plan)


@dataclass(frozen=True)
class _Level:
    """All images at one scale, with what does not depend on the partner."""

    images: Tensor
    mean: Tensor
    variance: Tensor


def _pyramid(images: Tensor, plan: ScalePlan) -> list[_Level]:
    dims = images.ndim - 2
    levels = []
    for scale in range(len(plan.weights)):
        if scale:
            images = functional.avg_pool2d(images, 2) if dims == 2 else functional.avg_pool3d(images, 2)
        window = (plan.window,) * dims
        mean = torch.stack([local_mean(image, dims, window, plan.sigma) for image in images])
        square = torch.stack([local_mean(image * image, dims, window, plan.sigma) for image in images])
        levels.append(_Level(images, mean, square.sub_(mean * mean)))
    return levels


def _one_against(own: list[_Level], number: int, others: list[_Level], begin: int, plan: ScalePlan) -> Tensor:
    """MS-SSIM of image `number` of one block and each one of another from `begin` on."""
    chunk = max(1, CHUNK_BYTES // (4 * own[0].images[0].numel()))
    last = len(others[0].images)
    values = [
        _similarity(own, number, others, slice(start, min(start + chunk, last)), plan)
        for start in range(begin, last, chunk)
    ]
    return torch.cat(values) if values else torch.zeros(0)


def _similarity(own: list[_Level], number: int, others: list[_Level], at: slice, plan: ScalePlan) -> Tensor:
    result = torch.ones(at.stop - at.start)
    dims = own[0].images.ndim - 2
    for scale, (level, other, weight) in enumerate(zip(own, others, plan.weights)):
        product = level.images[number] * other.images[at]
        covariance = local_mean(product, dims, (plan.window,) * dims, plan.sigma)
        covariance -= level.mean[number] * other.mean[at]
        term = contrast(level.variance[number], other.variance[at], covariance, 1.0)
        if scale == len(own) - 1:
            term = term * luminance(level.mean[number], other.mean[at], 1.0)
        result *= term.flatten(1).mean(1).clamp_min(0) ** weight
    return result
