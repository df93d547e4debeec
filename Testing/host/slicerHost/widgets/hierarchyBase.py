"""What tree and combo box of the subject hierarchy have in common."""

import slicer

from .hierarchyModel import HierarchyModel, accepts
from .mrml import requireScene
from .nodes import SCENE_EVENTS
from .sceneWatch import Watch

_HIERARCHY = slicer.vtkMRMLSubjectHierarchyNode
HIERARCHY_EVENTS = (
    _HIERARCHY.SubjectHierarchyItemAddedEvent,
    _HIERARCHY.SubjectHierarchyItemRemovedEvent,
    _HIERARCHY.SubjectHierarchyItemModifiedEvent,
    _HIERARCHY.SubjectHierarchyItemReparentedEvent,
    _HIERARCHY.SubjectHierarchyItemChildrenReorderedEvent,
)


class Hierarchy:
    """What both widgets know of the scene, its hierarchy node and the filters."""

    _scene = None
    _hierarchy = None

    def _startWatching(self) -> None:
        self._root = 0
        self._sceneWatch = Watch(self, self._onSceneChanged, SCENE_EVENTS)
        self._hierarchyWatch = Watch(self, self._rebuild, HIERARCHY_EVENTS)
        self._items = HierarchyModel()

    def mrmlScene(self):
        return self._scene

    def subjectHierarchyNode(self):
        return self._hierarchy

    def setMRMLScene(self, scene) -> None:
        requireScene(scene)
        if scene is not self._scene:
            self._scene = scene
            self._sceneWatch.set(scene)
            self._onSceneChanged()

    def _onSceneChanged(self) -> None:
        """Loading or closing a scene replaces the hierarchy node."""
        if self._scene is not None and (self._scene.IsClosing() or self._scene.IsBatchProcessing()):
            return
        hierarchy = _HIERARCHY.GetSubjectHierarchyNode(self._scene) if self._scene is not None else None
        if hierarchy is not self._hierarchy:
            self._hierarchy, self._root = hierarchy, 0
            self._hierarchyWatch.set(hierarchy)
            self._rebuild()

    def rootItem(self) -> int:
        return self._root or (self._hierarchy.GetSceneItemID() if self._hierarchy else 0)

    def setRootItem(self, item: int) -> None:
        self._root = item
        self._rebuild()

    def currentNode(self):
        item = self.currentItem()
        return self._hierarchy.GetItemDataNode(item) if self._hierarchy and item else None

    def setCurrentNode(self, node) -> None:
        if node is not None and self._hierarchy is not None:
            self.setCurrentItem(self._hierarchy.GetItemByDataNode(node))

    def _refill(self) -> None:
        self._items.rebuild(self._hierarchy, self.rootItem(), lambda h, item: accepts(self, h, item), self.showRootItem)
