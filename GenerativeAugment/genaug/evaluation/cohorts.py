"""Evaluation of cohorts on disk: map every case onto one grid, then score."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from genaug.case import Case
from genaug.cohort import Cohort
from genaug.errors import GenaugError, Reason
from genaug.evaluation.arrays import CaseArrays, PairArrays
from genaug.evaluation.scores import Evaluation
from genaug.evaluation.synthesis import evaluate_synthesis
from genaug.evaluation.translation import evaluate_translation
from genaug.grid import Grid, IntensityMap
from genaug.imageio import read_header
from genaug.parameters import EvaluationParameters
from genaug.progress import Reporter, Silent
from genaug.volume import require_same_grid


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


def evaluate_cohorts(
    real: Cohort,
    synthetic: Cohort,
    parameters: EvaluationParameters,
    seed: int = 0,
    reporter: Reporter | None = None,
) -> Evaluation:
    """Score a synthetic cohort against a real one.

    Synthesis: fidelity and coverage against the `reference_part` of the real cohort; copies against its training part,
    with the `held_out_part` as yardstick. Translation: every synthetic case against the real case it was made from.

    Raises:
        GenaugError: EMPTY_COHORT, UNPAIRED, GEOMETRY_MISMATCH, and what reading the cases raises.
    """
    reporter = reporter or Silent()
    channel = parameters.channel or _common_channel(real, synthetic)
    if parameters.task == "translation":
        return _translation(real, synthetic, channel, seed, reporter)
    reference = list(real.cases) if parameters.reference_part == "all" else real.part(parameters.reference_part)
    training, held_out = real.part("train"), real.part(parameters.held_out_part)
    every = [*reference, *training, *held_out, *synthetic.cases]
    labels = _common_labels(real, [*reference, *synthetic.cases])
    grid = _common_grid(every, channel, real.channels[channel], sorted(labels), parameters)

    def load(case: Case) -> CaseArrays:
        return case_arrays(case, channel, grid, bool(labels))

    sources = {id(cases): CaseList(cases, load) for cases in (reference, training, held_out)}
    if parameters.reference_part == parameters.held_out_part:
        sources[id(held_out)] = sources[id(reference)]
    return evaluate_synthesis(
        sources[id(reference)],
        CaseList(synthetic.cases, load),
        sources[id(training)] if training else None,
        sources[id(held_out)] if held_out else None,
        parameters.features or None,
        labels,
        seed,
        reporter,
    )


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
        header = read_header(case.images[channel])
        headers.append((header.shape, header.affine))
    flat = all(min(shape) == 1 for shape, _ in headers)
    return Grid.plan(
        headers,
        {channel: IntensityMap.for_modality(modality)},
        labels,
        dimension=2 if flat else 3,
        spacing=parameters.spacing,
    )


def _translation(real: Cohort, synthetic: Cohort, channel: str, seed: int, reporter: Reporter) -> Evaluation:
    """Pair each translated case with the case it was made from."""
    pairs = []
    known = {case.id: case for case in real.cases}
    for case in synthetic.cases:
        parent = next((known[name] for name in case.parents if name in known), None)
        if parent is None:
            raise GenaugError(
                Reason.UNPAIRED,
                case.id,
                f"parents {', '.join(case.parents) or 'none'}",
                "the real case it was translated from, in the real cohort",
                "Give the cohort that was translated as the real one.",
            )
        pairs.append((parent, case))

    def load() -> Iterator[PairArrays]:
        for parent, case in pairs:
            reference, result = parent.volume(channel), case.volume(channel)
            require_same_grid(reference, result)
            yield PairArrays(
                case.id,
                parent.patient,
                real.channels[channel],
                reference.array.astype(np.float32),
                result.array.astype(np.float32),
            )

    return evaluate_translation(load, None, None, seed, reporter)


def _common_channel(real: Cohort, synthetic: Cohort) -> str:
    for name in synthetic.channels:
        if name in real.channels:
            return name
    raise GenaugError(
        Reason.UNPAIRED,
        synthetic.name,
        f"channels {', '.join(synthetic.channels)}",
        f"one of the real cohort's channels {', '.join(real.channels)}",
        "Name the channels alike.",
    )


def _common_labels(real: Cohort, cases: Sequence[Case]) -> dict[int, str]:
    """Labels to score: the real cohort's, where every case has a label map."""
    return dict(real.label_names) if all(case.label is not None for case in cases) else {}
