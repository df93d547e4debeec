"""Jobs from Apply to the scene: one place that starts them, takes their results in, and can take those out again.

The panels and the Python console share it. Nothing is started before the first job.
"""

from __future__ import annotations

import itertools
import logging
import time
import traceback
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import slicer

from GenerativeAugmentLib.errors import JobError, _
from GenerativeAugmentLib.jobRunner import POLL_BUDGET_S, JobRunner, Signal, Timer, cancelled, qtTimer
from GenerativeAugmentLib.jobs import Job, products
from GenerativeAugmentLib.results import ImportedResult, PromisedResult, UndoStack, importCohort
from GenerativeAugmentLib.steps import Preparation

IMPORT_LIMIT = 20
"""At most so many cases of one job are taken into the scene; the others stay in its folder."""

KEPT_OUTCOMES = 200

PREPARING_MILLISECONDS = 1
"""Between two portions of what is written, in which the application handles its events."""


@dataclass(frozen=True)
class PlannedJob:
    """What Apply has decided: a job, and what becomes of its result.

    Attributes:
        job: to run.
        promise: what its cohort has to be to be taken into the scene; None for a job without images for the scene.
        before: jobs whose outputs it needs, in their order.
        preparation: what has to be written before the first of them; None for nothing.
        limit: at most so many cases are taken into the scene.
        context: what the panel wants to know again when the job is done, as ids and plain values.
    """

    job: Job
    promise: PromisedResult | None = None
    before: tuple[Job, ...] = ()
    preparation: Preparation | None = None
    limit: int = IMPORT_LIMIT
    context: dict[str, Any] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """What the user knows it by."""
        return self.job.title or self.job.kind

    @property
    def jobs(self) -> tuple[Job, ...]:
        """All jobs, the last one being `job`."""
        return (*self.before, self.job)

    @property
    def output(self) -> Path:
        """The folder of its products."""
        return Path(self.job.folder) / self.job.output


@dataclass(frozen=True)
class Outcome:
    """A job that succeeded.

    Attributes:
        planned: what was to be done.
        result: content of its result.json.
        imported: what was added to the scene, None for nothing.
    """

    planned: PlannedJob
    result: dict[str, Any]
    imported: ImportedResult | None = None

    @property
    def summary(self) -> dict[str, Any]:
        """What the job answered, such as scores."""
        return dict(self.result.get("summary", {}))

    def products(self, role: str = "") -> list[Path]:
        """The files and folders it made, see `jobs.products`."""
        return products(self.planned.job.folder, self.result, role)


@dataclass(eq=False)
class _Run:
    """A planned job on its way.

    Attributes:
        jobId: by which the user of this object knows it.
        planned: what is to be done.
        ids: the runner's, in order; empty before the inputs are written.
        written: bytes of the inputs.
        cause: why a job before the last one failed.
        stoppedBy: what asked it to stop; empty while it is wanted.
    """

    jobId: str
    planned: PlannedJob
    ids: list[str] = field(default_factory=list)
    written: int = 0
    cause: JobError | None = None
    stoppedBy: str = ""


class JobCenter:
    """Starts planned jobs, imports what they promised, and stops them when the application is closed.

    When the scene is closed, those go on that need nothing of it any more, such as a training.

    Args:
        runner: runs the single jobs.

    Signals:
        started(jobId), progress(jobId, done, total, note, etaSeconds), product(jobId, role, path), log(text),
        finished(jobId, Outcome), failed(jobId, JobError), changed(): something of this object is different now.
        `done` and `total` are first of the inputs that are written, then of the whole planned job.
    """

    def __init__(self, runner: JobRunner) -> None:
        self.runner = runner
        self.undoStack = UndoStack()
        self.started, self.progress, self.product, self.log = Signal(), Signal(), Signal(), Signal()
        self.finished, self.failed, self.changed = Signal(), Signal(), Signal()
        self._runs: dict[str, _Run] = {}
        self._numbers = itertools.count(1)
        self._preparing: deque[_Run] = deque()
        self._timer: Timer | None = None
        self._outcomes: dict[str, Outcome | JobError] = {}
        self._sceneObserver: tuple[Any, int] | None = None
        self._watchesQuit = False
        runner.started.connect(self._onStarted)
        runner.progress.connect(self._onProgress)
        runner.product.connect(self._onProduct)
        runner.log.connect(lambda jobId, message: self.log.emit(message))
        runner.finished.connect(self._onFinished)
        runner.failed.connect(self._onFailed)
        runner.ready.connect(lambda info: self.changed.emit())
        runner.stateChanged.connect(lambda state: self.changed.emit())

    @property
    def busy(self) -> bool:
        """Whether a job is running or waiting."""
        return bool(self._runs)

    @property
    def cancelling(self) -> bool:
        """Whether the running job, or the taking in of its result, was told to stop and has not yet."""
        return self.runner.cancelling or any(run.stoppedBy for run in self._runs.values())

    @property
    def saving(self) -> bool:
        """Whether it saves what it has done, before it stops."""
        return self.runner.saving

    @property
    def current(self) -> PlannedJob | None:
        """What is running, or runs next."""
        return next((run.planned for run in self._runs.values()), None)

    def start(self, planned: PlannedJob) -> str:
        """Write its inputs and run it, as soon as those before it are written and done; returns its id.

        Raises:
            JobError: when a job folder cannot be written.
        """
        self._watchScene()
        run = _Run(f"{planned.job.kind}-{next(self._numbers)}", planned)
        if planned.preparation is None and not self._preparing:
            self._submit(run)
        self._runs[run.jobId] = run
        if not run.ids:
            self._preparing.append(run)
            self._watchPreparing()
        self.changed.emit()
        return run.jobId

    def cancel(self) -> None:
        """Stop the running job and those that wait; `failed` follows for each.

        A training saves its checkpoint first, which may take a while; a second call does without.
        """
        self._stop(list(self._runs.values()), _("a request to stop"))

    def waitForCompletion(self, jobId: str) -> Outcome:
        """The outcome of a job, once it is there; the application goes on drawing and answering meanwhile.

        Raises:
            JobError: why it failed.
        """
        run = self._runs.get(jobId)
        if run is not None:
            self._waitForInputs(run)
        if jobId in self._runs:
            try:
                self.runner.waitForCompletion(run.ids[-1])
            except JobError as error:
                if jobId not in self._outcomes:
                    self._outcomes[jobId] = error
        outcome = self._outcomes.get(jobId)
        if outcome is None:
            raise JobError("bad_parameter", jobId, _("no job of this id"), _("an id that was returned"), "")
        if isinstance(outcome, JobError):
            raise outcome
        return outcome

    def undoLast(self) -> ImportedResult | None:
        """Remove from the scene what the last job added; None when there is nothing."""
        undone = self.undoStack.undoLast()
        self.changed.emit()
        return undone

    def shutdown(self) -> None:
        """Stop everything and let go of scene and application: on reload and cleanup. It can be used again."""
        self._stopAll()
        if self._sceneObserver is not None:
            scene, tag = self._sceneObserver
            scene.RemoveObserver(tag)
            self._sceneObserver = None
        if self._watchesQuit:
            # The application would keep this object, and all that listens to it, until it quits.
            self._watchesQuit = False
            slicer.app.disconnect("aboutToQuit()", self._stopAll)

    def _stopAll(self) -> None:
        self.runner.shutdown()
        self._stop(list(self._runs.values()), _("the end of the application or the module"))

    def _watchScene(self) -> None:
        if self._sceneObserver is None:
            scene = slicer.mrmlScene
            tag = scene.AddObserver(slicer.vtkMRMLScene.StartCloseEvent, lambda *event: self._onSceneClosed())
            self._sceneObserver = (scene, tag)
        if not self._watchesQuit:
            self._watchesQuit = True
            slicer.app.connect("aboutToQuit()", self._stopAll)

    def _onSceneClosed(self) -> None:
        """Stop what was to bring something into this scene, or is still being read from it; a training goes on."""
        self._stop([run for run in self._runs.values() if self._needsScene(run)], _("the closing of the scene"))
        self.undoStack.clear()

    def _needsScene(self, run: _Run) -> bool:
        isRead = run in self._preparing and run.planned.preparation is not None
        return isRead or run.planned.promise is not None

    def _stop(self, runs: list[_Run], by: str) -> None:
        for run in runs:
            run.stoppedBy = by
            if run in self._preparing:
                self._drop(run, cancelled(run.planned.job, _("{cause} before it had begun").format(cause=by)))
            else:
                # The first that is not done; those after it follow when that one has ended. Where all are done, the
                # result is being taken in, which looks at `stoppedBy` itself.
                for jobId in run.ids:
                    if self.runner.cancel(jobId, by):
                        break
        self._watchPreparing()
        if runs:
            self.changed.emit()

    def _submit(self, run: _Run) -> None:
        """Hand its jobs to the runner."""
        try:
            for job in run.planned.jobs:
                run.ids.append(self.runner.run(job))
        except JobError:
            for jobId in run.ids:
                self.runner.cancel(jobId)
            run.ids = []
            raise

    def _prepare(self) -> None:
        """Write some of the inputs of the first job that waits for them, and hand it on when all are written."""
        if not self._preparing:
            return
        run = self._preparing[0]
        try:
            if self._write(run):
                self._preparing.popleft()
                self._submit(run)
        except JobError as error:
            self._drop(run, error)
        except BaseException as error:
            # A defect; the next job must run all the same.
            self._drop(run, _unexpected(run.planned, _("while its inputs were written"), error))
            raise
        finally:
            self._watchPreparing()

    def _write(self, run: _Run) -> bool:
        """Write inputs for POLL_BUDGET_S; whether all are written."""
        preparation = run.planned.preparation
        if preparation is None:
            return True
        deadline = time.monotonic() + POLL_BUDGET_S
        try:
            while time.monotonic() < deadline:
                run.written += next(preparation.steps)
        except StopIteration:
            return True
        self.progress.emit(run.jobId, run.written, preparation.total, _("writing the inputs"), None)
        return False

    def _drop(self, run: _Run, error: JobError) -> None:
        """Give up a job whose inputs are not written."""
        if run in self._preparing:
            self._preparing.remove(run)
        if run.planned.preparation is not None:
            run.planned.preparation.steps.close()
        self._conclude(run.jobId, error)

    def _waitForInputs(self, run: _Run) -> None:
        try:
            while run in self._preparing:
                slicer.app.processEvents()
                self._prepare()
        except KeyboardInterrupt:
            self.cancel()
            raise

    def _watchPreparing(self) -> None:
        """Let the timer run as long as there is something to write."""
        if self._preparing and self._timer is None:
            self._timer = qtTimer(self._prepare, PREPARING_MILLISECONDS)
            self._timer.start()
        elif not self._preparing and self._timer is not None:
            self._timer.stop()
            self._timer = None

    def _runOf(self, runnerId: str) -> _Run | None:
        return next((run for run in self._runs.values() if runnerId in run.ids), None)

    def _onStarted(self, runnerId: str) -> None:
        run = self._runOf(runnerId)
        if run is not None and runnerId == run.ids[0]:
            self.started.emit(run.jobId)

    def _onProgress(self, runnerId: str, done: float, total: float, note: str, eta: float | None) -> None:
        run = self._runOf(runnerId)
        if run is None:
            return
        step, steps = run.ids.index(runnerId), len(run.ids)
        # How long the jobs after this one take is not known, so there is no remaining time before the last.
        self.progress.emit(run.jobId, step * total + done, steps * total, note, eta if step == steps - 1 else None)

    def _onProduct(self, runnerId: str, role: str, path: str) -> None:
        run = self._runOf(runnerId)
        if run is not None and runnerId == run.ids[-1]:
            self.product.emit(run.jobId, role, Path(path))

    def _onFinished(self, runnerId: str, result: dict[str, Any]) -> None:
        run = self._runOf(runnerId)
        if run is None or runnerId != run.ids[-1]:
            return
        try:
            imported = self._imported(run)
        except JobError as error:
            self._conclude(run.jobId, error)
        except BaseException as error:
            # A defect; the next job must run all the same.
            self._conclude(run.jobId, _unexpected(run.planned, _("while its result was taken in"), error))
            raise
        else:
            self._conclude(run.jobId, Outcome(run.planned, result, imported))

    def _imported(self, run: _Run) -> ImportedResult | None:
        planned = run.planned
        if planned.promise is None:
            return None

        def afterCase(done: int, total: int) -> None:
            """Between two cases of a large result, so that each holds the application for itself only."""
            if done < total:
                slicer.app.processEvents()
            if run.stoppedBy:
                raise cancelled(planned.job, run.stoppedBy)

        imported = importCohort(planned.output, planned.promise, planned.limit, afterCase)
        self.undoStack.push(imported)
        return imported

    def _onFailed(self, runnerId: str, error: JobError) -> None:
        run = self._runOf(runnerId)
        if run is None:
            return
        if runnerId == run.ids[-1]:
            self._conclude(run.jobId, run.cause or error)
            return
        # What comes after it would only say that its input is missing.
        run.cause = run.cause or error
        for later in run.ids[run.ids.index(runnerId) + 1 :]:
            self.runner.cancel(later)

    def _conclude(self, jobId: str, outcome: Outcome | JobError) -> None:
        run = self._runs.pop(jobId)
        isStopped = isinstance(outcome, JobError) and outcome.reason == "cancelled"
        if isStopped and run.planned.preparation is not None:
            self._discardInputs(run.planned)
        self._outcomes[jobId] = outcome
        while len(self._outcomes) > KEPT_OUTCOMES:
            del self._outcomes[next(iter(self._outcomes))]
        try:
            if isinstance(outcome, JobError):
                logging.info("GenerativeAugment: %s", outcome.message)
                self.failed.emit(jobId, outcome)
            else:
                self.finished.emit(jobId, outcome)
        finally:
            self.changed.emit()

    def _discardInputs(self, planned: PlannedJob) -> None:
        """Nobody asks again for what was stopped on purpose, and copies of volumes are large."""
        try:
            for job in planned.jobs:
                job.discardInputs()
        except JobError as error:
            self.log.emit(error.message)


def _unexpected(planned: PlannedJob, when: str, error: BaseException) -> JobError:
    return JobError(
        "internal",
        planned.title,
        _("an error {when} ({error})").format(when=when, error=error),
        _("a job without one"),
        _("Its files are in {folder}; report this with the log.").format(folder=planned.output),
        "".join(traceback.format_exception(error)),
    )
