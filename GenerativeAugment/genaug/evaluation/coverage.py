"""Precision, recall, density and coverage: does each synthetic case look real, and is each real case reached.

Precision and recall: Kynkäänniemi et al. 2019; density and coverage: Naeem et al. 2020. Around every case lies a
ball that reaches its k-th nearest neighbour of the same cohort. Distances are computed in blocks and not kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from genaug.volume import FloatArray

NEAREST = 5
"""k of both papers."""

BLOCK_ELEMENTS = 1 << 22
"""Distances held at a time: 32 MiB in double precision. Smaller blocks lose more between numpy's and torch's threads
than they gain from the cache."""


@dataclass(frozen=True)
class Coverage:
    """One value per case; the score is the mean over the cases.

    Attributes:
        precision: (m,) whether the synthetic case lies in the ball of any real one.
        recall: (n,) whether the real case lies in the ball of any synthetic one.
        density: (m,) number of real balls that hold the synthetic case, divided by k; the mean may exceed 1.
        coverage: (n,) whether the ball of the real case holds any synthetic one.
    """

    precision: FloatArray
    recall: FloatArray
    density: FloatArray
    coverage: FloatArray

    def means(self) -> FloatArray:
        """(4,) precision, recall, density, coverage."""
        return np.array([v.mean() for v in (self.precision, self.recall, self.density, self.coverage)])


def coverage(real: FloatArray, synthetic: FloatArray, k: int = NEAREST) -> Coverage:
    """Per-case membership of (n, d) real and (m, d) synthetic features.

    Raises:
        ValueError: a cohort of k cases or fewer has no k-th neighbour.
    """
    if min(len(real), len(synthetic)) <= k:
        raise ValueError(f"{len(real)} real and {len(synthetic)} synthetic cases; k = {k} needs more than k of each")
    # A common shift changes no distance and keeps the digits that |a|² + |b|² − 2 a·b would lose far from the origin.
    centre = real.mean(axis=0, dtype=np.float64)
    real, synthetic = real - centre, synthetic - centre
    real_radius, synthetic_radius = _squared_radii(real, k), _squared_radii(synthetic, k)
    density = np.zeros(len(synthetic))
    recall, covered = np.zeros(len(real)), np.zeros(len(real))
    for rows, distance in _squared_distances(real, synthetic):
        inside_real = distance < real_radius[rows, None]
        density += np.count_nonzero(inside_real, axis=0)
        covered[rows] = inside_real.any(axis=1)
        recall[rows] = (distance < synthetic_radius).any(axis=1)
    return Coverage((density > 0).astype(np.float64), recall, density / k, covered)


def nearest(queries: FloatArray, references: FloatArray) -> tuple[FloatArray, npt.NDArray[np.intp]]:
    """For each of (n, d) `queries` the distance to, and the number of, the nearest of (m, d) `references`."""
    centre = references.mean(axis=0, dtype=np.float64)
    distances, numbers = np.empty(len(queries)), np.empty(len(queries), dtype=np.intp)
    for rows, squared in _squared_distances(queries - centre, references - centre):
        numbers[rows] = squared.argmin(axis=1)
        distances[rows] = np.sqrt(squared.min(axis=1))
    return distances, numbers


def _squared_radii(features: FloatArray, k: int) -> FloatArray:
    import torch

    radii = np.empty(len(features))
    for rows, distance in _squared_distances(features, features):
        # The case itself is the first of its own neighbours. torch selects a few of many 4 x faster than np.partition.
        nearest_ones = torch.from_numpy(distance).topk(k + 1, dim=1, largest=False, sorted=False).values
        radii[rows] = nearest_ones.amax(dim=1).numpy()
    return radii


def _squared_distances(a: FloatArray, b: FloatArray) -> Iterator[tuple[slice, FloatArray]]:
    """Blocks of rows of the matrix of squared distances, float64."""
    norms_a, norms_b = np.einsum("ij,ij->i", a, a)[:, None], np.einsum("ij,ij->i", b, b)[:, None]
    # With the norms as two more columns, one matrix product gives |a|² + |b|² − 2 a·b.
    left = np.hstack([a, norms_a, np.ones_like(norms_a)])
    right = np.hstack([-2 * b, np.ones_like(norms_b), norms_b]).T
    step = max(1, BLOCK_ELEMENTS // len(b))
    for start in range(0, len(a), step):
        rows = slice(start, min(start + step, len(a)))
        distance = left[rows] @ right
        yield rows, np.maximum(distance, 0, out=distance)
