"""Connectors for MRML nodes."""

import slicer

from .annotations import nodeTypes
from .guiConnector import SignalConnector


class NodeInComboBox(SignalConnector):
    signal = "currentNodeChanged"

    def __init__(self, widget, datatype):
        super().__init__(widget, datatype)
        widget.nodeTypes = nodeTypes(datatype)

    @staticmethod
    def canRepresent(widget, datatype):
        return type(widget) is slicer.qMRMLNodeComboBox and bool(nodeTypes(datatype))

    def read(self):
        return self._widget.currentNode()

    def write(self, value):
        self._widget.setCurrentNode(value)


class NodeInHierarchyTree(NodeInComboBox):
    signal = "currentItemsChanged"

    @staticmethod
    def canRepresent(widget, datatype):
        return type(widget) is slicer.qMRMLSubjectHierarchyTreeView and bool(nodeTypes(datatype))

    def write(self, value):
        if value is None:
            self._widget.clearSelection()
        else:
            self._widget.setCurrentNode(value)


class NodeInHierarchyComboBox(NodeInHierarchyTree):
    signal = "currentItemChanged"

    @staticmethod
    def canRepresent(widget, datatype):
        return type(widget) is slicer.qMRMLSubjectHierarchyComboBox and bool(nodeTypes(datatype))
