"""Cases made by several processes at once, on the CPU: each makes a stretch of them with its share of the threads.

`python -m genaug.synthesis_workers SHARE` is one of them; it is started by `make_in_workers` and by nobody else.
"""

from __future__ import annotations

import queue
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import torch

from genaug.case import Case
from genaug.cohort import Cohort
from genaug.devices import computing_threads
from genaug.errors import Cancelled, GenaugError, Reason
from genaug.files import read_json, write_json
from genaug.jobs.events import EventReporter, Failed
from genaug.jobs.failures import explain
from genaug.package import Package, load_package
from genaug.parameters import SynthesisParameters
from genaug.processes import run_command, stop_with_input, tell
from genaug.progress import Part, Reporter
from genaug.strict import Strict

LISTEN_SECONDS = 0.5
"""Between two looks whether the job shall stop, while the workers say nothing."""


class Share(Strict):
    """What one worker does: `parameters` as they are for the whole job, of which it makes the cases first to last."""

    package: Path
    output: Path
    parameters: SynthesisParameters
    first: int
    last: int
    seed: int
    threads: int
    given: Cohort | None


class Made(Strict):
    """What one worker has made."""

    cases: list[Case]


def make_in_workers(
    package: Package,
    output: Path,
    parameters: SynthesisParameters,
    indices: range,
    seed: int,
    reporter: Reporter,
    given: Cohort | None = None,
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
        command = [sys.executable, "-m", "genaug.synthesis_workers", str(folder / "share.json")]
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


def main() -> int:
    """Make the cases of the share that is named on the command line; the exit code is 0 when all are there."""
    from genaug.synthesis import make_cases

    path = Path(sys.argv[1])
    stop = threading.Event()
    stop_with_input(stop)
    events = EventReporter(tell, stop=stop)
    try:
        share = read_json(path, Share)
        with computing_threads(share.threads):
            package = load_package(share.package, "cpu")
            indices = range(share.first, share.last + 1)
            cases = make_cases(package, share.output, share.parameters, indices, share.seed, events, share.given)
        write_json(path.parent / "made.json", Made(cases=cases).model_dump(mode="json"))
        events.flush()
    except BaseException as error:
        traceback.print_exc()
        tell(Failed.of(explain(error, path, path.parent / "log.txt")))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
