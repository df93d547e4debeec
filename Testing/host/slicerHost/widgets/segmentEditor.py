"""The Segment Editor's widget: what it edits and with which effect; nothing is painted."""

import slicer
import vtk
from PySide6 import QtCore, QtWidgets

from ..signals import spells
from .mrml import qMRMLWidget
from .nodes import qMRMLNodeComboBox
from .sceneWatch import Watch
from .segments import SEGMENTATION_EVENTS, qMRMLSegmentsTableView, segmentIDs
from .stored import setter, stored

EFFECTS = (
    *("Threshold", "Paint", "Draw", "Erase", "Level tracing", "Grow from seeds", "Fill between slices"),
    *("Margin", "Hollow", "Smoothing", "Scissors", "Islands", "Logical operators", "Mask volume"),
)


class Effect(QtCore.QObject):
    """A segment editor effect, as far as its name."""

    name = stored("name", str, "")

    def __init__(self, name: str, parent):
        super().__init__(parent)
        self.name = name
        self.setObjectName(name)


@spells(
    "segmentationNodeChanged(vtkMRMLSegmentationNode*)",
    "sourceVolumeNodeChanged(vtkMRMLVolumeNode*)",
    "masterVolumeNodeChanged(vtkMRMLVolumeNode*)",
)
class qMRMLSegmentEditorWidget(qMRMLWidget):
    """Works on the vtkMRMLSegmentEditorNode it is given, like the application's widget; without one it does nothing."""

    currentSegmentIDChanged = QtCore.Signal(str)
    segmentationNodeChanged = QtCore.Signal(object)
    sourceVolumeNodeChanged = QtCore.Signal(object)
    masterVolumeNodeChanged = QtCore.Signal(object)

    segmentationNodeSelectorVisible = stored("segmentationNodeSelectorVisible", bool, True, "_onVisible")
    sourceVolumeNodeSelectorVisible = stored("sourceVolumeNodeSelectorVisible", bool, True, "_onVisible")
    switchToSegmentationsButtonVisible = stored("switchToSegmentationsButtonVisible", bool, True)
    addRemoveSegmentButtonsVisible = stored("addRemoveSegmentButtonsVisible", bool, True, "_onVisible")
    specifyGeometryButtonVisible = stored("specifyGeometryButtonVisible", bool, True)
    show3DButtonVisible = stored("show3DButtonVisible", bool, True)
    maskingSectionVisible = stored("maskingSectionVisible", bool, True)
    autoShowSourceVolumeNode = stored("autoShowSourceVolumeNode", bool, True)
    undoEnabled = stored("undoEnabled", bool, True)
    maximumNumberOfUndoStates = stored("maximumNumberOfUndoStates", int, 30)
    readOnly = stored("readOnly", bool, False)
    unorderedEffectsVisible = stored("unorderedEffectsVisible", bool, True, "_arrangeEffects")
    jumpToSelectedSegmentEnabled = stored("jumpToSelectedSegmentEnabled", bool, False)
    effectButtonStyle = stored("effectButtonStyle", int, 0)
    effectColumnCount = stored("effectColumnCount", int, 2, "_arrangeEffects")
    defaultTerminologyEntry = stored("defaultTerminologyEntry", str, "")
    defaultTerminologyEntrySettingsKey = stored("defaultTerminologyEntrySettingsKey", str, "")

    setSegmentationNodeSelectorVisible = setter("segmentationNodeSelectorVisible")
    setSourceVolumeNodeSelectorVisible = setter("sourceVolumeNodeSelectorVisible")
    setSwitchToSegmentationsButtonVisible = setter("switchToSegmentationsButtonVisible")
    setAddRemoveSegmentButtonsVisible = setter("addRemoveSegmentButtonsVisible")
    setSpecifyGeometryButtonVisible = setter("specifyGeometryButtonVisible")
    setShow3DButtonVisible = setter("show3DButtonVisible")
    setMaskingSectionVisible = setter("maskingSectionVisible")
    setAutoShowSourceVolumeNode = setter("autoShowSourceVolumeNode")
    setUndoEnabled = setter("undoEnabled")
    setMaximumNumberOfUndoStates = setter("maximumNumberOfUndoStates")
    setReadOnly = setter("readOnly")

    def __init__(self, parent=None):
        super().__init__(parent)
        self._editor = None
        self._effects = {name: Effect(name, self) for name in EFFECTS}
        self._order: tuple[str, ...] = EFFECTS
        self._announced: dict[str, object] = {}
        self._nodeWatch = Watch(self, self.updateWidgetFromMRML, [vtk.vtkCommand.ModifiedEvent])
        self._segmentsWatch = Watch(self, self.updateWidgetFromMRML, SEGMENTATION_EVENTS)
        self._build()

    def _build(self) -> None:
        self._segmentation, self._volume = qMRMLNodeComboBox(), qMRMLNodeComboBox()
        self._segmentation.nodeTypes = ["vtkMRMLSegmentationNode"]
        self._volume.nodeTypes = ["vtkMRMLScalarVolumeNode"]
        self._volume.addEnabled = False
        self._volume.noneEnabled = self._segmentation.noneEnabled = True
        self._buttons = QtWidgets.QWidget()
        self._add, self._remove = QtWidgets.QPushButton("Add"), QtWidgets.QPushButton("Remove")
        self._table = qMRMLSegmentsTableView()
        self._effectArea = QtWidgets.QWidget()
        form = QtWidgets.QFormLayout(self)
        form.addRow("Segmentation:", self._segmentation)
        form.addRow("Source volume:", self._volume)
        row = QtWidgets.QHBoxLayout(self._buttons)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self._add)
        row.addWidget(self._remove)
        form.addRow(self._buttons)
        form.addRow(self._table)
        form.addRow(self._effectArea)
        self._arrangeEffects()
        self._segmentation.currentNodeChanged.connect(self.setSegmentationNode)
        self._volume.currentNodeChanged.connect(self.setSourceVolumeNode)
        self._add.clicked.connect(lambda _checked: self._addSegment())
        self._remove.clicked.connect(lambda _checked: self._removeSegment())

    def _arrangeEffects(self) -> None:
        if not hasattr(self, "_effectArea"):
            return
        layout = self._effectArea.layout() or QtWidgets.QGridLayout(self._effectArea)
        while layout.count():
            layout.takeAt(0).widget().deleteLater()
        for index, name in enumerate(self._shownEffects()):
            button = QtWidgets.QToolButton()
            button.setText(name)
            button.setCheckable(True)
            button.setSizePolicy(QtWidgets.QSizePolicy.Expanding, QtWidgets.QSizePolicy.Fixed)
            button.clicked.connect(lambda _checked, name=name: self.setActiveEffectByName(name))
            layout.addWidget(button, index // self.effectColumnCount, index % self.effectColumnCount)

    def _shownEffects(self) -> tuple[str, ...]:
        rest = tuple(name for name in EFFECTS if name not in self._order) if self.unorderedEffectsVisible else ()
        return self._order + rest

    def _onVisible(self) -> None:
        form = self.layout()
        for widget, visible in (
            (self._segmentation, self.segmentationNodeSelectorVisible),
            (self._volume, self.sourceVolumeNodeSelectorVisible),
        ):
            widget.setVisible(visible)
            form.labelForField(widget).setVisible(visible)
        self._buttons.setVisible(self.addRemoveSegmentButtonsVisible)

    def _onScene(self) -> None:
        for widget in (self._segmentation, self._volume, self._table):
            widget.setMRMLScene(self._scene)

    # what is edited

    def mrmlSegmentEditorNode(self):
        return self._editor

    def setMRMLSegmentEditorNode(self, node) -> None:
        self._editor = node
        self._nodeWatch.set(node)
        if node is not None:
            self.updateWidgetFromMRML()

    def segmentationNode(self):
        return self._editor.GetSegmentationNode() if self._editor else None

    def setSegmentationNode(self, node) -> None:
        if self._editor is not None and node is not self.segmentationNode():
            self._editor.SetAndObserveSegmentationNode(node)
            self.setActiveEffect(None)

    def segmentationNodeID(self) -> str:
        return self.segmentationNode().GetID() if self.segmentationNode() else ""

    def setSegmentationNodeID(self, nodeID: str) -> None:
        self.setSegmentationNode(self._scene.GetNodeByID(nodeID))

    def sourceVolumeNode(self):
        return self._editor.GetSourceVolumeNode() if self._editor else None

    def setSourceVolumeNode(self, node) -> None:
        if self._editor is not None and node is not self.sourceVolumeNode():
            self._editor.SetAndObserveSourceVolumeNode(node)
            segmentation = self.segmentationNode()
            reference = slicer.vtkMRMLSegmentationNode.GetReferenceImageGeometryReferenceRole()
            if segmentation is not None and node is not None and segmentation.GetNodeReference(reference) is None:
                segmentation.SetReferenceImageGeometryParameterFromVolumeNode(node)

    def sourceVolumeNodeID(self) -> str:
        return self.sourceVolumeNode().GetID() if self.sourceVolumeNode() else ""

    def setSourceVolumeNodeID(self, nodeID: str) -> None:
        self.setSourceVolumeNode(self._scene.GetNodeByID(nodeID))

    def currentSegmentID(self) -> str:
        return (self._editor.GetSelectedSegmentID() or "") if self._editor else ""

    def setCurrentSegmentID(self, identifier: str) -> None:
        if self._editor is not None:
            self._editor.SetSelectedSegmentID(identifier)

    def selectNextSegment(self) -> None:
        self._selectAtOffset(1)

    def selectPreviousSegment(self) -> None:
        self._selectAtOffset(-1)

    def _selectAtOffset(self, offset: int) -> None:
        identifiers, current = segmentIDs(self.segmentationNode()), self.currentSegmentID()
        if current in identifiers:
            place = min(max(identifiers.index(current) + offset, 0), len(identifiers) - 1)
            self.setCurrentSegmentID(identifiers[place])

    def _addSegment(self) -> None:
        segmentation = self.segmentationNode()
        if segmentation is not None:
            self.setCurrentSegmentID(segmentation.GetSegmentation().AddEmptySegment())

    def _removeSegment(self) -> None:
        if self.currentSegmentID():
            self.segmentationNode().GetSegmentation().RemoveSegment(self.currentSegmentID())

    # effects

    def availableEffectNames(self) -> tuple[str, ...]:
        return EFFECTS

    def effectByName(self, name: str):
        return self._effects.get(name)

    def effectNameOrder(self) -> tuple[str, ...]:
        return self._order

    def setEffectNameOrder(self, names) -> None:
        self._order = tuple(name for name in names if name in EFFECTS)
        self._arrangeEffects()

    def activeEffect(self):
        return self._effects.get(self._editor.GetActiveEffectName()) if self._editor else None

    def setActiveEffectByName(self, name: str) -> None:
        self.setActiveEffect(self.effectByName(name))

    def setActiveEffect(self, effect: Effect | None) -> None:
        if self._editor is not None:
            self._editor.SetActiveEffectName(effect.name if effect is not None else "")

    # views: there are none

    def setupViewObservations(self) -> None:
        """Nothing to observe without views."""

    def removeViewObservations(self) -> None:
        """Nothing was observed."""

    def installKeyboardShortcuts(self, parent=None) -> None:
        """The application's shortcuts are not part of the stand-in."""

    def uninstallKeyboardShortcuts(self) -> None:
        """See installKeyboardShortcuts."""

    def updateWidgetFromMRML(self) -> None:
        """Show what the segment editor node says and announce what has changed."""
        segmentation, volume = self.segmentationNode(), self.sourceVolumeNode()
        self._segmentsWatch.set(segmentation.GetSegmentation() if segmentation is not None else None)
        identifiers = segmentIDs(segmentation)
        if self._editor is not None and self.currentSegmentID() not in identifiers:
            self._editor.SetSelectedSegmentID(identifiers[0] if identifiers else "")
        self._segmentation.setCurrentNode(segmentation)
        self._volume.setCurrentNode(volume)
        if self._table.segmentationNode() is not segmentation:
            self._table.setSegmentationNode(segmentation)
        self._announce("segmentationNodeChanged", segmentation)
        self._announce("sourceVolumeNodeChanged", volume)
        self._announce("currentSegmentIDChanged", self.currentSegmentID())

    def _announce(self, signal: str, value) -> None:
        if self._announced.get(signal, "" if signal == "currentSegmentIDChanged" else None) != value:
            self._announced[signal] = value
            getattr(self, signal).emit(value)
