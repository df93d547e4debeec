"""The qMRML and qSlicer widgets of the package slicer."""

from .widgets import hierarchyComboBox, hierarchyTree, markupsPlace, mrml, nodes, segmentEditor, segments

CLASSES = (
    hierarchyComboBox.qMRMLSubjectHierarchyComboBox,
    hierarchyTree.qMRMLSubjectHierarchyTreeView,
    markupsPlace.qSlicerMarkupsPlaceWidget,
    mrml.qMRMLSliderWidget,
    mrml.qMRMLSpinBox,
    mrml.qMRMLWidget,
    nodes.qMRMLCheckableNodeComboBox,
    nodes.qMRMLNodeComboBox,
    segmentEditor.qMRMLSegmentEditorWidget,
    segments.qMRMLSegmentSelectorWidget,
    segments.qMRMLSegmentsTableView,
)
