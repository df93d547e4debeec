"""What the panels have in common: a form, a pack of parameters, and at Apply one planned job."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import qt
import slicer
import vtk
from slicer.parameterNodeWrapper import SlicerParameterNamePropertyName

from GenerativeAugmentLib.catalogue import Catalogue
from GenerativeAugmentLib.environment import Environment
from GenerativeAugmentLib.errors import JobError
from GenerativeAugmentLib.jobCenter import JobCenter, Outcome, PlannedJob
from GenerativeAugmentLib.parameters import GenerativeAugmentParameterNode
from GenerativeAugmentLib.pathEdits import addFileButtons, onPathEmptied, pathEdits
from GenerativeAugmentLib.sliceViews import ResultViews

UI_FOLDER = Path(__file__).resolve().parents[2] / "Resources" / "UI"


@dataclass
class Services:
    """What a panel may use; the shell fills it in.

    Attributes:
        jobs: starts jobs and knows their results.
        environment: the Python of the worker.
        catalogue: the models.
        showStatus: shows a line beside Apply until something else happens.
        log: adds a line to the log.
        changed: has the shell ask `isReady` again; call it after anything the parameters do not show.
        modelsChanged: tells every panel that models came, went or were licensed.
        openPanel: shows the panel of a name, such as "models".
        results: shows results in the views.
        parameterNode: the scene's parameters; another object after the scene was closed, so never keep it.
    """

    jobs: JobCenter
    environment: Environment
    catalogue: Catalogue
    showStatus: Callable[[str], None]
    log: Callable[[str], None]
    changed: Callable[[], None]
    modelsChanged: Callable[[], None]
    openPanel: Callable[[str], None]
    results: ResultViews
    parameterNode: GenerativeAugmentParameterNode | None = None


class Panel:
    """One panel. A new one is a subclass, a .ui file, and a line in `panels.PANELS`.

    Class attributes:
        name: of the panel and of its pack in the parameter node.
        uiName: file in Resources/UI.
        hasJob: whether Apply does something here.
        needsWorker: whether Apply needs the worker's Python environment to be complete.
        watched: parameters whose nodes count for `isReady` by what is in them.
    """

    name = ""
    uiName = ""
    hasJob = True
    needsWorker = True
    watched: tuple[str, ...] = ()

    def __init__(self, services: Services) -> None:
        self.services = services
        self.widget: Any = None
        self.ui: Any = None
        self._tag: int | None = None
        self._observed: list[tuple[Any, int]] = []
        self._nodesChanged = False

    @property
    def title(self) -> str:
        """What the chooser shows, translated."""
        raise NotImplementedError

    @property
    def applyToolTip(self) -> str:
        """What Apply does here, translated."""
        raise NotImplementedError

    @property
    def parameters(self) -> Any:
        """The panel's pack, live."""
        return getattr(self.services.parameterNode, self.name)

    def setup(self, parentLayout: Any) -> None:
        """Load the form into a layout. Extend it to connect the form's widgets."""
        self.widget = slicer.util.loadUI(str(UI_FOLDER / self.uiName))
        parentLayout.addWidget(self.widget)
        self.ui = slicer.util.childWidgetVariables(self.widget)
        self.widget.setMRMLScene(slicer.mrmlScene)
        addFileButtons(self.ui)
        for pathEdit in pathEdits(self.ui):
            parameter = pathEdit.property(SlicerParameterNamePropertyName)
            if parameter:
                onPathEmptied(pathEdit, lambda name=parameter: self._onPathEmptied(name))

    def connectParameters(self) -> None:
        """Let form and parameters follow each other. The parameter node is there, and is new."""
        self.disconnectParameters()
        self._tag = self.services.parameterNode.connectGui(self.ui)
        self.followParameters()

    def followParameters(self) -> None:
        """Something in the parameter node is different; called by the shell."""
        clearUnsetPaths(self.ui)
        self._watchNodes()
        self.onParametersChanged()

    def disconnectParameters(self) -> None:
        """Undo `connectParameters`; the parameter node it was made with may be gone."""
        # A tag may be 0.
        if self._tag is not None and self.services.parameterNode is not None:
            self.services.parameterNode.disconnectGui(self._tag)
        self._tag = None
        self._unwatchNodes()

    def _watchNodes(self) -> None:
        """A node that changes tells the parameter node nothing, so it is asked itself."""
        nodes = {node for name in self.watched if (node := getattr(self.parameters, name)) is not None}
        if nodes == {node for node, _tag in self._observed}:
            return
        self._unwatchNodes()
        for node in nodes:
            for event in contentEvents(node):
                self._observed.append((node, node.AddObserver(event, lambda *arguments: self._onNodeChanged())))

    def _unwatchNodes(self) -> None:
        for node, tag in self._observed:
            node.RemoveObserver(tag)
        self._observed = []
        self._nodesChanged = False

    def _onNodeChanged(self) -> None:
        """Look at it once the change is complete: a volume says so while its size is new and its voxels are not."""
        if not self._nodesChanged:
            self._nodesChanged = True
            qt.QTimer.singleShot(0, self._followNodes)

    def _followNodes(self) -> None:
        if self._nodesChanged:
            self._nodesChanged = False
            self.onNodesChanged()
            self.onParametersChanged()
            self.services.changed()

    def _onPathEmptied(self, parameter: str) -> None:
        """The connection of form and parameters hears of paths only; none is the empty one."""
        if self._tag is not None:
            self.services.parameterNode.setValue(parameter, Path())

    def enter(self) -> None:
        """The panel is shown from now on."""

    def exit(self) -> None:
        """Another panel, or another module, is shown from now on."""

    def onParametersChanged(self) -> None:
        """Something in the parameter node is different: show, hide and enable what depends on it."""

    def onNodesChanged(self) -> None:
        """A watched node has other content; `onParametersChanged` follows."""

    def onModelsChanged(self) -> None:
        """Models came, went or were licensed."""

    def isReady(self) -> tuple[bool, str]:
        """Whether Apply can be pressed, and else why not. Called often: it must take no time."""
        return self.parameters.isValid()

    def apply(self) -> PlannedJob | None:
        """Freeze the parameters and say what is to be done; None when it is done already.

        Raises:
            JobError: what the user has to change; it is shown as a line.
        """
        raise NotImplementedError

    def onStarted(self, planned: PlannedJob) -> None:
        """The panel's own job was accepted."""

    def onProgress(self, done: float, total: float, note: str) -> None:
        """The panel's own job has come further."""

    def onProduct(self, role: str, path: Path) -> None:
        """The panel's own job has made a file while it goes on, such as a preview."""

    def onFinished(self, outcome: Outcome) -> None:
        """The panel's own job has succeeded; what it promised is in the scene, or has been removed since."""

    def onFailed(self, error: JobError) -> None:
        """The panel's own job has failed or was cancelled; the shell shows why."""

    def onUndone(self) -> None:
        """The last result was taken out of the scene, maybe one of this panel's."""

    def onSceneClosed(self) -> None:
        """The scene is being closed: let go of its nodes."""

    def cleanup(self) -> None:
        """The module is being unloaded: stop timers, remove observers."""
        self.disconnectParameters()


def contentEvents(node: Any) -> tuple[int, ...]:
    """What a node says when its points, segments, voxels or place are others."""
    if node.IsA("vtkMRMLMarkupsNode"):
        kind = slicer.vtkMRMLMarkupsNode
        return (kind.PointPositionDefinedEvent, kind.PointPositionUndefinedEvent, kind.PointRemovedEvent)
    transform = slicer.vtkMRMLTransformableNode.TransformModifiedEvent
    if node.IsA("vtkMRMLSegmentationNode"):
        kind = slicer.vtkSegmentation
        segments = (kind.SegmentAdded, kind.SegmentRemoved, kind.SegmentModified, kind.SourceRepresentationModified)
        return (*segments, transform)
    return (vtk.vtkCommand.ModifiedEvent, slicer.vtkMRMLVolumeNode.ImageDataModifiedEvent, transform)


def clearUnsetPaths(ui: Any) -> None:
    """Empty the path fields that nobody has filled in: their parameter reads ".", which would look like a choice."""
    for widget in pathEdits(ui):
        if widget.currentPath == ".":
            blocked = widget.blockSignals(True)
            widget.currentPath = ""
            widget.blockSignals(blocked)
