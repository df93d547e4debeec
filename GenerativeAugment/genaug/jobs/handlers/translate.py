"""Translate images or a cohort."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from genaug.case import Case, safe_name
from genaug.errors import GenaugError, Reason
from genaug.imageio import image_stem
from genaug.jobs.handlers import parameters_of
from genaug.jobs.schema import JOB_FILE, Task
from genaug.parameters import TranslationParameters
from genaug.progress import Reporter
from genaug.readers import read_cohort
from genaug.sources import write_sources
from genaug.translation import translate


def run(task: Task, reporter: Reporter) -> Mapping[str, Any]:
    """Inputs: package, and either cohort or image (one or more files, each a case). The output is a cohort."""
    cohort = translate(
        task.input("package"),
        _inputs(task),
        task.output,
        parameters_of(task.parameters, TranslationParameters),
        task.job.seed,
        task.job.device,
        reporter,
    )
    write_sources(task.output, {"package": task.input("package")})
    reporter.product("cohort", task.output)
    return {"cases": [case.id for case in cohort.cases]}


def _inputs(task: Task) -> list[Case]:
    if ("cohort" in task.inputs) == ("image" in task.inputs):
        raise GenaugError(
            Reason.BAD_JOB,
            task.folder / JOB_FILE,
            f"inputs {', '.join(sorted(task.inputs))}",
            "either cohort or image beside the package",
            "Give one of the two.",
        )
    if "cohort" in task.inputs:
        return read_cohort(task.input("cohort")).cases
    stems = [safe_name(image_stem(path)) for path in task.inputs["image"]]
    return [Case(id=stem, patient=stem, images={"image": path}) for stem, path in zip(stems, task.inputs["image"])]
