"""Make cases from a package."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from genaug.jobs.handlers import parameters_of
from genaug.jobs.schema import Task
from genaug.parameters import SynthesisParameters
from genaug.progress import Reporter
from genaug.readers import read_cohort
from genaug.sources import write_sources
from genaug.synthesis import synthesize


def run(task: Task, reporter: Reporter) -> Mapping[str, Any]:
    """Inputs: package, optionally labels (a cohort whose label maps are followed). The output is a cohort."""
    labels = task.optional("labels")
    cohort = synthesize(
        task.input("package"),
        task.output,
        parameters_of(task.parameters, SynthesisParameters),
        task.job.seed,
        task.job.device,
        reporter,
        read_cohort(labels) if labels is not None else None,
    )
    write_sources(task.output, {"package": task.input("package"), "given": labels})
    reporter.product("cohort", task.output)
    return {"cases": [case.id for case in cohort.cases]}
