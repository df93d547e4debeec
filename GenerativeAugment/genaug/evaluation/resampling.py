"""How certain a score is: weights that stand for redrawn patients, and intervals from the redrawn scores.

A bootstrap draws patients with replacement. A copied case is at distance zero from itself, so a kernel or a nearest
neighbour computed on the drawn list would be biased by its duplicates. Therefore nothing is ever copied here: a draw is
a row of integer weights, one per case, and each score says how it uses them so that a case never meets its own copy.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from genaug.volume import FloatArray

LEVEL = 0.95
REPLICATES = 400

IntArray = npt.NDArray[np.integer[Any]]


def group_indices(groups: Sequence[str] | None, n: int) -> npt.NDArray[np.intp]:
    """(n,) number of the patient of each case, 0, 1, ... in order of first appearance; None: each case its own."""
    if groups is None:
        return np.arange(n)
    if len(groups) != n:
        raise ValueError(f"{len(groups)} groups for {n} cases")
    numbers: dict[str, int] = {}
    return np.array([numbers.setdefault(group, len(numbers)) for group in groups], dtype=np.intp)


def bootstrap_weights(
    n: int, replicates: int, rng: np.random.Generator, groups: Sequence[str] | None = None
) -> FloatArray:
    """(replicates, n) float32: how often each case occurs when patients are drawn with replacement.

    Cases of one patient share their weight (cluster bootstrap), since they are not independent.
    """
    group = group_indices(groups, n)
    count = int(group.max()) + 1
    drawn = rng.multinomial(count, np.full(count, 1 / count), size=replicates)
    return drawn[:, group].astype(np.float32)


def percentile_interval(samples: FloatArray, level: float = LEVEL) -> tuple[float, float]:
    """The central `level` of finite `samples` (Efron 1979)."""
    tail = 50 * (1 - level)
    low, high = np.percentile(samples, [tail, 100 - tail])
    return float(low), float(high)


def centred_interval(samples: FloatArray, value: float, level: float = LEVEL) -> tuple[float, float]:
    """The spread of `samples` around `value`: for scores that a bootstrap draw shifts.

    A plug-in such as the Fréchet distance grows when fewer distinct cases are used, and a draw has only 63 % of them:
    its percentiles would count that bias twice. The spread of the draws is kept, their shift is not.
    """
    low, high = percentile_interval(samples, level)
    shift = float(np.mean(samples)) - value
    return low - shift, high - shift


def mean_interval(
    values: FloatArray, rng: np.random.Generator, groups: Sequence[str] | None = None, replicates: int = REPLICATES
) -> tuple[float, float] | None:
    """Bootstrap interval of the mean of one value per case; None when there are fewer than two patients."""
    n = len(values)
    if n == 0 or int(group_indices(groups, n).max()) == 0:
        return None
    weights = bootstrap_weights(n, replicates, rng, groups).astype(np.float64)
    return percentile_interval(weights @ values / weights.sum(axis=1))


def pair_mean_interval(
    pairs: IntArray,
    values: FloatArray,
    n: int,
    rng: np.random.Generator,
    groups: Sequence[str] | None = None,
    replicates: int = REPLICATES,
) -> tuple[float, float] | None:
    """Bootstrap interval of the mean over pairs of different cases (a U-statistic of degree two).

    Args:
        pairs: (P, 2) case numbers in [0, n); a pair is weighted by the product of its cases' weights, so a case drawn
            twice is never paired with itself.
        values: (P,) one value per pair.
        n: number of cases.
        rng: draws the weights.
        groups: patient of each case.
        replicates: number of draws.
    """
    if len(values) < 2:
        return None
    weights = bootstrap_weights(n, replicates, rng, groups).astype(np.float64)
    products = weights[:, pairs[:, 0]] * weights[:, pairs[:, 1]]
    totals = products.sum(axis=1)
    drawn = totals > 0
    return percentile_interval((products[drawn] @ values) / totals[drawn]) if drawn.any() else None
