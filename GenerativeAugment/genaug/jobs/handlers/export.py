"""Lay out a cohort for training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from genaug.cohort import Cohort
from genaug.export import export_cohort
from genaug.jobs.expected import READING, state_from_sizes
from genaug.jobs.handlers import parameters_of
from genaug.jobs.handlers.inputs import parts, read_given, require_cases, require_sound
from genaug.jobs.schema import Task
from genaug.parallel import threads_for
from genaug.parameters import ExportParameters
from genaug.progress import Part, Reporter


def run(task: Task, reporter: Reporter) -> Mapping[str, Any]:
    """Inputs: real (a cohort), any number of synthetic cohorts and of review files. The output folder gets the set."""
    given = task.optional("real")
    real = read_given(given) if given is not None else None
    synthetic = [read_given(path) for path in task.inputs.get("synthetic", ())]
    parameters = parameters_of(task.parameters, ExportParameters)
    cases = [case for cohort in (real, *synthetic) if cohort is not None for case in cohort.cases]
    state_from_sizes(cases, READING, reporter, at_once=threads_for(len(cases), 0))
    checking, writing = parts(reporter)
    if parameters.check:
        _require_sound([*([real] if real is not None else []), *synthetic], checking)
    dataset, manifest = export_cohort(
        real,
        synthetic,
        task.output,
        parameters,
        writing if parameters.check else reporter,
        seed=task.job.seed,
        reviews=task.inputs.get("reviews", ()),
    )
    return {
        "dataset": str(dataset),
        "counts": manifest.counts,
        "left_out": [one.model_dump(mode="json") for one in manifest.left_out],
        "notes": manifest.notes,
        "text": "\n".join([str(dataset), *manifest.lines()]),
    }


def _require_sound(cohorts: Sequence[Cohort], reporter: Reporter) -> None:
    """Images are copied byte for byte, so nothing else would notice a truncated one."""
    total, begin = sum(len(cohort.cases) for cohort in cohorts), 0
    if cohorts and not total:
        require_cases([], cohorts[0].root)
    for cohort in cohorts:
        if cohort.cases:
            share = len(cohort.cases) / total
            require_sound(cohort, cohort.cases, None, Part(reporter, begin / total, share))
            begin += len(cohort.cases)
