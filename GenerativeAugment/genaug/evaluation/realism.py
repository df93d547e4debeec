"""Scores of one set of named features: KID, Fréchet distance, precision, recall, density and coverage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from genaug.evaluation.coverage import NEAREST, coverage
from genaug.evaluation.floors import Split, floor_scores, matched_scores
from genaug.evaluation.frechet import frechet_bootstrap, frechet_distance
from genaug.evaluation.kid import kid, kid_bootstrap, kid_permutation_p
from genaug.evaluation.resampling import centred_interval, mean_interval, percentile_interval
from genaug.evaluation.scores import Score
from genaug.volume import FloatArray

UNBIASED = "unbiased: real against real is 0 on average and often negative"
BIASED = "grows as cases become fewer: compare it with the floor at the floor's size"


@dataclass(frozen=True)
class Features:
    """Standardised features of both cohorts.

    Attributes:
        extractor: name of the extractor.
        real: (n, d).
        synthetic: (m, d).
        patients: patient of each real case.
        splits: of the real cases, for the floor.
    """

    extractor: str
    real: FloatArray
    synthetic: FloatArray
    patients: Sequence[str]
    splits: Sequence[Split]


def kid_score(features: Features, rng: np.random.Generator) -> Score:
    """KID with permutation p-value."""
    real, synthetic, patients = features.real, features.synthetic, features.patients
    floor = np.array([_kid_of_halves(features, split) for split in features.splits])
    return Score(
        name="kid",
        value=kid(real, synthetic, patients),
        interval=percentile_interval(kid_bootstrap(real, synthetic, rng, patients)),
        floor=float(floor.mean()),
        floor_interval=percentile_interval(floor),
        p_value=kid_permutation_p(real, synthetic, rng, patients),
        better="lower",
        extractor=features.extractor,
        n_real=len(real),
        n_synthetic=len(synthetic),
        note=UNBIASED,
    )


def _kid_of_halves(features: Features, split: Split) -> float:
    first, second = ([features.patients[i] for i in half] for half in (split.first, split.second))
    return kid(features.real[split.first], features.real[split.second], first, second)


def frechet_score(features: Features, rng: np.random.Generator) -> Score:
    """Fréchet distance, with its value at the floor's size."""
    real, synthetic = features.real, features.synthetic
    value = frechet_distance(real, synthetic)
    low, high = centred_interval(frechet_bootstrap(real, synthetic, rng, features.patients), value)
    floor = floor_scores(frechet_distance, real, features.splits)
    matched = matched_scores(frechet_distance, real, synthetic, features.splits)
    return Score(
        name="frechet",
        value=value,
        interval=(max(0.0, low), high),
        floor=float(floor.mean()),
        floor_interval=percentile_interval(floor),
        matched=float(matched.mean()),
        better="lower",
        extractor=features.extractor,
        n_real=len(real),
        n_synthetic=len(synthetic),
        note=BIASED,
    )


def coverage_scores(features: Features, rng: np.random.Generator) -> list[Score]:
    """Precision, recall, density and coverage. Needs `enough_for_coverage`."""
    real, synthetic, splits = features.real, features.synthetic, features.splits
    result = coverage(real, synthetic)
    floors = floor_scores(_coverage_means, real, splits)
    matched = matched_scores(_coverage_means, real, synthetic, splits)
    per_case = {
        "precision": (result.precision, None),
        "recall": (result.recall, features.patients),
        "density": (result.density, None),
        "coverage": (result.coverage, features.patients),
    }
    return [
        Score(
            name=name,
            value=float(values.mean()),
            interval=mean_interval(values, rng, groups),
            floor=float(floors[:, column].mean()),
            floor_interval=percentile_interval(floors[:, column]),
            matched=float(matched[:, column].mean()),
            better="higher",
            extractor=features.extractor,
            n_real=len(real),
            n_synthetic=len(synthetic),
            note=f"k = {NEAREST}; the interval redraws cases, not the balls around them",
        )
        for column, (name, (values, groups)) in enumerate(per_case.items())
    ]


def enough_for_coverage(features: Features) -> bool:
    """Whether every part of every split has more than k cases."""
    return min(len(split.first) for split in features.splits) > NEAREST


def _coverage_means(real: FloatArray, synthetic: FloatArray) -> FloatArray:
    return coverage(real, synthetic).means()
