"""What job.json and result.json hold."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, Field

from genaug.errors import GenaugError, Reason
from genaug.files import read_json
from genaug.strict import PathText, Strict

JOB_FILE = "job.json"
RESULT_FILE = "result.json"
LOG_FILE = "log.txt"

KindName = Literal["train", "synthesize", "translate", "insert", "evaluate", "export", "fingerprint", "replay"]


def _is_device(name: str) -> str:
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", name):
        raise ValueError("not auto, cpu, mps, cuda or cuda with a number, such as cuda:1")
    return name


Device = Annotated[str, AfterValidator(_is_device)]


class Job(Strict):
    """One thing to do. `parameters` are validated by the model of its kind, see `kinds.Kind`.

    Paths are relative to the job folder, with forward slashes, or absolute. A role that takes several files, such as
    the synthetic cohorts of an export, takes a list.
    """

    schema_version: Literal[1] = 1
    kind: KindName
    parameters: dict[str, Any] = Field(default_factory=dict)
    seed: int = Field(0, ge=0, lt=2**63)
    device: Device = "auto"
    inputs: dict[str, PathText | list[PathText]] = Field(default_factory=dict, description="role to path or paths")
    output: PathText = "outputs"


class Product(Strict):
    """A finished file or folder and what it is: "case", "package", "preview", "curve", "report"."""

    role: str
    path: str = Field(description="relative to the job folder where it lies inside, else absolute")


class Result(Strict):
    """Proof that a job succeeded; written last. `summary` is what the handler answered, for instance scores."""

    schema_version: Literal[1] = 1
    status: Literal["finished"] = "finished"
    kind: KindName
    products: list[Product]
    summary: dict[str, Any]
    started: str = Field(description="UTC, ISO 8601")
    seconds: float
    peak_memory_bytes: int = Field(description="largest resident set of the process while the job ran")
    expected_memory_bytes: int | None = Field(
        default=None, description="what was said before it started, of the device that computes; null where not known"
    )
    peak_gpu_memory_bytes: int | None
    versions: dict[str, str]
    platform: str


@dataclass(frozen=True)
class Task:
    """A validated job, ready for its handler: paths are resolved and exist, parameters are of the kind's model."""

    job: Job
    folder: Path
    parameters: BaseModel
    inputs: dict[str, tuple[Path, ...]]
    output: Path

    def input(self, role: str) -> Path:
        """The one file of a required role."""
        return self.inputs[role][0]

    def optional(self, role: str) -> Path | None:
        """The one file of a role that may be absent."""
        return self.inputs[role][0] if role in self.inputs else None


def require_job(folder: Path) -> Path:
    """The path of the folder's job.json; raises MISSING_FILE naming the folder."""
    path = folder / JOB_FILE
    if not path.is_file():
        raise GenaugError(
            Reason.MISSING_FILE,
            folder,
            "no job.json in it" if folder.is_dir() else "no such folder",
            "a job folder",
            "Give the folder that holds job.json.",
        )
    return path


def read_job(folder: Path) -> Job:
    """Read job.json strictly; raises MISSING_FILE or BAD_JOB naming every key at fault."""
    return read_json(require_job(folder), Job, Reason.BAD_JOB)


def read_result(folder: Path) -> Result:
    """Read result.json; raises MISSING_FILE when the job did not succeed."""
    return read_json(folder / RESULT_FILE, Result)
