"""Kernel inception distance: squared maximum mean discrepancy with a cubic polynomial kernel, without a diagonal.

Bińkowski et al., Demystifying MMD GANs, ICLR 2018: k(x, y) = (x·y / d + 1)³. All cases are used at once, not random
subsets, so the value has no sampling noise of its own. The kernel is evaluated in panels of rows; only sums are kept.

The constant term of a kernel cancels in the MMD; k − 1 = g (g² + 3 g + 3) with g = x·y / d is summed instead of k,
which keeps the digits that a sum of numbers close to one would lose in single precision.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from genaug.evaluation.resampling import bootstrap_weights, group_indices
from genaug.volume import FloatArray

PANEL = 1024
"""Rows of the kernel evaluated at a time; memory grows with this times the number of cases. Few and large products,
because each waits for all threads of the matrix library, which takes long where another process has a core."""

PERMUTATIONS = 500


@dataclass(frozen=True)
class _Cohort:
    """Scaled features, and the patient number of each row (None: every row its own patient)."""

    rows: FloatArray
    groups: Sequence[str] | None

    @property
    def patients(self) -> npt.NDArray[np.intp]:
        return group_indices(self.groups, len(self.rows))


def kid(
    real: FloatArray,
    synthetic: FloatArray,
    real_groups: Sequence[str] | None = None,
    synthetic_groups: Sequence[str] | None = None,
) -> float:
    """KID of (n, d) against (m, d) features; 0 on average, of either sign, when both have one distribution.

    That holds for a unit of the features that does not depend on the cases. In the unit of few real cases, unseen real
    ones are farther from them than these are from each other, see `realism.FEW_PATIENTS`.

    Args:
        real: (n, d) features, computed in their own precision.
        synthetic: (m, d) features.
        real_groups: patient of each real case: pairs within a patient are left out, since only independent pairs make
            the estimate unbiased.
        synthetic_groups: the same for the second cohort; None: its cases are independent, as generated ones are.

    Raises:
        ValueError: fewer than two patients or two synthetic cases, or different d.
    """
    ones = np.ones((1, len(real)), real.dtype), np.ones((1, len(synthetic)), synthetic.dtype)
    return float(_weighted_kid(real, synthetic, *ones, real_groups, synthetic_groups)[0])


def kid_bootstrap(
    real: FloatArray,
    synthetic: FloatArray,
    rng: np.random.Generator,
    real_groups: Sequence[str] | None = None,
    replicates: int = 400,
) -> FloatArray:
    """(replicates,) KID of redrawn cohorts.

    A draw weights each case by how often it was drawn, and a pair by the product of both weights; a case is never
    paired with its own copy, whose kernel value k(x, x) would raise every draw by about E k(x, x) / n.
    """
    real_weights = bootstrap_weights(len(real), replicates, rng, real_groups)
    synthetic_weights = bootstrap_weights(len(synthetic), replicates, rng)
    distinct = (_pair_weight(real_weights, real_groups) > 0) & (_pair_weight(synthetic_weights, None) > 0)
    return _weighted_kid(real, synthetic, real_weights[distinct], synthetic_weights[distinct], real_groups)


def kid_permutation_p(
    real: FloatArray,
    synthetic: FloatArray,
    rng: np.random.Generator,
    real_groups: Sequence[str] | None = None,
    permutations: int = PERMUTATIONS,
) -> float:
    """Probability of a KID at least this large if real and synthetic cases were exchangeable.

    Patients change sides as a whole. The test keeps its level only where the features' unit is the same for every
    arrangement: that of all cases, see `realism.Features.pooled`, or one from elsewhere. The observed arrangement
    counts as one permutation (Phipson and Smyth 2010); the smallest possible value is 1 / (permutations + 1).
    """
    pooled = _Cohort(
        _scaled(np.concatenate([real, synthetic])),
        [f"real {g}" for g in group_indices(real_groups, len(real))] + [f"new {i}" for i in range(len(synthetic))],
    )
    group = pooled.patients
    real_patients = len(set(group[: len(real)]))
    orders = np.array([rng.permutation(group.max() + 1) for _ in range(permutations)])
    sides = np.vstack([np.arange(group.max() + 1), orders]) < real_patients
    first = sides[:, group].astype(pooled.rows.dtype)
    everything = np.ones((1, len(group)), pooled.rows.dtype)
    groups = pooled.groups if real_groups is not None else None
    sums = _pair_sums(_Cohort(pooled.rows, groups), np.vstack([first, 1 - first, everything]))
    inside_first, inside_second, total = sums[: len(first)], sums[len(first) : -1], sums[-1]
    across = (total - inside_first - inside_second) / 2
    scores = (
        inside_first / _pair_weight(first, groups)
        + inside_second / _pair_weight(1 - first, groups)
        - 2 * across / (first.sum(1, dtype=np.float64) * (1 - first).sum(1, dtype=np.float64))
    )
    # Rounding must not let a permutation that equals the observed arrangement count as smaller.
    return float(np.mean(scores >= scores[0] - 1e-6 * abs(scores[0])))


def _weighted_kid(
    real: FloatArray,
    synthetic: FloatArray,
    real_weights: FloatArray,
    synthetic_weights: FloatArray,
    real_groups: Sequence[str] | None,
    synthetic_groups: Sequence[str] | None = None,
) -> FloatArray:
    if real.ndim != 2 or synthetic.ndim != 2 or real.shape[1] != synthetic.shape[1]:
        raise ValueError(f"features of shape {real.shape} and {synthetic.shape} do not compare")
    x, y = _Cohort(_scaled(real), real_groups), _Cohort(_scaled(synthetic), synthetic_groups)
    pairs = _pair_weight(real_weights, real_groups), _pair_weight(synthetic_weights, synthetic_groups)
    if len(real_weights) and (pairs[0].min() <= 0 or pairs[1].min() <= 0):
        raise ValueError("an unbiased kernel distance needs at least two patients and two synthetic cases")
    across = real_weights.sum(1, dtype=np.float64) * synthetic_weights.sum(1, dtype=np.float64)
    scores: FloatArray = (
        _pair_sums(x, real_weights) / pairs[0]
        + _pair_sums(y, synthetic_weights) / pairs[1]
        - 2 * _cross_sums(x, y, real_weights, synthetic_weights) / across
    )
    return scores


def _scaled(features: FloatArray) -> FloatArray:
    """Features divided by sqrt(d), so that a plain inner product is g."""
    return np.ascontiguousarray(features / np.sqrt(features.dtype.type(features.shape[1])))


def _kernel(a: FloatArray, b: FloatArray) -> FloatArray:
    """k(a, b) − 1 for all pairs."""
    g = a @ b.T
    k = g + 3
    k *= g
    k += 3
    k *= g
    return k


def _pair_sums(cohort: _Cohort, weights: FloatArray) -> FloatArray:
    """(R,) float64: Σ w_i w_j (k_ij − 1) over ordered pairs of different patients, for each row of `weights`."""
    sums = np.zeros(len(weights))
    group = cohort.patients
    for rows in _panels(len(cohort.rows)):
        # Symmetric: the square on the diagonal counts once, what lies right of it twice.
        square, right = slice(0, rows.stop - rows.start), slice(rows.stop - rows.start, None)
        k = _kernel(cohort.rows[rows], cohort.rows[rows.start :])
        same = k if cohort.groups is not None else k[:, square]
        same[group[rows, None] == group[None, rows.start : rows.start + same.shape[1]]] = 0
        partner = weights[:, rows.start :]
        sums += _quadratic(weights[:, rows], k[:, square], partner[:, square])
        sums += 2 * _quadratic(weights[:, rows], k[:, right], partner[:, right])
    return sums


def _cross_sums(x: _Cohort, y: _Cohort, x_weights: FloatArray, y_weights: FloatArray) -> FloatArray:
    """(R,) float64: Σ w_i v_j (k_ij − 1) over real i and synthetic j."""
    sums = np.zeros(len(x_weights))
    for rows in _panels(len(x.rows)):
        sums += _quadratic(x_weights[:, rows], _kernel(x.rows[rows], y.rows), y_weights)
    return sums


def _quadratic(left: FloatArray, kernel: FloatArray, right: FloatArray) -> FloatArray:
    weights = left.astype(kernel.dtype, copy=False)
    # One row of weights is no work for several threads, which `@` would wake and wait for.
    product = weights @ kernel if len(weights) > 1 else np.einsum("ri,ij->rj", weights, kernel)
    sums: FloatArray = np.einsum("ri,ri->r", product, right, dtype=np.float64)
    return sums


def _pair_weight(weights: FloatArray, groups: Sequence[str] | None) -> FloatArray:
    """(R,) float64: Σ w_i w_j over ordered pairs of different patients."""
    weights = weights.astype(np.float64)
    group = group_indices(groups, weights.shape[1])
    by_patient = np.zeros((len(weights), int(group.max()) + 1))
    np.add.at(by_patient.T, group, weights.T)
    pairs: FloatArray = weights.sum(1) ** 2 - (by_patient**2).sum(1)
    return pairs


def _panels(n: int) -> Iterator[slice]:
    return (slice(start, min(start + PANEL, n)) for start in range(0, n, PANEL))
