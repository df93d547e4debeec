"""Cohorts, read as plain data and made from what is in the scene.

The format is the worker's; what is written here is what its models accept.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import slicer

from GenerativeAugmentLib import exchange, modalities
from GenerativeAugmentLib.cohortFiles import (
    MANIFEST,
    CaseEntry,
    cohortCases,
    labelNames,
    manifestPath,
    readCohort,
)
from GenerativeAugmentLib.errors import JobError, _
from GenerativeAugmentLib.files import explained, readJson, writeJson, writeText, writingFolder
from GenerativeAugmentLib.frozen import FORMATS, FrozenSegmentation, FrozenVolume
from GenerativeAugmentLib.labelMaps import presentValues
from GenerativeAugmentLib.provenance import isSynthetic, recordOf
from GenerativeAugmentLib.steps import Steps

__all__ = [
    "MANIFEST",
    "CaseEntry",
    "FrozenCohort",
    "SceneCase",
    "cohortCases",
    "labelNames",
    "manifestPath",
    "readCohort",
    "realPatients",
    "safeName",
]

RECORD_SUFFIX = ".record.json"

_SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")


@dataclass(frozen=True)
class SceneCase:
    """Nodes of the scene that make one case.

    Attributes:
        patient: whom they show; cases of one patient are never divided between training and test.
        caseId: unique in the cohort; letters, digits and . _ + -.
        images: channel to volume node, all on one voxel grid.
        label: label map volume on that grid, or a segmentation, or None.
        modality: channel to modality, such as "MR" or "CT"; where it is not said, see `modalities.channelModality`.
        covariates: what is known of the case, such as {"age": 60, "sex": "F"}, for models that are conditioned on it.

    Raises:
        JobError: "bad_parameter" for what is no node, such as None for a name that the scene does not have.
    """

    patient: str
    caseId: str
    images: Mapping[str, Any]
    label: Any = None
    modality: Mapping[str, str] = field(default_factory=dict)
    covariates: Mapping[str, float | str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        masks = {} if self.label is None else {"label": self.label}
        for wanted, nodes in (("vtkMRMLScalarVolumeNode", self.images), ("vtkMRMLDisplayableNode", masks)):
            for name, node in nodes.items():
                if not isinstance(node, getattr(slicer, wanted)):
                    raise JobError(
                        "bad_parameter",
                        f"{self.caseId} {name}",
                        repr(node),
                        _("a node of the scene, of class {kind}").format(kind=wanted),
                        _("Look its name up in the Data module."),
                    )


@dataclass(frozen=True)
class _FrozenCase:
    """One case as it is at Apply.

    Attributes:
        patient: whom it shows.
        caseId: its id.
        images: channel to volume.
        label: its label map or segmentation, None without one.
        labelNames: label value to name, of a label map.
        synthetic: whether a generator made it.
        record: text of its Record, "" without one.
        covariates: what is known of it.
    """

    patient: str
    caseId: str
    images: dict[str, FrozenVolume]
    label: FrozenVolume | FrozenSegmentation | None
    labelNames: Mapping[int, str]
    synthetic: bool
    record: str
    covariates: dict[str, float | str]

    @property
    def files(self) -> Iterator[tuple[str, FrozenVolume | FrozenSegmentation]]:
        """What is written of it, by the name of its file."""
        yield from self.images.items()
        if self.label is not None:
            yield "label", self.label


class FrozenCohort:
    """Volumes and segmentations of the scene, to be written as a cohort that the worker takes.

    Segments of the same name get the same label value in every case. What a generator made is marked as synthetic, with
    the patients it descends from, so that it is kept out of where only real cases may be.

    Args:
        items: the cases.
        name: of the cohort, for reports; the folder's name by default.
        fileFormat: "nrrd", raw, or "nii.gz", for a cohort that is kept.
        split: patient to part, see `cohortSplit`; by default all train.

    Raises:
        JobError: "empty_cohort"; "bad_parameter" for names; "wrong_modality" for a channel of several modalities, or
            of an unknown one that looks like CT; "geometry_mismatch" within a case; what freezing raises.
    """

    def __init__(
        self,
        items: Sequence[SceneCase],
        name: str = "",
        fileFormat: str = "nrrd",
        split: Mapping[str, str] | None = None,
    ) -> None:
        _requireSound(items, fileFormat)
        self._name, self._format, self._split = name, fileFormat, dict(split or {})
        self._channels = _channels(items)
        self._cases = [_frozenCase(item, self._channels) for item in items]

    @property
    def bytes(self) -> int:
        """That `writing` yields."""
        return sum(file.bytes for case in self._cases for _name, file in case.files)

    def writing(self, folder: Path) -> Steps[Path]:
        """Write it into a new or empty folder, which is there when it is whole; returns the folder.

        Raises:
            JobError: "wrong_labels" when a label has two names; what writing raises. Nothing is left behind.
        """
        folder = Path(folder)
        with writingFolder(folder) as working:
            labels = _LabelTable()
            yield from labels.collecting(self._cases)
            cases = []
            for case in self._cases:
                cases.append((yield from self._writingCase(case, working, labels)))
            notes = [_note(case) for case in self._cases if case.synthetic and not case.record]
            writeJson(
                working / MANIFEST,
                {
                    "schema_version": 1,
                    "name": self._name or folder.name,
                    "channels": self._channels,
                    "label_names": {str(value): label for value, label in sorted(labels.names.items())},
                    "split": self._split,
                    "notes": notes,
                    "cases": cases,
                },
            )
        return folder

    def _writingCase(self, case: _FrozenCase, folder: Path, labels: _LabelTable) -> Steps[dict]:
        """Write the files of one case; its entry in the manifest."""
        place = folder / case.caseId
        place.mkdir()
        paths = {}
        for name, file in case.files:
            path = place / f"{name}.{self._format}"
            if isinstance(file, FrozenSegmentation):
                yield from file.writing(path, [labels.value(each) for each in file.names], case.synthetic)
            else:
                yield from file.writing(path)
            paths[name] = path.relative_to(folder).as_posix()
        entry = {
            "id": case.caseId,
            "patient": case.patient,
            "images": {channel: paths[channel] for channel in case.images},
            "label": paths.get("label"),
            "origin": "synthetic" if case.synthetic else "real",
            **({"covariates": case.covariates} if case.covariates else {}),
        }
        return {**entry, **_descent(case, place, folder)}


def realPatients(items: Sequence[SceneCase]) -> set[str]:
    """The patients of the real cases; of all where none is real."""
    return {item.patient for item in items if not _isSynthetic(item)} or {item.patient for item in items}


class _LabelTable:
    """One value for each label name over all cases, and one name for each value."""

    def __init__(self) -> None:
        self.names: dict[int, str] = {}

    def collecting(self, cases: Sequence[_FrozenCase]) -> Steps[None]:
        """Look at every case. Label maps come first: their values stand in the voxels, segments can be given any."""
        for case in cases:
            if isinstance(case.label, FrozenVolume):
                yield from self._addLabelMap(case.label, case.labelNames)
        for case in cases:
            if isinstance(case.label, FrozenSegmentation):
                for name in case.label.names:
                    self._addName(name)

    def value(self, name: str) -> int:
        """The value of a name."""
        return next(value for value, known in self.names.items() if known == name)

    def _addName(self, name: str) -> None:
        if name not in self.names.values():
            self.names[max(self.names, default=0) + 1] = name

    def _addLabelMap(self, label: FrozenVolume, names: Mapping[int, str]) -> Steps[None]:
        present: set[int] = set()
        for slab in label.slabs():
            present.update(presentValues(slab, label.name))
            # Only what is written counts as progress.
            yield 0
        for value in sorted(present):
            name = names.get(value) or f"label {value}"
            if self.names.setdefault(value, name) != name:
                raise JobError(
                    "wrong_labels",
                    label.name,
                    _("label {value} called '{name}'").format(value=value, name=name),
                    _("'{name}', as in the other cases").format(name=self.names[value]),
                    _("Give the same label the same name in every case."),
                )


def _frozenCase(item: SceneCase, modalities: Mapping[str, str]) -> _FrozenCase:
    reference, synthetic = next(iter(item.images.values())), _isSynthetic(item)
    images = {}
    for channel, node in item.images.items():
        _requireGeometry(item, node, reference)
        images[channel] = FrozenVolume(node, synthetic, modalities[channel])
    label: FrozenVolume | FrozenSegmentation | None = None
    names: Mapping[int, str] = {}
    if item.label is not None and item.label.IsA("vtkMRMLSegmentationNode"):
        label = FrozenSegmentation(item.label, reference)
    elif item.label is not None:
        _requireGeometry(item, item.label, reference)
        label, names = FrozenVolume(item.label, synthetic), labelNamesOf(item.label)
    text, covariates = _recordText(item), dict(item.covariates)
    return _FrozenCase(item.patient, item.caseId, images, label, names, synthetic, text, covariates)


def _recordText(item: SceneCase) -> str:
    record = _recordOf(item)
    try:
        return "" if record is None else record.read_text(encoding="utf-8")
    except OSError as error:
        raise explained(error, record or Path()) from error


def segmentNames(segmentationNode: Any) -> list[str]:
    """Names of a segmentation's segments, in their order."""
    segmentation = segmentationNode.GetSegmentation()
    return [segmentation.GetNthSegment(index).GetName() for index in range(segmentation.GetNumberOfSegments())]


def labelNamesOf(labelNode: Any) -> dict[int, str]:
    """What the labels of a label map volume are called, by its color table, if that was made for it."""
    display = labelNode.GetDisplayNode()
    colors = None if display is None else display.GetColorNode()
    # Slicer's own tables, which every label map gets by default, are shared: "tissue" and "bone" are not meant there.
    if colors is None or colors.GetSingletonTag():
        return {}
    names = {value: colors.GetColorName(value) for value in range(colors.GetNumberOfColors())}
    return {value: name for value, name in names.items() if name and name != "(none)"}


def _descent(case: _FrozenCase, place: Path, folder: Path) -> dict:
    """Record, parents and patients of a synthetic case; nothing of a real one."""
    if not case.synthetic or not case.record:
        return {}
    target = place / f"{case.caseId}{RECORD_SUFFIX}"
    writeText(target, case.record)
    content = readJson(target, _("the Record of a case"))
    return {
        "parents": list(content.get("parents", ())),
        "derived_from": list(content.get("patients", ())),
        "record": target.relative_to(folder).as_posix(),
    }


def _note(case: _FrozenCase) -> str:
    return _("{case} is synthetic and its Record is gone: which patients it descends from is not known.").format(
        case=case.caseId
    )


def _isSynthetic(item: SceneCase) -> bool:
    return any(isSynthetic(node) for node in item.images.values())


def _recordOf(item: SceneCase) -> Path | None:
    records = (recordOf(node) for node in item.images.values())
    return next((record for record in records if record is not None), None)


def _channels(items: Sequence[SceneCase]) -> dict[str, str]:
    """Channel to modality over all cases: what was said, what the scene knows, or what can be told from the images."""
    return {
        channel: _modality(channel, items) for channel in dict.fromkeys(name for one in items for name in one.images)
    }


def _modality(channel: str, items: Sequence[SceneCase]) -> str:
    held = [item for item in items if channel in item.images]
    known = [item.modality.get(channel) or exchange.modalityOf(item.images[channel]) for item in held]
    # Looking at the voxels is for those that say nothing.
    hounsfield = [not one and modalities.looksLikeHounsfield(item.images[channel]) for item, one in zip(held, known)]
    found = modalities.channelModality(channel, known, hounsfield)
    if not found and any(known):
        likely = [modalities.likelyModality(channel, *one) for one in zip(known, hounsfield)]
        other = next(index for index, modality in enumerate(likely) if modality != likely[0])
        raise JobError(
            "wrong_modality",
            held[other].caseId,
            _("channel {channel} as {modality}").format(channel=channel, modality=likely[other]),
            _("{modality}, as in the other cases").format(modality=likely[0]),
            _("Give every modality a channel of its own, or say of each case which it is."),
        )
    if not found:
        raise JobError(
            "wrong_modality",
            channel,
            _("images of unknown modality, whose values look like the Hounsfield units of CT"),
            _("images of which it is known"),
            _("Choose the modality in the panel; in a script, give it as modality."),
        )
    return found


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
    """`text` without accents, with what cannot stand in a file name replaced by "-"."""
    plain = "".join(letter for letter in unicodedata.normalize("NFKD", text) if not unicodedata.combining(letter))
    return re.sub(r"[^A-Za-z0-9._+-]+", "-", plain).strip("-._+") or "unnamed"


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
