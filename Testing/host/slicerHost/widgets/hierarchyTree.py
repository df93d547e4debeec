"""Tree of the subject hierarchy (Slicer/Modules/Loadable/SubjectHierarchy/Widgets)."""

from PySide6 import QtCore, QtWidgets

from ..signals import spells
from .hierarchyBase import Hierarchy
from .hierarchyModel import ITEM
from .stored import setter, stored


@spells(
    "currentItemChanged(vtkIdType)",
    "currentItemsChanged(QList<vtkIdType>)",
    "currentNodeChanged(vtkMRMLNode*)",
    "currentItemModified(vtkIdType)",
    "nodeAddedByUser(vtkMRMLNode*)",
)
class qMRMLSubjectHierarchyTreeView(QtWidgets.QTreeView, Hierarchy):
    """The tree of patients, studies, folders and nodes."""

    currentItemChanged = QtCore.Signal(object)
    currentItemsChanged = QtCore.Signal(object)
    currentNodeChanged = QtCore.Signal(object)
    currentItemModified = QtCore.Signal(object)
    nodeAddedByUser = QtCore.Signal(object)

    nodeTypes = stored("nodeTypes", "QStringList", (), "_rebuild")
    hideChildNodeTypes = stored("hideChildNodeTypes", "QStringList", (), "_rebuild")
    levelFilter = stored("levelFilter", "QStringList", (), "_rebuild")
    nameFilter = stored("nameFilter", str, "", "_rebuild")
    attributeNameFilter = stored("attributeNameFilter", str, "", "_rebuild")
    attributeValueFilter = stored("attributeValueFilter", str, "", "_rebuild")
    includeItemAttributeNamesFilter = stored("includeItemAttributeNamesFilter", "QStringList", (), "_rebuild")
    includeNodeAttributeNamesFilter = stored("includeNodeAttributeNamesFilter", "QStringList", (), "_rebuild")
    excludeItemAttributeNamesFilter = stored("excludeItemAttributeNamesFilter", "QStringList", (), "_rebuild")
    excludeNodeAttributeNamesFilter = stored("excludeNodeAttributeNamesFilter", "QStringList", (), "_rebuild")
    multiSelection = stored("multiSelection", bool, False, "_onMode")
    showRootItem = stored("showRootItem", bool, False, "_rebuild")
    visibilityColumnVisible = stored("visibilityColumnVisible", bool, True, "_onColumns")
    colorColumnVisible = stored("colorColumnVisible", bool, True, "_onColumns")
    transformColumnVisible = stored("transformColumnVisible", bool, True, "_onColumns")
    descriptionColumnVisible = stored("descriptionColumnVisible", bool, False, "_onColumns")
    idColumnVisible = stored("idColumnVisible", bool, False, "_onColumns")
    contextMenuEnabled = stored("contextMenuEnabled", bool, True)
    editMenuActionVisible = stored("editMenuActionVisible", bool, True)
    addNodeMenuActionVisible = stored("addNodeMenuActionVisible", bool, False)
    selectRoleSubMenuVisible = stored("selectRoleSubMenuVisible", bool, True)
    highlightReferencedItems = stored("highlightReferencedItems", bool, True)
    noneEnabled = stored("noneEnabled", bool, False)
    noneDisplay = stored("noneDisplay", str, "")
    pluginAllowList = stored("pluginAllowList", "QStringList", ())
    pluginBlockList = stored("pluginBlockList", "QStringList", ())
    useTerminologySelector = stored("useTerminologySelector", bool, True)

    setMultiSelection = setter("multiSelection")
    setContextMenuEnabled = setter("contextMenuEnabled")
    setEditMenuActionVisible = setter("editMenuActionVisible")
    setAttributeNameFilter = setter("attributeNameFilter")

    def __init__(self, parent=None):
        super().__init__(parent)
        self._selected: tuple[int, ...] = ()
        self._rebuilding = False
        self._startWatching()
        self.setModel(self._items)
        self.setEditTriggers(QtWidgets.QAbstractItemView.NoEditTriggers)
        self.setSelectionBehavior(QtWidgets.QAbstractItemView.SelectRows)
        self.selectionModel().selectionChanged.connect(lambda *_: self._onSelection())
        self._rebuild()
        self._onMode()

    def _levels(self) -> tuple[str, ...]:
        return self.levelFilter

    def _hidden(self) -> tuple[str, ...]:
        return self.hideChildNodeTypes

    def _onMode(self) -> None:
        modes = QtWidgets.QAbstractItemView
        self.setSelectionMode(modes.ExtendedSelection if self.multiSelection else modes.SingleSelection)

    def _onColumns(self) -> None:
        shown = (self.visibilityColumnVisible, self.colorColumnVisible, self.transformColumnVisible)
        for column, visible in enumerate((True, *shown, self.descriptionColumnVisible, self.idColumnVisible)):
            self.setColumnHidden(column, not visible)
        header = self.header()
        header.setStretchLastSection(False)
        header.setSectionResizeMode(0, QtWidgets.QHeaderView.Stretch)
        for column in (1, 2, 3):
            header.resizeSection(column, 24)

    def _rebuild(self) -> None:
        self._rebuilding = True
        try:
            self._refill()
            self.expandAll()
            self._onColumns()
            self._select(self._selected)
        finally:
            self._rebuilding = False
        self._onSelection()

    def _select(self, items: tuple[int, ...]) -> None:
        flags = QtCore.QItemSelectionModel.SelectionFlag
        self.selectionModel().clear()
        for item in items:
            index = self._items.indexOf(item)
            if index.isValid():
                self.selectionModel().setCurrentIndex(index, flags.Select | flags.Rows)

    def _onSelection(self) -> None:
        if self._rebuilding:
            return
        items = tuple(index.data(ITEM) for index in self.selectionModel().selectedRows(0))
        if items == self._selected:
            return
        self._selected = items
        self.currentItemChanged.emit(self.currentItem())
        self.currentNodeChanged.emit(self.currentNode())
        self.currentItemsChanged.emit(items)

    def currentItem(self) -> int:
        return self._selected[0] if self._selected else 0

    def currentItems(self, idList) -> None:
        for item in self._selected:
            idList.InsertNextId(item)

    def setCurrentItem(self, item: int) -> None:
        self._setCurrent((item,))

    def setCurrentItems(self, idList) -> None:
        self._setCurrent(tuple(idList.GetId(index) for index in range(idList.GetNumberOfIds())))

    def _setCurrent(self, items: tuple[int, ...]) -> None:
        self._rebuilding = True
        self._select(items if self.multiSelection else items[:1])
        self._rebuilding = False
        self._onSelection()

    def displayedItemCount(self) -> int:
        def count(parent) -> int:
            rows = range(self._items.rowCount(parent))
            return len(rows) + sum(count(self._items.index(row, 0, parent)) for row in rows)

        return count(QtCore.QModelIndex())

    def expandItem(self, item: int) -> None:
        self.expand(self._items.indexOf(item))

    def collapseItem(self, item: int) -> None:
        self.collapse(self._items.indexOf(item))
