"""Scores of one set of named features: KID, Fréchet distance, precision, recall, density and coverage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from genaug.evaluation.coverage import NEAREST, coverage
from genaug.evaluation.features import Standardisation
from genaug.evaluation.floors import Split, floor_scores, matched_scores
from genaug.evaluation.frechet import frechet_bootstrap, frechet_distance
from genaug.evaluation.kid import kid, kid_bootstrap, kid_permutation_p
from genaug.evaluation.resampling import centred_interval, mean_interval, percentile_interval
from genaug.evaluation.scores import Score
from genaug.volume import FloatArray

CENTRED = "real against real is 0 on average and often negative"
BIASED = "grows as cases become fewer: compare it with the floor at the floor's size"

FEW_PATIENTS = 50
"""Reference patients below which unseen real cases too lie above the floor of KID more often than its interval says.

Both halves of the floor are inside the sample whose spread is the features' unit, and other cases are not: a feature
that happens to vary little among few cases puts all others far out, and the cubic kernel makes much of it. Of random
hippocampi against others as many as the interval's level says lie above it from about 50 on.
"""


@dataclass(frozen=True)
class Features:
    """Features of both cohorts, as they are and scaled.

    Attributes:
        extractor: name of the extractor.
        extracted_real: (n, d), not standardised.
        extracted_synthetic: (m, d), not standardised.
        patients: patient of each real case.
        splits: of the real cases, for the floor.
    """

    extractor: str
    extracted_real: FloatArray
    extracted_synthetic: FloatArray
    patients: Sequence[str]
    splits: Sequence[Split]

    @cached_property
    def real(self) -> FloatArray:
        """(n, d) in units of the spread of the real cases."""
        return self._scale(self.extracted_real)

    @cached_property
    def synthetic(self) -> FloatArray:
        """(m, d) in the same units."""
        return self._scale(self.extracted_synthetic)

    @cached_property
    def _scale(self) -> Standardisation:
        return Standardisation(self.extracted_real)

    def pooled(self) -> tuple[FloatArray, FloatArray]:
        """Both in units of the spread of all cases, which do not tell the cohorts apart."""
        scale = Standardisation(np.concatenate([self.extracted_real, self.extracted_synthetic]))
        return scale(self.extracted_real), scale(self.extracted_synthetic)


def kid_score(features: Features, rng: np.random.Generator) -> Score:
    """KID with permutation p-value.

    The value is in units of the reference cases, so that cohorts scored against the same ones compare. A test that
    exchanges cases of both sides needs a unit that is the same whichever side they stand on: that of all cases.
    """
    real, synthetic, patients = features.real, features.synthetic, features.patients
    floor = np.array([_kid_of_halves(features, split) for split in features.splits])
    return Score(
        name="kid",
        value=kid(real, synthetic, patients),
        interval=percentile_interval(kid_bootstrap(real, synthetic, rng, patients)),
        floor=float(floor.mean()),
        floor_interval=percentile_interval(floor),
        p_value=kid_permutation_p(*features.pooled(), rng, patients),
        better="lower",
        extractor=features.extractor,
        n_real=len(real),
        n_synthetic=len(synthetic),
        note=f"{CENTRED}; {few}" if (few := few_patients(patients)) else CENTRED,
    )


def few_patients(patients: Sequence[str]) -> str:
    """What is to be said of a KID against the cases of so few patients; nothing where there are enough."""
    count = len(set(patients))
    if count >= FEW_PATIENTS:
        return ""
    return (
        f"with {count} reference patients, fewer than {FEW_PATIENTS}, unseen real cases too would often score above"
        " the floor: whether the cases differ is told by the p-value, whose unit is that of all cases"
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
