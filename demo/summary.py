"""What the demo did, as data: summary.json, kept up to date while the demo runs.

The report is made from this file and the pictures it names, from nothing else, so it can be made again later and a
summary of an interrupted run shows how far that run came.
"""

from __future__ import annotations

import os
import platform
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import psutil
from genaug.errors import Cancelled
from genaug.evaluation.scores import CopyCheck, Evaluation, Score
from genaug.files import read_json, write_json
from genaug.record import software_versions
from pydantic import BaseModel, ConfigDict, Field

MEBIBYTE = 1 << 20
SAMPLING_SECONDS = 0.05
CHILDREN_EVERY = 20
"""Samples between two looks for new child processes: finding them reads every process of the machine."""

Status = Literal["done", "failed", "interrupted"]
Section = Literal["hero", "samples", "lesions", "translation", "curves"]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Step(_Strict):
    """One stretch of the demo, in the order of running."""

    name: str
    seconds: float
    peak_memory_mb: float = Field(description="largest resident memory seen during the step, MiB; see PeakMemory")
    status: Status = "done"
    error: str | None = None


class ScoreTable(_Strict):
    """What the evaluation of one model or task found."""

    subject: str = Field(description='what was judged, for instance "Latent diffusion"')
    weights: str = Field(default="", description='which weights made it: "starter weights", "trained here, 90 s"')
    scores: list[Score]
    copies: list[CopyCheck] = Field(default_factory=list)
    notes: list[str] = Field(default_factory=list, description="what was left out and why")


class Picture(_Strict):
    """One image of the report."""

    section: Section
    file: str = Field(description="PNG, relative to the summary")
    dark_file: str | None = Field(default=None, description="the same for a dark page, where it differs")
    title: str
    caption: str
    weights: str = ""
    alt: str = Field(default="", description="what a reader who cannot see the picture should know")


class PackageUsed(_Strict):
    """A model package the demo used or made."""

    name: str
    recipe: str
    weights: str = Field(description='"starter" or "trained here"')
    sha256: str
    path: str


class Summary(_Strict):
    """summary.json. Paths are relative to its folder where they lie inside it."""

    schema_version: Literal[1] = 1
    title: str = "GenerativeAugment demo"
    synthetic: Literal[True] = True
    short: bool = False
    started: str
    seed: int
    seeds: dict[str, int] = Field(default_factory=dict, description="further seeds, by what they were used for")
    environment: dict[str, Any] = Field(default_factory=dict)
    facts: dict[str, str] = Field(default_factory=dict, description="numbers worth a headline, in reading order")
    steps: list[Step] = Field(default_factory=list)
    scores: list[ScoreTable] = Field(default_factory=list)
    pictures: list[Picture] = Field(default_factory=list)
    packages: list[PackageUsed] = Field(default_factory=list)
    products: dict[str, str] = Field(default_factory=dict, description="role to path")
    limits: list[str] = Field(default_factory=list, description="what this run in particular does not show")

    @classmethod
    def read(cls, path: Path) -> Summary:
        """Read and validate; raises GenaugError naming the file and the keys at fault."""
        return read_json(path, cls)


class PeakMemory:
    """Largest resident memory of this process and its children while the context is open.

    Resident set sizes are added up and sampled every SAMPLING_SECONDS by a thread, and once more at either end. So it
    is what the system had to hold, not what the step allocated: memory kept from earlier steps counts, pages shared
    between parent and child count twice; a spike between two samples and a child that lives under a second are missed.
    """

    def __init__(self) -> None:
        self._process = psutil.Process()
        self._children: list[psutil.Process] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="peak-memory", daemon=True)
        self.bytes = 0

    @property
    def mebibytes(self) -> float:
        """The peak in MiB."""
        return self.bytes / MEBIBYTE

    def __enter__(self) -> PeakMemory:
        self._sample()
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._sample()
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        samples = 0
        while not self._stop.wait(SAMPLING_SECONDS):
            if samples % CHILDREN_EVERY == 0:
                self._children = self._process.children(recursive=True)
            self._sample()
            samples += 1

    def _sample(self) -> None:
        resident = self._process.memory_info().rss
        for child in self._children:
            try:
                resident += child.memory_info().rss
            except psutil.NoSuchProcess:  # it has ended since it was listed
                continue
        self.bytes = max(self.bytes, resident)


class StepClock:
    """Runs the demo's steps and keeps summary.json true after each.

    Args:
        path: summary.json; its folder is what relative paths start from.
        seed: the demo's seed.
        device: what the networks run on, for instance "cpu".
        short: whether this is the short form of the demo.
        echo: where progress lines go.

    Example:
        >>> clock = StepClock(Path("build/demo/summary.json"), seed=1)
        >>> with clock.step("train ldm"):
        ...     train()
    """

    def __init__(
        self, path: Path, seed: int, device: str = "cpu", short: bool = False, echo: Callable[[str], None] | None = None
    ) -> None:
        self.path = path
        self._echo = echo or _print
        self._begin = time.monotonic()
        self.summary = Summary(
            seed=seed, short=short, started=time.strftime("%Y-%m-%d %H:%M:%S %z"), environment=environment(device)
        )
        self.write()

    @property
    def seconds(self) -> float:
        """Since the demo began."""
        return time.monotonic() - self._begin

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Time a step, watch its memory and write the summary, also when the step fails."""
        self._echo(f"[{_clock(self.seconds)}] {name} …")
        begin, memory, failure = time.monotonic(), PeakMemory(), None
        try:
            with memory:
                yield
        except BaseException as error:
            failure = error
            raise
        finally:
            step = _step(name, time.monotonic() - begin, memory.mebibytes, failure)
            self.summary.steps.append(step)
            self.write()
            self._echo(
                f"[{_clock(self.seconds)}] {name}: {step.status}, {step.seconds:.1f} s, {step.peak_memory_mb:.0f} MiB"
            )

    def add_evaluation(self, subject: str, evaluation: Evaluation, weights: str = "") -> None:
        """Keep everything an evaluation found about a model or a task."""
        table = ScoreTable(
            subject=subject,
            weights=weights,
            scores=evaluation.scores,
            copies=evaluation.copies,
            notes=evaluation.notes,
        )
        self.summary.scores.append(table)
        self.write()

    def add_picture(
        self,
        section: Section,
        file: Path,
        title: str,
        caption: str,
        *,
        weights: str = "",
        alt: str = "",
        dark_file: Path | None = None,
    ) -> None:
        """Put a PNG that is already on disk into a section of the report."""
        picture = Picture(
            section=section,
            file=self.relative(file),
            dark_file=None if dark_file is None else self.relative(dark_file),
            title=title,
            caption=caption,
            weights=weights,
            alt=alt or title,
        )
        self.summary.pictures.append(picture)
        self.write()

    def add_package(self, name: str, recipe: str, weights: str, sha256: str, path: Path) -> None:
        """Name a model package that made some of the cases."""
        used = PackageUsed(name=name, recipe=recipe, weights=weights, sha256=sha256, path=self.relative(path))
        self.summary.packages.append(used)
        self.write()

    def add_product(self, role: str, path: Path) -> None:
        """Say where something lies that the demo leaves behind."""
        self.summary.products[role] = self.relative(path)
        self.write()

    def add_fact(self, name: str, value: str) -> None:
        """A number for the head of the report, for instance ("synthetic volumes", "24")."""
        self.summary.facts[name] = value
        self.write()

    def add_limit(self, sentence: str) -> None:
        """Something this run does not show, for the report's last box."""
        self.summary.limits.append(sentence)
        self.write()

    def relative(self, path: Path) -> str:
        """A path as the summary keeps it: relative to the summary's folder, with forward slashes."""
        return Path(os.path.relpath(path.resolve(), self.path.parent.resolve())).as_posix()

    def write(self) -> None:
        """Write summary.json atomically."""
        write_json(self.path, self.summary.model_dump(mode="json"))


def environment(device: str = "cpu") -> dict[str, Any]:
    """Versions and machine, as far as they bear on time and voxels. No host name and no user."""
    return {
        "versions": software_versions(),
        "device": device,
        "cpu_count": os.cpu_count() or 1,
        "memory_gib": round(psutil.virtual_memory().total / (1 << 30), 1),
        "system": f"{platform.system()} {platform.machine()}",
    }


def _step(name: str, seconds: float, peak: float, failure: BaseException | None) -> Step:
    return Step(
        name=name,
        seconds=round(seconds, 3),
        peak_memory_mb=round(peak, 1),
        status=_status(failure),
        error=None if failure is None else f"{type(failure).__name__}: {failure}".rstrip(": "),
    )


def _status(failure: BaseException | None) -> Status:
    if failure is None:
        return "done"
    # Ctrl-C and a request to exit are no fault of the step.
    asked = isinstance(failure, Cancelled) or not isinstance(failure, Exception)
    return "interrupted" if asked else "failed"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes:02d}:{rest:02d}"


def _print(line: str) -> None:
    print(line, flush=True)
