"""Case: the images, label map and covariates of one subject, and how a new one is written."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Literal

from pydantic import Field

from genaug.errors import GenaugError, Reason
from genaug.files import writing_folder
from genaug.imageio import read_header, read_volume, write_volume
from genaug.nrrd import write_nrrd
from genaug.parameters import FileFormat
from genaug.record import RECORD_SUFFIX, Output, Record
from genaug.storage import storable
from genaug.strict import Frozen
from genaug.volume import LABEL, Volume, require_same_grid

_SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")


class Case(Frozen):
    """One subject's files.

    Attributes:
        id: unique in its cohort.
        patient: whom it shows; several cases may share one. A generated case that shows nobody has its own id here.
        images: channel name to file, or to the folder of a DICOM series.
        label: the label map on the grid of the images.
        covariates: age, sex, site, ...
        origin: "synthetic" for everything genaug or another generator made.
        parents: ids of the cases it was made from.
        derived_from: patients that any of its voxels descends from, including all a generating model was trained on.
        record: how it came to be, for a synthetic case.
        modalities: channel name to modality; set by the cohort, not stored with the case.
    """

    id: str = Field(min_length=1)
    patient: str = Field(min_length=1)
    images: dict[str, Path] = Field(default_factory=dict)
    label: Path | None = None
    covariates: dict[str, float | str] = Field(default_factory=dict)
    origin: Literal["real", "synthetic"] = "real"
    parents: list[str] = Field(default_factory=list)
    derived_from: list[str] = Field(default_factory=list)
    record: Path | None = None
    modalities: dict[str, str] = Field(default_factory=dict, exclude=True)

    def image(self, channel: str) -> Path:
        """The file or series of one channel; raises UNPAIRED when the case has no such channel."""
        if channel not in self.images:
            raise GenaugError(
                Reason.UNPAIRED,
                self.id,
                f"channels {', '.join(self.images) or 'none'}",
                f"a channel '{channel}'",
                "Add the missing image, or leave the case out.",
            )
        return self.images[channel]

    def volume(self, channel: str) -> Volume:
        """Read one channel, in its modality.

        Raises:
            GenaugError: UNPAIRED when the case has no such channel; as `imageio.read_volume`.
        """
        return read_volume(self.image(channel), self.modalities.get(channel))

    def label_map(self) -> Volume | None:
        """Read the label map, None when there is none; it must lie on the grid of the first image.

        Raises:
            GenaugError: GEOMETRY_MISMATCH, WRONG_LABELS; as `imageio.read_volume`.
        """
        if self.label is None:
            return None
        label = read_volume(self.label, LABEL)
        for path in list(self.images.values())[:1]:
            require_same_grid(read_header(path).grid(source=path), label)
        return label


def safe_name(text: str) -> str:
    """`text` without accents, with what cannot stand in a file name replaced by "-"."""
    plain = "".join(letter for letter in unicodedata.normalize("NFKD", text) if not unicodedata.combining(letter))
    return re.sub(r"[^A-Za-z0-9._+-]+", "-", plain).strip("-._+") or "unnamed"


def unique_name(text: str, taken: set[str]) -> str:
    """A file name for `text` that is not among those `taken`, also where upper and lower case are one; joins them."""
    name = stem = safe_name(text)
    number = 1
    while name.lower() in taken:
        number += 1
        name = f"{stem}-{number}"
    taken.add(name.lower())
    return name


def safe_names(texts: Iterable[str]) -> dict[str, str]:
    """Every text to a file name of its own, in the order of the texts."""
    taken: set[str] = set()
    return {text: unique_name(text, taken) for text in dict.fromkeys(texts)}


def write_case(
    folder: Path,
    case_id: str,
    patient: str,
    images: dict[str, Volume],
    label: Volume | None = None,
    record: Record | None = None,
    file_format: FileFormat = "nii.gz",
    covariates: dict[str, float | str] | None = None,
    synthetic: bool = False,
) -> Case:
    """Write `folder`/`case_id`/ with `<channel>.<ext>`, `label.<ext>` and `<case_id>.record.json`, all or nothing.

    Args:
        folder: where the cases of a job go.
        case_id: names the folder; letters, digits and . _ + -.
        patient: whom it shows, see `Case`.
        images: channel name to volume, all on one grid.
        label: label map on the same grid.
        record: makes the case synthetic: parents and patients are taken from it, the files' headers are marked, and it
            is written with `outputs` holding the voxel hashes and the grid of what a reader of these files gets back.
        file_format: "nii.gz", or "nrrd" for raw files that can be mapped into memory.
        covariates: stored with the case.
        synthetic: mark the headers of a synthetic case whose Record lies elsewhere.

    Raises:
        GenaugError: BAD_PARAMETER for an unsafe name or an existing case; GEOMETRY_MISMATCH, WRONG_LABELS, NOT_FINITE;
            DISK_FULL, NO_PERMISSION. None of them leaves a file behind.
    """
    _require_safe(case_id, *images)
    volumes = dict(images)
    if label is not None:
        volumes["label"] = replace(label, modality=LABEL)
    for other in list(volumes.values())[1:]:
        require_same_grid(next(iter(volumes.values())), other)
    final = Path(folder) / case_id
    synthetic = synthetic or record is not None
    outputs = {}
    with writing_folder(final) as working:
        for role, volume in volumes.items():
            name = f"{role}.{file_format}"
            if file_format == "nrrd":
                write_nrrd(working / name, volume, synthetic=synthetic)
            else:
                write_volume(working / name, volume, synthetic=synthetic)
            outputs[role] = Output.of(replace(volume, array=storable(volume)), name)
        if record is not None:
            record.model_copy(update={"outputs": outputs}).write(working / f"{case_id}{RECORD_SUFFIX}")
    return Case(
        id=case_id,
        patient=patient,
        images={channel: final / f"{channel}.{file_format}" for channel in images},
        label=final / f"label.{file_format}" if label is not None else None,
        covariates=covariates or {},
        origin="synthetic" if synthetic else "real",
        parents=list(record.parents) if record else [],
        derived_from=list(record.patients) if record else [],
        record=final / f"{case_id}{RECORD_SUFFIX}" if record else None,
        modalities={channel: volume.modality for channel, volume in images.items()},
    )


def _require_safe(case_id: str, *channels: str) -> None:
    for name in (case_id, *channels):
        if not _SAFE_NAME.fullmatch(name) or (name == "label" and name in channels):
            raise GenaugError(
                Reason.BAD_PARAMETER,
                case_id,
                f"'{name}' as a file name",
                "letters, digits and . _ + -, beginning with a letter or digit; 'label' is taken by the label map",
                f"Rename it, for instance to '{safe_name(name)}'.",
            )
