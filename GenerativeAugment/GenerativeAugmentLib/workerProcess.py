"""A child process that takes JSON lines and answers with JSON lines, without ever making its parent wait.

Standard library only: no Qt and no Slicer. Threads of their own write, read and wait, so that every method returns at
once and the caller asks by `poll` what has happened.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from GenerativeAugmentLib.errors import JobError, _

LINE_LIMIT = 1 << 20
"""Bytes after which a line without an end is taken for garbage."""

TEXT_LIMIT = 2000
"""Characters of a garbage or error line that are kept."""

DRAIN_SECONDS = 0.5
"""How long to read on after the process has ended, when something else still holds its pipes open."""

_NUMBER = (int, float)
_FIELDS: dict[str, dict[str, type | tuple[type, ...]]] = {
    "ready": {"versions": dict, "devices": list, "missing": list},
    "queued": {"waiting": int},
    "started": {"kind": str},
    "progress": {"done": _NUMBER, "total": _NUMBER, "note": str},
    "log": {"message": str},
    "product": {"role": str, "path": str},
    "finished": {},
    "failed": {"reason": str, "found": str, "remedy": str},
}
"""What a line must hold to be taken for an event; the rest is left to whoever uses it."""


class WorkerProcess:
    """One run of a worker.

    Args:
        arguments: the command, never passed through a shell.
        environment: of the process; None inherits this one's.
        stderrLines: how many of its last error lines are kept.
        folder: where it runs; None inherits.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        environment: Mapping[str, str] | None = None,
        stderrLines: int = 200,
        folder: Path | None = None,
    ) -> None:
        self._arguments = [str(argument) for argument in arguments]
        self._environment = None if environment is None else dict(environment)
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self._messages: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._events: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self._errors: deque[str] = deque(maxlen=stderrLines)
        self._errorsLock = threading.Lock()
        self._ended = threading.Event()

    def start(self) -> None:
        """Start the process; returns as soon as the operating system has it.

        Raises:
            JobError: "not_installed" when the program cannot be run.
        """
        if self._process is not None:
            raise RuntimeError("a WorkerProcess runs once; make another one")
        options: dict[str, Any] = {"start_new_session": True}
        if os.name == "nt":
            options = {"creationflags": subprocess.CREATE_NO_WINDOW | subprocess.CREATE_NEW_PROCESS_GROUP}
        try:
            process = subprocess.Popen(
                self._arguments,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                # Unbuffered: a thread that waits in a buffered stream holds a lock that the application's exit needs.
                bufsize=0,
                env=self._environment,
                cwd=self._folder,
                **options,
            )
        except OSError as error:
            raise JobError(
                "not_installed",
                self._arguments[0],
                error.strerror or str(error),
                _("a Python that can be started"),
                _("Choose another Python environment, or install this extension again."),
            ) from error
        self._process = process
        readers = [
            self._startThread("worker events", self._readEvents, process.stdout),
            self._startThread("worker errors", self._readErrors, process.stderr),
        ]
        self._startThread("worker commands", self._writeMessages, process.stdin)
        self._startThread("worker end", self._awaitEnd, process, readers)

    def send(self, message: Mapping[str, Any]) -> None:
        """Send one command. A process that has ended does not get it; `ended` tells."""
        self._messages.put(dict(message))

    def poll(self, limit: int = 500) -> list[dict[str, Any]]:
        """The events that have come since the last call, at most `limit`, oldest first.

        A line that is no event becomes {"event": "log", "message": line}.
        """
        events: list[dict[str, Any]] = []
        while len(events) < limit:
            try:
                events.append(self._events.get_nowait())
            except queue.Empty:
                break
        return events

    @property
    def alive(self) -> bool:
        """Whether the process is running."""
        return self._process is not None and self._process.poll() is None and not self._ended.is_set()

    @property
    def ended(self) -> bool:
        """Whether the process is gone and everything it wrote has been read; `poll` may still hold events."""
        return self._ended.is_set()

    @property
    def exitCode(self) -> int | None:
        """None while it runs; minus the signal's number on POSIX when it was ended by one."""
        return None if self._process is None else self._process.poll()

    @property
    def processId(self) -> int | None:
        """Of the process that was started, which may be a launcher of the one that works."""
        return None if self._process is None else self._process.pid

    def lastErrors(self) -> str:
        """The last lines of its standard error."""
        with self._errorsLock:
            return "\n".join(self._errors)

    def kill(self) -> None:
        """End the process and all it has started, without asking. `ended` follows shortly."""
        if not self.alive:
            return
        if os.name == "nt":
            # taskkill takes a moment, which the caller shall not wait for.
            self._startThread("worker kill", killTreeOnWindows, self._process)
        else:
            self._killGroup(self._process)

    def close(self, grace: float = 1.5, wait: bool = False) -> None:
        """Ask the process to quit, and kill it when it has not done so.

        Args:
            grace: seconds it is given.
            wait: return only when it is gone; else all this happens while the caller goes on.
        """
        if self._process is None or self._ended.is_set():
            return
        self._messages.put({"quit": True})
        self._messages.put(None)
        thread = self._startThread("worker close", self._killLater, grace)
        if wait:
            thread.join()
            self._ended.wait(DRAIN_SECONDS + 1.0)

    def _killLater(self, grace: float) -> None:
        if not self._ended.wait(grace):
            self.kill()

    def _writeMessages(self, stream: IO[bytes]) -> None:
        try:
            while (message := self._messages.get()) is not None:
                data = memoryview(json.dumps(message, ensure_ascii=False).encode("utf-8") + b"\n")
                while data:
                    data = data[stream.write(data) :]
        except OSError:
            # Nobody reads any more: the process is ending, and `ended` is about to say so.
            return
        finally:
            closeQuietly(stream)

    def _readEvents(self, stream: IO[bytes]) -> None:
        for line in _lines(stream):
            event = parseEvent(line)
            if event is not None:
                self._events.put(event)

    def _readErrors(self, stream: IO[bytes]) -> None:
        for line in _lines(stream):
            # Progress bars rewrite their line; only its last state is of interest.
            text = line.decode("utf-8", "replace").rstrip().rpartition("\r")[2]
            if text.strip():
                with self._errorsLock:
                    self._errors.append(text[:TEXT_LIMIT])

    def _awaitEnd(self, process: subprocess.Popen[bytes], readers: list[threading.Thread]) -> None:
        process.wait()
        if os.name != "nt":
            # What it has started would go on, and would hold the pipes open.
            self._killGroup(process)
        self._messages.put(None)
        for reader in readers:
            reader.join(DRAIN_SECONDS)
        self._ended.set()

    @staticmethod
    def _killGroup(process: subprocess.Popen[bytes]) -> None:
        # The process leads a session of its own, so its group is all it has started and nothing else.
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            # Nobody left; macOS says the latter when only the dead are left.
            return

    @staticmethod
    def _startThread(name: str, target: Any, *arguments: Any) -> threading.Thread:
        thread = threading.Thread(target=target, args=arguments, name=name, daemon=True)
        thread.start()
        return thread


def parseEvent(line: bytes) -> dict[str, Any] | None:
    """The event in one line of output; a log event for anything else; None for an empty line."""
    text = line.decode("utf-8", "replace").strip()
    if not text:
        return None
    try:
        event = json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        event = None
    if isinstance(event, dict) and _isEvent(event):
        return event
    return {"event": "log", "message": text[:TEXT_LIMIT]}


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _isEvent(event: dict[str, Any]) -> bool:
    name = event.get("event")
    # A later worker may tell more than this side knows of; that is no garbage.
    fields = _FIELDS.get(name, {}) if isinstance(name, str) else {"event": str}
    return isinstance(event.get("id"), (str, type(None))) and all(
        isinstance(event.get(field), kind) for field, kind in fields.items()
    )


def _lines(stream: IO[bytes]) -> Iterator[bytes]:
    """Lines as they come in, however they are cut into pieces; the last one may lack its end."""
    rest = b""
    with stream:
        while piece := stream.read(65536):
            *lines, rest = (rest + piece).split(b"\n")
            yield from lines
            if len(rest) > LINE_LIMIT:
                yield rest
                rest = b""
    yield rest


def killTreeOnWindows(process: subprocess.Popen[bytes]) -> None:
    """End a process and its descendants; the tree has to be ended before its root, by which it is found."""
    program = Path(os.environ.get("SYSTEMROOT", r"C:\Windows")) / "System32" / "taskkill.exe"
    subprocess.run(
        [str(program), "/PID", str(process.pid), "/T", "/F"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        check=False,
    )
    process.kill()


def closeQuietly(stream: IO[bytes]) -> None:
    """Close a pipe whose other end may be gone."""
    try:
        stream.close()
    except OSError:
        # What was still to be written has nobody to go to; the descriptor is closed all the same.
        return
