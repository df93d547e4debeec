"""Keeps the subject hierarchy as the Subject Hierarchy module's plugin logic does.

slicer-core has the hierarchy node but not the Qt code that files each new node in it
(qSlicerSubjectHierarchyPluginLogic in Slicer/Modules/Loadable/SubjectHierarchy/Widgets).
"""

import slicer
import vtk

# Node class and the plugin that owns its items; the first that fits, so subclasses come first.
OWNERS = (
    ("vtkMRMLSegmentationNode", "Segmentations"),
    ("vtkMRMLLabelMapVolumeNode", "LabelMaps"),
    ("vtkMRMLVolumeNode", "Volumes"),
    ("vtkMRMLMarkupsNode", "Markups"),
    ("vtkMRMLModelNode", "Models"),
    ("vtkMRMLTransformNode", "Transforms"),
    ("vtkMRMLTableNode", "Tables"),
    ("vtkMRMLTextNode", "Texts"),
    ("vtkMRMLSequenceNode", "Sequences"),
    ("vtkMRMLPlotChartNode", "Plots"),
    ("vtkMRMLPlotSeriesNode", "Plots"),
)


def ownerOf(node) -> str | None:
    """Name of the plugin that would add a node to the hierarchy, or None."""
    return next((owner for className, owner in OWNERS if node.IsA(className)), None)


class SubjectHierarchyKeeper:
    """Observes a scene and files its nodes."""

    def __init__(self, scene):
        self.scene = scene
        self._merging = False
        self._resolve()
        self._tags = [
            self._observeNode(slicer.vtkMRMLScene.NodeAddedEvent, self._onNodeAdded),
            self._observeNode(slicer.vtkMRMLScene.NodeAboutToBeRemovedEvent, self._onNodeAboutToBeRemoved),
            self._observeNode(slicer.vtkMRMLScene.NodeRemovedEvent, self._onNodeRemoved),
            scene.AddObserver(slicer.vtkMRMLScene.EndImportEvent, self._onImported, 10.0),
            scene.AddObserver(slicer.vtkMRMLScene.EndBatchProcessEvent, self._onImported, 10.0),
            scene.AddObserver(slicer.vtkMRMLScene.EndCloseEvent, lambda *_: self._resolve()),
            scene.AddObserver(slicer.vtkMRMLScene.EndRestoreEvent, lambda *_: self._resolve()),
        ]

    def release(self) -> None:
        for tag in self._tags:
            self.scene.RemoveObserver(tag)

    def _observeNode(self, event: int, method) -> int:
        @vtk.calldata_type(vtk.VTK_OBJECT)
        def observer(_scene, _event, node):
            method(node)

        return self.scene.AddObserver(event, observer)

    def _onNodeAdded(self, node) -> None:
        if node.IsA("vtkMRMLSubjectHierarchyNode"):
            self._resolve()
        elif not self.scene.IsImporting():
            self._file(node)

    def _onNodeAboutToBeRemoved(self, node) -> None:
        if self.scene.IsClosing() or node.IsA("vtkMRMLSubjectHierarchyNode"):
            return
        hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(self.scene)
        item = hierarchy.GetItemByDataNode(node)
        if item:
            hierarchy.RemoveItem(item, False, False)

    def _onNodeRemoved(self, node) -> None:
        # Merging an imported hierarchy removes its node too; the nodes it names are filed when that is done.
        if node.IsA("vtkMRMLSubjectHierarchyNode") and not self.scene.IsClosing() and not self._merging:
            self._onImported()

    def _resolve(self) -> None:
        merging, self._merging = self._merging, True
        try:
            slicer.vtkMRMLSubjectHierarchyNode.ResolveSubjectHierarchy(self.scene)
        finally:
            self._merging = merging

    def _onImported(self, *_event) -> None:
        if self.scene.IsBatchProcessing():
            return  # the node refuses to merge now; the end of the batch calls again
        self._resolve()
        for index in range(self.scene.GetNumberOfNodes()):
            self._file(self.scene.GetNthNode(index))

    def _file(self, node) -> None:
        owner = ownerOf(node)
        if owner is None or node.GetHideFromEditors():
            return
        hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(self.scene)
        if not hierarchy.GetItemByDataNode(node):
            item = hierarchy.CreateItem(hierarchy.GetSceneItemID(), node)
            hierarchy.SetItemOwnerPluginName(item, owner)
