"""Which patients of a cohort train, and which are kept apart for validation and test.

All cases of a patient stand in one part. The draw is the worker's own (`genaug.split`): the same patients, shares and
seed give the same parts on either side.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from GenerativeAugmentLib.cohortFiles import MANIFEST, CaseEntry, cohortCases, manifestPath, readCohort
from GenerativeAugmentLib.errors import JobError, _
from GenerativeAugmentLib.files import writeJson

TRAIN, VALIDATION, TEST = "train", "validation", "test"


def splitPatients(patients: Iterable[str], validation: int, test: int, seed: int) -> dict[str, str]:
    """Patient to part.

    Args:
        patients: to draw from; their order and repetitions do not matter.
        validation: share to keep apart for validation, percent; above 0 it gets at least one patient.
        test: share to keep apart for the test, as well.
        seed: of the draw.

    Raises:
        JobError: "empty_cohort" for fewer patients than parts.
    """
    names = sorted(set(patients))
    shares = {TRAIN: 100 - validation - test, VALIDATION: validation, TEST: test}
    wanted = [part for part, share in shares.items() if share > 0]
    if len(names) < len(wanted):
        raise JobError(
            "empty_cohort",
            _("split by patient"),
            _("{count} patients").format(count=len(names)),
            _("at least {count}, one for each part").format(count=len(wanted)),
            _("Add patients, or keep none apart: set the shares to 0."),
        )
    counts = _counts(len(names), [shares[part] / 100 for part in wanted])
    order = np.random.Generator(np.random.PCG64(seed)).permutation(len(names))
    places = np.repeat(np.arange(len(wanted)), counts)
    drawn = {names[index]: wanted[place] for index, place in zip(order, places)}
    return {name: drawn[name] for name in names}


def isDivisible(patients: Iterable[str], validation: int, test: int) -> bool:
    """Whether there are patients enough to keep such shares apart."""
    return len(set(patients)) > (validation > 0) + (test > 0)


def drawnPatients(cases: Iterable[CaseEntry]) -> set[str]:
    """The patients that are drawn: those of the real cases, whom synthetic ones follow.

    Where no case is real it is those who descend from nobody else among them.
    """
    cases = list(cases)
    real = {case.patient for case in cases if case.origin == "real"}
    if real:
        return real
    everybody, byId = {case.patient for case in cases}, {case.id: case for case in cases}
    heirs = {case.patient for case in cases if (_ancestors(case, byId) - {case.patient}) & everybody}
    return everybody - heirs or everybody


def _ancestors(case: CaseEntry, byId: Mapping[str, CaseEntry]) -> set[str]:
    """Every patient a case descends from, also through its parents among the cases."""
    patients, waiting, seen = set(case.derivedFrom), list(case.parents), {case.id}
    while waiting:
        parent = byId.get(waiting.pop())
        if parent is not None and parent.id not in seen:
            seen.add(parent.id)
            patients |= {parent.patient, *parent.derivedFrom}
            waiting += parent.parents
    return patients


def readSplit(path: Path) -> tuple[set[str], dict[str, str]]:
    """The patients of a cohort on disk that are drawn, and where they stand; nothing for what has no cohort.json.

    Raises:
        JobError: "unreadable_file".
    """
    manifest = manifestPath(path)
    if manifest.name != MANIFEST or not manifest.is_file():
        return set(), {}
    cohort = readCohort(manifest)
    return drawnPatients(cohortCases(cohort)), dict(cohort.get("split", {}))


def splitCohort(path: Path, validation: int, test: int, seed: int) -> dict[str, str]:
    """Draw the patients of a cohort on disk into parts, and write that into its cohort.json in place of what it said.

    Raises:
        JobError: as `splitPatients`, `readCohort` and writing.
    """
    manifest = manifestPath(path)
    cohort = readCohort(manifest)
    cohort["split"] = splitPatients(drawnPatients(cohortCases(cohort)), validation, test, seed)
    writeJson(manifest, {key: value for key, value in cohort.items() if key != "root"})
    return cohort["split"]


def describeSplit(patients: Iterable[str], split: Mapping[str, str]) -> str:
    """How many patients stand where, in a few words."""
    counts = Counter(split.get(patient, TRAIN) for patient in set(patients))
    if set(counts) <= {TRAIN}:
        return (
            _("all {count} for training").format(count=counts[TRAIN]) if counts[TRAIN] != 1 else _("one for training")
        )
    titles = {TRAIN: _("training"), VALIDATION: _("validation"), TEST: _("test")}
    return ", ".join(f"{counts[part]} {title}" for part, title in titles.items() if counts[part])


def _counts(total: int, fractions: list[float]) -> list[int]:
    """Whole numbers near the fractions (largest remainder), none below 1, adding up to `total`."""
    exact = [fraction * total for fraction in fractions]
    counts = [max(1, math.floor(value)) for value in exact]
    while sum(counts) != total:
        step = 1 if sum(counts) < total else -1
        able = [index for index in range(len(counts)) if step > 0 or counts[index] > 1]
        counts[max(able, key=lambda index: step * (exact[index] - counts[index]))] += step
    return counts
