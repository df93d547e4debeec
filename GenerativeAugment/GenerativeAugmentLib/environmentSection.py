"""The line that says what jobs run on, its Install button, and the choice of another Python."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from GenerativeAugmentLib.environment import Environment, EnvironmentState, missingPackages
from GenerativeAugmentLib.errors import JobError, _
from GenerativeAugmentLib.jobCenter import JobCenter
from GenerativeAugmentLib.pathEdits import onPathChanged


class EnvironmentSection:
    """Shows and changes the environment of the worker; installs on a click and never else.

    Args:
        ui: of the shell.
        environment: the Python of the worker.
        jobs: whose worker has to start anew after a change.
        showStatus: tells how it went.
    """

    def __init__(self, ui: Any, environment: Environment, jobs: JobCenter, showStatus: Callable[[str], None]) -> None:
        self._ui, self._environment, self._jobs, self._showStatus = ui, environment, jobs, showStatus
        self._state: EnvironmentState | None = None
        ui.installButton.clicked.connect(lambda checked=False: self._install())
        ui.usePythonButton.clicked.connect(lambda checked=False: self._usePython(ui.pythonPathEdit.currentPath))
        ui.ownPythonButton.clicked.connect(lambda checked=False: self._usePython(""))
        onPathChanged(ui.pythonPathEdit, lambda path: self._updateButtons())

    @property
    def problem(self) -> str:
        """What keeps jobs from running; "" for nothing that is known."""
        state = self._state
        if state is None or not state.isKnown or state.isComplete:
            return ""
        return _("Missing in the Python environment: {names}. Press Install, or choose another Python.").format(
            names=", ".join(state.missing)
        )

    def forget(self) -> None:
        """Look anew at what was missing: it may have been installed meanwhile by other means than this section's."""
        if self._state is not None and not self._state.isComplete:
            self._environment.forget()
        self._state = None
        info = self._jobs.runner.workerInfo
        if info is not None and missingPackages(info) and not self._jobs.busy:
            # What is installed counts for a new worker only.
            self._jobs.runner.shutdown()

    def update(self) -> None:
        """Show what is known now; starts nothing."""
        if self._state is None:
            self._state = self._environment.state()
        info = self._jobs.runner.workerInfo
        self._ui.environmentLabel.text = self._state.line if info is None else self._environment.line(info)
        missing = bool(self._state.missing) or (info is not None and bool(missingPackages(info)))
        self._ui.installButton.setVisible(missing)
        self._updateButtons()

    def _updateButtons(self) -> None:
        idle = not self._jobs.busy
        self._ui.installButton.enabled = idle
        self._ui.usePythonButton.enabled = idle and bool(self._ui.pythonPathEdit.currentPath)
        self._ui.ownPythonButton.enabled = idle and not self._environment.isSlicerPython

    def _install(self) -> None:
        self._ui.installButton.enabled = False
        state = self._environment.state()
        try:
            if state.torchVersion is None or any(name.startswith("torch") for name in state.missing):
                self._environment.installTorch()
            self._environment.installRequirements()
        except JobError as error:
            self._showStatus(error.message)
        else:
            self._showStatus(_("The Python environment is complete."))
        self._startAnew()

    def _usePython(self, path: str) -> None:
        former = self._environment.pythonExecutable()
        wasOwn = self._environment.isSlicerPython
        try:
            self._environment.setPythonExecutable(path or None)
            state = self._environment.state(ask=True)
        except JobError as error:
            self._environment.setPythonExecutable(None if wasOwn else former)
            self._showStatus(error.message)
        else:
            self._showStatus(state.line)
        self._startAnew()

    def _startAnew(self) -> None:
        self._jobs.runner.shutdown()
        self._state = None
        self.update()
        self._jobs.changed.emit()
