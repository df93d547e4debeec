"""Insert lesions into one image or into the training cases of a cohort."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from genaug.case import Case, safe_name
from genaug.cohort import Cohort
from genaug.errors import GenaugError, Reason
from genaug.imageio import image_stem, image_suffix
from genaug.insertion import InsertionParameters, insert_into_cohort
from genaug.jobs.expected import INSERTING, state_from_sizes
from genaug.jobs.handlers import parameters_of
from genaug.jobs.handlers.inputs import parts, read_alone, read_given, require_cases, require_sound
from genaug.jobs.schema import Task
from genaug.progress import Reporter
from genaug.sources import write_sources


def run(task: Task, reporter: Reporter) -> Mapping[str, Any]:
    """Inputs: host (an image or a cohort), optionally tissue (a label map) and bank (a cohort). Output: a cohort."""
    parameters = parameters_of(task.parameters, InsertionParameters, task.job.seed)
    hosts, bank = _hosts(task.input("host"), parameters.modality), task.optional("bank")
    state_from_sizes(hosts.cases, INSERTING, reporter)
    checking, making = parts(reporter)
    _require_sound(hosts, parameters, task.optional("tissue"), checking)
    cohort = insert_into_cohort(
        hosts,
        task.output,
        parameters,
        task.job.seed,
        making,
        tissue=task.optional("tissue"),
        bank=read_given(bank) if bank is not None else None,
    )
    write_sources(task.output, {"bank": bank})
    reporter.product("cohort", task.output)
    return {"cases": [case.id for case in cohort.cases], "notes": cohort.notes}


def _require_sound(hosts: Cohort, parameters: InsertionParameters, tissue: Path | None, reporter: Reporter) -> None:
    """Look at what will be read of the hosts."""
    require_cases(hosts.cases, hosts.root)
    channel = parameters.channel or next(iter(hosts.channels))
    chosen = [case for case in hosts.part("train") if channel in case.images]
    if chosen:
        require_sound(hosts, chosen, channel, reporter)
    for case in chosen:
        if tissue is None and case.label is None:
            raise GenaugError(
                Reason.UNPAIRED,
                case.id,
                f"no label map that belongs to {case.image(channel)}, and no tissue map",
                "a label map that says where lesions may lie",
                "Give the tissue map, or a cohort of hosts with label maps.",
            )


def _hosts(path: Path, modality: str | None) -> Cohort:
    """A cohort, or a single image as a cohort of one."""
    if path.is_dir() or not image_suffix(path):
        if modality is not None:
            raise GenaugError(
                Reason.BAD_PARAMETER,
                "modality",
                f"{modality} for the cohort {path}",
                "none, since a cohort says it of every channel",
                "Leave it out, or read the cohort again with the modality (`genaug cohort --modality`).",
            )
        return read_given(path)
    name = safe_name(image_stem(path))
    case = Case(id=name, patient=name, images={"image": path})
    found = read_alone(path, modality).modality
    return Cohort(name=name, root=path.parent, channels={"image": found}, cases=[case])
