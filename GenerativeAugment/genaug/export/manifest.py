"""The account of an export: every case with its origin, every file with its hash, who is left out and why."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from genaug.cohort import Part
from genaug.export.folds import Fold, folds_of
from genaug.export.layouts import Layout
from genaug.export.selection import Chosen
from genaug.files import read_json, sha256_file, write_json, writing
from genaug.record import Check, software_versions
from genaug.review import State
from genaug.strict import Strict

MANIFEST = "manifest.json"
TABLE = "manifest.csv"


class ManifestReview(Strict):
    """The decision that stands."""

    state: State
    reviewer: str = ""
    reason: str = ""
    comment: str = ""
    difficulty: int | None = None
    time: str = ""
    mask_version: int = 0


class ManifestCase(Strict):
    """One exported case. `name` is its file name here, `id` its id in the cohort it came from."""

    name: str
    id: str
    origin: Literal["real", "synthetic"]
    patient: str
    part: Part
    training_folds: list[int] = Field(description="folds whose training part holds it")
    validation_folds: list[int] = Field(description="folds whose validation part holds it")
    parents: list[str]
    patients: list[str] = Field(description="every patient it descends from")
    kind: str | None = None
    seed: int | None = None
    recipe: str | None = None
    weights_sha256: str | None = None
    parameters: dict[str, Any] = Field(default_factory=dict)
    draws: dict[str, Any] = Field(default_factory=dict)
    checks: list[Check] = Field(default_factory=list)
    review: ManifestReview
    files: dict[str, str] = Field(description="role to file, relative to the manifest")


class ManifestLeftOut(Strict):
    """One case that was left out."""

    id: str
    origin: Literal["real", "synthetic"]
    patient: str
    cause: str
    detail: str


class ExportManifest(Strict):
    """All of it; `sha256` covers every file of the export but this one."""

    schema_version: Literal[1] = 1
    name: str
    layout: str
    created: str
    seed: int
    parameters: dict[str, Any]
    channels: dict[str, str]
    label_names: dict[int, str]
    counts: dict[str, int]
    notes: list[str]
    cases: list[ManifestCase]
    left_out: list[ManifestLeftOut]
    sha256: dict[str, str]
    versions: dict[str, str] = Field(default_factory=software_versions)

    def lines(self) -> list[str]:
        """What happened, for a person."""
        lines = [f"{count:5d}  {what}" for what, count in self.counts.items()]
        lines += [f"left out: {one.id} ({one.cause}): {one.detail}" for one in self.left_out]
        return lines + [f"note: {note}" for note in self.notes]


def write_manifest(layout: Layout, seed: int) -> ExportManifest:
    """Write manifest.csv and then manifest.json into the export."""
    cases = [_case(layout, chosen) for chosen in layout.selection.kept]
    _write_table(layout.folder / TABLE, cases)
    manifest = ExportManifest(
        name=layout.parameters.name,
        layout=layout.parameters.layout,
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        seed=seed,
        parameters=layout.parameters.model_dump(mode="json"),
        channels=layout.selection.channels,
        label_names=layout.label_names(),
        counts=layout.selection.counts(),
        notes=[*layout.selection.notes, *_fold_notes(layout)],
        cases=cases,
        left_out=[
            ManifestLeftOut(
                id=one.case.id, origin=one.case.origin, patient=one.case.patient, cause=one.cause, detail=one.detail
            )
            for one in layout.selection.left_out
        ],
        sha256={
            path.relative_to(layout.folder).as_posix(): sha256_file(path)
            for path in sorted(layout.folder.rglob("*"))
            if path.is_file()
        },
    )
    write_json(layout.folder / MANIFEST, manifest.model_dump(mode="json"))
    return manifest


def told_cases(folder: Path) -> dict[str, ManifestCase]:
    """What an export says of its cases, by name; nothing where the folder has no manifest of genaug's.

    Raises:
        GenaugError: UNREADABLE_FILE for a manifest of genaug's that was damaged.
    """
    path = folder / MANIFEST
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    if not isinstance(content, dict) or not {"schema_version", "cases", "left_out"} <= set(content):
        # Others call their files so, too.
        return {}
    return {case.name: case for case in read_manifest(folder).cases}


def read_manifest(folder: Path) -> ExportManifest:
    """Read the manifest of an export; raises GenaugError naming the key at fault."""
    return read_json(folder / MANIFEST, ExportManifest)


def _case(layout: Layout, chosen: Chosen) -> ManifestCase:
    record, review = chosen.record, chosen.review
    made: dict[str, Any] = {}
    if record is not None:
        made = {
            "kind": record.kind,
            "seed": record.seed,
            "recipe": record.weights.recipe if record.weights else None,
            "weights_sha256": record.weights.sha256 if record.weights else None,
            "parameters": record.parameters,
            "draws": record.draws,
            "checks": record.checks,
        }
    said: dict[str, Any] = review.model_dump(include=set(ManifestReview.model_fields) - {"state"}) if review else {}
    return ManifestCase(
        name=chosen.name,
        id=chosen.case.id,
        origin=chosen.case.origin,
        patient=chosen.case.patient,
        part=chosen.part,
        training_folds=folds_of(chosen.name, layout.folds),
        validation_folds=[n for n, fold in enumerate(layout.folds) if chosen.name in fold.validation],
        parents=record.parents if record else chosen.case.parents,
        patients=sorted(chosen.ancestors),
        review=ManifestReview(state=chosen.state, **said),
        files={role: layout.relative(chosen.name, role) for role in layout.files[chosen.name]},
        **made,
    )


def _fold_notes(layout: Layout) -> list[str]:
    if layout.parameters.layout != "nnunet":
        return []
    folds: list[Fold] = list(layout.folds)
    if not folds:
        return ["No cross-validation split: fewer than two real patients are for training."]
    unused = [chosen.name for chosen in layout.selection.synthetic() if not folds_of(chosen.name, folds)]
    if not unused:
        return []
    return [
        f"{len(unused)} synthetic cases are in no fold's training, because they descend from validation patients of"
        " every fold. They count only when training on all cases. To use them in validation, split the real cohort into"
        " train and validation patients, and make the synthetic cases from the train patients alone."
    ]


def _write_table(path: Path, cases: Iterable[ManifestCase]) -> None:
    """The same cases, one a line, for a spreadsheet; draws and parameters stay in the JSON."""
    columns = (
        "name",
        "id",
        "origin",
        "patient",
        "part",
        "training_folds",
        "validation_folds",
        "parents",
        "patients",
        "kind",
        "seed",
        "recipe",
        "weights_sha256",
    )
    with writing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow([*columns, "checks_passed", "review", "reviewer", "difficulty"])
        for case in cases:
            cells = [getattr(case, column) for column in columns]
            passed = all(check.passed for check in case.checks) if case.checks else ""
            review = (case.review.state, case.review.reviewer, case.review.difficulty)
            writer.writerow([*map(_cell, cells), _cell(passed), *map(_cell, review)])


def _cell(value: object) -> str:
    if value is None:
        return ""
    return "; ".join(map(str, value)) if isinstance(value, list) else str(value)
