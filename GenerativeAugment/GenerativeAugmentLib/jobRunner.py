"""Runs jobs in a warm worker, one after the other, without ever holding the thread that draws the windows."""

from __future__ import annotations

import itertools
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from GenerativeAugmentLib.causes import causeOfEnd, describeExit
from GenerativeAugmentLib.errors import JobError, _
from GenerativeAugmentLib.files import explained
from GenerativeAugmentLib.jobs import RESULT_FILE, SAVE_S, STOP_S, Job, readResult
from GenerativeAugmentLib.workerProcess import WorkerProcess

POLL_BUDGET_S = 0.02
"""How long one look at the worker may take; what is left waits for the next."""

IDLE_S = 600.0
"""After so long without a job the worker is ended: it holds models, and the memory of the graphics card."""

KEPT_OUTCOMES = 200

Command = tuple[list[str], "dict[str, str] | None"]


class Signal:
    """Functions to call when something happens.

    Plain Python, because signals of Qt objects that are made in Python have crashed applications.
    """

    def __init__(self) -> None:
        self._receivers: list[Callable[..., object]] = []

    def connect(self, receiver: Callable[..., object]) -> None:
        """Call `receiver` at every `emit` from now on."""
        self._receivers.append(receiver)

    def disconnect(self, receiver: Callable[..., object]) -> None:
        """Call it no longer; raises ValueError when it was not connected."""
        self._receivers.remove(receiver)

    def emit(self, *arguments: object) -> None:
        """Call every receiver, in the order of connecting; the first exception is raised when all were called."""
        errors = []
        for receiver in list(self._receivers):
            try:
                receiver(*arguments)
            except Exception as error:
                errors.append(error)
        if errors:
            raise errors[0]


class Timer(Protocol):
    """What calls the runner back."""

    def start(self) -> None:
        """Call regularly from now on."""

    def stop(self) -> None:
        """Call no longer."""


def qtTimer(callback: Callable[[], None], milliseconds: int) -> Timer:
    """A timer of the application's event loop."""
    import qt

    timer = qt.QTimer()
    timer.setInterval(milliseconds)
    timer.timeout.connect(callback)
    return timer


@dataclass(eq=False)
class _Order:
    """A job that was asked for and is not finished."""

    jobId: str
    job: Job
    cancelledAt: float | None = None
    cancelledBy: str = ""
    isUrgent: bool = False

    @property
    def isOverdue(self) -> bool:
        """Whether it was told to stop and has had its time to do so by itself; a second request shortens that."""
        waits = self.job.savesWhenStopped and not self.isUrgent
        return self.cancelledAt is not None and not waits and time.monotonic() >= self.cancelledAt + STOP_S


class JobRunner:
    """Owns one worker process and the queue of jobs before it.

    Nothing is started before the first job, and nothing is kept for long after the last. Signals are emitted from
    `poll`, which a timer calls, never from within `run` or `cancel`; each job ends with exactly one `finished` or
    `failed`.

    Args:
        commandFactory: gives the worker's arguments and environment; asked before each job, and other arguments replace
            the worker. May raise JobError.
        pollMilliseconds: between two looks at the worker.
        timerFactory: makes the timer from a function and the milliseconds; by default a Qt timer.
        processEvents: keeps the application alive during `waitForCompletion`; by default Slicer's.

    Signals:
        started(jobId), progress(jobId, done, total, note, etaSeconds), log(jobId, message), product(jobId, role, path),
        finished(jobId, result), failed(jobId, JobError), ready(workerInfo), stateChanged(state).
    """

    IDLE, STARTING, RUNNING, CANCELLING = "idle", "starting", "running", "cancelling"

    def __init__(
        self,
        commandFactory: Callable[[], Command],
        pollMilliseconds: int = 50,
        timerFactory: Callable[[Callable[[], None], int], Timer] | None = None,
        processEvents: Callable[[], object] | None = None,
    ) -> None:
        self.started, self.progress, self.log, self.product = Signal(), Signal(), Signal(), Signal()
        self.finished, self.failed, self.ready, self.stateChanged = Signal(), Signal(), Signal(), Signal()
        self._commandFactory = commandFactory
        self._pollMilliseconds = pollMilliseconds
        self._timerFactory = timerFactory or qtTimer
        self._processEvents = processEvents or _slicerEvents
        self._timer: Timer | None = None
        self._worker: WorkerProcess | None = None
        self._leaving: list[WorkerProcess] = []
        self._arguments: list[str] = []
        self._workerInfo: dict[str, Any] | None = None
        self._numbers = itertools.count(1)
        self._waiting: deque[_Order] = deque()
        self._current: _Order | None = None
        self._events: deque[dict[str, Any]] = deque()
        self._concluded: deque[tuple[str, dict[str, Any] | JobError]] = deque()
        self._outcomes: dict[str, dict[str, Any] | JobError] = {}
        self._state = self.IDLE
        self._idleSince: float | None = None

    @property
    def busy(self) -> bool:
        """Whether a job is running or waiting."""
        return self._current is not None or bool(self._waiting)

    @property
    def current(self) -> Job | None:
        """The job that is running."""
        return None if self._current is None else self._current.job

    @property
    def currentId(self) -> str | None:
        """Its id."""
        return None if self._current is None else self._current.jobId

    @property
    def state(self) -> str:
        """One of IDLE, STARTING (the worker is, not yet the job), RUNNING and CANCELLING."""
        return self._state

    @property
    def cancelling(self) -> bool:
        """Whether the running job was told to stop and has not yet; true as soon as `cancel` returns."""
        return self._current is not None and self._current.cancelledAt is not None

    @property
    def saving(self) -> bool:
        """Whether it saves what it has done, before it stops."""
        return self.cancelling and self._current.job.savesWhenStopped and not self._current.isUrgent

    @property
    def workerInfo(self) -> dict[str, Any] | None:
        """What the running worker told when it was ready: versions, devices, missing packages."""
        return self._workerInfo

    def run(self, job: Job) -> str:
        """Write the job's folder and run it as soon as the jobs before it are done; returns the job's id.

        Raises:
            JobError: when the folder cannot be written. What goes wrong later arrives by `failed`.
        """
        job.write()
        result = Path(job.folder) / RESULT_FILE
        try:
            # One of an earlier run would pass for this one's.
            result.unlink(missing_ok=True)
        except OSError as error:
            raise explained(error, result) from error
        order = _Order(f"{job.kind}-{next(self._numbers)}", job)
        self._waiting.append(order)
        self._idleSince = None
        self._advance()
        self._watch()
        return order.jobId

    def cancel(self, jobId: str | None = None, by: str = "") -> bool:
        """Stop a job: politely first, and after STOP_S by ending its worker with all it has started.

        `failed` follows within 2 s, with reason "cancelled". A job that saves what it has done is waited for as long as
        that takes; a second request ends its worker too, unless it follows so soon that it is a double click. A job
        that finishes at the same moment counts as cancelled: whoever cancels does not expect a result to appear.

        Args:
            jobId: the running job when None.
            by: what stopped it, for its error; a request by default.

        Returns:
            Whether there was such a job.
        """
        by = by or _("a request to stop")
        order = next((order for order in self._waiting if order.jobId == jobId), None)
        if order is not None:
            self._waiting.remove(order)
            self._conclude(order, cancelled(order.job, _("{cause} before it had begun").format(cause=by)))
            self._watch()
            return True
        if self._current is None or jobId not in (None, self._current.jobId):
            return False
        if self._current.cancelledAt is None:
            self._current.cancelledAt, self._current.cancelledBy = time.monotonic(), by
            if self._worker is not None:
                self._worker.send({"cancel": self._current.jobId})
        elif time.monotonic() >= self._current.cancelledAt + STOP_S:
            self._current.isUrgent = True
        self._watch()
        return True

    def cancelAll(self) -> None:
        """Stop the running job and every waiting one. The worker stays warm."""
        for order in list(self._waiting):
            self.cancel(order.jobId)
        self.cancel()

    def waitForCompletion(self, jobId: str) -> dict[str, Any]:
        """The result of a job, once it is there; the application goes on drawing and answering meanwhile.

        Raises:
            JobError: why it failed; "bad_parameter" for a job this runner does not know.
        """
        while jobId not in self._outcomes:
            if not self._knows(jobId):
                raise JobError(
                    "bad_parameter",
                    jobId,
                    _("no job of this id"),
                    _("an id that run() has returned"),
                    _("Start the job first."),
                )
            try:
                self._processEvents()
                self.poll()
                if jobId not in self._outcomes:
                    time.sleep(0.005)
            except KeyboardInterrupt:
                self.cancel(jobId)
                raise
        outcome = self._outcomes[jobId]
        if isinstance(outcome, JobError):
            raise outcome
        return outcome

    def shutdown(self, wait: bool = False) -> None:
        """Stop everything: on module cleanup and reload, after an installation, before the application quits.

        Every job fails with reason "cancelled" before this returns. The runner can be used again. The worker is asked
        to quit and killed when it has not; one whose job saves what it has done gets SAVE_S for that. Where the
        application ends before, nobody kills it: it gives itself as much and ends.

        Args:
            wait: return only when the worker is gone, at most about 2 s; else it ends in the background.
        """
        saves = self._current is not None and self._current.job.savesWhenStopped
        orders = [*([self._current] if self._current is not None else []), *self._waiting]
        self._waiting.clear()
        worker = self._dropWorker()
        for order in orders:
            self._conclude(order, cancelled(order.job, _("the end of the worker")))
        if worker is not None:
            worker.close(grace=SAVE_S if saves and not wait else STOP_S, wait=wait)
        try:
            self._tellConclusions()
        finally:
            self._updateState()
            self._watch()

    def poll(self) -> None:
        """Look at the worker once and emit what there is to tell, within POLL_BUDGET_S."""
        deadline = time.monotonic() + POLL_BUDGET_S
        try:
            self._tellConclusions()
            # Before the events: a worker that was ready before this first look has started all the same.
            self._updateState()
            worker = self._worker
            if worker is not None:
                # Asked before reading: what is read after the end is the last there is.
                ended = worker.ended
                self._events.extend(worker.poll())
                # One at a time, so that a receiver that fails or waits for another job loses none of them.
                while self._events and time.monotonic() < deadline:
                    self._handle(self._events.popleft())
                if ended and worker is self._worker and not self._events:
                    self._events.extend(worker.poll())
                    if not self._events:
                        self._onWorkerEnded(worker)
            self._killIfDeaf()
            self._advance()
            self._tellConclusions()
            self._endIdle()
        finally:
            self._updateState()
            self._watch()

    def _advance(self) -> None:
        """Give the next job to the worker."""
        while self._current is None and self._waiting:
            order = self._waiting.popleft()
            try:
                worker = self._warmWorker()
            except JobError as error:
                self._conclude(order, error)
                continue
            self._current = order
            worker.send({"run": str(order.job.folder), "id": order.jobId})

    def _warmWorker(self) -> WorkerProcess:
        arguments, environment = self._commandFactory()
        # Not the environment: any module may change a variable of the application, which is no reason to start anew.
        if self._worker is not None and self._worker.alive and arguments == self._arguments:
            return self._worker
        former = self._dropWorker()
        if former is not None:
            former.close()
        worker = WorkerProcess(arguments, environment)
        worker.start()
        self._worker, self._arguments = worker, arguments
        return worker

    def _dropWorker(self) -> WorkerProcess | None:
        """Have no worker any more; whoever calls this ends the one that is returned."""
        worker, self._worker, self._workerInfo = self._worker, None, None
        self._events.clear()
        if worker is not None:
            self._leaving.append(worker)
        return worker

    def _handle(self, event: Mapping[str, Any]) -> None:
        name, jobId = event["event"], event.get("id")
        if name == "ready":
            self._workerInfo = dict(event)
            self._updateState()
            self.ready.emit(self._workerInfo)
        elif name == "log":
            self.log.emit(jobId or "", event["message"])
        elif self._current is not None and jobId in (self._current.jobId, None):
            self._handleOwn(self._current, name, event)

    def _handleOwn(self, order: _Order, name: str, event: Mapping[str, Any]) -> None:
        if name == "started":
            self._updateState()
            self.started.emit(order.jobId)
        elif name == "progress":
            self.progress.emit(order.jobId, event["done"], event["total"], event["note"], event.get("eta_seconds"))
        elif name == "product":
            self.product.emit(order.jobId, event["role"], event["path"])
        elif name == "finished":
            self._conclude(order, self._resultOf(order))
        elif name == "failed":
            # The worker knows that it was told to stop, and this side also why.
            isStopped = order.cancelledAt is not None
            self._conclude(order, self._resultOf(order) if isStopped else JobError.fromEvent(event))

    def _resultOf(self, order: _Order) -> dict[str, Any] | JobError:
        """The only proof of success is a result.json."""
        if order.cancelledAt is not None:
            return cancelled(order.job, order.cancelledBy)
        try:
            return readResult(order.job.folder)
        except JobError as error:
            return error

    def _onWorkerEnded(self, worker: WorkerProcess) -> None:
        self._dropWorker()
        errors = worker.lastErrors()
        order = self._current
        if order is None:
            message = _("The worker has ended ({how}); the next job starts another one. {lines}")
            self.log.emit("", message.format(how=describeExit(worker.exitCode), lines=errors).strip())
            return
        outcome = self._resultOf(order)
        if isinstance(outcome, JobError) and order.cancelledAt is None:
            outcome = causeOfEnd(worker.exitCode, errors, order.job.title or order.job.kind)
        self._conclude(order, outcome)

    def _killIfDeaf(self) -> None:
        order = self._current
        if order is None or not order.isOverdue:
            return
        worker = self._dropWorker()
        if worker is not None:
            worker.kill()
        found = _("{cause}; the worker did not stop by itself and was ended").format(cause=order.cancelledBy)
        self._conclude(order, cancelled(order.job, found))

    def _endIdle(self) -> None:
        """Let a worker go that has had nothing to do for long; starting one takes a few seconds."""
        if self._worker is None or self.busy:
            return
        if self._idleSince is None:
            self._idleSince = time.monotonic()
        elif time.monotonic() >= self._idleSince + IDLE_S:
            self._idleSince = None
            worker = self._dropWorker()
            if worker is not None:
                worker.close()
            message = _("The worker has had no job for {count} min and was ended; the next job starts another one.")
            self.log.emit("", message.format(count=round(IDLE_S / 60)))

    def _conclude(self, order: _Order, outcome: dict[str, Any] | JobError) -> None:
        """Note how a job ended; it is told by the next `_tellConclusions`."""
        if order is self._current:
            self._current = None
        if order.cancelledAt is not None and not _isCancelled(outcome):
            outcome = cancelled(order.job, order.cancelledBy)
        self._outcomes[order.jobId] = outcome
        while len(self._outcomes) > KEPT_OUTCOMES:
            del self._outcomes[next(iter(self._outcomes))]
        self._concluded.append((order.jobId, outcome))

    def _tellConclusions(self) -> None:
        while self._concluded:
            jobId, outcome = self._concluded.popleft()
            self._updateState()
            if isinstance(outcome, JobError):
                self.failed.emit(jobId, outcome)
            else:
                self.finished.emit(jobId, outcome)

    def _knows(self, jobId: str) -> bool:
        return jobId == self.currentId or any(order.jobId == jobId for order in self._waiting)

    def _updateState(self) -> None:
        state = self._stateNow()
        if state != self._state:
            self._state = state
            self.stateChanged.emit(state)

    def _stateNow(self) -> str:
        if self._current is None:
            return self.STARTING if self._waiting else self.IDLE
        if self._current.cancelledAt is not None:
            return self.CANCELLING
        return self.STARTING if self._workerInfo is None else self.RUNNING

    def _watch(self) -> None:
        """Let the timer run as long as there is something to look at, be it a worker that was told to go.

        Slicer's event loop keeps the interpreter to itself: the threads that write to a worker, and kill it when it
        stays, get on only while a function of Python's is called.
        """
        self._leaving = [worker for worker in self._leaving if not worker.ended]
        needed = self._worker is not None or bool(self._leaving) or self.busy or bool(self._concluded)
        if needed and self._timer is None:
            self._timer = self._timerFactory(self.poll, self._pollMilliseconds)
            self._timer.start()
        elif not needed and self._timer is not None:
            self._timer.stop()
            self._timer = None


def _slicerEvents() -> None:
    import slicer

    slicer.app.processEvents()


def _isCancelled(outcome: dict[str, Any] | JobError) -> bool:
    return isinstance(outcome, JobError) and outcome.reason == "cancelled"


def cancelled(job: Job, found: str) -> JobError:
    """How a job ends that was stopped by `found`."""
    return JobError(
        "cancelled",
        job.title or job.kind,
        found,
        _("the job to run to its end"),
        _("Start the job again when you want its result; training goes on from its last checkpoint."),
    )
