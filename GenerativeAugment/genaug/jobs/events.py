"""What a running job tells its caller: one JSON object a line, and the Reporter that makes them.

A stream holds exactly one `started`, any number of `progress`, `log` and `product`, and exactly one `finished` or
`failed` for each job. `ready` and `queued` come from the worker only.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, TypeAdapter

from genaug.errors import Cancelled, GenaugError, Reason
from genaug.jobs.estimate import Estimate
from genaug.strict import Strict

PROGRESS_INTERVAL_S = 0.1
"""Least time between ordinary progress events. A completed bar is sent at once, at most once after each ordinary
event, so a stream never carries more than 20 a second."""

LONGEST_TEXT = 20_000
"""Characters of a text in an event. Nobody reads more of a message, and the caller takes a line of more than 1 MiB, in
which every character may need six bytes, for garbage."""


def _sendable(text: str) -> str:
    """`text` as a line can hold it: no longer than is read, and with escapes for what UTF-8 does not have."""
    if len(text) > LONGEST_TEXT:
        text = f"{text[:LONGEST_TEXT]}… ({len(text)} characters)"
    # Names of files are bytes on some systems, and Python keeps those that are no text in characters of its own.
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


Text = Annotated[str, AfterValidator(_sendable)]


class BaseEvent(Strict):
    """What every event has."""

    id: Text | None = Field(default=None, description="the job it belongs to; absent outside the worker")


class Ready(BaseEvent):
    """The worker has imported what jobs need and takes commands."""

    event: Literal["ready"] = "ready"
    versions: dict[str, str]
    devices: list[dict[str, Any]] = Field(description="name, kind, total_bytes and free_bytes of each")
    missing: list[str] = Field(description="packages that could not be imported, each with the reason")


class Queued(BaseEvent):
    """The worker will run the job when the `waiting` jobs before it are done."""

    event: Literal["queued"] = "queued"
    waiting: int


class Started(BaseEvent):
    """The job was valid and runs now."""

    event: Literal["started"] = "started"
    kind: str
    folder: Text


class Progress(BaseEvent):
    """`done` of `total` steps are finished; `eta_seconds` is None until a rate is known."""

    event: Literal["progress"] = "progress"
    done: int
    total: int
    note: Text
    eta_seconds: float | None


class Log(BaseEvent):
    """One line for the log; the same line is in log.txt."""

    event: Literal["log"] = "log"
    message: Text


class ProductMade(BaseEvent):
    """A file or folder is complete."""

    event: Literal["product"] = "product"
    role: str
    path: Text


class Finished(BaseEvent):
    """The job succeeded; `result` is its result.json."""

    event: Literal["finished"] = "finished"
    result: Text


class Failed(BaseEvent):
    """The job was refused, stopped or broke; there is no result.json."""

    event: Literal["failed"] = "failed"
    reason: Reason
    subject: Text
    found: Text
    expected: Text
    remedy: Text
    message: Text

    @classmethod
    def of(cls, error: GenaugError, job_id: str | None = None) -> Failed:
        """The event for `error`."""
        return cls.model_validate({"id": job_id, **error.to_dict()})

    def error(self) -> GenaugError:
        """The exception this event was made from, for callers that prefer one."""
        return GenaugError(self.reason, self.subject, self.found, self.expected, self.remedy)


Event = Annotated[
    Ready | Queued | Started | Progress | Log | ProductMade | Finished | Failed, Field(discriminator="event")
]
Emit = Callable[[BaseEvent], None]
_EVENTS: TypeAdapter[Event] = TypeAdapter(Event)


def to_line(event: BaseEvent) -> str:
    """The event as one line of JSON, without its newline; absent ids are left out."""
    return event.model_dump_json(exclude={"id"} if event.id is None else None)


def from_line(line: str) -> Event:
    """The event in `line`; raises pydantic.ValidationError for anything else."""
    return _EVENTS.validate_json(line)


class EventReporter:
    """A progress.Reporter that emits events, estimates the remaining time and stops when asked to.

    Args:
        emit: receives each event, in order.
        job_id: put into every event.
        stop: when set, the next `progress` raises Cancelled; may be set from another thread or a signal handler.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        emit: Emit,
        job_id: str | None = None,
        stop: threading.Event | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._emit, self._id, self._clock = emit, job_id, clock
        self._stop = stop or threading.Event()
        self._estimate = Estimate()
        self._sent_at = float("-inf")
        self._sent_complete = False
        self._withheld: Progress | None = None

    def progress(self, done: int, total: int, note: str = "") -> None:
        """Emit, or withhold while the last event is too recent. Raises Cancelled when asked to stop."""
        if self._stop.is_set():
            raise Cancelled()
        now = self._clock()
        completes = done >= total and not self._sent_complete
        due = now - self._sent_at >= PROGRESS_INTERVAL_S
        if due or completes:
            self._estimate.update(now, done, total)
        remaining = self._estimate.remaining(done, total)
        self._withheld = Progress(id=self._id, done=done, total=total, note=note, eta_seconds=remaining)
        if due or completes:
            self.flush()
            self._sent_at, self._sent_complete = now, done >= total

    def log(self, message: str) -> None:
        """Emit one line, after the progress that led to it."""
        self.flush()
        self._emit(Log(id=self._id, message=message))

    def product(self, role: str, path: Path) -> None:
        """Emit a finished file or folder."""
        self.flush()
        self._emit(ProductMade(id=self._id, role=role, path=str(path)))

    def flush(self) -> None:
        """Emit the progress still withheld, so that the last state is always seen."""
        if self._withheld is not None:
            withheld, self._withheld = self._withheld, None
            self._emit(withheld)
