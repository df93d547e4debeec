"""Which items of the subject hierarchy a tree or combo box shows, as a Qt model."""

import slicer
from PySide6 import QtCore, QtGui

ITEM = int(QtCore.Qt.UserRole) + 1


class HierarchyModel(QtGui.QStandardItemModel):
    """Columns: name, visibility, color, transform, description, item id."""

    COLUMNS = ("Node", "", "", "", "Description", "ID")

    def rebuild(self, hierarchy, root: int, accepts, withRoot: bool) -> None:
        """Fill the model anew; `accepts` says of one item whether it is shown for its own sake."""
        self.clear()
        self.setHorizontalHeaderLabels(list(self.COLUMNS))
        if hierarchy is None:
            return
        parent = self.invisibleRootItem()
        if withRoot and root == hierarchy.GetSceneItemID():
            row = self._row(hierarchy, root)
            row[0].setText("Scene")
            parent.appendRow(row)
            parent = row[0]
        self._addChildren(hierarchy, root, parent, accepts)

    def _addChildren(self, hierarchy, item: int, parent: QtGui.QStandardItem, accepts) -> bool:
        children: list[int] = []
        hierarchy.GetItemChildren(item, children, False)
        shown = False
        for child in children:
            row = self._row(hierarchy, child)
            if self._addChildren(hierarchy, child, row[0], accepts) or accepts(hierarchy, child):
                parent.appendRow(row)
                shown = True
        return shown

    def _row(self, hierarchy, item: int) -> list[QtGui.QStandardItem]:
        node = hierarchy.GetItemDataNode(item)
        texts = (hierarchy.GetItemName(item), "", "", "", (node and node.GetDescription()) or "", str(item))
        row = [QtGui.QStandardItem(text) for text in texts]
        for cell in row:
            cell.setData(item, ITEM)
            cell.setEditable(False)
        return row

    def indexOf(self, item: int) -> QtCore.QModelIndex:
        """Index of an item's name; invalid if it is not shown."""
        start = self.index(0, 0)
        flags = QtCore.Qt.MatchRecursive | QtCore.Qt.MatchExactly
        found = self.match(start, ITEM, item, 1, flags) if start.isValid() else []
        return found[0] if found else QtCore.QModelIndex()


def accepts(widget, hierarchy, item: int) -> bool:
    """True if an item passes the widget's filters."""
    node = hierarchy.GetItemDataNode(item)
    if node is not None and node.GetAttribute(_excludeFromTree()):
        return False
    if widget.nodeTypes and not (node is not None and any(node.IsA(kind) for kind in widget.nodeTypes)):
        return False
    if node is not None and any(node.IsA(kind) for kind in widget._hidden()):
        return False
    levels = widget._levels()
    if levels and hierarchy.GetItemLevel(item) not in levels:
        return False
    return _passesAttributes(widget, hierarchy, item, node)


def _passesAttributes(widget, hierarchy, item: int, node) -> bool:
    def has(names, on) -> bool:
        return any(on(name) for name in names)

    def itemHas(name: str) -> bool:
        return bool(hierarchy.HasItemAttribute(item, name)) and (
            not widget.attributeValueFilter or hierarchy.GetItemAttribute(item, name) == widget.attributeValueFilter
        )

    def nodeHas(name: str) -> bool:
        return node is not None and node.GetAttribute(name) is not None

    included = list(widget.includeItemAttributeNamesFilter)
    if widget.attributeNameFilter:
        included.append(widget.attributeNameFilter)
    if included and not has(included, itemHas):
        return False
    if widget.includeNodeAttributeNamesFilter and not has(widget.includeNodeAttributeNamesFilter, nodeHas):
        return False
    if has(widget.excludeItemAttributeNamesFilter, itemHas):
        return False
    return not has(widget.excludeNodeAttributeNamesFilter, nodeHas)


def _excludeFromTree() -> str:
    return slicer.vtkMRMLSubjectHierarchyConstants.GetSubjectHierarchyExcludeFromTreeAttributeName()
