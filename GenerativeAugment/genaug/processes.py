"""Processes of our own: started, listened to, stopped and never left behind.

Such a process tells what it does as events on stdout, one a line, and stops at its next step when its stdin is closed,
which also happens when the process that started it dies. Training on several devices and synthesis by several workers
are made of them.
"""

from __future__ import annotations

import math
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

import psutil
from pydantic import ValidationError

import genaug
from genaug.errors import Cancelled, GenaugError, Reason
from genaug.jobs.events import BaseEvent, Failed, Log, ProductMade, Progress, from_line, to_line
from genaug.progress import Reporter

LISTEN_SECONDS = 0.5
"""Between two looks whether the work shall stop, while the processes say nothing."""

STOP_SECONDS = 120.0
"""For finishing a step and writing what it made, after which the processes are ended."""

END_SECONDS = 10.0
"""For the others to end after one has failed or the first has finished."""

_GONE = (psutil.NoSuchProcess, psutil.AccessDenied)
"""What is said of a process that has ended; the latter on Windows, while it ends."""

FABRIC = ("LOCAL_RANK", "NODE_RANK", "GROUP_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
"""What Fabric tells the processes that it starts; the first of them must not find it."""


def run_command(command: Sequence[str], log: Path, reporter: Reporter) -> None:
    """Run a command that tells what it does as events, one a line of its stdout, and ends when its stdin is closed.

    Args:
        command: program and arguments.
        log: gets what it writes to stderr, and what of its stdout is no event.
        reporter: told of its progress; where that raises Cancelled, the command is stopped.

    Raises:
        GenaugError: what a `failed` event says.
        RuntimeError: when it ends otherwise without success; the log's last lines are in the message.
    """
    with log.open("w", encoding="utf-8") as stream, _running(command, stream) as child:
        _relay(child, stream, reporter)
    if child.returncode != 0:
        last = "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-5:])
        raise RuntimeError(f"{command[0]} ended with code {child.returncode}; the end of {log}:\n{last}")


@contextmanager
def _running(command: Sequence[str], log: IO[str]) -> Iterator[subprocess.Popen[str]]:
    """The first process; on leaving, however that happens, it and all that it started are gone."""
    environment = {name: value for name, value in os.environ.items() if name not in FABRIC}
    place = str(Path(genaug.__file__).parents[1])
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [place, environment.get("PYTHONPATH")]))
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=log,
        encoding="utf-8",
        errors="replace",
        env=environment,
        # Ctrl-C in a terminal is for this process, which asks the others to stop.
        start_new_session=True,
    ) as child:
        try:
            yield child
        finally:
            _end(child)


def _end(child: subprocess.Popen[str]) -> None:
    """End the process and all that it started, where they have not ended by themselves."""
    if sys.platform == "win32":
        with suppress(psutil.NoSuchProcess):
            end_all(psutil.Process(child.pid).children(recursive=True))
        child.kill()
        return
    # The session finds them all, those too whose parent is dead.
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)


def end_all(processes: Iterable[psutil.Process], seconds: float = 0.0) -> None:
    """End processes, every one of them: that another one has ended by itself meanwhile is no reason to stop.

    Args:
        processes: to be ended.
        seconds: that they get to end in their own way, before they are killed.
    """
    alive = list(processes)
    if seconds:
        for process in alive:
            with suppress(*_GONE):
                process.terminate()
        _, alive = psutil.wait_procs(alive, timeout=seconds)
    for process in alive:
        with suppress(*_GONE):
            process.kill()


def _relay(child: subprocess.Popen[str], log: IO[str], reporter: Reporter) -> None:
    """Pass on what the processes tell until they have ended or must be ended."""
    assert child.stdin is not None and child.stdout is not None
    lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(child.stdout, lines), name="events", daemon=True).start()
    reached = (0, 1, "starting the processes")
    problem: GenaugError | None = None
    stopped: Cancelled | None = None
    until = math.inf
    while time.monotonic() < until:
        event = None
        try:
            line = lines.get(timeout=LISTEN_SECONDS)
            if line is None:
                break
            event = _event(line, log)
        except queue.Empty:
            if child.poll() is not None:
                until = min(until, time.monotonic() + END_SECONDS)
        if isinstance(event, Failed):
            problem = problem or _error(event)
            until = min(until, time.monotonic() + END_SECONDS)
        elif isinstance(event, Log):
            reporter.log(event.message)
        elif isinstance(event, ProductMade):
            reporter.product(event.role, Path(event.path))
        elif isinstance(event, Progress):
            reached = (event.done, event.total, event.note)
        # Also while they say nothing, since this is where a job learns that it shall stop.
        if stopped is None and (event is None or isinstance(event, Progress)):
            try:
                reporter.progress(*reached)
            except Cancelled as error:
                stopped = error
                child.stdin.close()
                until = min(until, time.monotonic() + STOP_SECONDS)
    with suppress(subprocess.TimeoutExpired):
        child.wait(END_SECONDS)
    failure = problem or (stopped if child.returncode != 0 else None)
    if failure is not None:
        raise failure


def _read(stream: IO[str], lines: queue.SimpleQueue[str | None]) -> None:
    # ValueError: the stream was closed meanwhile, because the processes had to be ended.
    with suppress(ValueError):
        for line in stream:
            lines.put(line)
    lines.put(None)


def _event(line: str, log: IO[str]) -> object:
    """The event in a line; what a library has printed goes to the log."""
    try:
        return from_line(line)
    except ValidationError:
        log.write(line)
        return None


def _error(event: Failed) -> GenaugError:
    return Cancelled(event.subject, event.found) if event.reason is Reason.CANCELLED else event.error()


def stop_with_input(stop: threading.Event) -> None:
    """In a process that `run_command` started: set `stop` when its stdin is closed."""
    threading.Thread(target=_wait_for_end_of_input, args=(stop,), name="stdin", daemon=True).start()


def tell(event: BaseEvent) -> None:
    """In a process that `run_command` started: an event on stdout, in one piece because several may share the pipe."""
    try:
        os.write(1, (to_line(event) + "\n").encode())
    except OSError as error:
        # Whoever listened is gone; an attended process stops by itself.
        print(f"event not delivered ({error}): {to_line(event)}", file=sys.stderr)


def _wait_for_end_of_input(stop: threading.Event) -> None:
    while os.read(0, 4096):
        pass
    stop.set()
