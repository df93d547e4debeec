"""Cohort: cases on disk, split by patient, and the manifest that describes them."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from genaug.case import Case, safe_name, write_case
from genaug.errors import GenaugError, Reason
from genaug.files import read_json, write_json
from genaug.progress import Reporter, Silent

__all__ = ["MANIFEST", "Case", "Cohort", "Part", "safe_name", "write_case"]

MANIFEST = "cohort.json"

Part = Literal["train", "validation", "test"]


class Cohort(BaseModel):
    """Cases with what they have in common.

    Attributes:
        name: for reports.
        root: the folder it was read from; not stored, the manifest's place says it.
        channels: channel name to modality ("MR", "CT", ...), in the order tensors will have.
        label_names: label value to name, without the background 0. Empty means that any whole number is allowed.
        cases: in a fixed order, ids unique.
        split: patient to part; a patient without entry belongs to "train". It may name patients that have no case here,
            so that a cohort of synthetic cases still knows where their ancestors stand.
        notes: what a reader left out or assumed.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: Literal[1] = 1
    name: str
    root: Path = Field(default=Path(), exclude=True)
    channels: dict[str, str]
    label_names: dict[int, str] = Field(default_factory=dict)
    split: dict[str, Part] = Field(default_factory=dict)
    notes: list[str] = Field(default_factory=list)
    cases: list[Case]

    @model_validator(mode="after")
    def _tell_cases_their_modalities(self) -> Cohort:
        seen: set[str] = set()
        for case in self.cases:
            if case.id in seen:
                raise ValueError(f"case id '{case.id}' appears twice")
            seen.add(case.id)
            unknown = [channel for channel in case.images if channel not in self.channels]
            if unknown:
                raise ValueError(f"case '{case.id}' has channel '{unknown[0]}', which the cohort does not name")
        cases = [case.model_copy(update={"modalities": dict(self.channels)}) for case in self.cases]
        object.__setattr__(self, "cases", cases)
        return self

    @property
    def patients(self) -> list[str]:
        """The patients of the cases, in order of appearance."""
        return list(dict.fromkeys(case.patient for case in self.cases))

    def __getitem__(self, case_id: str) -> Case:
        """The case of that id; KeyError when there is none."""
        for case in self.cases:
            if case.id == case_id:
                return case
        raise KeyError(case_id)

    def with_cases(self, cases: Sequence[Case]) -> Cohort:
        """The same channels, names and split over other cases."""
        return Cohort(
            name=self.name,
            root=self.root,
            channels=self.channels,
            label_names=self.label_names,
            split=self.split,
            notes=self.notes,
            cases=list(cases),
        )

    def part_of(self, patient: str) -> Part:
        """Where a patient stands; "train" without an entry."""
        return self.split.get(patient, "train")

    def part(self, name: Part) -> list[Case]:
        """The cases of one part.

        A case is in "train" only if its own patient and every patient it descends from, through `derived_from` and
        through its parents among the cases, are train patients. A case that fails this is in no part, and neither is
        one that is `of_unknown_descent`.
        """
        leaks = self.leaks()
        return [
            case
            for case in self.cases
            if self.part_of(case.patient) == name and case.id not in leaks and not of_unknown_descent(case, self.split)
        ]

    def leaks(self) -> dict[str, str]:
        """The cases of train patients that descend from somebody who is held out, by id, with the first of them."""
        ancestors = self.ancestors()
        found = {}
        for case in self.cases:
            held_out = [patient for patient in sorted(ancestors[case.id]) if self.part_of(patient) != "train"]
            if held_out and self.part_of(case.patient) == "train":
                found[case.id] = held_out[0]
        return found

    def require_no_leak(self) -> None:
        """Raise LEAK, naming case and patient, when a case of a train patient descends from one that is not."""
        for case_id, patient in self.leaks().items():
            raise GenaugError(
                Reason.LEAK,
                case_id,
                f"a case that descends from patient '{patient}', who is in the {self.part_of(patient)} part",
                "cases made from train patients only",
                "Leave this case out of training, or make it again from a model trained on train patients.",
            )

    def check(self, read_voxels: bool = True, paired: bool = True, reporter: Reporter | None = None) -> None:
        """Look at every case; see `cohort_check.check`."""
        from genaug.cohort_check import check

        check(self, read_voxels, paired, reporter or Silent())

    def write(self, path: Path) -> None:
        """Write the manifest atomically, with paths relative to it. A folder gets `cohort.json`."""
        path = Path(path)
        path = path / MANIFEST if path.is_dir() else path
        write_json(path, self.manifest(path.parent))

    @classmethod
    def read(cls, path: Path) -> Cohort:
        """Read a manifest, or the `cohort.json` of a folder. Files are not looked at; `check` does that.

        Raises:
            GenaugError: MISSING_FILE, or UNREADABLE_FILE naming the keys at fault.
        """
        path = Path(path)
        path = path / MANIFEST if path.is_dir() else path
        stored = read_json(path, cls)
        # What the paths are relative to, see `manifest`: ".." of a link is not where the link lies.
        base = path.parent.resolve()

        def placed(file: Path | None) -> Path | None:
            # normpath rather than resolve: it keeps the names the user knows where the files are links.
            return None if file is None else Path(os.path.normpath(base / file))

        cases = [
            case.model_copy(
                update={
                    "images": {channel: placed(file) for channel, file in case.images.items()},
                    "label": placed(case.label),
                    "record": placed(case.record),
                }
            )
            for case in stored.cases
        ]
        return stored.model_copy(update={"root": path.parent, "cases": cases})

    def manifest(self, base: Path) -> dict[str, Any]:
        """The manifest's content, with paths relative to the folder `base`, in POSIX form."""
        base = Path(base).resolve()

        def relative(file: Path | None) -> str | None:
            if file is None:
                return None
            file = file.parent.resolve() / file.name
            # Windows has no relative path between two drives.
            if file.drive != base.drive:
                return file.as_posix()
            return Path(os.path.relpath(file, base)).as_posix()

        content: dict[str, Any] = self.model_dump(mode="json")
        for stored, case in zip(content["cases"], self.cases, strict=True):
            stored["images"] = {channel: relative(file) for channel, file in case.images.items()}
            stored["label"], stored["record"] = relative(case.label), relative(case.record)
        return content

    def sha256(self) -> str:
        """SHA-256 of the manifest's content as seen from `root`: the same wherever the folder is moved."""
        text = json.dumps(self.manifest(self.root), sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()

    def ancestors(self, others: Iterable[Case] = ()) -> dict[str, set[str]]:
        """Case id to every patient it descends from, its own not included unless it is named as an ancestor.

        Parents that are not among the cases are looked for among `others`, of another cohort.
        """
        by_id = {case.id: case for case in (*others, *self.cases)}
        found: dict[str, set[str]] = {}
        for case in self.cases:
            patients, waiting, seen = set(case.derived_from), list(case.parents), {case.id}
            while waiting:
                parent = by_id.get(waiting.pop())
                if parent is not None and parent.id not in seen:
                    seen.add(parent.id)
                    patients |= {parent.patient, *parent.derived_from}
                    waiting += parent.parents
            found[case.id] = patients
        return found


def require_no_cohort(folder: Path) -> None:
    """Raise BAD_PARAMETER where a cohort lies already: another one's manifest would replace its own."""
    if (folder / MANIFEST).exists():
        raise GenaugError(
            Reason.BAD_PARAMETER,
            folder,
            f"a {MANIFEST}, of the cases that are in it",
            "a folder without a cohort",
            "Choose another output folder; an export puts several cohorts together.",
        )


def of_unknown_descent(case: Case, split: Mapping[str, Part]) -> bool:
    """Whether a case may descend from somebody who is held out, because nothing says whom it descends from.

    Where the split names the case's own patient, it was drawn like a real one.
    """
    said = case.origin == "real" or case.record is not None or case.parents or case.derived_from
    return not said and case.patient not in split and any(part != "train" for part in split.values())
