"""From a frozen pack of parameters and the scene to a job and the promise of its result.

Everything is decided and written here, at Apply: later changes in the panels or in the scene do not reach a job, nor
the place of its result.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import slicer
import vtk

from GenerativeAugmentLib import exchange, hierarchy, provenance
from GenerativeAugmentLib.catalogueFile import ModelEntry
from GenerativeAugmentLib.cohorts import (
    SceneCase,
    cohortCases,
    readCohort,
    safeName,
    segmentNames,
    writeCohortFromScene,
)
from GenerativeAugmentLib.errors import JobError, _
from GenerativeAugmentLib.files import readJson, writeJson
from GenerativeAugmentLib.jobCenter import PlannedJob
from GenerativeAugmentLib.jobs import Job, newJobFolder
from GenerativeAugmentLib.modelFit import geometryProblem, gridOf, modalityProblem
from GenerativeAugmentLib.parameters import (
    InputModality,
    LesionSource,
    LesionsParameters,
    Placement,
    SynthesizeParameters,
    TranslateParameters,
    isSet,
)
from GenerativeAugmentLib.results import PromisedResult

SMALLEST_DIAMETER_MM = 0.1

LESION_VALUE = 1


def synthesizeJob(parameters: SynthesizeParameters, entry: ModelEntry, device: str = "auto") -> PlannedJob:
    """Make cases with a model, on the grid of a label map where the model follows one.

    Raises:
        JobError: "bad_package" for a model of another task; "field_of_view", "wrong_labels" and "bad_parameter" for
            the label map; what writing raises.
    """
    grid = gridOf(entry)
    if entry.task not in ("synthesis", "label_to_image"):
        raise _wrongTask(entry, _("a model that makes new images"))
    folder = newJobFolder("synthesize")
    title = _("Synthesis with {model}").format(model=entry.title)
    inputs: dict[str, Path | list[Path]] = {"package": _folderOf(entry)}
    geometry = None
    if entry.task == "label_to_image":
        geometry = _writeLabels(parameters.labelNode, entry, grid, folder / "labels")
        inputs["labels"] = folder / "labels"
    options = {"steps": parameters.steps} if parameters.steps else {}
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
    host = parameters.labelNode if geometry is not None else None
    return PlannedJob(job, _promise(job, host, geometry, entry))


def translateJob(parameters: TranslateParameters, entry: ModelEntry, device: str = "auto") -> PlannedJob:
    """Translate a volume, or the several channels that a model takes, onto the same voxels.

    Raises:
        JobError: "wrong_modality" or "field_of_view" when the model cannot take it, before anything is written;
            "geometry_mismatch" for channels on different grids or under a transform; what writing raises.
    """
    grid = gridOf(entry)
    if entry.task != "translation":
        raise _wrongTask(entry, _("a translation model"))
    volumes = translationInputs(parameters, entry)
    for channel, volume in volumes.items():
        problem = translationProblem(entry, grid, channel, volume, parameters.modality)
        if problem is not None:
            raise problem
    first = next(iter(volumes.values()))
    folder = newJobFolder("translate")
    title = _("{volume} by {model}").format(volume=first.GetName(), model=entry.title)
    case = SceneCase(
        patient=patientOf(first),
        caseId=safeName(first.GetName()),
        images=volumes,
        modality={channel: _modality(volume, parameters.modality) for channel, volume in volumes.items()},
    )
    writeCohortFromScene([case], folder / "inputs", name=first.GetName())
    job = Job(
        "translate",
        folder,
        {"overlap": parameters.overlap, "file_format": "nrrd"},
        {"package": _folderOf(entry), "cohort": folder / "inputs"},
        seed=parameters.seed,
        device=device,
        output=outputFolder(parameters.outputFolder, title),
        title=title,
    )
    return PlannedJob(
        job, _promise(job, first, exchange.volumeGeometry(first), entry), context={"input": first.GetID()}
    )


def translationInputs(parameters: TranslateParameters, entry: ModelEntry) -> dict[str, Any]:
    """Source channel of a model to volume.

    Raises:
        JobError: "bad_package" for a model of more channels than there are inputs, "unpaired" for a missing one.
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
    volumes = dict(zip(entry.sources, given))
    missing = [channel for channel, volume in volumes.items() if volume is None]
    if missing:
        raise JobError(
            "unpaired", ", ".join(missing), _("no volume"), _("one for each channel"), _("Choose the input volumes.")
        )
    return volumes


def translationProblem(
    entry: ModelEntry, grid: Mapping[str, Any], channel: str, volume: Any, stated: InputModality
) -> JobError | None:
    """Why a model cannot take a volume as its channel, by modality and field of view; None when it can."""
    subject = volume.GetName()
    found = _modality(volume, stated)
    problem = modalityProblem(entry.modality.get(channel, ""), found)
    if problem:
        remedy = _("Choose another model or volume, or state the volume's modality.")
        return JobError("wrong_modality", subject, problem, _("a volume this model takes"), remedy)
    problem = geometryProblem(dict(grid), exchange.volumeGeometry(volume), whole=True)
    if problem:
        remedy = _("Crop or pad the volume to the region the model was trained on.")
        return JobError("field_of_view", subject, problem, _("a volume this model takes"), remedy)
    return None


def lesionsJob(parameters: LesionsParameters, entry: ModelEntry | None = None, device: str = "auto") -> PlannedJob:
    """Insert lesions into a volume.

    Args:
        parameters: where, which and how many.
        entry: the lesion model, for that source.
        device: for the lesion model; insertion itself needs none.

    Raises:
        JobError: "bad_parameter" for a point list without points, "wrong_labels" for a missing segment, "unpaired" for
            a bank without images of the host's kind; what writing raises.
    """
    host = parameters.hostVolume
    bank, channel = _bankOf(parameters, entry)
    points = controlPoints(parameters.points) if parameters.placement is Placement.POINTS else None
    folder = newJobFolder("insert")
    title = _("Lesions in {volume}").format(volume=host.GetName())
    case = SceneCase(
        patientOf(host),
        safeName(host.GetName()),
        {channel: host},
        modality={channel: _modality(host, parameters.modality)},
    )
    writeCohortFromScene([case], folder / "host", name=host.GetName())
    tissueLabels = _writeTissue(parameters, folder / "tissue.nrrd")
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
    return PlannedJob(job, promise, before, context={"host": host.GetID(), "channel": channel})


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


def outputFolder(chosen: Path, title: str) -> str:
    """The output of a job: a new folder in the one the user has chosen, or in the job's own."""
    if not isSet(chosen):
        return "outputs"
    # Seconds alone would let two quick jobs share a folder.
    return str(Path(chosen) / f"{safeName(title)[:60]}-{datetime.now():%Y%m%d-%H%M%S-%f}")


def patientOf(node: Any) -> str:
    """Whom a node shows: its patient in the subject hierarchy, else its own name."""
    tree, item = hierarchy.hierarchyNode(), hierarchy.itemOf(node)
    level = slicer.vtkMRMLSubjectHierarchyConstants.GetDICOMLevelPatient()
    patient = tree.GetItemAncestorAtLevel(item, level) if item else 0
    return (tree.GetItemName(patient) if patient else "") or node.GetName() or node.GetID()


def segmentationGrid(segmentationNode: Any) -> Any:
    """A volume without voxels of its own on the grid of a segmentation, not in the scene.

    Raises:
        JobError: "wrong_labels" for a segmentation that has no grid yet.
    """
    image = slicer.vtkOrientedImageData()
    converter = slicer.vtkSegmentationConverter
    text = segmentationNode.GetSegmentation().GetConversionParameter(converter.GetReferenceImageGeometryParameterName())
    if not text or not converter.DeserializeImageGeometry(text, image, False):
        raise JobError(
            "wrong_labels",
            segmentationNode.GetName(),
            _("no source geometry"),
            _("a segmentation that was made on a volume"),
            _("Choose the source volume in the Segment Editor."),
        )
    matrix = vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(matrix)
    node = slicer.vtkMRMLScalarVolumeNode()
    extent = image.GetExtent()
    # A grid may begin at another voxel than 0; a volume in the scene does not.
    origin = matrix.MultiplyPoint((extent[0], extent[2], extent[4], 1))
    for axis in range(3):
        matrix.SetElement(axis, 3, origin[axis])
    empty = vtk.vtkImageData()
    empty.SetDimensions(*(extent[2 * axis + 1] - extent[2 * axis] + 1 for axis in range(3)))
    node.SetAndObserveImageData(empty)
    node.SetIJKToRASMatrix(matrix)
    return node


def labelGeometry(labelNode: Any) -> exchange.Geometry:
    """The voxel grid of a label map or of a segmentation."""
    isSegmentation = labelNode.IsA("vtkMRMLSegmentationNode")
    return exchange.volumeGeometry(segmentationGrid(labelNode) if isSegmentation else labelNode)


def labelProblem(labelNode: Any, entry: ModelEntry, grid: Mapping[str, Any]) -> JobError | None:
    """Why a model cannot make an image for a label map or segmentation; None when it can."""
    problem = geometryProblem(dict(grid), labelGeometry(labelNode), whole=False)
    if problem:
        remedy = _("Crop or pad the label map to the region the model was trained on.")
        return JobError("field_of_view", labelNode.GetName(), problem, _("a label map this model takes"), remedy)
    if not labelNode.IsA("vtkMRMLSegmentationNode"):
        return None
    unknown = [name for name in segmentNames(labelNode) if name.casefold() not in _valuesByName(entry)]
    if unknown or not segmentNames(labelNode):
        return JobError(
            "wrong_labels",
            labelNode.GetName(),
            _("segments {names}").format(names=", ".join(unknown) or _("none")),
            ", ".join(entry.labels.values()),
            _("Name the segments as the model's labels are called."),
        )
    return None


def _valuesByName(entry: ModelEntry) -> dict[str, int]:
    return {name.casefold(): value for value, name in entry.labels.items()}


def _writeLabels(labelNode: Any, entry: ModelEntry, grid: Mapping[str, Any], folder: Path) -> exchange.Geometry:
    """The label map to follow, as a cohort of one case without images; its geometry."""
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
    path = folder / "label.nrrd"
    folder.mkdir(parents=True)
    synthetic = provenance.isSynthetic(labelNode)
    if labelNode.IsA("vtkMRMLSegmentationNode"):
        written = exchange.writeSegmentation(labelNode, segmentationGrid(labelNode), path)
        values = _valuesByName(entry)
        _renumber(path, {value: values[name.casefold()] for value, name in written.items()}, synthetic)
    else:
        exchange.writeVolume(labelNode, path, synthetic=synthetic)
    record = provenance.recordOf(labelNode)
    case = {
        "id": safeName(labelNode.GetName()),
        "patient": patientOf(labelNode),
        "label": path.name,
        "origin": "synthetic" if synthetic else "real",
    }
    if record is not None:
        case["derived_from"] = list(readJson(record, _("the Record of a case")).get("patients", ()))
    names = {str(value): name for value, name in entry.labels.items()}
    manifest = {"schema_version": 1, "name": labelNode.GetName(), "channels": {}, "label_names": names, "cases": [case]}
    writeJson(folder / "cohort.json", manifest)
    return exchange.fileGeometry(path)


def _renumber(path: Path, wanted: Mapping[int, int], synthetic: bool) -> None:
    """Give the labels in a file other values."""
    node = slicer.vtkMRMLLabelMapVolumeNode()
    exchange.readVolumeInto(path, node)
    table = np.zeros(max(wanted) + 1, np.uint8 if max(wanted.values()) < 2**8 else np.uint16)
    for value, new in wanted.items():
        table[value] = new
    slicer.util.updateVolumeFromArray(node, table[slicer.util.arrayFromVolume(node)])
    exchange.writeVolume(node, path, synthetic=synthetic)


def _writeTissue(parameters: LesionsParameters, path: Path) -> list[int]:
    """The tissue on the host's grid; the label values in it that count, none for all."""
    tissue, host = parameters.tissueNode, parameters.hostVolume
    if tissue.IsA("vtkMRMLSegmentationNode"):
        exchange.writeSegmentation(tissue, host, path, [parameters.tissueSegment])
        return []
    difference = exchange.describeDifference(exchange.volumeGeometry(tissue), exchange.volumeGeometry(host))
    if difference:
        raise JobError(
            "geometry_mismatch",
            tissue.GetName(),
            difference,
            _("the voxel grid of {volume}").format(volume=host.GetName()),
            _("Convert the label map to a segmentation, or resample it onto that grid."),
        )
    exchange.writeVolume(tissue, path)
    return [int(parameters.tissueSegment)]


def _bankOf(parameters: LesionsParameters, entry: ModelEntry | None) -> tuple[Path | None, str]:
    """The bank, and the image channel that host and bank have in common."""
    modality = _modality(parameters.hostVolume, parameters.modality) or "MR"
    if parameters.source is LesionSource.PROCEDURAL:
        return None, "image"
    if parameters.source is LesionSource.BANK:
        subject: Any = parameters.bankFolder
        cohort = readCohort(parameters.bankFolder)
        annotated = [case for case in cohortCases(cohort) if case.label is not None]
        channels = {name: kind for name, kind in cohort["channels"].items() if any(name in c.images for c in annotated)}
    else:
        if entry is None or not entry.makesLabels:
            raise _wrongTask(entry, _("a model that makes lesions together with their label map"))
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
        {"package": _folderOf(entry)},
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


def _modality(volume: Any, stated: InputModality) -> str:
    """What was said, else what the scene knows; "" for neither."""
    return stated.value or exchange.modalityOf(volume)


def _promise(job: Job, host: Any, geometry: exchange.Geometry | None, entry: ModelEntry) -> PromisedResult:
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


def _folderOf(entry: ModelEntry) -> Path:
    folder = entry.folder
    # `gridOf` has refused an entry without its files.
    assert folder is not None
    return folder


def _wrongTask(entry: ModelEntry | None, expected: str) -> JobError:
    found = _("no model") if entry is None else _("a model for {task}").format(task=entry.task)
    return JobError("bad_package", "" if entry is None else entry.title, found, expected, _("Choose another model."))
