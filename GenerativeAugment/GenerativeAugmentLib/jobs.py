"""Job folders: what is to be done, written so that the worker, a script or a cluster can run it and run it again."""

from __future__ import annotations

import copy
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from GenerativeAugmentLib.errors import JobError, _
from GenerativeAugmentLib.files import explained, readJson, userPath, writeText

JOB_FILE = "job.json"
RESULT_FILE = "result.json"
JOBS_FOLDER = "GenerativeAugment"

STOP_S = 1.5
"""How long a job may take to stop by itself before its worker is killed."""

SAVE_S = 130.0
"""The same for a job that saves what it has done, when nobody can be asked any more because the application ends."""

_SAVING = ("train",)
"""Kinds of job that save what they have done when they are stopped, and go on from there when they are run again."""

_SEVERAL = (list, tuple)


@dataclass(frozen=True)
class Job:
    """One thing to do, decided once and for all: later changes in the panels do not reach it.

    Attributes:
        kind: "train", "synthesize", "translate", "insert", "evaluate", "export", "fingerprint" or "replay".
        folder: the job folder, see `newJobFolder`; its inputs may lie in it already.
        parameters: what the kind can be told, as plain JSON values.
        inputs: role to a path, or to a list of paths where the role takes several.
        seed: of everything that is drawn.
        device: "auto", "cpu", "cuda", "cuda:1" or "mps".
        output: folder of the products, relative to `folder` or absolute.
        title: what the user knows the job by; stays on this side.
    """

    kind: str
    folder: Path
    parameters: Mapping[str, Any] = field(default_factory=dict)
    inputs: Mapping[str, Path | list[Path]] = field(default_factory=dict)
    seed: int = 0
    device: str = "auto"
    output: str = "outputs"
    title: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "parameters", copy.deepcopy(dict(self.parameters)))
        object.__setattr__(self, "inputs", copy.deepcopy(dict(self.inputs)))

    @property
    def savesWhenStopped(self) -> bool:
        """Whether it saves what it has done before it stops, which takes as long as a step of it and the writing."""
        return self.kind in _SAVING

    def write(self) -> Path:
        """Write job.json, whole or not at all, and return the folder.

        Writing the same job again changes nothing, so that an interrupted one can be taken up.

        Raises:
            JobError: "bad_job" when the folder holds another job, "bad_parameter" for what JSON cannot hold,
                "disk_full", "no_permission".
        """
        text = self._text()
        path = Path(self.folder) / JOB_FILE
        if path.is_file():
            if path.read_bytes() == text.encode("utf-8"):
                return Path(self.folder)
            raise JobError(
                "bad_job",
                self.folder,
                _("a folder that already holds another job"),
                _("a new folder"),
                _("Start the job again; every job gets a folder of its own."),
            )
        writeText(path, text)
        return Path(self.folder)

    def discardInputs(self) -> None:
        """Delete the inputs that lie in the folder, unless the job has succeeded: Records name them, to be made again.

        Raises:
            JobError: "no_permission" for what cannot be deleted.
        """
        folder = Path(self.folder)
        if (folder / RESULT_FILE).is_file():
            return
        given = [path for value in self.inputs.values() for path in (value if isinstance(value, _SEVERAL) else [value])]
        for path in map(Path, given):
            try:
                if not path.resolve().is_relative_to(folder.resolve()):
                    continue
                if path.is_dir():
                    shutil.rmtree(path)
                else:
                    path.unlink(missing_ok=True)
            except OSError as error:
                raise explained(error, path) from error

    def _text(self) -> str:
        data = {
            "schema_version": 1,
            "kind": self.kind,
            "parameters": dict(self.parameters),
            "seed": self.seed,
            "device": self.device,
            "inputs": {
                role: [self._stored(path) for path in value] if isinstance(value, _SEVERAL) else self._stored(value)
                for role, value in self.inputs.items()
            },
            "output": self.output,
        }
        try:
            return json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
        except (TypeError, ValueError) as error:
            raise JobError(
                "bad_parameter",
                Path(self.folder) / JOB_FILE,
                str(error),
                _("text, finite numbers, lists and tables"),
                _("Correct the parameters of the job."),
            ) from error

    def _stored(self, path: Path) -> str:
        """Relative with forward slashes inside the folder, so that the folder can move; absolute outside it."""
        absolute, folder = userPath(path).resolve(), Path(self.folder).resolve()
        return absolute.relative_to(folder).as_posix() if absolute.is_relative_to(folder) else str(absolute)


def newJobFolder(kind: str, root: Path | None = None) -> Path:
    """Make a new folder for one job, readable by its owner only.

    Args:
        kind: of the job, begins the folder's name.
        root: where to put it; by default a folder in Slicer's temporary folder.
    """
    parent = jobsRoot() if root is None else Path(root)
    try:
        parent.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(prefix=f"{kind}-", dir=parent))
    except OSError as error:
        raise explained(error, parent) from error


def jobsRoot() -> Path:
    """Where job folders lie: in Slicer's temporary folder, on Windows by a name without special characters."""
    import slicer

    temporary = Path(slicer.app.temporaryPath)
    candidates = [temporary]
    if os.name == "nt":
        # A user's name is part of the path there, and some image libraries cannot open paths outside ASCII.
        python = Path(tempfile.gettempdir())
        candidates += [shortName(temporary), python, shortName(python)]
    return next((path for path in candidates if str(path).isascii()), temporary) / JOBS_FOLDER


def shortName(path: Path) -> Path:
    """The 8.3 name of an existing folder on Windows, which is ASCII whatever the user is called; else `path` itself."""
    import ctypes

    buffer = ctypes.create_unicode_buffer(512)
    length = ctypes.windll.kernel32.GetShortPathNameW(str(path), buffer, len(buffer))
    return Path(buffer.value) if 0 < length < len(buffer) else path


def readResult(folder: Path) -> dict[str, Any]:
    """What a finished job left in its result.json.

    Raises:
        JobError: "missing_file" when there is none, which means that the job did not succeed; "unreadable_file".
    """
    path = Path(folder) / RESULT_FILE
    expected = _("the result that a job writes when it has succeeded")
    result = readJson(path, expected)
    if result.get("status") != "finished":
        found = _("status '{status}'").format(status=result.get("status", ""))
        raise JobError("unreadable_file", path, found, expected, _("Run the job again; its folder is damaged."))
    return result


def products(folder: Path, result: Mapping[str, Any], role: str = "") -> list[Path]:
    """Absolute paths of what a job made, in the order of making.

    Args:
        folder: the job folder.
        result: of `readResult`.
        role: only those of this role, for instance "cohort" or "package".
    """
    return [
        Path(folder) / product["path"] for product in result.get("products", []) if role in ("", product.get("role"))
    ]
