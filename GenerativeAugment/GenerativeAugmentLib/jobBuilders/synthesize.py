"""New cases by a model, as it is asked for: at random, for a label map, in an image, with covariates."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from GenerativeAugmentLib.catalogueFile import Condition, ModelEntry
from GenerativeAugmentLib.errors import JobError, _
from GenerativeAugmentLib.files import userPath
from GenerativeAugmentLib.jobBuilders.common import folderOf, outputFolder, promiseOf, wrongTask
from GenerativeAugmentLib.jobBuilders.followed import FollowedCase, labelProblem
from GenerativeAugmentLib.jobCenter import PlannedJob
from GenerativeAugmentLib.jobs import Job, newJobFolder
from GenerativeAugmentLib.modelFit import gridOf
from GenerativeAugmentLib.parameters import SynthesizeParameters, isSet
from GenerativeAugmentLib.steps import Preparation

TASKS = ("synthesis", "label_to_image", "infill")


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
    asked = covariateValues(parameters, entry)
    # When nothing is refused any more: a folder of a job that never was would stay.
    folder = newJobFolder("synthesize")
    preparation = None
    if followed is not None:
        inputs["labels"] = folder / "labels"
        preparation = Preparation(followed.writing(folder / "labels"), followed.bytes)
    chosen = {name: getattr(parameters, name) for name in ("steps", "guidance", "truncation")}
    options: dict[str, Any] = {name: value for name, value in chosen.items() if value}
    if asked:
        options["conditions"] = asked
    if isSet(parameters.textEncoder) and any(one.kind == "text" and one.name in asked for one in entry.covariates):
        options["text_encoder"] = str(userPath(parameters.textEncoder))
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
    host = None if followed is None else parameters.imageNode if entry.task == "infill" else parameters.labelNode
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
    if entry.task != "infill":
        return FollowedCase(labelNode, {}, entry)
    if parameters.imageNode is None or len(entry.sources) != 1:
        raise JobError(
            "bad_parameter",
            entry.title,
            _("no image") if parameters.imageNode is None else ", ".join(entry.sources),
            _("one image, in which the model fills what the label map covers"),
            _("Choose it; several channels can be filled with the command line."),
        )
    return FollowedCase(labelNode, {entry.sources[0]: parameters.imageNode}, entry)


def covariateValues(parameters: SynthesizeParameters, entry: ModelEntry) -> dict[str, float | str]:
    """Covariate to value, of those of the model that are asked for; the others are as a training case had them.

    Raises:
        JobError: "bad_parameter" for a value that the covariate cannot have.
    """
    values: dict[str, float | str] = {}
    for covariate in entry.covariates:
        text = parameters.conditions.get(covariate.name, "")
        if not text:
            continue
        values[covariate.name] = _number(covariate, text) if covariate.kind == "number" else text
        if covariate.kind == "class" and text not in covariate.levels:
            raise _wrongValue(covariate, text, ", ".join(covariate.levels))
    return values


def _number(covariate: Condition, text: str) -> float:
    try:
        value = float(text)
    except ValueError as error:
        raise _wrongValue(covariate, text, _("a number")) from error
    if not math.isfinite(value):
        raise _wrongValue(covariate, text, _("a number"))
    return value


def _wrongValue(covariate: Condition, found: str, expected: str) -> JobError:
    return JobError("bad_parameter", covariate.name, found, expected, _("Choose another value."))
