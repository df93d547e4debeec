"""Building a job folder, and resolving one into a Task."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from genaug.causes import file_for_folder
from genaug.errors import GenaugError, Reason
from genaug.files import invalid, write_json
from genaug.jobs.kinds import KINDS, Kind
from genaug.jobs.schema import JOB_FILE, Job, Task

Paths = Path | Sequence[Path]


def build_job(
    folder: Path,
    kind: str,
    parameters: Mapping[str, Any] | None = None,
    inputs: Mapping[str, Paths] | None = None,
    *,
    output: Path | None = None,
    seed: int = 0,
    device: str = "auto",
) -> Path:
    """Write `folder`/job.json and return `folder`.

    Everything is validated first, so a job that could not run is never written. Paths inside `folder` are stored
    relative to it, others absolute. `output` defaults to `folder`/outputs.

    Raises:
        GenaugError: BAD_JOB or BAD_PARAMETER naming the keys, MISSING_FILE, BAD_JOB when a job is there already,
            DISK_FULL, NO_PERMISSION.
    """
    path = folder / JOB_FILE
    if path.exists():
        raise GenaugError(
            Reason.BAD_JOB,
            folder,
            "a folder that already holds a job",
            "a new folder",
            "Choose another folder, or run this one again with `genaug run`.",
        )
    data = {
        "kind": kind,
        "parameters": dict(parameters or {}),
        "seed": seed,
        "device": device,
        "inputs": {role: _stored(folder, value) for role, value in (inputs or {}).items()},
        **({} if output is None else {"output": _store(folder, output)}),
    }
    try:
        job = Job.model_validate(data)
    except ValidationError as error:
        raise invalid(error, path, "job", Reason.BAD_JOB) from error
    resolve(job, folder)
    write_json(path, job.model_dump(mode="json"))
    return folder


def resolve(job: Job, folder: Path, kinds: Mapping[str, Kind] = KINDS) -> Task:
    """Check roles, files and parameters against the job's kind.

    Raises:
        GenaugError: BAD_JOB naming the role or key at fault, MISSING_FILE naming role and path.
    """
    kind = kinds[job.kind]
    _check_roles(job, kind, folder)
    inputs = {role: _existing(folder, role, value) for role, value in job.inputs.items()}
    try:
        parameters = kind.parameters_model().model_validate(job.parameters)
    except ValidationError as error:
        raise invalid(error, folder / JOB_FILE, f"{job.kind} job, parameters", Reason.BAD_JOB) from error
    output = _absolute(folder, job.output)
    _check_output(output, inputs, folder)
    return Task(job, folder.resolve(), parameters, inputs, output)


def _check_roles(job: Job, kind: Kind, folder: Path) -> None:
    unknown = sorted(set(job.inputs) - set(kind.roles))
    missing = sorted(set(kind.required) - set(job.inputs))
    crowded = sorted(
        role
        for role, value in job.inputs.items()
        if isinstance(value, list) and len(value) != 1 and role not in kind.repeated
    )
    for roles, problem in ((unknown, "unknown"), (missing, "missing"), (crowded, "not exactly one path in")):
        if roles:
            raise GenaugError(
                Reason.BAD_JOB,
                folder / JOB_FILE,
                f"{problem} input {', '.join(roles)}",
                f"for {job.kind}: {_roles_in_words(kind)}",
                "Correct the inputs of the job.",
            )


def _check_output(output: Path, inputs: Mapping[str, tuple[Path, ...]], folder: Path) -> None:
    """A run may clear its output folder, so neither the job nor an input may lie in it; a file is no folder."""
    if any(place.is_file() for place in (output, *output.parents)):
        raise file_for_folder(output)
    held = [path for paths in inputs.values() for path in paths if path.is_relative_to(output)]
    if folder.resolve().is_relative_to(output):
        held.append(folder.resolve())
    if held:
        raise GenaugError(
            Reason.BAD_JOB,
            output,
            f"an output folder that holds {held[0]}",
            "an output folder apart from the job and its inputs",
            "Choose another output folder.",
        )


def _roles_in_words(kind: Kind) -> str:
    parts = [
        *kind.required,
        *(f"optionally {role}" for role in kind.optional),
        *(f"any number of {role}" for role in kind.repeated),
    ]
    return "; ".join(parts)


def _existing(folder: Path, role: str, value: str | list[str]) -> tuple[Path, ...]:
    paths = tuple(_absolute(folder, text) for text in ([value] if isinstance(value, str) else value))
    for path in paths:
        try:
            path.stat()
        except OSError as error:
            denied = error.errno == errno.EACCES
            raise GenaugError(
                Reason.NO_PERMISSION if denied else Reason.MISSING_FILE,
                path,
                f"no permission to look at the input {role!r}" if denied else f"nothing there for the input {role!r}",
                "an existing file or folder",
                "Check the path and its rights.",
            ) from error
    return paths


def _absolute(folder: Path, text: str) -> Path:
    # Not Path.resolve, which raises a RuntimeError where links go in a circle.
    return Path(os.path.realpath(folder / text))


def _stored(folder: Path, value: Paths) -> str | list[str]:
    return _store(folder, value) if isinstance(value, Path) else [_store(folder, path) for path in value]


def _store(folder: Path, path: Path) -> str:
    """Relative with forward slashes inside `folder`, so that the folder can move; absolute outside it."""
    absolute, base = path.resolve(), folder.resolve()
    return absolute.relative_to(base).as_posix() if absolute.is_relative_to(base) else str(absolute)
