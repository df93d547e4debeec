"""Places in the subject hierarchy: where a result belongs, and folders that a job made.

The hierarchy's node is another object after a scene was loaded, so it is fetched for each use.
"""

from __future__ import annotations

from typing import Any

import slicer
import vtk

NO_ITEM = 0


def hierarchyNode() -> Any:
    """The subject hierarchy of the scene."""
    return slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)


def allItems(parent: int = NO_ITEM) -> list[int]:
    """Every item below a parent, or of the whole scene."""
    hierarchy, found = hierarchyNode(), vtk.vtkIdList()
    hierarchy.GetItemChildren(parent or hierarchy.GetSceneItemID(), found, True)
    return [found.GetId(index) for index in range(found.GetNumberOfIds())]


def itemOf(node: Any) -> int:
    """The item of a node; NO_ITEM for None."""
    return NO_ITEM if node is None else hierarchyNode().GetItemByDataNode(node)


def studyOf(item: int) -> int:
    """Where results for an item belong: its study, else the folder or patient it lies in, else the scene.

    Args:
        item: a volume, a segmentation, or a study itself; NO_ITEM, or one that has left the scene, for the scene.
    """
    hierarchy = hierarchyNode()
    study = slicer.vtkMRMLSubjectHierarchyConstants.GetDICOMLevelStudy()
    scene = hierarchy.GetSceneItemID()
    # Asking for an item that does not exist is an error in the log.
    if item == NO_ITEM or item not in allItems():
        return scene
    ancestor = item
    while ancestor not in (NO_ITEM, scene):
        if hierarchy.GetItemLevel(ancestor) == study:
            return ancestor
        ancestor = hierarchy.GetItemParent(ancestor)
    return hierarchy.GetItemParent(item) or scene


def createFolder(parent: int, name: str) -> int:
    """A new folder, with a number after its name where the parent has one of that name already."""
    hierarchy, siblings = hierarchyNode(), vtk.vtkIdList()
    hierarchy.GetItemChildren(parent, siblings, False)
    taken = {hierarchy.GetItemName(siblings.GetId(index)) for index in range(siblings.GetNumberOfIds())}
    unique, number = name, 1
    while unique in taken:
        number += 1
        unique = f"{name} {number}"
    return hierarchy.CreateFolderItem(parent, unique)


def place(node: Any, parent: int) -> int:
    """Put a node under a parent; its item."""
    hierarchy = hierarchyNode()
    item = hierarchy.GetItemByDataNode(node)
    if item:
        hierarchy.SetItemParent(item, parent)
        return item
    # In the application every node has got its item when it was added; a bare scene has nobody who does it.
    return hierarchy.CreateItem(parent, node)


def itemsWith(attribute: str, value: str) -> list[int]:
    """Items with an attribute of that value."""
    hierarchy = hierarchyNode()
    return [item for item in allItems() if hierarchy.GetItemAttribute(item, attribute) == value]


def removeFolder(item: int) -> bool:
    """Remove a folder, unless the user has put something into it; whether it is gone."""
    if allItems(item):
        return False
    hierarchyNode().RemoveItem(item)
    return True
