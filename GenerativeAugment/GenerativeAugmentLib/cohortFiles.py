"""Cohorts on disk as plain data: a folder with a cohort.json and, by convention, a folder for each case."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from GenerativeAugmentLib.errors import JobError, _
from GenerativeAugmentLib.files import readJson, userPath

MANIFEST = "cohort.json"


@dataclass(frozen=True)
class CaseEntry:
    """One case of a cohort, with absolute paths.

    Attributes:
        id: unique in its cohort.
        patient: whom it shows.
        images: channel to file.
        label: the label map, None without one.
        record: how it came to be, for a synthetic case.
        origin: "real" or "synthetic".
        modalities: channel to modality.
        parents: ids of the cases it was made from.
        derivedFrom: every patient it descends from.
        covariates: what is known of it, such as age and sex.
    """

    id: str
    patient: str
    images: dict[str, Path]
    label: Path | None = None
    record: Path | None = None
    origin: str = "real"
    modalities: dict[str, str] = field(default_factory=dict)
    parents: tuple[str, ...] = ()
    derivedFrom: tuple[str, ...] = ()
    covariates: dict[str, float | str] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """What its nodes are called: the views, the selectors and the names of saved files show it."""
        return _("{case} (synthetic)").format(case=self.id) if self.origin == "synthetic" else self.id


def manifestPath(path: Path) -> Path:
    """The cohort.json of a folder, or the path itself where it is a file."""
    path = userPath(path)
    return path / MANIFEST if path.is_dir() else path


def readCohort(path: Path) -> dict:
    """A cohort's manifest as it is in the file, with its folder under "root"; the images are not looked at.

    Raises:
        JobError: "missing_file" or "unreadable_file" naming the key at fault.
    """
    path = manifestPath(path)
    cohort = readJson(path, _("the cohort.json of a cohort"))
    problem = _problem(cohort)
    if problem:
        raise JobError(
            "unreadable_file",
            path,
            problem,
            _("a cohort of schema version 1"),
            _("Choose the folder of a cohort, or make it again."),
        )
    return {**cohort, "root": path.parent}


def cohortCases(cohort: dict) -> list[CaseEntry]:
    """The cases of a cohort that `readCohort` gave."""
    # What the paths are relative to: ".." of a link is not where the link lies.
    root = Path(cohort["root"]).resolve()

    def placed(file: str | None) -> Path | None:
        # normpath rather than resolve: it keeps the names the user knows where the files are links.
        return None if file is None else Path(os.path.normpath(root / file))

    return [
        CaseEntry(
            case["id"],
            case["patient"],
            {channel: placed(file) for channel, file in case.get("images", {}).items()},
            placed(case.get("label")),
            placed(case.get("record")),
            case.get("origin", "real"),
            {channel: cohort["channels"][channel] for channel in case.get("images", {})},
            tuple(case.get("parents", ())),
            tuple(case.get("derived_from", ())),
            dict(case.get("covariates", {})),
        )
        for case in cohort["cases"]
    ]


def labelNames(cohort: dict) -> dict[int, str]:
    """Label value to name of a cohort that `readCohort` gave."""
    return {int(value): name for value, name in cohort.get("label_names", {}).items()}


def _problem(cohort: dict) -> str:
    """What is wrong with a manifest, "" when it is sound as far as this side uses it."""
    if cohort.get("schema_version", 1) != 1:
        return _("schema version {version}").format(version=cohort["schema_version"])
    if not isinstance(cohort.get("channels"), dict) or not isinstance(cohort.get("cases"), list):
        return _("no channels or no cases")
    seen: set[str] = set()
    for index, case in enumerate(cohort["cases"]):
        sound = isinstance(case, dict) and all(
            isinstance(case.get(key), str) and case[key] for key in ("id", "patient")
        )
        if not sound or not all(isinstance(case.get(key, {}), dict) for key in ("images", "covariates")):
            return _("case {index} without id, patient or images").format(index=index)
        unknown = sorted(set(case.get("images", {})) - set(cohort["channels"]))
        if unknown or case["id"] in seen:
            return _("case {case}: an id that appears twice, or a channel {channels} without a modality").format(
                case=case["id"], channels=", ".join(unknown)
            )
        seen.add(case["id"])
    return ""
