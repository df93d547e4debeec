"""The warm process: jobs in on stdin, events out on stdout, until the parent is gone.

Commands, one a line: a job folder's path, `{"run": FOLDER, "id": ID}`, `{"cancel": ID}` or `{"quit": true}`. A second
job waits in a queue. Events are those of `jobs.events`, each with its job's id (the folder, where none was given).

The stream is kept pure: file descriptor 1 is redirected to stderr before anything heavy is imported, so whatever a
library prints, in Python or in C, cannot get between two events.
"""

from __future__ import annotations

import faulthandler
import gc
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import psutil
from pydantic import ValidationError, model_validator

from genaug.errors import Cancelled, GenaugError, Reason
from genaug.files import invalid
from genaug.importing import collector_off
from genaug.jobs.events import BaseEvent, Failed, Log, Queued, Ready, Started, to_line
from genaug.jobs.kinds import KINDS, Kind
from genaug.jobs.run import run_job
from genaug.processes import END_SECONDS, STOP_SECONDS, end_all
from genaug.record import software_versions
from genaug.strict import PathText, Strict

GRACE_SECONDS = 5.0
"""How long a running job may take to stop after the parent is gone, before the process ends regardless."""

SAVING_SECONDS = STOP_SECONDS + END_SECONDS
"""The same for one that saves what it has done, such as a training; its processes, too, are given that long."""

WARM_MODULES = ("torch", "SimpleITK", "scipy.ndimage", "genaug.training", "genaug.translation", "genaug.insertion")
"""Imported before `ready`, so that no job waits for them."""


class Command(Strict):
    """One line of stdin."""

    run: PathText | None = None
    id: str | None = None
    cancel: str | None = None
    quit: bool = False

    @model_validator(mode="after")
    def _one_thing(self) -> Command:
        if (self.run is not None) + (self.cancel is not None) + self.quit != 1:
            raise ValueError("exactly one of run, cancel and quit")
        if self.id is not None and self.run is None:
            raise ValueError("an id belongs to run")
        return self

    @classmethod
    def parse(cls, line: str) -> Command:
        """A JSON object, or a plain folder path; raises BAD_JOB for anything else."""
        try:
            return cls.model_validate_json(line) if line.startswith("{") else cls(run=line)
        except ValidationError as error:
            raise invalid(error, line[:200], "command", Reason.BAD_JOB) from error


@dataclass(eq=False)
class _Order:
    """A job that was asked for and is not finished."""

    id: str
    folder: Path
    stop: threading.Event = field(default_factory=threading.Event)
    kind: Kind | None = None


class Worker:
    """Runs orders one after the other on the calling thread, while another thread listens.

    Args:
        emit: receives every event, from either thread.
        kinds: what can be run.
    """

    def __init__(self, emit: Callable[[BaseEvent], None], kinds: Mapping[str, Kind] = KINDS) -> None:
        self._emit, self._kinds = emit, kinds
        # Both are reentrant, so a signal handler may use them whatever this thread was doing.
        self._orders: queue.SimpleQueue[_Order | None] = queue.SimpleQueue()
        self._lock = threading.RLock()
        self._open: list[_Order] = []
        self._running: _Order | None = None
        self._ended = threading.Event()

    def obey(self, line: str) -> None:
        """Carry out one command; a faulty one is answered with a `failed` event."""
        try:
            command = Command.parse(line)
        except GenaugError as error:
            self._emit(Failed.of(error))
            return
        if command.quit:
            self.close()
        elif command.cancel is not None:
            self._cancel(command.cancel)
        elif command.run is not None:
            self._enqueue(_Order(command.id or command.run, Path(command.run)))

    def close(self) -> None:
        """Stop the running job at its next step, drop those that wait, and end `serve`. Safe in a signal handler."""
        self._ended.set()
        with self._lock:
            if self._running is not None:
                self._running.stop.set()
        self._orders.put(None)

    @property
    def grace(self) -> float:
        """Seconds that the running job may take to stop."""
        with self._lock:
            kind = None if self._running is None else self._running.kind
        return SAVING_SECONDS if kind is not None and kind.resumes else GRACE_SECONDS

    def serve(self) -> None:
        """Run orders until `close`."""
        while not self._ended.is_set():
            try:
                # The time-out lets Ctrl-C through on Windows, where a wait without one is not interruptible.
                order = self._orders.get(timeout=0.5)
            except queue.Empty:
                continue
            if order is not None:
                self._run(order)
        with self._lock:
            waiting, self._open = self._open, []
        for order in waiting:
            self._emit(Failed.of(Cancelled(order.folder, "the end of the worker"), order.id))

    def _enqueue(self, order: _Order) -> None:
        with self._lock:
            waiting = len(self._open)
            known = any(other.id == order.id for other in self._open)
            if not known:
                self._open.append(order)
        if known:
            message = f"ignored: a job with the id {order.id!r} is running or waiting already; send another id"
            self._emit(Log(id=order.id, message=message))
            return
        if waiting:
            self._emit(Queued(id=order.id, waiting=waiting))
        self._orders.put(order)

    def _cancel(self, job_id: str) -> None:
        with self._lock:
            order = next((order for order in self._open if order.id == job_id), None)
            waits = order is not None and order is not self._running
            if order is not None and waits:
                self._open.remove(order)
        if order is None:
            self._emit(Log(id=job_id, message=f"nothing to cancel: no job {job_id!r} is running or waiting"))
        elif waits:
            self._emit(Failed.of(Cancelled(order.folder), job_id))
        else:
            order.stop.set()

    def _run(self, order: _Order) -> None:
        with self._lock:
            if self._ended.is_set() or order not in self._open:
                return
            self._running = order

        def emit(event: BaseEvent) -> None:
            if isinstance(event, Started):
                order.kind = self._kinds[event.kind]
            self._emit(event)

        try:
            last = run_job(order.folder, emit, job_id=order.id, stop=order.stop, kinds=self._kinds)
        finally:
            with self._lock:
                self._running = None
                self._open.remove(order)
        if isinstance(last, Failed) and last.reason is Reason.OUT_OF_MEMORY:
            _release_memory()


def serve(kinds: Mapping[str, Kind] = KINDS, warm: tuple[str, ...] = WARM_MODULES) -> None:
    """Run the worker on this process's stdin and stdout until stdin closes, `quit`, SIGTERM or Ctrl-C."""
    faulthandler.enable(sys.stderr)
    commands, events = _take_streams()
    send = _Sender(events)
    worker = Worker(send, kinds)
    for name in ("SIGTERM", "SIGINT", "SIGBREAK"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), lambda *_: worker.close())
    threading.Thread(target=_listen, args=(commands, worker), name="commands", daemon=True).start()
    send(_ready(warm))
    worker.serve()
    _end_children()


class _Sender:
    """Writes events to a file descriptor, whole lines, from any thread."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor, self._lock = descriptor, threading.Lock()

    def __call__(self, event: BaseEvent) -> None:
        data = (to_line(event) + "\n").encode("utf-8")
        with self._lock:
            try:
                while data:
                    data = data[os.write(self._descriptor, data) :]
            except OSError as error:
                # The parent is gone, and with it stdin: `_listen` ends the process. The job need not know, and
                # stderr may be gone as well.
                with suppress(OSError):
                    print(f"event not delivered ({error}): {to_line(event)}", file=sys.stderr)


def _take_streams() -> tuple[int, int]:
    """Private copies of stdin and stdout; the public ones become the null device and stderr."""
    sys.stdout.flush()
    commands, events = os.dup(0), os.dup(1)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    os.dup2(2, 1)
    return commands, events


def _listen(descriptor: int, worker: Worker) -> None:
    for line in _lines(descriptor):
        worker.obey(line)
    grace = worker.grace
    worker.close()
    time.sleep(grace)
    # A job that has not reached a step by now sits in a long call; nobody is left to read its result.
    _end_children()
    os._exit(1)


def _lines(descriptor: int) -> Iterator[str]:
    """Lines without their ends. Read from the descriptor: a buffered reader's lock would block Python's shutdown."""
    rest = b""
    while block := os.read(descriptor, 65536):
        *lines, rest = (rest + block).split(b"\n")
        yield from (text for line in lines if (text := line.decode("utf-8", "replace").strip()))
    if text := rest.decode("utf-8", "replace").strip():
        yield text


def _ready(modules: tuple[str, ...]) -> Ready:
    missing = []
    with collector_off():
        for name in modules:
            try:
                import_module(name)
            except ImportError as error:
                missing.append(f"{name}: {error}")
        # What was imported stays, so that no collection of a job has to look at it.
        gc.freeze()
    return Ready(versions=software_versions(), devices=_devices(), missing=missing)


def _devices() -> list[dict[str, Any]]:
    memory = psutil.virtual_memory()
    devices = [
        {"name": f"{os.cpu_count()} cores", "kind": "cpu", "total_bytes": memory.total, "free_bytes": memory.available}
    ]
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            free, total = torch.cuda.mem_get_info(index)
            name = torch.cuda.get_device_name(index)
            devices.append({"name": name, "kind": f"cuda:{index}", "total_bytes": total, "free_bytes": free})
    if torch is not None and torch.backends.mps.is_available():
        devices.append(
            {"name": "Apple GPU", "kind": "mps", "total_bytes": memory.total, "free_bytes": memory.available}
        )
    return devices


def _release_memory() -> None:
    """Give back what only saves time after a job did not fit: kept packages, and the device's cached blocks."""
    package = sys.modules.get("genaug.package")
    if package is not None:
        package.unload_packages()
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()


def _end_children() -> None:
    """Processes that a job started must not outlive the worker."""
    end_all(psutil.Process().children(recursive=True), seconds=1.0)
