"""What real cases score against other real cases: the level below which a score says nothing.

The real patients are split at random into two disjoint halves, many times. A score that depends on the number of cases
is compared at the same number, `matched_scores`: the same half of the real cases against as many synthetic ones.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from genaug.evaluation.resampling import group_indices
from genaug.volume import FloatArray

SPLITS = 20

Indices = npt.NDArray[np.intp]


@dataclass(frozen=True)
class Split:
    """Case numbers of two disjoint sets of real cases and of as many synthetic ones as the second has."""

    first: Indices
    second: Indices
    synthetic: Indices


def real_splits(
    n_real: int,
    n_synthetic: int,
    rng: np.random.Generator,
    groups: Sequence[str] | None = None,
    count: int = SPLITS,
) -> list[Split]:
    """`count` random splits by patient; the parts hold min(half of the real cases, all synthetic ones) cases."""
    group = group_indices(groups, n_real)
    patients = int(group.max()) + 1
    if patients < 2:
        raise ValueError("two halves need at least two patients")
    splits = []
    for _ in range(count):
        first_half = rng.permutation(patients) < patients // 2
        in_first = first_half[group]
        first, second = rng.permutation(np.flatnonzero(in_first)), rng.permutation(np.flatnonzero(~in_first))
        first, second = (_in_rounds(half, group) for half in (first, second))
        size = min(len(first), len(second), n_synthetic)
        splits.append(Split(first[:size], second[:size], rng.permutation(n_synthetic)[:size]))
    return splits


def _in_rounds(cases: Indices, group: Indices) -> Indices:
    """One case of every patient, then a second one, and so on: the first few show as many patients as there can be."""
    seen: dict[int, int] = {}
    rounds = []
    for patient in group[cases].tolist():
        rounds.append(seen.get(patient, 0))
        seen[patient] = rounds[-1] + 1
    return cases[np.argsort(rounds, kind="stable")]


def floor_scores(
    score: Callable[[FloatArray, FloatArray], FloatArray | float], real: FloatArray, splits: Sequence[Split]
) -> FloatArray:
    """`score(first half, second half)` of every split: (splits,) or (splits, number of scores)."""
    return np.array([score(real[split.first], real[split.second]) for split in splits], dtype=np.float64)


def matched_scores(
    score: Callable[[FloatArray, FloatArray], FloatArray | float],
    real: FloatArray,
    synthetic: FloatArray,
    splits: Sequence[Split],
) -> FloatArray:
    """`score(first half, synthetic cases)` at the floor's size: (splits,) or (splits, number of scores)."""
    return np.array([score(real[split.first], synthetic[split.synthetic]) for split in splits], dtype=np.float64)
