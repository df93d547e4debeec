"""Translate images or a cohort."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genaug.case import Case, safe_name
from genaug.cohort import Cohort
from genaug.errors import GenaugError, Reason
from genaug.imageio import image_stem
from genaug.jobs.handlers import parameters_of
from genaug.jobs.handlers.inputs import parts, read_alone, read_given, require_cases, require_readable
from genaug.jobs.schema import JOB_FILE, Task
from genaug.package import read_info
from genaug.parameters import TranslationParameters
from genaug.progress import Reporter
from genaug.sources import write_sources
from genaug.translation import translate

if TYPE_CHECKING:
    from genaug.tensors import Roles


def run(task: Task, reporter: Reporter) -> Mapping[str, Any]:
    """Inputs: package, and either cohort or image (one or more files, each a case). The output is a cohort."""
    parameters = parameters_of(task.parameters, TranslationParameters)
    package, inputs = task.input("package"), _inputs(task, parameters.modality)
    roles = read_info(package).roles
    checking, making = parts(reporter)
    require_readable(inputs.cases, lambda case: _read(case, roles), checking)
    cohort = translate(
        package,
        inputs,
        task.output,
        parameters,
        task.job.seed,
        task.job.device,
        making,
    )
    write_sources(task.output, {"package": package})
    reporter.product("cohort", task.output)
    return {"cases": [case.id for case in cohort.cases]}


def _read(case: Case, roles: Roles) -> None:
    """What a translation reads of a case; a file given by itself has no channel name of its own."""
    sources = [name for name in roles.source if not roles.missing or name in case.images]
    alone = len(case.images) == len(roles.source) == 1
    for channel in case.images if alone else sources or roles.source:
        case.volume(channel)


def _inputs(task: Task, told: str | None) -> Cohort:
    if ("cohort" in task.inputs) == ("image" in task.inputs):
        raise GenaugError(
            Reason.BAD_JOB,
            task.folder / JOB_FILE,
            f"inputs {', '.join(sorted(task.inputs))}",
            "either cohort or image beside the package",
            "Give one of the two.",
        )
    if "cohort" in task.inputs:
        cohort = read_given(task.input("cohort"))
        require_cases(cohort.cases, task.input("cohort"))
        return cohort
    return _single_images(task.inputs["image"], told)


def _single_images(images: Sequence[Path], told: str | None) -> Cohort:
    """Each a case of its own; they must share their modality, since a cohort's channel has one."""
    named: dict[str, Path] = {}
    modality = ""
    for path in images:
        found = read_alone(path, told).modality
        modality = modality or found
        if found != modality:
            raise GenaugError(
                Reason.WRONG_MODALITY, path, found, f"{modality}, as in {images[0]}", "Translate them in separate jobs."
            )
        stem = safe_name(image_stem(path))
        if stem in named:
            raise GenaugError(
                Reason.BAD_JOB,
                path,
                f"the name {stem}, which {named[stem]} has too",
                "images whose names tell them apart, because the results are named after them",
                "Rename one of them, or translate them one by one.",
            )
        named[stem] = path
    cases = [Case(id=stem, patient=stem, images={"image": path}) for stem, path in named.items()]
    return Cohort(name="images", root=images[0].parent, channels={"image": modality}, cases=cases)
