"""Translation of volumes of the scene by a model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from GenerativeAugmentLib import exchange
from GenerativeAugmentLib.catalogueFile import ModelEntry
from GenerativeAugmentLib.cohorts import FrozenCohort, SceneCase, safeName
from GenerativeAugmentLib.errors import JobError, _
from GenerativeAugmentLib.jobBuilders.common import (
    folderOf,
    modalityOf,
    outputFolder,
    patientOf,
    promiseOf,
    wrongTask,
)
from GenerativeAugmentLib.jobCenter import PlannedJob
from GenerativeAugmentLib.jobs import Job, newJobFolder
from GenerativeAugmentLib.modalities import looksLikeHounsfield
from GenerativeAugmentLib.modelFit import geometryProblem, gridOf, modalityProblem
from GenerativeAugmentLib.parameters import InputModality, TranslateParameters
from GenerativeAugmentLib.steps import Preparation


def translateJob(parameters: TranslateParameters, entry: ModelEntry, device: str = "auto") -> PlannedJob:
    """Translate a volume, or the several channels that a model takes, onto the same voxels.

    Raises:
        JobError: "wrong_modality" or "field_of_view" when the model cannot take it, before a job is begun;
            "geometry_mismatch" for channels on different grids or under a transform.
    """
    grid = gridOf(entry)
    if entry.task != "translation":
        raise wrongTask(entry, _("a translation model"))
    volumes = translationInputs(parameters, entry)
    for channel, volume in volumes.items():
        problem = translationProblem(entry, grid, channel, volume, parameters.modality)
        if problem is not None:
            raise problem
    first = next(iter(volumes.values()))
    title = _("{volume} by {model}").format(volume=first.GetName(), model=entry.title)
    case = SceneCase(
        patient=patientOf(first),
        caseId=safeName(first.GetName()),
        images=volumes,
        modality={channel: modalityOf(volume, parameters.modality) for channel, volume in volumes.items()},
    )
    cohort = FrozenCohort([case], first.GetName())
    # When nothing is refused any more: a folder of a job that never was would stay.
    folder = newJobFolder("translate")
    job = Job(
        "translate",
        folder,
        {"overlap": parameters.overlap, "file_format": "nrrd"},
        {"package": folderOf(entry), "cohort": folder / "inputs"},
        seed=parameters.seed,
        device=device,
        output=outputFolder(parameters.outputFolder, title),
        title=title,
    )
    return PlannedJob(
        job,
        promiseOf(job, first, exchange.volumeGeometry(first), entry),
        preparation=Preparation(cohort.writing(folder / "inputs"), cohort.bytes),
        context={"input": first.GetID()},
    )


def translationInputs(parameters: TranslateParameters, entry: ModelEntry) -> dict[str, Any]:
    """Source channel of a model to volume.

    Raises:
        JobError: "bad_package" for a model of more channels than there are inputs, "unpaired" for a missing one that
            the model needs.
    """
    given = (parameters.firstInput, parameters.secondInput, parameters.thirdInput)
    if len(entry.sources) > len(given):
        raise JobError(
            "bad_package",
            entry.title,
            _("{count} source channels").format(count=len(entry.sources)),
            _("at most {count}").format(count=len(given)),
            _("Translate a cohort with the command line instead."),
        )
    volumes = {channel: volume for channel, volume in zip(entry.sources, given) if volume is not None}
    missing = [channel for channel in entry.sources if channel not in volumes]
    if not volumes or (missing and not entry.takesAnySources):
        expected = _("at least one of them") if entry.takesAnySources else _("one for each channel")
        raise JobError("unpaired", ", ".join(missing), _("no volume"), expected, _("Choose the input volumes."))
    return volumes


def translationProblem(
    entry: ModelEntry, grid: Mapping[str, Any], channel: str, volume: Any, stated: InputModality
) -> JobError | None:
    """Why a model cannot take a volume as its channel, by modality and field of view; None when it can."""
    subject = volume.GetName()
    found = modalityOf(volume, stated)
    hounsfield = not found and looksLikeHounsfield(volume)
    problem = modalityProblem(entry.modality.get(channel, ""), found, hounsfield)
    if problem:
        remedy = _("Choose another model or volume, or state the volume's modality.")
        return JobError("wrong_modality", subject, problem, _("a volume this model takes"), remedy)
    problem = geometryProblem(dict(grid), exchange.volumeGeometry(volume), whole=True)
    if problem:
        remedy = _("Crop or pad the volume to the region the model was trained on.")
        return JobError("field_of_view", subject, problem, _("a volume this model takes"), remedy)
    return None
