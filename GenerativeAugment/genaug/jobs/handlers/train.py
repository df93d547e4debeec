"""Train a recipe on a cohort."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from genaug.jobs.handlers import parameters_of
from genaug.jobs.handlers.inputs import read_given
from genaug.jobs.schema import Task
from genaug.parameters import TrainingOptions
from genaug.progress import Reporter
from genaug.training import train, training_folder
from genaug.training.plan import PLAN, TENSORS


def run(task: Task, reporter: Reporter) -> Mapping[str, Any]:
    """Inputs: cohort, optionally initial (a package to start from). The output is the package."""
    options = parameters_of(task.parameters, TrainingOptions, task.job.seed)
    initial = task.optional("initial")
    if initial is not None:
        options = options.model_copy(update={"initial": initial})
    with _keeping_only_what_was_trained(training_folder(task.output)):
        package = train(read_given(task.input("cohort")), options, task.output, task.job.device, reporter)
    return {"package": str(package)}


@contextmanager
def _keeping_only_what_was_trained(folder: Path) -> Iterator[None]:
    """A training that failed before its first iteration leaves no folder, which would stand in the way of the next."""
    new = not folder.exists()
    try:
        yield
    except BaseException:
        if new and folder.is_dir() and {path.name for path in folder.iterdir()} <= {PLAN, TENSORS}:
            shutil.rmtree(folder, ignore_errors=True)
        raise
