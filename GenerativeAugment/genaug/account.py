"""The account of an export as data: every case with its origin, every file with its hash, who is left out and why."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from genaug.cohort import Part
from genaug.errors import Reason
from genaug.files import invalid, read_json
from genaug.record import Check, software_versions
from genaug.review import State
from genaug.strict import Strict

MANIFEST = "manifest.json"


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
    covariates: dict[str, float | str] = Field(default_factory=dict)
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


def find_manifest(folder: Path) -> ExportManifest | None:
    """What the export in a folder says of itself; None where the folder has no manifest of genaug's.

    Raises:
        GenaugError: UNREADABLE_FILE for a manifest of genaug's that was damaged.
    """
    path = folder / MANIFEST
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(content, dict) or not {"schema_version", "cases", "left_out"} <= set(content):
        # Others call their files so, too.
        return None
    try:
        return ExportManifest.model_validate(content)
    except ValidationError as error:
        raise invalid(error, path, "ExportManifest", Reason.UNREADABLE_FILE) from error


def read_manifest(folder: Path) -> ExportManifest:
    """Read the manifest of an export; raises GenaugError naming the key at fault."""
    return read_json(folder / MANIFEST, ExportManifest)
