"""Splitting a cohort by patient: all cases of a patient stand in one part."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import cast, get_args

import numpy as np

from genaug.cohort import Cohort, Part
from genaug.errors import GenaugError, Reason

_PARTS: tuple[Part, ...] = get_args(Part)


def split_by_patient(cohort: Cohort, fractions: Mapping[str, float], seed: int) -> Cohort:
    """Draw the patients into parts and record it in `split`.

    The draw depends on the seed and the set of patient names only, not on the order of the cases. Every part with a
    fraction above 0 gets at least one patient. Only the patients of real cases are drawn and synthetic cases follow
    their ancestors; in a cohort without any, made from one template for instance, those who descend from nobody in it
    are drawn. A case that shows nobody who is held out and descends from somebody who is can serve no purpose any more:
    it is left out, and a note says so.

    Args:
        cohort: an existing split is replaced.
        fractions: of "train", "validation" and "test", adding up to 1; a part left out gets nobody.
        seed: any integer from 0 up.

    Raises:
        GenaugError: BAD_PARAMETER for wrong fractions; EMPTY_COHORT when there are fewer patients than parts.
    """
    wanted = [part for part in _PARTS if fractions.get(part, 0.0) > 0]
    if set(fractions) - set(_PARTS) or min(fractions.values(), default=-1) < 0 or not _adds_up(fractions):
        raise GenaugError(
            Reason.BAD_PARAMETER,
            "split fractions",
            f"{dict(fractions)}",
            "fractions from 0 to 1 for train, validation and test that add up to 1",
            "Correct the fractions.",
        )
    patients = sorted(_drawn(cohort))
    if len(patients) < len(wanted):
        raise GenaugError(
            Reason.EMPTY_COHORT,
            cohort.name,
            f"{len(patients)} patients",
            f"at least {len(wanted)}, one for each of {', '.join(wanted)}",
            "Add patients or ask for fewer parts.",
        )
    counts = _counts(len(patients), [fractions[part] for part in wanted])
    order = np.random.Generator(np.random.PCG64(seed)).permutation(len(patients))
    places = np.repeat(np.arange(len(wanted)), counts)
    drawn = {patients[index]: wanted[place] for index, place in zip(order, places, strict=True)}
    return _without_leaks(cohort.model_copy(update={"split": {patient: drawn[patient] for patient in patients}}))


def _without_leaks(cohort: Cohort) -> Cohort:
    leaks = cohort.leaks()
    if not leaks:
        return cohort
    kept = cohort.with_cases([case for case in cohort.cases if case.id not in leaks])
    found = f"{len(leaks)} cases are left out that descend from patients who are held out"
    note = f"{found}, for instance {next(iter(leaks))}"
    return kept.model_copy(update={"notes": [*cohort.notes, note]})


def split_by_ids(cohort: Cohort, test: Sequence[str] = (), validation: Sequence[str] = ()) -> Cohort:
    """Put the named patients, or the patients of the named cases, into test and validation, all others into train.

    Raises:
        GenaugError: BAD_PARAMETER for an unknown name; LEAK when a patient would stand in both parts.
    """
    patients = set(cohort.patients)
    of_case = {case.id: case.patient for case in cohort.cases}
    chosen: dict[str, Part] = {}
    for part, names in (("test", test), ("validation", validation)):
        for name in names:
            patient = name if name in patients else of_case.get(name)
            if patient is None:
                raise GenaugError(
                    Reason.BAD_PARAMETER,
                    f"{part} ids",
                    f"'{name}', which is neither a patient nor a case",
                    f"one of the {len(patients)} patients of '{cohort.name}'",
                    "Correct the id.",
                )
            if chosen.setdefault(patient, cast(Part, part)) != part:
                raise GenaugError(
                    Reason.LEAK, name, f"patient '{patient}' in test and validation", "one part", "Choose one of them."
                )
    real = _drawn(cohort) | set(chosen)
    return cohort.model_copy(update={"split": {patient: chosen.get(patient, "train") for patient in sorted(real)}})


def _drawn(cohort: Cohort) -> set[str]:
    """The patients of the real cases; in a cohort without any, those who descend from nobody else in it."""
    real = {case.patient for case in cohort.cases if case.origin == "real"}
    if real:
        return real
    everybody, ancestors = set(cohort.patients), cohort.ancestors()
    heirs = {case.patient for case in cohort.cases if (ancestors[case.id] - {case.patient}) & everybody}
    return everybody - heirs or everybody


def _adds_up(fractions: Mapping[str, float]) -> bool:
    return math.isclose(sum(fractions.values()), 1.0, abs_tol=1e-6)


def _counts(total: int, fractions: Sequence[float]) -> list[int]:
    """Whole numbers near the fractions (largest remainder), none below 1, adding up to `total`."""
    exact = [fraction * total for fraction in fractions]
    counts = [max(1, math.floor(value)) for value in exact]
    while sum(counts) != total:
        step = 1 if sum(counts) < total else -1
        able = [index for index in range(len(counts)) if step > 0 or counts[index] > 1]
        counts[max(able, key=lambda index: step * (exact[index] - counts[index]))] += step
    return counts
