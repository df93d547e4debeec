"""Make cases from a package."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from genaug.case import Case
from genaug.jobs.handlers import parameters_of
from genaug.jobs.handlers.inputs import parts, read_given, require_cases, require_readable
from genaug.jobs.schema import Task
from genaug.parameters import SynthesisParameters
from genaug.progress import Reporter
from genaug.sources import write_sources
from genaug.synthesis import synthesize


def run(task: Task, reporter: Reporter) -> Mapping[str, Any]:
    """Inputs: package, optionally labels (a cohort whose label maps are followed). The output is a cohort."""
    labels, parameters = task.optional("labels"), parameters_of(task.parameters, SynthesisParameters)
    given = read_given(labels) if labels is not None else None
    checking, making = parts(reporter)
    if given is not None:
        require_cases(given.cases, given.root)
        require_readable(_followed(given.cases, parameters), lambda case: None, checking)
    cohort = synthesize(
        task.input("package"),
        task.output,
        parameters,
        task.job.seed,
        task.job.device,
        making if given is not None else reporter,
        given,
    )
    write_sources(task.output, {"package": task.input("package"), "given": labels})
    reporter.product("cohort", task.output)
    return {"cases": [case.id for case in cohort.cases]}


def _followed(cases: Sequence[Case], parameters: SynthesisParameters) -> list[Case]:
    """The cases whose label maps are used, which are taken in turn."""
    first = parameters.start
    used = {index % len(cases) for index in range(first, first + min(parameters.count, len(cases)))}
    return [cases[index] for index in sorted(used)]
