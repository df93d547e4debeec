"""Insertion of lesions into a volume of the scene."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import slicer

from GenerativeAugmentLib import exchange, hierarchy
from GenerativeAugmentLib.catalogueFile import ModelEntry
from GenerativeAugmentLib.cohorts import FrozenCohort, SceneCase, cohortCases, readCohort, safeName
from GenerativeAugmentLib.errors import JobError, _
from GenerativeAugmentLib.frozen import FrozenSegmentation, FrozenVolume
from GenerativeAugmentLib.jobBuilders.common import folderOf, modalityOf, outputFolder, patientOf, wrongTask
from GenerativeAugmentLib.jobCenter import PlannedJob
from GenerativeAugmentLib.jobs import Job, newJobFolder
from GenerativeAugmentLib.parameters import LesionSource, LesionsParameters, Placement
from GenerativeAugmentLib.results import PromisedResult
from GenerativeAugmentLib.steps import Preparation, Steps

SMALLEST_DIAMETER_MM = 0.1

LESION_VALUE = 1


def lesionsJob(parameters: LesionsParameters, entry: ModelEntry | None = None, device: str = "auto") -> PlannedJob:
    """Insert lesions into a volume.

    Args:
        parameters: where, which and how many.
        entry: the lesion model, for that source.
        device: for the lesion model; insertion itself needs none.

    Raises:
        JobError: "bad_parameter" for a point list without points, "wrong_labels" for a missing segment, "unpaired" for
            a bank without images of the host's kind; "geometry_mismatch".
    """
    host = parameters.hostVolume
    bank, channel = _bankOf(parameters, entry)
    points = controlPoints(parameters.points) if parameters.placement is Placement.POINTS else None
    tissue, tissueLabels = _frozenTissue(parameters)
    title = _("Lesions in {volume}").format(volume=host.GetName())
    case = SceneCase(
        patientOf(host),
        safeName(host.GetName()),
        {channel: host},
        modality={channel: modalityOf(host, parameters.modality)},
    )
    cohort = FrozenCohort([case], host.GetName())
    folder = newJobFolder("insert")
    before = ()
    inputs: dict[str, Path | list[Path]] = {"host": folder / "host", "tissue": folder / "tissue.nrrd"}
    if parameters.source is LesionSource.MODEL and entry is not None:
        making = _lesionMakingJob(parameters, entry, device)
        before = (making,)
        bank = making.folder / making.output
    if bank is not None:
        inputs["bank"] = bank
    job = Job(
        "insert",
        folder,
        _insertion(parameters, channel, tissueLabels, points),
        inputs,
        seed=parameters.seed,
        device="auto",
        output=outputFolder(parameters.outputFolder, title),
        title=title,
    )
    promise = PromisedResult(
        jobTitle=title,
        hostItem=hierarchy.itemOf(host),
        referenceGeometry=exchange.volumeGeometry(host),
        labelNames={LESION_VALUE: parameters.lesionName.strip()},
        kind=job.kind,
        recipe="" if entry is None else entry.recipe,
        seed=parameters.seed,
        channels=(channel,),
    )

    def writing() -> Steps[None]:
        yield from cohort.writing(folder / "host")
        yield from tissue.writing(folder / "tissue.nrrd")

    preparation = Preparation(writing(), cohort.bytes + tissue.bytes)
    return PlannedJob(job, promise, before, preparation=preparation, context={"host": host.GetID()})


def controlPoints(node: Any) -> list[list[float]]:
    """RAS millimeters of the points of a list that are set.

    Raises:
        JobError: "bad_parameter" when there is none.
    """
    points = []
    for index in range(node.GetNumberOfControlPoints()):
        if node.GetNthControlPointPositionStatus(index) == slicer.vtkMRMLMarkupsNode.PositionDefined:
            position = [0.0, 0.0, 0.0]
            node.GetNthControlPointPositionWorld(index, position)
            points.append(position)
    if not points:
        raise JobError(
            "bad_parameter",
            node.GetName(),
            _("no point"),
            _("a point for each lesion"),
            _("Set a point in a slice view where the lesion goes."),
        )
    return points


def _frozenTissue(parameters: LesionsParameters) -> tuple[FrozenVolume | FrozenSegmentation, list[int]]:
    """The tissue on the host's grid; the label values in it that count, none for all."""
    tissue, host = parameters.tissueNode, parameters.hostVolume
    if tissue.IsA("vtkMRMLSegmentationNode"):
        return FrozenSegmentation(tissue, host, [parameters.tissueSegment]), []
    difference = exchange.describeDifference(exchange.volumeGeometry(tissue), exchange.volumeGeometry(host))
    if difference:
        raise JobError(
            "geometry_mismatch",
            tissue.GetName(),
            difference,
            _("the voxel grid of {volume}").format(volume=host.GetName()),
            _("Convert the label map to a segmentation, or resample it onto that grid."),
        )
    return FrozenVolume(tissue), [int(parameters.tissueSegment)]


def _bankOf(parameters: LesionsParameters, entry: ModelEntry | None) -> tuple[Path | None, str]:
    """The bank, and the image channel that host and bank have in common."""
    # Of a host that looks like CT and is not said to be it, its cohort is refused, whatever the source.
    modality = modalityOf(parameters.hostVolume, parameters.modality) or "MR"
    if parameters.source is LesionSource.PROCEDURAL:
        return None, "image"
    if parameters.source is LesionSource.BANK:
        subject: Any = parameters.bankFolder
        cohort = readCohort(parameters.bankFolder)
        annotated = [case for case in cohortCases(cohort) if case.label is not None]
        channels = {name: kind for name, kind in cohort["channels"].items() if any(name in c.images for c in annotated)}
    else:
        if entry is None or not entry.makesLabels:
            raise wrongTask(entry, _("a model that makes lesions together with their label map"))
        subject, channels = entry.title, {channel: entry.modality[channel] for channel in entry.targets}
    fitting = [channel for channel, kind in channels.items() if kind == modality]
    if not fitting:
        raise JobError(
            "wrong_modality",
            subject,
            ", ".join(f"{channel} ({kind})" for channel, kind in channels.items()) or _("no annotated image"),
            _("annotated images of modality {modality}, as {volume}").format(
                modality=modality, volume=parameters.hostVolume.GetName()
            ),
            _("Choose another source of lesions, or state the volume's modality."),
        )
    return (parameters.bankFolder if parameters.source is LesionSource.BANK else None), fitting[0]


def _lesionMakingJob(parameters: LesionsParameters, entry: ModelEntry, device: str) -> Job:
    return Job(
        "synthesize",
        newJobFolder("synthesize"),
        {"count": parameters.modelCases, "file_format": "nrrd"},
        {"package": folderOf(entry)},
        seed=parameters.seed,
        device=device,
        title=_("Lesions by {model}").format(model=entry.title),
    )


def _insertion(
    parameters: LesionsParameters, channel: str, tissueLabels: list[int], points: list[list[float]] | None
) -> dict[str, Any]:
    """The parameters of an insertion, as genaug.insertion.InsertionParameters has them."""
    procedural = parameters.source is LesionSource.PROCEDURAL
    if procedural:
        source = {"kind": "procedural", "shape": parameters.shape.value}
    else:
        source = {"kind": "bank", "value": parameters.bankValue}
    asCarved = parameters.ownContrast and not procedural
    return {
        "source": source,
        "count": parameters.count if points is None else len(points),
        "diameter_mm": [max(parameters.diameter.minimum, SMALLEST_DIAMETER_MM), parameters.diameter.maximum],
        "contrast": None if asCarved else [parameters.contrastLow, parameters.contrastHigh],
        "contrast_unit": parameters.contrastUnit.value,
        "margin_mm": parameters.margin,
        "tissue_labels": tissueLabels,
        "lesion_value": LESION_VALUE,
        "at": points,
        "allow_outside": parameters.allowOutside and points is not None,
        "channel": channel,
        "lesion_name": parameters.lesionName.strip(),
        "file_format": "nrrd",
    }
