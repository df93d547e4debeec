"""Scores of label maps: overlap, and volumes of generated anatomy against real ones."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from genaug.evaluation.arrays import CaseArrays
from genaug.volume import AnyArray, FloatArray


def dice(first: npt.NDArray[np.bool_], second: npt.NDArray[np.bool_]) -> float | None:
    """Dice 1945: 2 |A ∩ B| / (|A| + |B|); None when both masks are empty, which no overlap can describe."""
    total = np.count_nonzero(first) + np.count_nonzero(second)
    return 2 * np.count_nonzero(first & second) / total if total else None


def dice_per_label(first: AnyArray, second: AnyArray, labels: Sequence[int]) -> dict[int, float | None]:
    """Dice of each of `labels` of two label maps of one shape."""
    if first.shape != second.shape:
        raise ValueError(f"label maps of shape {first.shape} and {second.shape} do not compare")
    return {label: dice(first == label, second == label) for label in labels}


def label_volumes(case: CaseArrays, labels: Sequence[int]) -> FloatArray:
    """(L,) volume of each label in mm³ (mm² in 2D); 0 for an absent one."""
    if case.label is None:
        raise ValueError(f"case {case.id} has no label map")
    return np.array([np.count_nonzero(case.label == label) for label in labels]) * case.voxel_volume_mm3


def relative_difference(
    real: FloatArray,
    synthetic: FloatArray,
    real_weights: FloatArray | None = None,
    synthetic_weights: FloatArray | None = None,
) -> float | None:
    """(mean synthetic − mean real) / mean real of one label's volumes; None where the label never occurs in real cases.

    Args:
        real: (n,) volumes.
        synthetic: (m,) volumes.
        real_weights: (n,) how often each case counts; None: once.
        synthetic_weights: (m,) the same for the synthetic cases.
    """
    expected = float(np.average(real, weights=real_weights))
    if expected == 0:
        return None
    return (float(np.average(synthetic, weights=synthetic_weights)) - expected) / expected


def wasserstein(
    real: FloatArray,
    synthetic: FloatArray,
    real_weights: FloatArray | None = None,
    synthetic_weights: FloatArray | None = None,
) -> float:
    """First Wasserstein distance of one label's volumes, in their unit: it also sees a spread that is wrong."""
    from scipy.stats import wasserstein_distance

    return float(wasserstein_distance(real, synthetic, real_weights, synthetic_weights))
