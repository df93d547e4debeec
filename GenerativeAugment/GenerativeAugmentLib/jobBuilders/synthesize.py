"""New cases by a model, as it is asked for: at random, for a label map, in an image, with covariates."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from GenerativeAugmentLib.catalogueFile import ModelEntry
from GenerativeAugmentLib.errors import JobError, _
from GenerativeAugmentLib.jobBuilders.common import folderOf, outputFolder, promiseOf, wrongTask
from GenerativeAugmentLib.jobBuilders.followed import FollowedCase, labelProblem
from GenerativeAugmentLib.jobCenter import PlannedJob
from GenerativeAugmentLib.jobs import Job, newJobFolder
from GenerativeAugmentLib.modelFit import gridOf
from GenerativeAugmentLib.parameters import SynthesizeParameters
from GenerativeAugmentLib.steps import Preparation

TASKS = ("synthesis", "label_to_image")


def synthesizeJob(parameters: SynthesizeParameters, entry: ModelEntry, device: str = "auto") -> PlannedJob:
    """Make cases with a model, on the grid of a label map where the model follows one.

    Raises:
        JobError: "bad_package" for a model of another task; "field_of_view", "wrong_labels" and "bad_parameter" for
            the label map.
    """
    grid = gridOf(entry)
    if entry.task not in TASKS:
        raise wrongTask(entry, _("a model that makes new images"))
    title = _("Synthesis with {model}").format(model=entry.title)
    inputs: dict[str, Path | list[Path]] = {"package": folderOf(entry)}
    followed = _followed(parameters, entry, grid)
    folder = newJobFolder("synthesize")
    preparation = None
    if followed is not None:
        inputs["labels"] = folder / "labels"
        preparation = Preparation(followed.writing(folder / "labels"), followed.bytes)
    options: dict[str, Any] = {"steps": parameters.steps} if parameters.steps else {}
    job = Job(
        "synthesize",
        folder,
        {"count": parameters.count, "file_format": "nrrd", **options},
        inputs,
        seed=parameters.seed,
        device=device,
        output=outputFolder(parameters.outputFolder, title),
        title=title,
    )
    host = None if followed is None else parameters.labelNode
    promise = promiseOf(job, host, None if followed is None else followed.geometry, entry)
    return PlannedJob(job, promise, preparation=preparation)


def _followed(parameters: SynthesizeParameters, entry: ModelEntry, grid: dict[str, Any]) -> FollowedCase | None:
    """What the model follows; None for one that follows nothing."""
    if not entry.followsLabels:
        return None
    labelNode = parameters.labelNode
    if labelNode is None:
        raise JobError(
            "bad_parameter",
            entry.title,
            _("no label map"),
            _("a label map or segmentation, which this model makes an image for"),
            _("Choose one."),
        )
    problem = labelProblem(labelNode, entry, grid)
    if problem is not None:
        raise problem
    return FollowedCase(labelNode, {}, entry)
