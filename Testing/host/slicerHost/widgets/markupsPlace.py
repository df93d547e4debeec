"""The button that starts placing points (Slicer/Modules/Loadable/Markups/Widgets/qSlicerMarkupsPlaceWidget.cxx)."""

import slicer
from PySide6 import QtCore, QtGui, QtWidgets

from .mrml import qSlicerWidget
from .sceneWatch import Watch
from .stored import setter, stored

_Interaction = slicer.vtkMRMLInteractionNode


class qSlicerMarkupsPlaceWidget(qSlicerWidget):
    """Puts the scene into place mode for one markups node; without views nobody places anything."""

    activeMarkupsPlaceModeChanged = QtCore.Signal(bool)
    activeMarkupsFiducialPlaceModeChanged = QtCore.Signal(bool)

    ShowPlaceMultipleMarkupsOption, HidePlaceMultipleMarkupsOption = 0, 1
    ForcePlaceSingleMarkup, ForcePlaceMultipleMarkups = 2, 3

    buttonsVisible = stored("buttonsVisible", bool, True, "_onVisible")
    placeMultipleMarkups = stored("placeMultipleMarkups", int, ShowPlaceMultipleMarkupsOption)
    placeModePersistency = stored("placeModePersistency", bool, False)
    deleteAllControlPointsOptionVisible = stored("deleteAllControlPointsOptionVisible", bool, True)
    deleteAllMarkupsOptionVisible = stored("deleteAllMarkupsOptionVisible", bool, True)
    unsetLastControlPointOptionVisible = stored("unsetLastControlPointOptionVisible", bool, False)
    unsetAllControlPointsOptionVisible = stored("unsetAllControlPointsOptionVisible", bool, False)
    nodeColor = stored("nodeColor", QtGui.QColor, QtGui.QColor())
    defaultNodeColor = stored("defaultNodeColor", QtGui.QColor, QtGui.QColor(0, 255, 0))

    setButtonsVisible = setter("buttonsVisible")
    setPlaceMultipleMarkups = setter("placeMultipleMarkups")
    setPlaceModePersistency = setter("placeModePersistency")
    setDeleteAllControlPointsOptionVisible = setter("deleteAllControlPointsOptionVisible")
    setUnsetLastControlPointOptionVisible = setter("unsetLastControlPointOptionVisible")
    setUnsetAllControlPointsOptionVisible = setter("unsetAllControlPointsOptionVisible")
    setNodeColor = setter("nodeColor")
    setDefaultNodeColor = setter("defaultNodeColor")

    def __init__(self, parent=None):
        super().__init__(parent)
        self._node = None
        self._wasPlacing = False
        self._place, self._delete = QtWidgets.QToolButton(), QtWidgets.QToolButton()
        self._place.setText("Place")
        self._place.setCheckable(True)
        self._delete.setText("Delete")
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._place)
        layout.addWidget(self._delete)
        self._place.toggled.connect(self.setPlaceModeEnabled)
        self._delete.clicked.connect(lambda _checked: self.deleteLastPoint())
        self._watch = Watch(self, self._update, [_Interaction.InteractionModeChangedEvent])
        self._update()

    def _onScene(self) -> None:
        self._watch.set(self.interactionNode())
        self._update()

    def _onVisible(self) -> None:
        self._place.setVisible(self.buttonsVisible)
        self._delete.setVisible(self.buttonsVisible)

    def placeButton(self) -> QtWidgets.QToolButton:
        return self._place

    def deleteButton(self) -> QtWidgets.QToolButton:
        return self._delete

    def interactionNode(self):
        return self._scene.GetNodeByID("vtkMRMLInteractionNodeSingleton") if self._scene else None

    def selectionNode(self):
        return self._scene.GetNodeByID("vtkMRMLSelectionNodeSingleton") if self._scene else None

    def currentNode(self):
        return self._node

    def currentMarkupsNode(self):
        return self._node

    def currentMarkupsFiducialNode(self):
        return self._node if self._node is not None and self._node.IsA("vtkMRMLMarkupsFiducialNode") else None

    def setCurrentNode(self, node) -> None:
        if node is not None and not node.IsA("vtkMRMLMarkupsNode"):
            raise TypeError(f"setCurrentNode takes a vtkMRMLMarkupsNode, not {node.GetClassName()}")
        if node is not self._node:
            self.setPlaceModeEnabled(False)
            self._node = node
            self._update()

    def _isActive(self) -> bool:
        if self._node is None or self._scene is None:
            return False
        return self.selectionNode().GetActivePlaceNodeID() == self._node.GetID()

    def setCurrentNodeActive(self, active: bool) -> None:
        if self._node is not None and active != self._isActive():
            self.selectionNode().SetReferenceActivePlaceNodeClassName(self._node.GetClassName() if active else "")
            self.selectionNode().SetActivePlaceNodeID(self._node.GetID() if active else None)

    currentNodeActive = QtCore.Property(bool, _isActive, setCurrentNodeActive)

    def _isPlacing(self) -> bool:
        node = self.interactionNode()
        return self._isActive() and node is not None and node.GetCurrentInteractionMode() == _Interaction.Place

    def setPlaceModeEnabled(self, enabled: bool) -> None:
        if enabled == self._isPlacing() or self._node is None or self._scene is None:
            self._update()
            return
        if enabled:
            self.setCurrentNodeActive(True)
        mode = _Interaction.Place if enabled else _Interaction.ViewTransform
        self.interactionNode().SetCurrentInteractionMode(mode)
        self._update()

    placeModeEnabled = QtCore.Property(bool, _isPlacing, setPlaceModeEnabled)

    def deleteLastPoint(self) -> None:
        if self._node is not None and self._node.GetNumberOfControlPoints():
            self._node.RemoveNthControlPoint(self._node.GetNumberOfControlPoints() - 1)

    def deleteAllPoints(self) -> None:
        if self._node is not None:
            self._node.RemoveAllControlPoints()

    def _update(self) -> None:
        placing = self._isPlacing()
        blocker = QtCore.QSignalBlocker(self._place)
        self._place.setChecked(placing)
        blocker.unblock()
        self._place.setEnabled(self._node is not None)
        self._delete.setEnabled(self._node is not None)
        if placing != self._wasPlacing:
            self._wasPlacing = placing
            self.activeMarkupsPlaceModeChanged.emit(placing)
            self.activeMarkupsFiducialPlaceModeChanged.emit(placing)
