"""Cohorts, read as plain data and made from what is in the scene.

The format is the worker's; what is written here is what its models accept.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import slicer

from GenerativeAugmentLib import exchange
from GenerativeAugmentLib.cohortFiles import (
    MANIFEST,
    CaseEntry,
    cohortCases,
    labelNames,
    manifestPath,
    readCohort,
)
from GenerativeAugmentLib.errors import JobError, _
from GenerativeAugmentLib.files import readJson, writeJson, writingFolder
from GenerativeAugmentLib.labelMaps import presentValues
from GenerativeAugmentLib.provenance import isSynthetic, recordOf

__all__ = [
    "MANIFEST",
    "CaseEntry",
    "SceneCase",
    "cohortCases",
    "labelNames",
    "manifestPath",
    "readCohort",
    "safeName",
    "writeCohortFromScene",
]

RECORD_SUFFIX = ".record.json"
FORMATS = ("nrrd", "nii.gz")

_SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")


@dataclass(frozen=True)
class SceneCase:
    """Nodes of the scene that make one case.

    Attributes:
        patient: whom they show; cases of one patient are never divided between training and test.
        caseId: unique in the cohort; letters, digits and . _ + -.
        images: channel to volume node, all on one voxel grid.
        label: label map volume on that grid, or a segmentation, or None.
        modality: channel to modality, such as "MR" or "CT"; what the scene knows where it is not said.
    """

    patient: str
    caseId: str
    images: Mapping[str, Any]
    label: Any = None
    modality: Mapping[str, str] = field(default_factory=dict)


def writeCohortFromScene(items: Sequence[SceneCase], folder: Path, name: str = "", fileFormat: str = "nrrd") -> Path:
    """Write volumes and segmentations of the scene as a cohort that the worker takes.

    Segments of the same name get the same label value in every case. What a generator made is marked as synthetic, with
    the patients it descends from, so that it is kept out of where only real cases may be.

    Args:
        items: the cases.
        folder: a new or empty one.
        name: of the cohort, for reports; the folder's name by default.
        fileFormat: "nrrd", raw, or "nii.gz", for a cohort that is kept.

    Returns:
        The folder.

    Raises:
        JobError: "empty_cohort"; "bad_parameter" for names; "geometry_mismatch" within a case; "wrong_labels" when a
            label has two names; what writing raises. Nothing is left behind.
    """
    _requireSound(items, fileFormat)
    folder = Path(folder)
    labels = _LabelTable(items)
    with writingFolder(folder) as working:
        cases = [_writeCase(item, working, labels, fileFormat) for item in items]
        notes = [_note(item) for item in items if _isSynthetic(item) and _recordOf(item) is None]
        writeJson(
            working / MANIFEST,
            {
                "schema_version": 1,
                "name": name or folder.name,
                "channels": _channels(items),
                "label_names": {str(value): label for value, label in sorted(labels.names.items())},
                "split": {},
                "notes": notes,
                "cases": cases,
            },
        )
    return folder


class _LabelTable:
    """One value for each label name over all cases, and one name for each value."""

    def __init__(self, items: Sequence[SceneCase]) -> None:
        self.names: dict[int, str] = {}
        # Label maps first: their values stand in the voxels, while segments can be given any.
        for item in items:
            if item.label is not None and not item.label.IsA("vtkMRMLSegmentationNode"):
                self._addLabelMap(item)
        for item in items:
            if item.label is not None and item.label.IsA("vtkMRMLSegmentationNode"):
                for name in segmentNames(item.label):
                    self._addName(name)

    def value(self, name: str) -> int:
        """The value of a name."""
        return next(value for value, known in self.names.items() if known == name)

    def _addName(self, name: str) -> None:
        if name not in self.names.values():
            self.names[max(self.names, default=0) + 1] = name

    def _addLabelMap(self, item: SceneCase) -> None:
        for value in presentValues(item.label, item.label.GetName()):
            name = labelName(item.label, value)
            if self.names.setdefault(value, name) != name:
                raise JobError(
                    "wrong_labels",
                    item.label.GetName(),
                    _("label {value} called '{name}'").format(value=value, name=name),
                    _("'{name}', as in the other cases").format(name=self.names[value]),
                    _("Give the same label the same name in every case."),
                )


def segmentNames(segmentationNode: Any) -> list[str]:
    """Names of a segmentation's segments, in their order."""
    segmentation = segmentationNode.GetSegmentation()
    return [segmentation.GetNthSegment(index).GetName() for index in range(segmentation.GetNumberOfSegments())]


def labelName(labelNode: Any, value: int) -> str:
    """What a label of a label map volume is called: by its color table, if that was made for it."""
    display = labelNode.GetDisplayNode()
    colors = None if display is None else display.GetColorNode()
    # Slicer's own tables, which every label map gets by default, are shared: "tissue" and "bone" are not meant there.
    own = colors is not None and not colors.GetSingletonTag() and value < colors.GetNumberOfColors()
    name = colors.GetColorName(value) if own else ""
    return name if name and name != "(none)" else f"label {value}"


def _writeCase(item: SceneCase, folder: Path, labels: _LabelTable, fileFormat: str) -> dict:
    """Write the files of one case; its entry in the manifest."""
    place = folder / item.caseId
    place.mkdir()
    synthetic = _isSynthetic(item)
    reference = next(iter(item.images.values()))
    images = {}
    for channel, node in item.images.items():
        _requireGeometry(item, node, reference)
        path = place / f"{channel}.nrrd"
        exchange.writeVolume(node, path, synthetic=synthetic, modality=_modality(item, channel))
        images[channel] = _stored(path, fileFormat, synthetic)
    label = None
    if item.label is not None:
        path = place / "label.nrrd"
        _writeLabel(item, reference, path, labels, synthetic)
        label = _stored(path, fileFormat, synthetic)
    entry = {
        "id": item.caseId,
        "patient": item.patient,
        "images": {channel: path.relative_to(folder).as_posix() for channel, path in images.items()},
        "label": None if label is None else label.relative_to(folder).as_posix(),
        "origin": "synthetic" if synthetic else "real",
    }
    return {**entry, **_descent(item, place, folder)} if synthetic else entry


def _writeLabel(item: SceneCase, reference: Any, path: Path, labels: _LabelTable, synthetic: bool) -> None:
    if not item.label.IsA("vtkMRMLSegmentationNode"):
        _requireGeometry(item, item.label, reference)
        exchange.writeVolume(item.label, path, synthetic=synthetic)
        return
    written = exchange.writeSegmentation(item.label, reference, path)
    wanted = {value: labels.value(name) for value, name in written.items()}
    if any(value != new for value, new in wanted.items()) or synthetic:
        _renumber(path, wanted, synthetic)


def _renumber(path: Path, wanted: dict[int, int], synthetic: bool) -> None:
    """Give the labels in a file other values."""
    node = slicer.vtkMRMLLabelMapVolumeNode()
    exchange.readVolumeInto(path, node)
    array = slicer.util.arrayFromVolume(node)
    largest = max(wanted.values(), default=0)
    table = np.zeros(int(array.max(initial=0)) + 1, np.uint8 if largest < 256 else np.uint16)
    for value, new in wanted.items():
        if value < table.size:
            table[value] = new
    slicer.util.updateVolumeFromArray(node, table[array])
    exchange.writeVolume(node, path, synthetic=synthetic)


def _stored(path: Path, fileFormat: str, synthetic: bool) -> Path:
    """The file in the format that was asked for, in place of the raw one."""
    if fileFormat == "nrrd":
        return path
    import SimpleITK

    target = path.with_name(f"{path.stem}.{fileFormat}")
    image = SimpleITK.ReadImage(str(path))
    if synthetic:
        # This key becomes the description in a NIfTI header, where the worker has its mark, too.
        image.SetMetaData("ITK_FileNotes", exchange.SYNTHETIC_MARK)
    SimpleITK.WriteImage(image, str(target), useCompression=True)
    path.unlink()
    return target


def _descent(item: SceneCase, place: Path, folder: Path) -> dict:
    """Record, parents and patients of a synthetic case."""
    record = _recordOf(item)
    if record is None:
        return {}
    target = place / f"{item.caseId}{RECORD_SUFFIX}"
    shutil.copyfile(record, target)
    content = readJson(record, _("the Record of a case"))
    return {
        "parents": list(content.get("parents", ())),
        "derived_from": list(content.get("patients", ())),
        "record": target.relative_to(folder).as_posix(),
    }


def _note(item: SceneCase) -> str:
    return _("{case} is synthetic and its Record is gone: which patients it descends from is not known.").format(
        case=item.caseId
    )


def _isSynthetic(item: SceneCase) -> bool:
    return any(isSynthetic(node) for node in item.images.values())


def _recordOf(item: SceneCase) -> Path | None:
    records = (recordOf(node) for node in item.images.values())
    return next((record for record in records if record is not None), None)


def _modality(item: SceneCase, channel: str) -> str:
    """What was said, else what the scene knows, else "MR", as the worker takes it."""
    return item.modality.get(channel) or exchange.modalityOf(item.images[channel]) or "MR"


def _channels(items: Sequence[SceneCase]) -> dict[str, str]:
    """Channel to modality over all cases."""
    channels: dict[str, str] = {}
    for item in items:
        for channel in item.images:
            modality = _modality(item, channel)
            if channels.setdefault(channel, modality) != modality:
                raise JobError(
                    "wrong_modality",
                    item.caseId,
                    _("channel {channel} as {modality}").format(channel=channel, modality=modality),
                    _("{modality}, as in the other cases").format(modality=channels[channel]),
                    _("Give every modality a channel of its own."),
                )
    return channels


def _requireSound(items: Sequence[SceneCase], fileFormat: str) -> None:
    if fileFormat not in FORMATS:
        raise JobError("bad_parameter", "fileFormat", fileFormat, ", ".join(FORMATS), _("Choose one of them."))
    if not items:
        raise JobError(
            "empty_cohort", _("cohort"), _("no case"), _("at least one case"), _("Choose volumes in the scene.")
        )
    seen: set[str] = set()
    for item in items:
        for name in (item.caseId, *item.images):
            if not _SAFE_NAME.fullmatch(name) or (name == "label" and name in item.images):
                raise JobError(
                    "bad_parameter",
                    item.caseId,
                    _("'{name}' as a file name").format(name=name),
                    _("letters, digits and . _ + -, beginning with a letter or digit; 'label' is the label map's"),
                    _("Rename it, for instance to '{name}'.").format(name=safeName(name)),
                )
        if not item.images or not item.patient or item.caseId.lower() in seen:
            raise JobError(
                "bad_parameter",
                item.caseId,
                _("{count} images of patient '{patient}'").format(count=len(item.images), patient=item.patient),
                _("at least one image, a patient, and an id that no other case has"),
                _("Complete the case, or leave it out."),
            )
        seen.add(item.caseId.lower())


def safeName(text: str) -> str:
    """`text` with what cannot stand in a file name replaced by "-"."""
    return re.sub(r"[^A-Za-z0-9._+-]+", "-", text).strip("-._+") or "unnamed"


def _requireGeometry(item: SceneCase, node: Any, reference: Any) -> None:
    difference = exchange.describeDifference(exchange.volumeGeometry(node), exchange.volumeGeometry(reference))
    if difference:
        raise JobError(
            "geometry_mismatch",
            _("{node} of case {case}").format(node=node.GetName(), case=item.caseId),
            difference,
            _("the voxel grid of {reference}").format(reference=reference.GetName()),
            _("Resample it onto that grid, in Slicer with Resample Scalar/Vector/DWI Volume."),
        )
