"""Cross-validation that stays honest with synthetic cases.

A validation fold holds real patients only, and no synthetic case that descends from one of them is in that fold's
training. nnU-Net's own random split knows neither rule, which is why the export brings its split along: as many folds
as nnU-Net trains by default, since for one that the file does not have nnU-Net splits at random again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from genaug.export.selection import Chosen, Selection

FOLDS = 5
"""That nnU-Net trains, 0 to 4."""


@dataclass(frozen=True)
class Fold:
    """Names of the cases to train on and to validate on."""

    train: list[str]
    validation: list[str]


def make_folds(selection: Selection, seed: int) -> list[Fold]:
    """Five folds: the validation part five times if the cohort has one, else by patient.

    Of fewer than five patients they come round again. Empty when fewer than two real patients are left, since nothing
    can be validated then.
    """
    distinct = _distinct_folds(selection, seed)
    return [distinct[number % len(distinct)] for number in range(FOLDS)] if distinct else []


def folds_of(name: str, folds: Sequence[Fold]) -> list[int]:
    """In which folds a case is trained on."""
    return [number for number, fold in enumerate(folds) if name in fold.train]


def _distinct_folds(selection: Selection, seed: int) -> list[Fold]:
    validation = selection.real("validation")
    training = selection.real("train")
    if validation:
        return [_fold(training, selection.synthetic(), validation)]
    patients = sorted({chosen.case.patient for chosen in training})
    if len(patients) < 2:
        return []
    order = np.random.Generator(np.random.PCG64(seed)).permutation(len(patients))
    groups = [{patients[index] for index in part} for part in np.array_split(order, min(FOLDS, len(patients)))]
    return [
        _fold(
            [chosen for chosen in training if chosen.case.patient not in group],
            selection.synthetic(),
            [chosen for chosen in training if chosen.case.patient in group],
        )
        for group in groups
    ]


def _fold(real: Sequence[Chosen], synthetic: Sequence[Chosen], validation: Sequence[Chosen]) -> Fold:
    judged = {chosen.case.patient for chosen in validation}
    clean = [chosen for chosen in (*real, *synthetic) if not chosen.ancestors & judged]
    return Fold([chosen.name for chosen in clean], [chosen.name for chosen in validation])
