"""From what a layout's reader found to a Cohort: patients, split, modalities and signs of synthetic origin."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from genaug.account import ManifestCase, find_manifest
from genaug.case import Case, safe_names
from genaug.cohort import Cohort, Part
from genaug.errors import GenaugError, Reason
from genaug.imageio import is_marked_synthetic
from genaug.readers.options import ReaderOptions
from genaug.record import RECORD_SUFFIX, Record


@dataclass
class Draft:
    """One case as a reader found it; `patient` and `part` are None where the layout does not say.

    `synthetic` is set where the layout says so.
    """

    id: str
    images: dict[str, Path] = field(default_factory=dict)
    label: Path | None = None
    covariates: dict[str, float | str] = field(default_factory=dict)
    patient: str | None = None
    part: Part | None = None
    synthetic: bool = False


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

    In an export of genaug its manifest says of every case who it shows, what is known of him, whom it descends from and
    which of its files is which channel, which no other layout can say.

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
            Reason.EMPTY_COHORT,
            root,
            "; ".join(["no case", *notes]),
            "at least one case with an image",
            "Check the folder and its layout.",
        )
    split: dict[str, Part] = {}
    cases: dict[str, Case] = {}
    manifest = find_manifest(root)
    told = {} if manifest is None else {case.name: case for case in manifest.cases}
    modalities = _told_channels(root, drafts, told, dict(channels or {}))
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
        account = told.get(draft.id)
        patient = _patient(draft, account, options)
        part = account.part if account is not None else draft.part
        # A synthetic case has no place of its own: it follows its ancestors.
        descends = account is not None and account.origin == "synthetic"
        if part and not descends and split.setdefault(patient, part) != part:
            raise GenaugError(
                Reason.LEAK,
                draft.id,
                f"patient '{patient}' in {split[patient]} and {part}",
                "all cases of a patient in one part",
                "Move the case, or correct patient_pattern if these are different patients.",
            )
        cases[draft.id] = _case(root, draft, patient, account, notes)
    names = dict.fromkeys(channel for case in cases.values() for channel in case.images)
    modalities = modalities or {channel: options.modality_of(channel) for channel in names}
    if manifest is not None:
        modalities |= {
            name: options.modality_of(name, manifest.channels[name]) for name in modalities if name in manifest.channels
        }
    options.require_channels(modalities)
    # Files are called after channels.
    called = safe_names(["label", *modalities])
    notes += [f"channel '{name}' is called {called[name]} here" for name in modalities if called[name] != name]
    return Cohort(
        name=options.name or name or root.resolve().name,
        root=root,
        channels={called[name]: modality for name, modality in modalities.items()},
        label_names=options.label_names or dict(label_names or {}),
        split=split,
        notes=notes,
        cases=[_renamed(case, called) for case in cases.values()],
    )


def _told_channels(
    root: Path, drafts: Iterable[Draft], told: Mapping[str, ManifestCase], modalities: Mapping[str, str]
) -> dict[str, str]:
    """Call the images of the drafts as the manifest does, which may be otherwise than the layout; the modalities so."""
    known = {root / file: role for case in told.values() for role, file in case.files.items()}
    called = {name: known[file] for draft in drafts for name, file in draft.images.items() if file in known}
    for draft in drafts:
        draft.images = {called.get(name, name): file for name, file in draft.images.items()}
    return {called.get(name, name): modality for name, modality in modalities.items()}


def _renamed(case: Case, called: Mapping[str, str]) -> Case:
    return case.model_copy(update={"images": {called[name]: file for name, file in case.images.items()}})


def _patient(draft: Draft, account: ManifestCase | None, options: ReaderOptions) -> str:
    """Whom a case shows: as a pattern has it, else as the layout says, else the manifest, else the id."""
    if options.patient_pattern is not None:
        return options.patient_of(draft.id)
    if draft.patient:
        return draft.patient
    if account is not None:
        return account.patient
    return options.patient_of(draft.id)


def _case(root: Path, draft: Draft, patient: str, account: ManifestCase | None, notes: list[str]) -> Case:
    """The case; synthetic by the export's manifest, a Record beside the first image, its layout or a file's header."""
    origin: dict[str, Any] = {}
    record_path = next(iter(draft.images.values())).parent / f"{draft.id}{RECORD_SUFFIX}"
    if account is not None and account.origin == "synthetic":
        origin = {"origin": "synthetic", "parents": account.parents, "derived_from": account.patients}
        origin["record"] = root / account.files["record"] if "record" in account.files else None
    elif record_path.is_file():
        record = Record.read(record_path)
        origin = {"origin": "synthetic", "parents": record.parents, "derived_from": record.patients}
        origin["record"] = record_path
    elif draft.synthetic or any(is_marked_synthetic(path) for path in draft.images.values() if path.exists()):
        origin = {"origin": "synthetic"}
        notes.append(
            f"{draft.id} is synthetic but has no record, so the patients it descends from are unknown; once anybody is"
            " held out it takes part in no training"
        )
    return Case(
        id=draft.id,
        patient=patient,
        images=draft.images,
        label=draft.label,
        covariates={**(account.covariates if account is not None else {}), **draft.covariates},
        **origin,
    )


def numbered(names: Sequence[str]) -> list[str]:
    """The names, those that occur several times with their place behind them ("CT0", "CT1")."""
    return [f"{name}{place}" if names.count(name) > 1 else name for place, name in enumerate(names)]


def ambiguous(root: Path, found: str, remedy: str) -> GenaugError:
    """The refusal to guess."""
    return GenaugError(Reason.BAD_PARAMETER, root, found, "a layout that can be read in one way only", remedy)
