"""Pairwise MS-SSIM: how alike the cases of one cohort are.

Wang, Simoncelli and Bovik 2003. A generator that collapsed makes cases that resemble each other more than real ones do,
so the synthetic mean is to match the real one, not to be small. Number of scales and window follow from the image size,
because the usual five scales of an 11-voxel window need 176 voxels along every axis.
"""

from __future__ import annotations

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

    Means and variances are computed once per image; only the covariance is left to each pair. Needs about
    3.5 × the memory of the images.

    Args:
        images: N arrays (C, *S) in [-1, 1]; they are mapped to [0, 1], on which the luminance term is defined.
        plan: None chooses by size.
    """
    if len(images) < 2:
        raise ValueError("pairs need at least two images")
    plan = plan or scale_plan(images[0].shape[1:])
    levels = _pyramid(torch.from_numpy(np.stack(images).astype(np.float32, copy=False)).add(1).div_(2), plan)
    first, second = np.triu_indices(len(images), 1)
    values = [_one_against(levels, number, plan) for number in range(len(images) - 1)]
    return PairSimilarity(np.stack([first, second], axis=1), torch.cat(values).numpy().astype(np.float64))


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


def _one_against(levels: list[_Level], number: int, plan: ScalePlan) -> Tensor:
    """(N − number − 1,) MS-SSIM of image `number` and each one after it."""
    chunk = max(1, CHUNK_BYTES // (4 * levels[0].images[0].numel()))
    last = len(levels[0].images)
    values = [_similarity(levels, number, slice(start, min(start + chunk, last)), plan)
              for start in range(number + 1, last, chunk)]  # fmt: skip
    return torch.cat(values)


def _similarity(levels: list[_Level], number: int, others: slice, plan: ScalePlan) -> Tensor:
    result = torch.ones(others.stop - others.start)
    dims = levels[0].images.ndim - 2
    for scale, (level, weight) in enumerate(zip(levels, plan.weights)):
        product = level.images[number] * level.images[others]
        covariance = local_mean(product, dims, (plan.window,) * dims, plan.sigma)
        covariance -= level.mean[number] * level.mean[others]
        term = contrast(level.variance[number], level.variance[others], covariance, 1.0)
        if scale == len(levels) - 1:
            term = term * luminance(level.mean[number], level.mean[others], 1.0)
        result *= term.flatten(1).mean(1).clamp_min(0) ** weight
    return result
