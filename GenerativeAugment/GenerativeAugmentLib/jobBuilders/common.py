"""What the builders of jobs have in common."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

from GenerativeAugmentLib import exchange, hierarchy, pseudonyms
from GenerativeAugmentLib.catalogueFile import ModelEntry
from GenerativeAugmentLib.cohorts import safeName
from GenerativeAugmentLib.errors import JobError, _
from GenerativeAugmentLib.files import userPath
from GenerativeAugmentLib.jobs import Job
from GenerativeAugmentLib.parameters import InputModality, isSet
from GenerativeAugmentLib.results import PromisedResult


def outputFolder(chosen: Path, title: str) -> str:
    """The output of a job: a new folder in the one the user has chosen, or in the job's own."""
    if not isSet(chosen):
        return "outputs"
    # Seconds alone would let two quick jobs share a folder.
    return str(userPath(chosen) / f"{safeName(title)[:60]}-{datetime.now():%Y%m%d-%H%M%S-%f}")


def patientOf(node: Any) -> str:
    """Whom a node shows, see `pseudonyms`; its own name where the scene does not know.

    Raises:
        JobError: as `pseudonyms.patientOf`.
    """
    return pseudonyms.patientOf(node) or node.GetName() or node.GetID()


def modalityOf(volume: Any, stated: InputModality) -> str:
    """What was said, else what the scene knows; "" for neither."""
    return stated.value or exchange.modalityOf(volume)


def promiseOf(job: Job, host: Any, geometry: exchange.Geometry | None, entry: ModelEntry) -> PromisedResult:
    """What the result of a model has to be; the place in the scene is that of `host`, where there is one."""
    return PromisedResult(
        jobTitle=job.title,
        hostItem=hierarchy.itemOf(host),
        referenceGeometry=geometry,
        labelNames=entry.labels,
        kind=job.kind,
        recipe=entry.recipe,
        packageSha256=entry.sha256,
        seed=job.seed,
        channels=entry.targets,
    )


def folderOf(entry: ModelEntry) -> Path:
    """Where the package of an installed model lies."""
    folder = entry.folder
    # `gridOf` has refused an entry without its files.
    assert folder is not None
    return folder


def wrongTask(entry: ModelEntry | None, expected: str) -> JobError:
    """The refusal of a model that is for something else."""
    found = _("no model") if entry is None else _("a model for {task}").format(task=entry.task)
    return JobError("bad_package", "" if entry is None else entry.title, found, expected, _("Choose another model."))
