"""Insert lesions into one image or into the training cases of a cohort."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from genaug.case import Case, safe_name
from genaug.cohort import Cohort
from genaug.imageio import image_stem, image_suffix, read_volume
from genaug.insertion import InsertionParameters, insert_into_cohort
from genaug.jobs.handlers import parameters_of
from genaug.jobs.schema import Task
from genaug.progress import Reporter
from genaug.readers import read_cohort
from genaug.sources import write_sources


def run(task: Task, reporter: Reporter) -> Mapping[str, Any]:
    """Inputs: host (an image or a cohort), optionally tissue (a label map) and bank (a cohort). Output: a cohort."""
    bank = task.optional("bank")
    cohort = insert_into_cohort(
        _hosts(task.input("host")),
        task.output,
        parameters_of(task.parameters, InsertionParameters, task.job.seed),
        task.job.seed,
        reporter,
        tissue=task.optional("tissue"),
        bank=read_cohort(bank) if bank is not None else None,
    )
    write_sources(task.output, {"bank": bank})
    reporter.product("cohort", task.output)
    return {"cases": [case.id for case in cohort.cases]}


def _hosts(path: Path) -> Cohort:
    """A cohort, or a single image as a cohort of one."""
    if path.is_dir() or not image_suffix(path):
        return read_cohort(path)
    name = safe_name(image_stem(path))
    case = Case(id=name, patient=name, images={"image": path})
    return Cohort(name=name, root=path.parent, channels={"image": read_volume(path).modality}, cases=[case])
