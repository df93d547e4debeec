"""Building and running one job in this process, with a bar on stderr and a clean stop on Ctrl-C."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from itertools import chain, count
from pathlib import Path
from types import FrameType
from typing import Any

import click

from genaug.cli.bar import Bar
from genaug.cli.options import options_told
from genaug.errors import GenaugError, Reason
from genaug.jobs.events import BaseEvent, Finished, to_line
from genaug.jobs.folder import Paths, build_job
from genaug.jobs.run import run_job
from genaug.jobs.schema import Result, read_result

JOBS_FOLDER = "genaug-jobs"


def run_new(
    kind: str,
    parameters: Mapping[str, Any],
    inputs: Mapping[str, Paths],
    *,
    output: Path | None,
    job_folder: Path | None,
    seed: int = 0,
    device: str = "auto",
) -> Result:
    """Build a job and run it.

    The job folder is `job_folder`, else one named by time and kind in `genaug-jobs` beside `output`, else (for jobs
    that only answer a question) a temporary one, of which a defect's log.txt is kept. What such a job wrote is gone
    afterwards, so it is not named.

    Raises:
        GenaugError: whatever kept the job from being built or from succeeding.
    """
    folder = job_folder or (_temporary_folder(kind) if output is None else _folder_beside(kind, output))
    temporary = folder.parent if job_folder is None and output is None else None
    try:
        with options_told(kind):
            build_job(folder, kind, parameters, inputs, output=output, seed=seed, device=device)
        result = run_existing(folder, named=temporary is None)
        return result if temporary is None else result.model_copy(update={"products": []})
    except GenaugError as error:
        if error.reason is Reason.INTERNAL:
            temporary = None
        raise
    finally:
        if temporary is not None:
            shutil.rmtree(temporary)


def run_existing(folder: Path, *, events: bool = False, named: bool = True) -> Result:
    """Run a job folder and raise its failure. With `events` stdout carries the event stream, the failure included.

    Args:
        folder: of the job.
        events: print the events as JSON lines instead of a bar.
        named: say where each product lies.
    """
    with _stop_on_interrupt() as stop, Bar(sys.stderr, named) as bar:
        last = run_job(folder, _print_event if events else bar, stop=stop)
    if isinstance(last, Finished):
        return read_result(folder)
    raise last.error()


def show_result(result: Result, as_json: bool) -> None:
    """The result on stdout: as JSON, or its products one a line."""
    if as_json:
        click.echo(result.model_dump_json(indent=2))
        return
    for product in result.products:
        click.echo(f"{product.role}\t{product.path}")


def _print_event(event: BaseEvent) -> None:
    click.echo(to_line(event))


def _temporary_folder(kind: str) -> Path:
    return Path(tempfile.mkdtemp(prefix="genaug-")) / kind


def _folder_beside(kind: str, output: Path) -> Path:
    """A new folder in `genaug-jobs`, named so that they sort by time."""
    parent = output.resolve().parent / JOBS_FOLDER
    stem = f"{datetime.now():%Y%m%d-%H%M%S}-{kind}"
    names = chain([stem], (f"{stem}-{number}" for number in count(2)))
    return next(parent / name for name in names if not (parent / name).exists())


@contextmanager
def _stop_on_interrupt() -> Iterator[threading.Event]:
    """Ctrl-C and SIGTERM stop the job at its next step; a second one stops it at once."""
    stop = threading.Event()

    def interrupt(number: int, frame: FrameType | None) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()
        # Not through sys.stderr, which the interrupted code may be in the middle of using.
        os.write(2, b"\nStopping at the next step; once more stops at once.\n")

    former = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
