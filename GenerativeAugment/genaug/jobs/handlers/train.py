"""Train a recipe on a cohort."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from genaug.jobs.handlers import parameters_of
from genaug.jobs.schema import Task
from genaug.parameters import TrainingOptions
from genaug.progress import Reporter
from genaug.readers import read_cohort
from genaug.training import train


def run(task: Task, reporter: Reporter) -> Mapping[str, Any]:
    """Inputs: cohort, optionally initial (a package to start from). The output is the package."""
    options = parameters_of(task.parameters, TrainingOptions, task.job.seed)
    initial = task.optional("initial")
    if initial is not None:
        options = options.model_copy(update={"initial": initial})
    package = train(read_cohort(task.input("cohort")), options, task.output, task.job.device, reporter)
    return {"package": str(package)}
