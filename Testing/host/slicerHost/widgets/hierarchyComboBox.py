"""Combo box of the subject hierarchy (Slicer/Modules/Loadable/SubjectHierarchy/Widgets)."""

from PySide6 import QtCore

from ..signals import spells
from .hierarchyBase import Hierarchy
from .hierarchyModel import ITEM
from .paths import ctkComboBox
from .stored import setter, stored


@spells("currentItemChanged(vtkIdType)", "currentItemModified(vtkIdType)")
class qMRMLSubjectHierarchyComboBox(ctkComboBox, Hierarchy):
    """One item of the hierarchy in a combo box."""

    currentItemChanged = QtCore.Signal(object)
    currentItemModified = QtCore.Signal(object)

    nodeTypes = stored("nodeTypes", "QStringList", (), "_rebuild")
    attributeNameFilter = stored("attributeNameFilter", str, "", "_rebuild")
    attributeValueFilter = stored("attributeValueFilter", str, "", "_rebuild")
    includeItemAttributeNamesFilter = stored("includeItemAttributeNamesFilter", "QStringList", (), "_rebuild")
    includeNodeAttributeNamesFilter = stored("includeNodeAttributeNamesFilter", "QStringList", (), "_rebuild")
    excludeItemAttributeNamesFilter = stored("excludeItemAttributeNamesFilter", "QStringList", (), "_rebuild")
    excludeNodeAttributeNamesFilter = stored("excludeNodeAttributeNamesFilter", "QStringList", (), "_rebuild")
    noneEnabled = stored("noneEnabled", bool, False, "_rebuild")
    noneDisplay = stored("noneDisplay", str, "None", "_rebuild")
    showRootItem = stored("showRootItem", bool, True, "_rebuild")
    showEmptyHierarchyItems = stored("showEmptyHierarchyItems", bool, True)
    showCurrentItemParents = stored("showCurrentItemParents", bool, True)
    highlightReferencedItems = stored("highlightReferencedItems", bool, True)
    alignPopupVertically = stored("alignPopupVertically", bool, True)
    maximumNumberOfShownItems = stored("maximumNumberOfShownItems", int, 20)

    setNodeTypes = setter("nodeTypes")

    def __init__(self, parent=None):
        super().__init__(parent)
        self._current = 0
        self._levelNames: tuple[str, ...] = ()
        self._hiddenTypes: tuple[str, ...] = ()
        self._startWatching()
        self.currentIndexChanged.connect(self._onIndex)

    def _levels(self) -> tuple[str, ...]:
        return self._levelNames

    def _hidden(self) -> tuple[str, ...]:
        return self._hiddenTypes

    def setLevelFilter(self, levels) -> None:
        self._levelNames = tuple(levels)
        self._rebuild()

    def setHideChildNodeTypes(self, kinds) -> None:
        self._hiddenTypes = tuple(kinds)
        self._rebuild()

    def _rebuild(self) -> None:
        self._refill()
        blocker = QtCore.QSignalBlocker(self)
        self.clear()
        if self.noneEnabled:
            self.addItem(self.noneDisplay, 0)
        self._addRows(QtCore.QModelIndex(), 0)
        blocker.unblock()
        shown = self.findData(self._current) >= 0 and self._current
        self._setCurrent(self._current if shown else 0)

    def _addRows(self, parent: QtCore.QModelIndex, depth: int) -> None:
        for row in range(self._items.rowCount(parent)):
            index = self._items.index(row, 0, parent)
            self.addItem("  " * depth + index.data(), index.data(ITEM))
            self._addRows(index, depth + 1)

    def currentItem(self) -> int:
        return self._current

    def setCurrentItem(self, item: int) -> None:
        self._setCurrent(item if self.findData(item) >= 0 else 0)

    def clearSelection(self) -> None:
        self._setCurrent(0)

    def _setCurrent(self, item: int) -> None:
        changed, self._current = item != self._current, item
        blocker = QtCore.QSignalBlocker(self)
        self.setCurrentIndex(self.findData(item))
        blocker.unblock()
        if changed:
            self.currentItemChanged.emit(item)

    def _onIndex(self, _index: int) -> None:
        self._setCurrent(self.currentData or 0)
