"""Widgets of the Segmentations module: table, selector and editor of segments."""

import slicer
from PySide6 import QtCore, QtGui, QtWidgets

from ..signals import spells
from .mrml import qMRMLWidget
from .nodes import qMRMLNodeComboBox
from .sceneWatch import Watch
from .stored import setter, stored

SEGMENTATION_EVENTS = (
    slicer.vtkSegmentation.SegmentAdded,
    slicer.vtkSegmentation.SegmentRemoved,
    slicer.vtkSegmentation.SegmentModified,
    slicer.vtkSegmentation.SegmentsOrderModified,
)
STATUS = ("Not started", "In progress", "Completed", "Flagged")


def segmentIDs(node) -> tuple[str, ...]:
    """Identifiers of a segmentation's segments in order."""
    return () if node is None else tuple(node.GetSegmentation().GetSegmentIDs())


class qMRMLSegmentsTableView(qMRMLWidget):
    """The segments of one segmentation, a row each."""

    selectionChanged = QtCore.Signal(QtCore.QItemSelection, QtCore.QItemSelection)
    segmentAboutToBeModified = QtCore.Signal(str)

    visibilityColumnVisible = stored("visibilityColumnVisible", bool, True, "_rebuild")
    colorColumnVisible = stored("colorColumnVisible", bool, True, "_rebuild")
    opacityColumnVisible = stored("opacityColumnVisible", bool, True, "_rebuild")
    statusColumnVisible = stored("statusColumnVisible", bool, False, "_rebuild")
    layerColumnVisible = stored("layerColumnVisible", bool, False)
    headerVisible = stored("headerVisible", bool, True, "_rebuild")
    filterBarVisible = stored("filterBarVisible", bool, False)
    readOnly = stored("readOnly", bool, False)
    jumpToSelectedSegmentEnabled = stored("jumpToSelectedSegmentEnabled", bool, False)
    useTerminologySelector = stored("useTerminologySelector", bool, True)
    useTerminologySelectorSettingsKey = stored("useTerminologySelectorSettingsKey", str, "")
    terminologySelectorAutoDisable = stored("terminologySelectorAutoDisable", bool, False)
    terminologySelectorOptionVisible = stored("terminologySelectorOptionVisible", bool, False)
    textFilter = stored("textFilter", str, "", "_rebuild")
    selectionMode = stored("selectionMode", int, 3)

    setVisibilityColumnVisible = setter("visibilityColumnVisible")
    setColorColumnVisible = setter("colorColumnVisible")
    setOpacityColumnVisible = setter("opacityColumnVisible")
    setStatusColumnVisible = setter("statusColumnVisible")
    setLayerColumnVisible = setter("layerColumnVisible")
    setHeaderVisible = setter("headerVisible")
    setFilterBarVisible = setter("filterBarVisible")
    setReadOnly = setter("readOnly")
    setTextFilter = setter("textFilter")
    setSelectionMode = setter("selectionMode")

    def __init__(self, parent=None):
        super().__init__(parent)
        self._node = None
        self._shown: tuple[str, ...] = ()
        self._table = QtWidgets.QTableWidget()
        self._table.setSelectionBehavior(QtWidgets.QAbstractItemView.SelectRows)
        self._table.verticalHeader().hide()
        layout = QtWidgets.QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._table)
        self._watch = Watch(self, self._rebuild, SEGMENTATION_EVENTS)
        self._table.selectionModel().selectionChanged.connect(self.selectionChanged.emit)
        self._rebuild()

    segmentCount = QtCore.Property(int, lambda self: len(self.displayedSegmentIDs()))

    def tableWidget(self) -> QtWidgets.QTableWidget:
        return self._table

    def segmentationNode(self):
        return self._node

    def setSegmentationNode(self, node) -> None:
        self._node = node
        self._watch.set(node.GetSegmentation() if node is not None else None)
        self._rebuild()

    def displayedSegmentIDs(self) -> tuple[str, ...]:
        segment = self._node.GetSegmentation().GetSegment if self._node else None
        return tuple(i for i in segmentIDs(self._node) if self.textFilter.lower() in segment(i).GetName().lower())

    def rowForSegmentID(self, segmentID: str) -> int:
        shown = self.displayedSegmentIDs()
        return shown.index(segmentID) if segmentID in shown else -1

    def segmentIDForRow(self, row: int) -> str:
        return self.displayedSegmentIDs()[row]

    def selectedSegmentIDs(self) -> tuple[str, ...]:
        return tuple(self._shown[index.row()] for index in self._table.selectionModel().selectedRows())

    def setSelectedSegmentIDs(self, identifiers) -> None:
        flags = QtCore.QItemSelectionModel.SelectionFlag
        selection = QtCore.QItemSelection()
        for identifier in identifiers:
            index = self._table.model().index(self.rowForSegmentID(identifier), 0)
            selection.select(index, index)
        self._table.selectionModel().select(selection, flags.ClearAndSelect | flags.Rows)

    def clearSelection(self) -> None:
        self._table.clearSelection()

    def _rebuild(self) -> None:
        if not hasattr(self, "_table"):
            return
        selected = self.selectedSegmentIDs()
        shown = self._shown = self.displayedSegmentIDs()
        self._table.setColumnCount(5)
        self._table.setHorizontalHeaderLabels(["", "", "Opacity", "Name", "Status"])
        self._table.setRowCount(len(shown))
        for row, identifier in enumerate(shown):
            self._fill(row, identifier)
        visible = (self.visibilityColumnVisible, self.colorColumnVisible, self.opacityColumnVisible, True)
        for column, show in enumerate((*visible, self.statusColumnVisible)):
            self._table.setColumnHidden(column, not show)
        header = self._table.horizontalHeader()
        header.setVisible(self.headerVisible)
        header.setSectionResizeMode(3, QtWidgets.QHeaderView.Stretch)
        for column in (0, 1):
            header.resizeSection(column, 28)
        self.setSelectedSegmentIDs([identifier for identifier in selected if identifier in shown])

    def _fill(self, row: int, identifier: str) -> None:
        segment = self._node.GetSegmentation().GetSegment(identifier)
        display = self._node.GetDisplayNode()
        visible = display is None or display.GetSegmentVisibility(identifier)
        opacity = 1.0 if display is None else display.GetSegmentOpacity3D(identifier)
        status = slicer.vtkSlicerSegmentationsModuleLogic.GetSegmentStatus(segment)
        texts = ("\u25c9" if visible else "\u25cb", "", f"{opacity:.2f}", segment.GetName(), STATUS[status])
        for column, text in enumerate(texts):
            self._table.setItem(row, column, QtWidgets.QTableWidgetItem(text))
        self._table.item(row, 1).setBackground(QtGui.QColor.fromRgbF(*segment.GetColor()))


@spells("currentNodeChanged(vtkMRMLNode*)", "nodeAboutToBeEdited(vtkMRMLNode*)")
class qMRMLSegmentSelectorWidget(qMRMLWidget):
    """A segmentation and one of its segments."""

    currentNodeChanged = QtCore.Signal(object)
    currentSegmentChanged = QtCore.Signal(str)
    segmentSelectionChanged = QtCore.Signal("QStringList")
    nodeAboutToBeEdited = QtCore.Signal(object)

    noneEnabled = stored("noneEnabled", bool, False, "_rebuild")
    editEnabled = stored("editEnabled", bool, False)
    multiSelection = stored("multiSelection", bool, False)
    horizontalLayout = stored("horizontalLayout", bool, False)
    selectNodeUponCreation = stored("selectNodeUponCreation", bool, True)
    segmentationNodeSelectorVisible = stored("segmentationNodeSelectorVisible", bool, True, "_onVisible")

    def __init__(self, parent=None):
        super().__init__(parent)
        self._segment = ""
        self._selector = qMRMLNodeComboBox()
        self._selector.nodeTypes = ["vtkMRMLSegmentationNode"]
        self._selector.addEnabled = self._selector.removeEnabled = False
        self._combo = QtWidgets.QComboBox()
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._selector)
        layout.addWidget(self._combo)
        self._watch = Watch(self, self._rebuild, SEGMENTATION_EVENTS)
        self._selector.currentNodeChanged.connect(self._onNode)
        self._combo.currentIndexChanged.connect(lambda _index: self.setCurrentSegmentID(self._combo.currentData or ""))

    def _onScene(self) -> None:
        self._selector.setMRMLScene(self._scene)

    def _onVisible(self) -> None:
        self._selector.setVisible(self.segmentationNodeSelectorVisible)

    def _onNode(self, node) -> None:
        self._watch.set(node.GetSegmentation() if node is not None else None)
        self._rebuild()
        self.currentNodeChanged.emit(node)

    def _rebuild(self) -> None:
        self._selector.noneEnabled = self.noneEnabled
        node, wanted = self.currentNode(), self._segment
        identifiers = segmentIDs(node)
        blocker = QtCore.QSignalBlocker(self._combo)
        self._combo.clear()
        if self.noneEnabled:
            self._combo.addItem("None", "")
        for identifier in identifiers:
            self._combo.addItem(node.GetSegmentation().GetSegment(identifier).GetName(), identifier)
        blocker.unblock()
        first = "" if self.noneEnabled or not identifiers else identifiers[0]
        self.setCurrentSegmentID(wanted if wanted in identifiers else first)

    def currentNode(self):
        return self._selector.currentNode()

    def currentNodeID(self) -> str:
        return self._selector.currentNodeID

    def setCurrentNode(self, node) -> None:
        self._selector.setCurrentNode(node)

    def setCurrentNodeID(self, nodeID: str) -> None:
        self._selector.setCurrentNodeID(nodeID)

    def segmentIDs(self) -> tuple[str, ...]:
        return segmentIDs(self.currentNode())

    def currentSegmentID(self) -> str:
        return self._segment

    def setCurrentSegmentID(self, identifier: str) -> None:
        identifier = identifier if identifier in self.segmentIDs() else ""
        changed, self._segment = identifier != self._segment, identifier
        blocker = QtCore.QSignalBlocker(self._combo)
        self._combo.setCurrentIndex(self._combo.findData(identifier))
        blocker.unblock()
        if changed:
            self.currentSegmentChanged.emit(identifier)
            self.segmentSelectionChanged.emit([identifier] if identifier else [])

    def selectedSegmentIDs(self) -> tuple[str, ...]:
        return (self._segment,) if self._segment else ()

    def setSelectedSegmentIDs(self, identifiers) -> None:
        self.setCurrentSegmentID(identifiers[0] if identifiers else "")
