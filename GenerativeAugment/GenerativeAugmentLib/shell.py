"""What lies around the panels: their chooser, the one Apply button, progress, log and environment."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import slicer
import vtk

from GenerativeAugmentLib.environment import Environment
from GenerativeAugmentLib.environmentSection import EnvironmentSection
from GenerativeAugmentLib.errors import JobError, _
from GenerativeAugmentLib.jobCenter import JobCenter, Outcome, PlannedJob
from GenerativeAugmentLib.panels import PANELS
from GenerativeAugmentLib.panels.base import UI_FOLDER, Panel, Services
from GenerativeAugmentLib.pathEdits import addFileButtons
from GenerativeAugmentLib.sliceViews import ResultViews
from GenerativeAugmentLib.tabOrder import tabAfter

PROGRESS_STEPS = 1000


class Shell:
    """The module's panel.

    Panels are built when they are first chosen, and only the chosen one follows the parameters.

    Args:
        logic: has `jobs`, `environment`, `catalogue` and `getParameterNode`.
        parentLayout: takes the form.
    """

    def __init__(self, logic: Any, parentLayout: Any) -> None:
        self.logic = logic
        self.jobs: JobCenter = logic.jobs
        environment: Environment = logic.environment
        self.widget = slicer.util.loadUI(str(UI_FOLDER / "GenerativeAugment.ui"))
        parentLayout.addWidget(self.widget)
        # Before the panels come in, whose widgets may have the same names.
        self.ui = slicer.util.childWidgetVariables(self.widget)
        self.widget.setMRMLScene(slicer.mrmlScene)
        addFileButtons(self.ui)
        self.services = Services(
            jobs=self.jobs,
            environment=environment,
            catalogue=logic.catalogue,
            showStatus=self.showStatus,
            log=self.log,
            changed=self.update,
            modelsChanged=self._onModelsChanged,
            openPanel=self.selectPanel,
            results=ResultViews(),
        )
        self.panels: dict[str, Panel] = {panel.name: panel(self.services) for panel in PANELS}
        self.panel: Panel = next(iter(self.panels.values()))
        self.environmentSection = EnvironmentSection(self.ui, environment, self.jobs, self.showStatus)
        self._owners: dict[str, Panel] = {}
        self._untold: list[Callable[[], None]] = []
        self._status = ""
        self._entered = False
        self._observer: int | None = None
        self._tag: int | None = None
        self._build()

    def _build(self) -> None:
        selector = self.ui.panelSelector
        for name, panel in self.panels.items():
            selector.addItem(panel.title, name)
        selector.connect("currentIndexChanged(int)", self._onPanelChosen)
        self.ui.applyButton.clicked.connect(lambda checked=False: self._onApply())
        self.ui.undoButton.clicked.connect(lambda checked=False: self._onUndo())
        self.ui.copyLogButton.clicked.connect(lambda checked=False: self._copyLog())
        self.ui.clearLogButton.clicked.connect(lambda checked=False: self.ui.logText.clear())
        self.jobs.started.connect(self._onStarted)
        self.jobs.progress.connect(self._onProgress)
        self.jobs.product.connect(self._onProduct)
        self.jobs.log.connect(self.log)
        self.jobs.finished.connect(self._onFinished)
        self.jobs.failed.connect(self._onFailed)
        self.jobs.changed.connect(self._onJobsChanged)
        self._onJobsChanged()

    # coming and going

    def enter(self) -> None:
        """The module is shown."""
        self._entered = True
        self.environmentSection.forget()
        self._connect()

    def exit(self) -> None:
        """Another module is shown: jobs go on, the form no longer follows the parameters."""
        self._entered = False
        if self.panel.widget is not None:
            self.panel.exit()
        self._disconnect()

    def cleanup(self) -> None:
        """The module is unloaded."""
        self._disconnect()
        for panel in self.panels.values():
            if panel.widget is not None:
                panel.cleanup()
        self.services.parameterNode = None

    def onSceneStartClose(self) -> None:
        """Let go of the scene's nodes."""
        # Now, because the jobs that the closing stops tell so in a moment.
        self._status = ""
        if self.services.parameterNode is None:
            # The panels have let go of the last scene and have not been shown in this one.
            return
        for panel in self.panels.values():
            if panel.widget is not None:
                panel.onSceneClosed()
        self.services.results.forget()
        self._disconnect()
        self.services.parameterNode = None

    def onSceneEndClose(self) -> None:
        """Begin again with the empty scene."""
        if self._entered:
            self._connect()

    def onSceneStartImport(self) -> None:
        """Follow nothing: parameters come in before the nodes that they name, which would be taken for unset."""
        self._disconnect()

    def onSceneEndImport(self) -> None:
        """Read the parameters anew, now that every node is there."""
        if self._entered:
            self._connect()

    def _connect(self) -> None:
        self._disconnect()
        node = self.logic.getParameterNode()
        self.services.parameterNode = node
        self._tag = node.connectGui(self.ui)
        # After the wrapper, which has to read the new values first.
        self._observer = node.parameterNode.AddObserver(
            vtk.vtkCommand.ModifiedEvent, lambda *event: self._onParametersChanged(), -1.0
        )
        self._show(node.panel)
        untold, self._untold = self._untold, []
        for tell in untold:
            tell()
        self.environmentSection.update()
        self.update()

    def _disconnect(self) -> None:
        node = self.services.parameterNode
        if node is None:
            return
        self.panel.disconnectParameters()
        if self._tag is not None:
            node.disconnectGui(self._tag)
            self._tag = None
        if self._observer is not None:
            node.parameterNode.RemoveObserver(self._observer)
            self._observer = None

    # panels

    def selectPanel(self, name: str) -> None:
        """Show the panel of a name, such as "lesions"."""
        self.ui.panelSelector.currentIndex = self.ui.panelSelector.findData(name)

    def _onPanelChosen(self, index: int) -> None:
        node = self.services.parameterNode
        if node is None or index < 0:
            return
        name = self.ui.panelSelector.itemData(index)
        if name != self.panel.name or self.panel.widget is None:
            self._status = ""
            self._show(name)
        if node.panel != name:
            node.panel = name

    def _show(self, name: str) -> None:
        """Show a panel, the first one where the name is none."""
        chosen = self.panels.get(name) or next(iter(self.panels.values()))
        if self.panel.widget is not None:
            if self.panel is not chosen:
                self.panel.exit()
            self.panel.disconnectParameters()
            self.panel.widget.setVisible(False)
        self.panel = chosen
        if chosen.widget is None:
            chosen.setup(self.ui.panelContainer.layout())
            tabAfter(self.ui.panelSelector, [chosen.widget])
        self.ui.panelSelector.currentIndex = self.ui.panelSelector.findData(chosen.name)
        chosen.widget.setVisible(True)
        chosen.connectParameters()
        chosen.enter()
        self.update()

    def _onParametersChanged(self) -> None:
        node = self.services.parameterNode
        if node is None or self.panel.widget is None:
            return
        if node.panel and node.panel != self.panel.name:
            # A scene with another panel was loaded.
            self._show(node.panel)
            return
        self.panel.followParameters()
        self.update()

    def _onModelsChanged(self) -> None:
        if self.panel.widget is not None and self.services.parameterNode is not None:
            self.panel.onModelsChanged()
        self.update()

    # jobs

    def _onApply(self) -> None:
        if self.jobs.busy:
            self.jobs.cancel()
            self.update()
            return
        self._status = ""
        try:
            planned = self.panel.apply()
            if planned is not None:
                self._start(planned)
        except JobError as error:
            self.showStatus(error.message)
            self.log(error.message)
        self.update()

    def _start(self, planned: PlannedJob) -> None:
        jobId = self.jobs.start(planned)
        self._owners[jobId] = self.panel
        self.log(_("{title}: {folder}").format(title=planned.title, folder=planned.job.folder))
        self.panel.onStarted(planned)

    def _onStarted(self, jobId: str) -> None:
        self.ui.progressBar.setRange(0, PROGRESS_STEPS)

    def _onProgress(self, jobId: str, done: float, total: float, note: str, eta: float | None) -> None:
        self.ui.progressBar.setRange(0, PROGRESS_STEPS)
        self.ui.progressBar.value = int(PROGRESS_STEPS * done / total) if total else 0
        parts = [self.jobs.current.title if self.jobs.current is not None else "", note]
        if eta is not None:
            parts.append(remaining(eta))
        self.ui.progressLabel.text = ", ".join(part for part in parts if part)
        if jobId in self._owners:
            self._owners[jobId].onProgress(done, total, note)

    def _onProduct(self, jobId: str, role: str, path: Any) -> None:
        if jobId in self._owners:
            self._owners[jobId].onProduct(role, path)

    def _onFinished(self, jobId: str, outcome: Outcome) -> None:
        title = outcome.planned.title
        if outcome.imported is None:
            text = _("{title}: done.").format(title=title)
        else:
            text = _("{title}: done, {count} in the scene.").format(title=title, count=len(outcome.imported.cases))
        self.showStatus(text)
        self.log(text)
        self._tellOwner(jobId, lambda owner: owner.onFinished(outcome))

    def _onFailed(self, jobId: str, error: JobError) -> None:
        cancelled = error.reason == "cancelled"
        text = _("{title} was cancelled by {cause}.").format(title=error.subject, cause=error.found)
        self.showStatus(text if cancelled else error.message)
        self.log(error.message)
        if error.details:
            self.log(error.details)
        self._tellOwner(jobId, lambda owner: owner.onFailed(error))

    def _tellOwner(self, jobId: str, tell: Callable[[Panel], None]) -> None:
        """Tell a job's panel how it ended, once it is seen and has parameters: views do not change under other work."""
        owner = self._owners.pop(jobId, None)
        if owner is None or owner.widget is None:
            return
        if self.services.parameterNode is None or not self._entered:
            self._untold.append(lambda: tell(owner))
        else:
            tell(owner)

    def _onUndo(self) -> None:
        undone = self.jobs.undoLast()
        if undone is not None:
            self.services.results.onUndone(undone)
            self.showStatus(_("Removed from the scene: {title}.").format(title=undone.jobTitle))
        for panel in self.panels.values():
            if panel.widget is not None:
                panel.onUndone()

    def _onJobsChanged(self) -> None:
        busy = self.jobs.busy
        for widget in (self.ui.progressBar, self.ui.progressLabel):
            widget.setVisible(busy)
        if not busy:
            # A bar without an end until the first job has said how far it is.
            self.ui.progressBar.setRange(0, 0)
            self.ui.progressLabel.text = ""
        elif not self.ui.progressLabel.text:
            self.ui.progressLabel.text = _("Starting...")
        self.environmentSection.update()
        self.update()

    # what is shown

    def update(self) -> None:
        """Ask the panel again whether it is ready, and show what that means."""
        self.ui.undoButton.enabled = not self.jobs.busy and self.jobs.undoStack.last is not None
        button = self.ui.applyButton
        if self.jobs.busy:
            self._showRunning(button)
            return
        button.text = _("Apply")
        button.toolTip = self.panel.applyToolTip
        ready, reason = self._isReady()
        button.enabled = ready
        # How the last job ended, and why there can be no other yet.
        self.ui.reasonLabel.text = " ".join(part for part in (self._status, "" if ready else reason) if part)

    def _showRunning(self, button: Any) -> None:
        """Apply is Cancel while a job runs."""
        button.text, stopping = _("Cancel"), ""
        button.toolTip = _("Stop the running job; nothing of it gets into the scene.")
        button.enabled = self.jobs.saving or not self.jobs.cancelling
        if self.jobs.saving:
            button.text, stopping = _("Stop at once"), _("Stopping, saving the checkpoint...")
            button.toolTip = _("End the worker now; what was trained since the last checkpoint is lost.")
        elif self.jobs.cancelling:
            stopping = _("Stopping...")
        self.ui.reasonLabel.text = stopping

    def _isReady(self) -> tuple[bool, str]:
        if self.services.parameterNode is None or self.panel.widget is None:
            return False, ""
        if not self.panel.hasJob:
            return False, self.panel.applyToolTip
        if self.panel.needsWorker and self.environmentSection.problem:
            return False, self.environmentSection.problem
        return self.panel.isReady()

    def showStatus(self, text: str) -> None:
        """Show a line beside Apply until the next job or panel."""
        self._status = text
        self.update()

    def log(self, text: str) -> None:
        """Add to the log, whose oldest lines go when it is full."""
        self.ui.logText.appendPlainText(text)

    def _copyLog(self) -> None:
        slicer.app.clipboard().setText(self.ui.logText.plainText)
        self.showStatus(_("The log was copied."))


def remaining(seconds: float) -> str:
    """A remaining time, in words and no more exact than it is."""
    if seconds < 90:
        return _("about {count} s left").format(count=max(1, round(seconds)))
    if seconds < 5400:
        return _("about {count} min left").format(count=round(seconds / 60))
    return _("about {count} h left").format(count=round(seconds / 3600))
