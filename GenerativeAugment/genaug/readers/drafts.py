"""From what a layout's reader found to a Cohort: patients, split, modalities and signs of synthetic origin."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from genaug.case import Case
from genaug.cohort import Cohort, Part
from genaug.errors import GenaugError, Reason
from genaug.imageio import is_marked_synthetic
from genaug.readers.options import ReaderOptions
from genaug.record import RECORD_SUFFIX, Record


@dataclass
class Draft:
    """One case as a reader found it; `patient` and `part` are None where the layout does not say."""

    id: str
    images: dict[str, Path] = field(default_factory=dict)
    label: Path | None = None
    covariates: dict[str, float | str] = field(default_factory=dict)
    patient: str | None = None
    part: Part | None = None


def build(
    root: Path,
    drafts: Iterable[Draft],
    options: ReaderOptions,
    *,
    name: str | None = None,
    channels: Mapping[str, str] | None = None,
    label_names: Mapping[int, str] | None = None,
    notes: Iterable[str] = (),
) -> Cohort:
    """Assemble and validate a cohort.

    Args:
        root: the folder that was read.
        drafts: the cases, in their final order.
        options: of the caller; they win over what the layout says.
        name: default name.
        channels: channel to modality where the layout says it; else all channels found, guessed by `options`.
        label_names: where the layout says them.
        notes: what the reader left out.

    Raises:
        GenaugError: EMPTY_COHORT; BAD_PARAMETER for a case id found twice; UNPAIRED for a label map without image; LEAK
            for a patient in two parts.
    """
    drafts, notes = list(drafts), list(notes)
    if not drafts:
        raise GenaugError(
            Reason.EMPTY_COHORT, root, "no case", "at least one case with an image", "Check the folder and its layout."
        )
    split: dict[str, Part] = {}
    cases: dict[str, Case] = {}
    for draft in drafts:
        if draft.id in cases:
            raise GenaugError(
                Reason.BAD_PARAMETER, root, f"two cases with id '{draft.id}'", "unique ids", "Rename one of them."
            )
        if not draft.images:
            raise GenaugError(
                Reason.UNPAIRED,
                draft.label or draft.id,
                f"case '{draft.id}' without an image",
                "an image for every case",
                "Add the image or remove the label map.",
            )
        patient = draft.patient or options.patient_of(draft.id)
        if draft.part and split.setdefault(patient, draft.part) != draft.part:
            raise GenaugError(
                Reason.LEAK,
                draft.id,
                f"patient '{patient}' in {split[patient]} and {draft.part}",
                "all cases of a patient in one part",
                "Move the case, or correct patient_pattern if these are different patients.",
            )
        cases[draft.id] = _case(draft, patient, notes)
    names = dict.fromkeys(channel for case in cases.values() for channel in case.images)
    return Cohort(
        name=options.name or name or root.resolve().name,
        root=root,
        channels=dict(channels) if channels else {channel: options.modality_of(channel) for channel in names},
        label_names=options.label_names or dict(label_names or {}),
        split=split,
        notes=notes,
        cases=list(cases.values()),
    )


def _case(draft: Draft, patient: str, notes: list[str]) -> Case:
    """The case; its Record beside the first image, or the mark in a file's header, makes it synthetic."""
    origin: dict[str, Any] = {}
    record_path = next(iter(draft.images.values())).parent / f"{draft.id}{RECORD_SUFFIX}"
    if record_path.is_file():
        record = Record.read(record_path)
        origin = {"origin": "synthetic", "parents": record.parents, "derived_from": record.patients}
        origin["record"] = record_path
    elif any(is_marked_synthetic(path) for path in draft.images.values() if path.exists()):
        origin = {"origin": "synthetic"}
        notes.append(f"{draft.id} is synthetic but has no record, so the patients it descends from are unknown")
    return Case(
        id=draft.id,
        patient=patient,
        images=draft.images,
        label=draft.label,
        covariates=draft.covariates,
        **origin,
    )


def ambiguous(root: Path, found: str, remedy: str) -> GenaugError:
    """The refusal to guess."""
    return GenaugError(Reason.BAD_PARAMETER, root, found, "a layout that can be read in one way only", remedy)
