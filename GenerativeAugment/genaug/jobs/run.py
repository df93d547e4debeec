"""Running a job folder: validate, hand over to its kind, write result.json last."""

from __future__ import annotations

import platform
import shutil
import threading
import time
import traceback
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import TextIO

from genaug.errors import Cancelled, Reason
from genaug.files import write_json
from genaug.jobs.events import BaseEvent, Emit, EventReporter, Failed, Finished, Log, ProductMade, Started
from genaug.jobs.failures import explain
from genaug.jobs.folder import resolve
from genaug.jobs.kinds import KINDS, Kind
from genaug.jobs.memory import PeakMemory
from genaug.jobs.schema import LOG_FILE, RESULT_FILE, Product, Result, Task, read_job, require_job
from genaug.record import software_versions
from genaug.stated import hearing


def run_job(
    folder: Path,
    emit: Emit,
    *,
    job_id: str | None = None,
    stop: threading.Event | None = None,
    kinds: Mapping[str, Kind] = KINDS,
) -> Finished | Failed:
    """Run the job in `folder`, telling `emit` everything; never raises for a job's own failure.

    The last event is Finished or Failed, and is also returned. result.json exists afterwards only if it is Finished.

    Args:
        folder: holds job.json; log.txt and result.json are written into it.
        emit: receives every event, on the calling thread.
        job_id: put into every event.
        stop: ends the job with CANCELLED at its next step when set.
        kinds: what can be run; other than the default in tests.
    """
    try:
        folder = folder.resolve()
        require_job(folder)
        (folder / RESULT_FILE).unlink(missing_ok=True)
        with _Journal(folder / LOG_FILE, emit) as journal:
            last = _run_logged(folder, journal, job_id, stop, kinds)
    except Exception as error:
        # Before there is a log: the folder holds no job or may not be written.
        last = Failed.of(explain(_placed(error, folder), folder, folder / LOG_FILE), job_id)
    emit(last)
    return last


class _Journal:
    """Writes log.txt, remembers the products, and passes every event on."""

    def __init__(self, path: Path, emit: Emit) -> None:
        self._path, self._emit = path, emit
        self.products: list[Product] = []

    def __enter__(self) -> _Journal:
        # A name of a file need not be text, and what a failure says of it has to be written all the same.
        self._stream: TextIO = self._path.open(
            "w", encoding="utf-8", errors="backslashreplace", newline="\n", buffering=1
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()

    def write(self, text: str) -> None:
        """One entry of log.txt, with the time in UTC."""
        self._stream.write(f"{datetime.now(timezone.utc):%Y-%m-%dT%H:%M:%SZ} {text}\n")

    def __call__(self, event: BaseEvent) -> None:
        if isinstance(event, Log):
            self.write(event.message)
        elif isinstance(event, ProductMade):
            self._add(event)
        self._emit(event)

    def _add(self, event: ProductMade) -> None:
        self.write(f"{event.role}: {event.path}")
        path, base = Path(event.path).resolve(), self._path.parent
        product = Product(
            role=event.role, path=path.relative_to(base).as_posix() if path.is_relative_to(base) else str(path)
        )
        if product not in self.products:
            self.products.append(product)


def _run_logged(
    folder: Path, journal: _Journal, job_id: str | None, stop: threading.Event | None, kinds: Mapping[str, Kind]
) -> Finished | Failed:
    try:
        if stop is not None and stop.is_set():
            raise Cancelled(folder)
        task = resolve(read_job(folder), folder, kinds)
        journal.write(f"{task.job.kind}, {platform.platform()}, {software_versions()}")
        journal(Started(id=job_id, kind=task.job.kind, folder=str(folder)))
        return _run_task(task, kinds[task.job.kind], EventReporter(journal, job_id, stop), journal, job_id)
    except (Exception, KeyboardInterrupt, SystemExit) as error:
        explained = explain(error, folder, folder / LOG_FILE)
        journal.write(f"failed, {explained.reason.value}: {explained}")
        if explained.reason in (Reason.INTERNAL, Reason.OUT_OF_MEMORY):
            journal.write("".join(traceback.format_exception(error)))
        return Failed.of(explained, job_id)


def _run_task(task: Task, kind: Kind, reporter: EventReporter, journal: _Journal, job_id: str | None) -> Finished:
    started, clock = datetime.now(timezone.utc), time.perf_counter()
    if not kind.resumes:
        _remove_former_output(task)
    with PeakMemory() as peak, hearing() as stated:
        summary = dict(kind.load_handler()(task, reporter))
    reporter.flush()
    result = Result(
        kind=task.job.kind,
        products=journal.products,
        summary=summary,
        started=started.isoformat(timespec="seconds"),
        seconds=round(time.perf_counter() - clock, 3),
        peak_memory_bytes=peak.rss_bytes,
        expected_memory_bytes=stated[-1].bytes if stated else None,
        peak_gpu_memory_bytes=peak.gpu_bytes,
        versions=software_versions(),
        platform=platform.platform(),
    )
    journal.write(f"finished in {result.seconds:.1f} s, at most {peak.rss_bytes / 2**20:.0f} MiB")
    # Last of all: nothing that fails may come after the proof of success.
    write_json(task.folder / RESULT_FILE, result.model_dump(mode="json"))
    return Finished(id=job_id, result=str(task.folder / RESULT_FILE))


def _remove_former_output(task: Task) -> None:
    """Make room for a re-run. Only the job's own subfolder is ever removed, never an output folder elsewhere."""
    if task.output != task.folder and task.output.is_relative_to(task.folder) and task.output.is_dir():
        shutil.rmtree(task.output)


def _placed(error: Exception, folder: Path) -> Exception:
    """The error with a file name, where the system gave none."""
    if isinstance(error, OSError) and error.filename is None:
        error.filename = str(folder)
    return error
