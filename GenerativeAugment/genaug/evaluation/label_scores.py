"""Volumes of generated anatomy against real ones, label by label, as scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from genaug.evaluation.floors import Split, floor_scores, matched_scores
from genaug.evaluation.labels import relative_difference, wasserstein
from genaug.evaluation.resampling import bootstrap_weights, centred_interval, percentile_interval
from genaug.evaluation.scores import Score
from genaug.volume import FloatArray

REPLICATES = 200

_Weights = list[tuple[FloatArray, FloatArray]]


def label_scores(
    real: FloatArray,
    synthetic: FloatArray,
    labels: Mapping[int, str],
    patients: Sequence[str],
    splits: Sequence[Split],
    rng: np.random.Generator,
    unit: str,
) -> list[Score]:
    """Relative difference of the mean volume and Wasserstein distance of the volumes, for each label.

    Args:
        real: (n, L) volumes, columns in ascending order of label value.
        synthetic: (m, L) volumes.
        labels: label value → name; a label absent from all real cases has no relative difference.
        patients: patient of each real case.
        splits: of the real cases, for the floors.
        rng: draws the bootstrap.
        unit: of the volumes.
    """
    real_weights = bootstrap_weights(len(real), REPLICATES, rng, patients)
    weights = list(zip(real_weights, bootstrap_weights(len(synthetic), REPLICATES, rng)))
    scores = []
    for column, value in enumerate(sorted(labels)):
        volumes = real[:, column], synthetic[:, column]
        if volumes[0].any():
            scores.append(_difference(*volumes, weights, splits, labels[value]))
        scores.append(_distance(*volumes, weights, splits, labels[value], unit))
    return scores


def _difference(
    real: FloatArray, synthetic: FloatArray, weights: _Weights, splits: Sequence[Split], region: str
) -> Score:
    mean = float(real.mean())
    drawn = [relative_difference(real, synthetic, w, v) for w, v in weights]

    def apart(first: FloatArray, second: FloatArray) -> float:
        return float(second.mean() - first.mean()) / mean

    value = relative_difference(real, synthetic)
    assert value is not None, "the caller looks for a label that occurs"
    return Score(
        name="label_volume_difference",
        value=value,
        interval=percentile_interval(np.array([draw for draw in drawn if draw is not None])),
        floor=0.0,
        floor_interval=percentile_interval(floor_scores(apart, real, splits)),
        floor_description="no difference; the interval is of that between halves of the real cases",
        matched=float(matched_scores(apart, real, synthetic, splits).mean()),
        better="zero",
        region=region,
        n_real=len(real),
        n_synthetic=len(synthetic),
        note="(mean synthetic - mean real) / mean real",
    )


def _distance(
    real: FloatArray, synthetic: FloatArray, weights: _Weights, splits: Sequence[Split], region: str, unit: str
) -> Score:
    value = wasserstein(real, synthetic)
    low, high = centred_interval(np.array([wasserstein(real, synthetic, w, v) for w, v in weights]), value)
    floors = floor_scores(wasserstein, real, splits)
    return Score(
        name="label_volume_wasserstein",
        value=value,
        interval=(max(0.0, low), high),
        floor=float(floors.mean()),
        floor_interval=percentile_interval(floors),
        matched=float(matched_scores(wasserstein, real, synthetic, splits).mean()),
        better="lower",
        unit=unit,
        region=region,
        n_real=len(real),
        n_synthetic=len(synthetic),
    )
