"""Cases made by several processes at once, on the CPU: this one and others, each with its share of the threads."""

from __future__ import annotations

import queue
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Protocol, TypeVar

import torch

from genaug.case import Case
from genaug.cohort import Cohort
from genaug.convolution import current_route
from genaug.devices import computing_threads
from genaug.errors import Cancelled, GenaugError, Reason
from genaug.files import read_json, write_json
from genaug.package import Package
from genaug.parameters import SynthesisParameters
from genaug.processes import run_command
from genaug.progress import Part, Reporter
from genaug.slabs import SlabPlan
from genaug.synthesis_share import Claims, Made, Share

LISTEN_SECONDS = 0.5
"""Between two looks whether the job shall stop, while the workers say nothing."""

Result = TypeVar("Result")


class Here(Protocol):
    """`synthesis.make_cases` for a job, but for whom it reports to and which batches are its own."""

    def __call__(self, *, reporter: Reporter, claim: Callable[[int], bool]) -> dict[int, Case]:
        """The cases that were made in this process, by index."""


def make_in_workers(
    here: Here,
    package: Package,
    output: Path,
    parameters: SynthesisParameters,
    indices: range,
    seed: int,
    reporter: Reporter,
    given: Cohort | None = None,
    plan: SlabPlan | None = None,
) -> dict[int, Case]:
    """Do what `synthesis.make_cases` does in `parameters.workers` processes, of which this one is the first.

    It has the model loaded and begins at once, while the others start; what is made by whom is settled batch by batch.
    A case depends on the number of threads in its last bits, and on nothing else that is different here.

    Args:
        here: makes cases in this process.
        package: loaded here; the other workers load it themselves.
        output: folder of the cases.
        parameters: of the job.
        indices: of its cases.
        seed: of the job.
        reporter: told of all workers, on this thread.
        given: cases to follow.
        plan: how to decode.

    Raises:
        GenaugError: what a worker raised, whereupon the others stop; BAD_PARAMETER on another device than the CPU.
        RuntimeError: when a worker ended without a word, or by a defect.
    """
    if package.device.type != "cpu":
        raise GenaugError(
            Reason.BAD_PARAMETER,
            "workers",
            f"{parameters.workers} on the device {package.device.type}",
            "1: one process keeps a GPU busy",
            "Leave workers out, or choose the device cpu.",
        )
    workers = min(parameters.workers, len(indices))
    threads = max(1, torch.get_num_threads() // workers)
    with tempfile.TemporaryDirectory(prefix="genaug-workers-") as name, computing_threads(threads):
        claims = Path(name) / "claims"
        claims.mkdir()
        share = Share(
            package=package.folder.resolve(),
            output=output.resolve(),
            parameters=parameters,
            first=indices.start,
            last=indices.stop - 1,
            claims=claims,
            seed=seed,
            threads=threads,
            route=current_route(),
            given=given,
            slabs=None if plan is None else plan.model_dump(),
        )
        folders = [Path(name) / str(number) for number in range(1, workers)]
        for folder in folders:
            folder.mkdir()
            write_json(folder / "share.json", share.model_dump(mode="json"))
        made = _run_all(
            lambda ear: here(reporter=ear, claim=Claims(claims)),
            [_command(folder) for folder in folders],
            reporter,
            len(indices),
        )
        for folder in folders:
            # As the one who asked wrote the folder, not as the workers resolved it.
            for index, case in read_json(folder / "made.json", Made).cases.items():
                made[index] = _placed(case, output.resolve(), output)
    return made


def _command(folder: Path) -> Callable[[Reporter], None]:
    def run(reporter: Reporter) -> None:
        command = [sys.executable, "-m", "genaug.synthesis_share", str(folder / "share.json")]
        log = folder / "log.txt"
        try:
            run_command(command, log, reporter)
        except GenaugError as error:
            if error.reason is not Reason.INTERNAL:
                raise
            # The log goes with its folder, so what it says of the defect has to be told here.
            raise RuntimeError(f"{error.found}\n{log.read_text(encoding='utf-8', errors='replace')}") from error

    return run


def _run_all(
    own: Callable[[Reporter], Result],
    others: Sequence[Callable[[Reporter], None]],
    reporter: Reporter,
    count: int,
) -> Result:
    """Run `own` on this thread and `others` beside it; the first that fails ends all.

    All that they report is passed on by this thread: at every step of its own work, then while it waits.
    """
    said: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
    stop = threading.Event()
    bar = _JoinedBar(reporter, 1 + len(others), count)
    errors: list[BaseException] = []
    with ThreadPoolExecutor(len(others)) as pool:
        running = [pool.submit(task, _Ear(number, said, stop, bar)) for number, task in enumerate(others, 1)]
        try:
            made = own(_OwnEar(bar, said, running))
            while not _over(running):
                with suppress(queue.Empty):
                    said.get(timeout=LISTEN_SECONDS)()
                bar.show()
            bar.show()
        except Exception as error:
            errors.append(error)
        finally:
            stop.set()
    _pass_on(said)
    errors += [found for found in (task.exception() for task in running) if found is not None]
    # One that was asked to stop says so, but why is known to the one that failed.
    for first in sorted(errors, key=lambda found: isinstance(found, Cancelled)):
        raise first
    return made


def _over(running: Sequence[Future[None]]) -> bool:
    return all(task.done() for task in running) or _failed(running)


def _failed(running: Sequence[Future[None]]) -> bool:
    return any(task.done() and task.exception() for task in running)


def _pass_on(said: queue.SimpleQueue[Callable[[], None]]) -> None:
    while not said.empty():
        said.get()()


class _JoinedBar:
    """One bar for all workers, and how many cases they have finished."""

    def __init__(self, reporter: Reporter, workers: int, count: int) -> None:
        self.reporter, self.count = reporter, count
        self.shares, self.finished = [0.0] * workers, 0

    def show(self) -> None:
        """Also while nothing was said, since this is where a job learns that it shall stop."""
        note = f"{self.finished} of {self.count} cases, {len(self.shares)} workers"
        self.reporter.progress(round(sum(self.shares) * Part.RESOLUTION), Part.RESOLUTION, note)

    def product(self, role: str, path: Path) -> None:
        """Passed on, and counted."""
        self.finished += role == "case"
        self.reporter.product(role, path)


class _OwnEar:
    """What the worker on this thread reports to. Each of its steps is also where the others are heard."""

    def __init__(
        self, bar: _JoinedBar, said: queue.SimpleQueue[Callable[[], None]], running: Sequence[Future[None]]
    ) -> None:
        self._bar, self._said, self._running = bar, said, running
        self.log, self.product = bar.reporter.log, bar.product

    def progress(self, done: int, total: int, note: str = "") -> None:
        """Raises Cancelled once the job is to stop, or when another worker has failed."""
        self._bar.shares[0] = done / max(total, 1)
        _pass_on(self._said)
        self._bar.show()
        if _failed(self._running):
            raise Cancelled()


class _Ear:
    """What another worker reports to, on a thread that listens to it: it is for the thread that asked to pass it on."""

    def __init__(
        self, number: int, said: queue.SimpleQueue[Callable[[], None]], stop: threading.Event, bar: _JoinedBar
    ) -> None:
        self._number, self._said, self._stop, self._bar = number, said, stop, bar

    def progress(self, done: int, total: int, note: str = "") -> None:
        """Raises Cancelled once the job is to stop."""
        self._bar.shares[self._number] = done / max(total, 1)
        if self._stop.is_set():
            raise Cancelled()

    def log(self, message: str) -> None:
        """Passed on."""
        self._said.put(lambda: self._bar.reporter.log(message))

    def product(self, role: str, path: Path) -> None:
        """Passed on."""
        self._said.put(lambda: self._bar.product(role, path))


def _placed(case: Case, resolved: Path, output: Path) -> Case:
    def moved(path: Path) -> Path:
        return output / path.relative_to(resolved)

    return case.model_copy(
        update={
            "images": {channel: moved(path) for channel, path in case.images.items()},
            "label": None if case.label is None else moved(case.label),
            "record": None if case.record is None else moved(case.record),
        }
    )
