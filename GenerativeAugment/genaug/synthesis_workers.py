"""Cases made by several processes at once, on the CPU: each makes a stretch of them with its share of the threads."""

from __future__ import annotations

import queue
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import torch

from genaug.case import Case
from genaug.cohort import Cohort
from genaug.errors import Cancelled, GenaugError, Reason
from genaug.files import read_json, write_json
from genaug.package import Package
from genaug.parameters import SynthesisParameters
from genaug.processes import run_command
from genaug.progress import Part, Reporter
from genaug.slabs import SlabPlan
from genaug.synthesis_share import Made, Share

LISTEN_SECONDS = 0.5
"""Between two looks whether the job shall stop, while the workers say nothing."""


def make_in_workers(
    package: Package,
    output: Path,
    parameters: SynthesisParameters,
    indices: range,
    seed: int,
    reporter: Reporter,
    given: Cohort | None = None,
    plan: SlabPlan | None = None,
) -> list[Case]:
    """Do what `synthesis.make_cases` does in `parameters.workers` processes.

    A case depends on the number of threads in its last bits, and on nothing else that is different here.

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
    with tempfile.TemporaryDirectory(prefix="genaug-workers-") as name:
        folders = []
        for number, part in enumerate(stretches(indices, workers)):
            share = Share(
                package=package.folder.resolve(),
                output=output.resolve(),
                parameters=parameters,
                first=part.start,
                last=part.stop - 1,
                seed=seed,
                threads=threads,
                given=given,
                slabs=None if plan is None else plan.model_dump(),
            )
            folders.append(Path(name) / str(number))
            folders[-1].mkdir()
            write_json(folders[-1] / "share.json", share.model_dump(mode="json"))
        _run_all([_command(folder) for folder in folders], reporter, len(indices))
        made = [case for folder in folders for case in read_json(folder / "made.json", Made).cases]
    # As the one who asked wrote the folder, not as the workers resolved it.
    return [_placed(case, output.resolve(), output) for case in made]


def stretches(indices: range, count: int) -> list[range]:
    """`indices` cut into `count` contiguous ranges whose lengths differ by one at most."""
    cuts = [indices.start + len(indices) * number // count for number in range(count + 1)]
    return [range(first, last) for first, last in pairwise(cuts)]


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


def _run_all(tasks: Sequence[Callable[[Reporter], None]], reporter: Reporter, count: int) -> None:
    """Run tasks side by side. All that they report is passed on by this thread; the first that fails ends all."""
    said: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
    stop = threading.Event()
    bar = _JoinedBar(reporter, len(tasks), count)
    with ThreadPoolExecutor(len(tasks)) as pool:
        running = [pool.submit(task, _Ear(number, said, stop, bar)) for number, task in enumerate(tasks)]
        try:
            while not _over(running):
                with suppress(queue.Empty):
                    said.get(timeout=LISTEN_SECONDS)()
                bar.show()
        finally:
            stop.set()
    while not said.empty():
        said.get()()
    errors = [error for error in (task.exception() for task in running) if error is not None]
    # One that was asked to stop says so, but why is known to the one that failed.
    for error in sorted(errors, key=lambda error: isinstance(error, Cancelled)):
        raise error


def _over(running: Sequence[Future[None]]) -> bool:
    return all(task.done() for task in running) or any(task.done() and task.exception() for task in running)


class _JoinedBar:
    """One bar for all workers, and how many cases they have finished."""

    def __init__(self, reporter: Reporter, workers: int, count: int) -> None:
        self.reporter, self.count = reporter, count
        self.shares, self.finished = [0.0] * workers, 0

    def show(self) -> None:
        """Also while nothing was said, since this is where a job learns that it shall stop."""
        done = sum(self.shares) / len(self.shares)
        note = f"{self.finished} of {self.count} cases, {len(self.shares)} workers"
        self.reporter.progress(round(done * Part.RESOLUTION), Part.RESOLUTION, note)


class _Ear:
    """What one worker reports to, on a thread of its own: what is to be passed on is left to the thread that waits."""

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
        """Passed on, and counted."""

        def pass_on() -> None:
            self._bar.finished += role == "case"
            self._bar.reporter.product(role, path)

        self._said.put(pass_on)


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
