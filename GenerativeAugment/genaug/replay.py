"""Making a case again from its Record and comparing it voxel by voxel, and where the voxels are in the patient.

Three things are compared for every file: what the Record says, what lies beside it now, and what comes out when the
same draws are applied to the same inputs again. So a changed file is told apart from a changed machine. In an export
the files lie where its manifest says.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from genaug.account import find_manifest
from genaug.case import Case, write_case
from genaug.errors import GenaugError, Reason
from genaug.imageio import read_volume
from genaug.progress import Reporter
from genaug.readers import read_cohort
from genaug.record import RECORD_SUFFIX, Output, Record, hash_voxels, software_versions
from genaug.sources import read_sources
from genaug.storage import storable
from genaug.volume import LABEL, Volume, geometry_difference

Difference = Literal[
    "same",
    "file changed",
    "file missing",
    "geometry changed",
    "made differently",
    "made in another geometry",
    "not made again",
]


class Compared(BaseModel):
    """One file of the case.

    Attributes:
        role: channel, or "label".
        file: relative to the Record, or in an export to its manifest.
        verdict: how it differs.
        changed_voxels: how many differ from the new ones, if both exist.
        geometry: how the grids differ, in words.
    """

    model_config = ConfigDict(extra="forbid")

    role: str
    file: str
    verdict: list[Difference]
    changed_voxels: int | None = None
    geometry: str = ""


class ReplayResult(BaseModel):
    """Whether the case is what its Record says, file by file, and what may explain a difference."""

    model_config = ConfigDict(extra="forbid")

    case_id: str
    same: bool
    outputs: list[Compared]
    notes: list[str]

    def lines(self) -> list[str]:
        """The result for a person."""
        head = f"{self.case_id}: {'the same, voxel for voxel' if self.same else 'DIFFERENT'}"
        rows = [
            f"  {one.file}: {', '.join(one.verdict)}{_count(one.changed_voxels)}{one.geometry and f': {one.geometry}'}"
            for one in self.outputs
        ]
        return [head, *rows, *(f"note: {note}" for note in self.notes)]


def replay(case: Path, output: Path, reporter: Reporter, sources: Mapping[str, Path] | None = None) -> ReplayResult:
    """Make a case again into `output` and compare.

    Args:
        case: its folder, or its .record.json.
        output: folder for the new files.
        reporter: told of the two stages.
        sources: where inputs lie, by role ("package", "given", "host", "tissue", "label", "bank"), where neither the
            Record nor the cohort's sources.json leads there.

    Raises:
        GenaugError: MISSING_FILE for the Record or an input, BAD_PACKAGE when the weights are not the recorded ones,
            and what the room that made the case raises when its inputs have changed.
    """
    path = find_record(case)
    record = Record.read(path)
    found = {**read_sources(path.parent.parent), **(sources or {})}
    reporter.progress(0, 2, f"making {record.case_id} again")
    made = _MAKERS[record.kind](record, path, found)
    reporter.progress(1, 2, "comparing")
    write_case(
        output,
        record.case_id,
        record.case_id,
        {role: volume for role, volume in made.items() if role != "label"},
        made.get("label"),
        file_format="nii.gz",
        synthetic=True,
    )
    reporter.product("case", output / record.case_id)
    files, notes = case_files(record, path)
    outputs = [_compare(role, record.outputs[role], file, made.get(role)) for role, file in files.items()]
    reporter.progress(2, 2)
    same = all(one.verdict == ["same"] for one in outputs)
    return ReplayResult(case_id=record.case_id, same=same, outputs=outputs, notes=[*notes, *_notes(record)])


def find_record(case: Path) -> Path:
    """The Record of a case folder, or the file itself.

    Raises:
        GenaugError: MISSING_FILE, or BAD_PARAMETER when the folder holds several.
    """
    if case.is_file():
        return case
    records = sorted(case.glob(f"*{RECORD_SUFFIX}"))
    if len(records) == 1:
        return records[0]
    raise GenaugError(
        Reason.BAD_PARAMETER if records else Reason.MISSING_FILE,
        case,
        f"{len(records)} records in it" if case.is_dir() else "no such file or folder",
        f"a case folder with one *{RECORD_SUFFIX}, or that file",
        "Give the folder of a generated case.",
    )


@dataclass(frozen=True)
class CaseFile:
    """Where a file of a case lies, and what to call it."""

    path: Path
    name: str


def case_files(record: Record, path: Path) -> tuple[dict[str, CaseFile], list[str]]:
    """The files of the case by role, and what is to be said of them.

    Args:
        record: of the case.
        path: where the Record lies: beside the case, or in an export, which has a layout and a format of its own.

    Raises:
        GenaugError: UNREADABLE_FILE for a damaged manifest.
    """
    folder = path.parent.parent
    manifest = find_manifest(folder)
    exported = [] if manifest is None else manifest.cases
    for case in exported:
        if "record" in case.files and (folder / case.files["record"]).resolve() == path.resolve():
            break
    else:
        return {role: CaseFile(path.parent / entry.file, entry.file) for role, entry in record.outputs.items()}, []
    files = {
        role: CaseFile(folder / case.files[role], case.files[role]) for role in record.outputs if role in case.files
    }
    notes = [f"{role} was not exported" for role in record.outputs if role not in files]
    if case.review.mask_version:
        notes.append(f"the label map is version {case.review.mask_version}, which {case.review.reviewer} corrected")
    return files, notes


def _remake_synthetic(record: Record, path: Path, sources: Mapping[str, Path]) -> dict[str, Volume]:
    from genaug.synthesis import remake

    given = _parent(record, path, sources) if record.parents else None
    return remake(record, _source("package", record, path, sources), given)


def _remake_translation(record: Record, path: Path, sources: Mapping[str, Path]) -> dict[str, Volume]:
    from genaug.translation import remake

    return remake(record, _source("package", record, path, sources), _parent(record, path, sources))


def _remake_insertion(record: Record, path: Path, sources: Mapping[str, Path]) -> dict[str, Volume]:
    from genaug.insertion import remake

    carved = record.parameters["source"]["kind"] == "bank"
    return remake(
        record,
        _source("host", record, path, sources),
        _source("tissue", record, path, sources),
        _source("label", record, path, sources) if "label" in record.inputs else None,
        read_cohort(_source("bank", record, path, sources)) if carved else None,
    )


def _remake_from_template(record: Record, path: Path, sources: Mapping[str, Path]) -> dict[str, Volume]:
    from genaug.templates.brain import brain_template
    from genaug.templates.cohort import SubjectDraws, make_subject

    template = brain_template(**record.parameters.get("arguments", {}))
    if hash_voxels(template.image.array) != record.inputs["template"].voxels:
        raise GenaugError(
            Reason.GEOMETRY_MISMATCH,
            template.name,
            "other voxels than the case was made from",
            f"the template '{record.inputs['template'].file}' as it was then",
            "Install the version of genaug and of the template that the record names.",
        )
    images, label = make_subject(template, SubjectDraws.model_validate(record.draws))
    return {**images, "label": label}


Maker = Callable[[Record, Path, Mapping[str, Path]], dict[str, Volume]]

_MAKERS: dict[str, Maker] = {
    "synthesize": _remake_synthetic,
    "translate": _remake_translation,
    "insert": _remake_insertion,
    "template": _remake_from_template,
}


def _source(role: str, record: Record, path: Path, sources: Mapping[str, Path]) -> Path:
    """Where an input lies: as told, else as the Record says."""
    if role in sources:
        return sources[role]
    if role in record.inputs:
        return _recorded(role, record, path, role)
    raise GenaugError(
        Reason.MISSING_FILE,
        path,
        f"nothing that says where the {role} is",
        f"the {role} that {record.case_id} was made with",
        f"Name it, with --{role} on the command line.",
    )


def _recorded(role: str, record: Record, path: Path, option: str) -> Path:
    """The input where the Record says; `option` names it where it lies elsewhere."""
    file = (path.parent / record.inputs[role].file).resolve()
    if not file.exists():
        raise GenaugError(
            Reason.MISSING_FILE,
            file,
            "no such file",
            f"the {role} that {record.case_id} was made with",
            f"Say where it lies now, with --{option} on the command line.",
        )
    return file


def _parent(record: Record, path: Path, sources: Mapping[str, Path]) -> Case:
    """The case that this one was conditioned on: from the given cohort, else from the files the Record names."""
    if "given" in sources:
        for case in read_cohort(sources["given"]).cases:
            if case.id in record.parents:
                return case
        raise GenaugError(
            Reason.MISSING_FILE,
            sources["given"],
            f"no case {' or '.join(record.parents)}",
            "the cohort that the case was made from",
            "Name it with --given.",
        )
    files = {role: _recorded(role, record, path, "given") for role in record.inputs}
    label = files.pop("label_map", None)
    return Case(
        id=record.parents[0],
        patient=record.parents[0],
        images=files,
        label=label,
        covariates=record.draws.get("covariates", {}),
        modalities={role: entry.modality for role, entry in record.inputs.items() if entry.modality is not None},
    )


def _compare(role: str, recorded: Output, file: CaseFile, made: Volume | None) -> Compared:
    there = file.path.is_file()
    stored = read_volume(file.path, LABEL if role == "label" else None) if there else None
    verdict: list[Difference] = []
    moved = ""
    if stored is None:
        verdict.append("file missing")
    else:
        if hash_voxels(storable(stored)) != recorded.voxels:
            verdict.append("file changed")
        moved = recorded.moved(stored)
        if recorded.affine is None and made is not None:
            # A Record of an earlier version does not say where the voxels are; the case made again does.
            moved = geometry_difference(made, stored)
        if moved:
            verdict.append("geometry changed")
    if made is None:
        verdict.append("not made again")
    else:
        if hash_voxels(storable(made)) != recorded.voxels:
            verdict.append("made differently")
        if recorded.moved(made):
            verdict.append("made in another geometry")
            moved = moved or recorded.moved(made)
    changed = None
    if stored is not None and made is not None and stored.shape == made.shape:
        changed = int(np.count_nonzero(stored.array != made.array))
    return Compared(role=role, file=file.name, verdict=verdict or ["same"], changed_voxels=changed, geometry=moved)


def _notes(record: Record) -> list[str]:
    """What is not as it was when the case was made: software, then the machine as the case was made again on it."""
    versions = _changed(record.versions, software_versions(), "not installed")
    return versions + _changed(record.machine, _machine_now(record), "not known") if record.machine else versions


def _machine_now(record: Record) -> Mapping[str, object]:
    # Only what torch made has a machine in its Record, so torch is loaded already.
    import torch

    from genaug.devices import as_recorded, machine

    # A translation is made again in the layout that its Record names, whatever would be chosen now.
    followed = {name: record.machine[name] for name in ("memory_layout",) if name in record.machine}
    with as_recorded(record.machine) as device:
        return {**machine(torch.device(device)), **followed}


def _changed(then: Mapping[str, object], now: Mapping[str, object], absent: str) -> list[str]:
    differing = (name for name in sorted(then) if now.get(name) != then[name])
    return [f"{name} was {then[name]}, is {now.get(name, absent)}" for name in differing]


def _count(changed: int | None) -> str:
    return f" ({changed} voxels)" if changed else ""
