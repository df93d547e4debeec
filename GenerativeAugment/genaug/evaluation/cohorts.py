"""Evaluation of cohorts on disk: map every case onto one grid, then score."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import get_args

import numpy as np

from genaug.case import Case
from genaug.cohort import Cohort, Part
from genaug.errors import GenaugError, Reason
from genaug.evaluation.arrays import CaseArrays, PairArrays
from genaug.evaluation.scores import Evaluation, first_names
from genaug.evaluation.synthesis import evaluate_synthesis
from genaug.evaluation.translation import evaluate_translation
from genaug.grid import Grid, IntensityMap
from genaug.imageio import read_header
from genaug.parameters import EvaluationParameters
from genaug.progress import Reporter, Silent
from genaug.scanned import scanned
from genaug.volume import AnyArray, BoolArray, Volume, require_same_grid


@dataclass(frozen=True)
class CaseList:
    """A re-iterable source of cases on a common grid; one case is in memory at a time."""

    cases: Sequence[Case]
    load: Callable[[Case], CaseArrays]

    def __call__(self) -> CaseList:
        """A pass over the cases."""
        return self

    def __len__(self) -> int:
        """Number of cases."""
        return len(self.cases)

    def __iter__(self) -> Iterator[CaseArrays]:
        """The cases, loaded one by one."""
        return (self.load(case) for case in self.cases)


@dataclass(frozen=True)
class PairList:
    """A re-iterable source of pairs of cases; one pair is in memory at a time."""

    pairs: Sequence[tuple[Case, Case]]
    load: Callable[[Case, Case], PairArrays]

    def __call__(self) -> PairList:
        """A pass over the pairs."""
        return self

    def __len__(self) -> int:
        """Number of pairs."""
        return len(self.pairs)

    def __iter__(self) -> Iterator[PairArrays]:
        """The pairs, loaded one by one."""
        return (self.load(first, second) for first, second in self.pairs)


def evaluate_cohorts(
    real: Cohort,
    synthetic: Cohort,
    parameters: EvaluationParameters,
    seed: int = 0,
    reporter: Reporter | None = None,
    repeats: Cohort | None = None,
) -> Evaluation:
    """Score a synthetic cohort against a real one.

    Synthesis: fidelity and coverage against the `reference_part` of the real cohort; copies against the cases of the
    patients whom the synthetic cases say they descend from (the train part for those that do not say), with the
    `held_out_part` as yardstick. Translation: every synthetic case against the real case it was made from (one
    of its parents, or the case of its own id where it names none), within the real label maps too; `repeats` holds
    second real scans of patients of the real cohort, on the grid of the first, and is the floor.

    Raises:
        GenaugError: EMPTY_COHORT, UNPAIRED, GEOMETRY_MISMATCH, and what reading the cases raises; LEAK for a case that
            is in both cohorts, and for a synthesis from a patient of the held-out part, or of the reference part unless
            that is "train" or "all"; BAD_PARAMETER for repeats of a synthesis.
    """
    reporter = reporter or Silent()
    channel = _common_channel(real, synthetic, parameters.channel)
    for cohort in (real, synthetic):
        if not cohort.cases:
            raise GenaugError(
                Reason.EMPTY_COHORT, cohort.root, f"no case in '{cohort.name}'", "at least one", "Check the folder."
            )
    _require_others(real, synthetic, channel)
    if parameters.task == "translation":
        return _translation(real, synthetic, repeats, channel, seed, reporter)
    if repeats is not None:
        raise GenaugError(
            Reason.BAD_PARAMETER,
            "repeats",
            "repeated scans for the task synthesis, whose floor are the real cases themselves",
            "repeats for the task translation only",
            "Leave them out.",
        )
    reference = list(real.cases) if parameters.reference_part == "all" else real.part(parameters.reference_part)
    if not reference:
        parts = ", ".join(f"{part} {len(real.part(part))}" for part in get_args(Part))
        raise GenaugError(
            Reason.EMPTY_COHORT,
            real.root,
            f"no case in the {parameters.reference_part} part ({parts})",
            "real cases to measure the synthetic ones with",
            "Split the cohort by patient (`genaug cohort --split`), or measure with another part or all of it"
            " (--reference-part).",
        )
    held_out = real.part(parameters.held_out_part)
    ancestors = synthetic.ancestors(real.cases)
    _require_unseen(real, ancestors, {parameters.held_out_part, parameters.reference_part} - {"train", "all"})
    training, notes = _training(real, ancestors)
    # The grid is the same whomever the synthetic cases descend from.
    every = [*reference, *real.part("train"), *training, *held_out, *synthetic.cases]
    judged = {case.id: case for case in (*reference, *training, *held_out)}.values()
    lacking = _without_label_map({"real": judged, "synthetic": synthetic.cases})
    labels = {} if lacking else _label_names(real, reference)
    if lacking and any(case.label is not None for case in every):
        notes.append(f"label scores left out: {' and '.join(lacking)} have no label map")
    grid = _common_grid(every, channel, real.channels[channel], sorted(labels), parameters)

    def load(case: Case) -> CaseArrays:
        return case_arrays(case, channel, grid, bool(labels))

    sources = {id(cases): CaseList(cases, load) for cases in (reference, training, held_out)}
    if parameters.reference_part == parameters.held_out_part:
        sources[id(held_out)] = sources[id(reference)]
    evaluation = evaluate_synthesis(
        sources[id(reference)],
        CaseList(synthetic.cases, load),
        sources[id(training)] if training else None,
        sources[id(held_out)] if held_out else None,
        parameters.features or None,
        labels,
        seed,
        reporter,
    )
    return evaluation.model_copy(update={"notes": [*notes, *evaluation.notes]})


def _require_others(real: Cohort, synthetic: Cohort, channel: str) -> None:
    """Raise LEAK when an image is on both sides: compared with itself it is perfect."""
    files = {case.images[channel].resolve() for case in real.cases if channel in case.images}
    same = [case.id for case in synthetic.cases if channel in case.images and case.images[channel].resolve() in files]
    if same:
        raise GenaugError(
            Reason.LEAK,
            synthetic.root,
            f"{len(same)} of {len(synthetic.cases)} cases, such as {same[0]}, that are files of the real cohort too",
            "synthetic cases that are not among the real ones",
            "Give the cohort of the synthetic cases, and the real one without them.",
        )


def _require_unseen(real: Cohort, ancestors: Mapping[str, set[str]], parts: Collection[str]) -> None:
    """Raise LEAK when a synthetic case descends from a patient of `parts`: it is measured with what it was made of."""
    seen = {patient for patients in ancestors.values() for patient in patients if real.part_of(patient) in parts}
    if seen:
        cases = [case for case, patients in ancestors.items() if patients & seen]
        raise GenaugError(
            Reason.LEAK,
            "synthetic cases",
            f"{len(cases)} of {len(ancestors)} cases, such as {cases[0]}, that descend from {len(seen)} of the patients"
            f" in the {' and '.join(sorted(parts))} part ({first_names(sorted(seen))})",
            "cases that descend from none of the patients they are measured with",
            "Give the real cohort with the split that the model was trained with, or leave these cases out; if the"
            " patients are others of the same name, rename those of the real cohort.",
        )


def _training(real: Cohort, ancestors: Mapping[str, set[str]]) -> tuple[list[Case], list[str]]:
    """The real cases that the synthetic ones may be copies of, and what is to be said about that choice."""
    patients = set().union(*ancestors.values())
    silent = [case for case, named in ancestors.items() if not named]
    assumed = {case.id for case in real.part("train")} if silent else set()
    training = [case for case in real.cases if case.patient in patients or case.id in assumed]
    missing = patients - set(real.patients)
    notes = []
    if missing:
        notes.append(
            f"{len(missing)} of {len(patients)} patients whom the synthetic cases descend from are not in the real"
            f" cohort ({first_names(sorted(missing))}): copies of these cannot be found"
        )
    if silent:
        notes.append(
            f"{len(silent)} of {len(ancestors)} synthetic cases, such as {silent[0]}, do not say whom they descend"
            " from: they are taken to be made from the train part"
        )
    return training, notes


def case_arrays(case: Case, channel: str, grid: Grid, with_label: bool) -> CaseArrays:
    """One case in the grid's space."""
    image = case.volume(channel)
    placement = grid.place(image)
    label = case.label_map() if with_label else None
    array = grid.map_in(image, placement, channel)
    labels = None if label is None else grid.map_in(label, placement, None)
    if grid.dimension == 2:
        array, labels = array[..., 0], None if labels is None else labels[..., 0]
    voxel = float(np.prod(grid.spacing[: grid.dimension]))
    return CaseArrays(case.id, case.patient, array[np.newaxis].astype(np.float32), labels, voxel)


def _common_grid(
    cases: Sequence[Case], channel: str, modality: str, labels: list[int], parameters: EvaluationParameters
) -> Grid:
    """A grid that holds every case whole, at their median spacing unless one is given."""
    headers = []
    for case in cases:
        header = read_header(case.image(channel))
        headers.append((header.shape, header.affine))
    flat = all(min(shape) == 1 for shape, _ in headers)
    return Grid.plan(
        headers,
        {channel: IntensityMap.for_modality(modality)},
        labels,
        dimension=2 if flat else 3,
        spacing=parameters.spacing,
    )


def _translation(
    real: Cohort, synthetic: Cohort, repeats: Cohort | None, channel: str, seed: int, reporter: Reporter
) -> Evaluation:
    """Pair each translated case with the case it was made from, each repeated scan with the first."""
    known = {case.id: case for case in real.cases}
    pairs = [(_parent(case, known), case) for case in synthetic.cases]
    labels = _label_names(real, [parent for parent, _ in pairs])
    modality = real.channels.get(channel, "MR")
    copied: list[str] = []

    def load(pairs: Sequence[tuple[Case, Case]], copied: list[str]) -> PairList:
        return PairList(pairs, lambda first, second: _pair(first, second, channel, modality, bool(labels), copied))

    repeated = None if repeats is None else load(_repeated(real, repeats, [parent for parent, _ in pairs]), [])
    evaluation = evaluate_translation(load(pairs, copied), repeated, labels, seed, reporter)
    if copied:
        note = (
            f"dice by label left out for {len(copied)} of {len(pairs)} cases, whose label map is that of the real case:"
            " segment the translated images and give those label maps"
        )
        evaluation = evaluation.model_copy(update={"notes": [*evaluation.notes, note]})
    return evaluation


def _pair(first: Case, second: Case, channel: str, modality: str, labelled: bool, copied: list[str]) -> PairArrays:
    """Two images of a patient on one grid. A label map that is a copy of the first's says nothing and is dropped."""
    reference, result = first.volume(channel), second.volume(channel)
    require_same_grid(reference, result)
    maps: list[AnyArray | None] = [None, None]
    for index, case in enumerate((first, second) if labelled else ()):
        label = case.label_map()
        if label is not None:
            require_same_grid(reference, label)
            maps[index] = label.array
    if maps[0] is not None and maps[1] is not None and np.array_equal(maps[0], maps[1]):
        copied.append(second.id)
        maps[1] = None
    return PairArrays(
        second.id,
        first.patient,
        modality,
        reference.array.astype(np.float32),
        result.array.astype(np.float32),
        maps[0],
        maps[1],
        _scanned(first, channel, reference),
    )


def _scanned(case: Case, channel: str, reference: Volume) -> BoolArray | None:
    """Where any image of a case but the reference shows something, of those on its grid; None where there are none.

    Where none does, nobody can know what the reference shows there.
    """
    # One volume in memory at a time, of which the mask alone is kept.
    others = (case.volume(name) for name in case.images if name != channel)
    shown = [scanned(image.array) for image in others if image.same_grid(reference)]
    return np.logical_or.reduce(shown) if shown else None


def _parent(case: Case, known: Mapping[str, Case]) -> Case:
    names = case.parents or [case.id]
    for name in names:
        if name in known:
            return known[name]
    raise GenaugError(
        Reason.UNPAIRED,
        case.id,
        f"parents {', '.join(case.parents) or 'none'}",
        "the real case it was translated from, in the real cohort",
        "Give the cohort that was translated as the real one.",
    )


def _repeated(real: Cohort, repeats: Cohort, used: Sequence[Case]) -> list[tuple[Case, Case]]:
    """Each repeated scan beside the first of its patient, one that was translated where there is such a one."""
    first = {case.patient: case for case in [*reversed(real.cases), *reversed(used)]}
    pairs = []
    for case in repeats.cases:
        problem = ""
        if case.origin == "synthetic":
            problem = "a synthetic case"
        elif case.patient not in first:
            problem = f"a scan of patient '{case.patient}', whom the real cohort does not have"
        elif case.images == first[case.patient].images:
            problem = f"the first scan of patient '{case.patient}' itself"
        if problem:
            raise GenaugError(
                Reason.UNPAIRED,
                case.id,
                problem,
                "a second real scan of a patient of the real cohort",
                "Leave the case out of the repeats, or correct its patient.",
            )
        pairs.append((first[case.patient], case))
    return pairs


def _label_names(real: Cohort, cases: Sequence[Case]) -> dict[int, str]:
    """The cohort's label names; where it has none, those values that occur in the cases' label maps, by number."""
    if real.label_names or all(case.label is None for case in cases):
        return dict(real.label_names)
    maps = (case.label_map() for case in {case.id: case for case in cases}.values())
    values = {int(value) for label in maps if label is not None for value in np.unique(label.array)}
    return {value: f"label {value}" for value in sorted(values - {0})}


def _common_channel(real: Cohort, synthetic: Cohort, asked: str | None) -> str:
    """The channel that was asked for, else the first; both cohorts have it."""
    common = [name for name in synthetic.channels if name in real.channels]
    if asked in common or (asked is None and common):
        return asked or common[0]
    if common:
        raise GenaugError(
            Reason.BAD_PARAMETER,
            "channel",
            f"'{asked}'",
            f"a channel of both cohorts: {', '.join(common)}",
            "Name one of these, or leave the channel out.",
        )
    raise GenaugError(
        Reason.UNPAIRED,
        synthetic.name,
        f"channels {', '.join(synthetic.channels)}",
        f"one of the real cohort's channels {', '.join(real.channels)}",
        "Name the channels alike.",
    )


def _without_label_map(cases: Mapping[str, Collection[Case]]) -> list[str]:
    """How many cases of each role have no label map, where any has none."""
    missing = {role: [case.id for case in those if case.label is None] for role, those in cases.items()}
    return [f"{len(ids)} of {len(cases[role])} {role} cases (such as {ids[0]})" for role, ids in missing.items() if ids]
