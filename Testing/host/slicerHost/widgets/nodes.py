"""Selectors of MRML nodes (Slicer/Libs/MRML/Widgets/qMRMLNodeComboBox.cxx)."""

import slicer
from PySide6 import QtCore, QtWidgets

from ..signals import spells
from .mrml import requireScene
from .paths import ctkComboBox
from .sceneWatch import Watch
from .stored import stored

SCENE_EVENTS = (
    slicer.vtkMRMLScene.NodeAddedEvent,
    slicer.vtkMRMLScene.NodeRemovedEvent,
    slicer.vtkMRMLScene.EndCloseEvent,
    slicer.vtkMRMLScene.EndImportEvent,
    slicer.vtkMRMLScene.EndBatchProcessEvent,
)


@spells(
    "currentNodeChanged(vtkMRMLNode*)",
    "nodeAboutToBeEdited(vtkMRMLNode*)",
    "nodeAboutToBeRemoved(vtkMRMLNode*)",
    "nodeActivated(vtkMRMLNode*)",
    "nodeAdded(vtkMRMLNode*)",
    "nodeAddedByUser(vtkMRMLNode*)",
    "nodeAddedByUserAction(vtkMRMLNode*)",
)
class qMRMLNodeComboBox(QtWidgets.QWidget):
    """Chooses one node of the scene.

    Without the item None it takes the first node it can get, and when the chosen node is removed it goes on to
    the next one, as the application's selector does.
    """

    currentNodeChanged = QtCore.Signal(object)
    currentNodeIDChanged = QtCore.Signal(str)
    currentNodeRenamed = QtCore.Signal(str)
    nodeAboutToBeEdited = QtCore.Signal(object)
    nodeAboutToBeRemoved = QtCore.Signal(object)
    nodeActivated = QtCore.Signal(object)
    nodeAdded = QtCore.Signal(object)
    nodeAddedByUser = QtCore.Signal(object)
    nodeAddedByUserAction = QtCore.Signal(object)

    nodeTypes = stored("nodeTypes", "QStringList", (), "_refresh")
    hideChildNodeTypes = stored("hideChildNodeTypes", "QStringList", (), "_refresh")
    showHidden = stored("showHidden", bool, False, "_refresh")
    showChildNodeTypes = stored("showChildNodeTypes", bool, True, "_refresh")
    noneEnabled = stored("noneEnabled", bool, False, "_refresh")
    noneDisplay = stored("noneDisplay", str, "None", "_refresh")
    addEnabled = stored("addEnabled", bool, True)
    removeEnabled = stored("removeEnabled", bool, True)
    editEnabled = stored("editEnabled", bool, False)
    renameEnabled = stored("renameEnabled", bool, False)
    selectNodeUponCreation = stored("selectNodeUponCreation", bool, True)
    baseName = stored("baseName", str, "")
    interactionNodeSingletonTag = stored("interactionNodeSingletonTag", str, "Singleton")
    sizeAdjustPolicy = stored("sizeAdjustPolicy", int, 0)

    def __init__(self, parent=None):
        super().__init__(parent)
        self._scene = None
        self._current = ""
        self._requested: str | None = None
        self._attributes: dict[str, tuple[str, str | None]] = {}
        self._labels: dict[str, str] = {}
        self._shown: list[str] = []
        self._combo = self._makeCombo()
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._combo)
        self.setSizePolicy(QtWidgets.QSizePolicy.Preferred, QtWidgets.QSizePolicy.Fixed)
        self._watch = Watch(self, self._refresh, SCENE_EVENTS)
        self._combo.currentIndexChanged.connect(self._onIndex)
        self._combo.activated.connect(lambda _index: self.nodeActivated.emit(self.currentNode()))
        self.setEnabled(False)

    def _makeCombo(self) -> QtWidgets.QComboBox:
        combo = ctkComboBox()
        combo.setSizeAdjustPolicy(QtWidgets.QComboBox.AdjustToMinimumContentsLengthWithIcon)
        return combo

    def mrmlScene(self):
        return self._scene

    def setMRMLScene(self, scene) -> None:
        requireScene(scene)
        if scene is self._scene:
            return
        self._scene = scene
        self._watch.set(scene)
        self.setEnabled(scene is not None)
        if self._requested is not None:
            requested, self._requested = self._requested, None
            self._refresh(wanted=requested)
        else:
            self._refresh()

    # the nodes

    def _accepts(self, node) -> bool:
        if node.GetHideFromEditors() and not self.showHidden:
            return False
        if not self.nodeTypes:
            return True
        for kind in self.nodeTypes:
            if not node.IsA(kind) or (not self.showChildNodeTypes and node.GetClassName() != kind):
                continue
            if any(node.IsA(hidden) for hidden in self.hideChildNodeTypes):
                return False
            if self._hasAttribute(node, kind):
                return True
        return False

    def _hasAttribute(self, node, kind: str) -> bool:
        if kind not in self._attributes:
            return True
        name, value = self._attributes[kind]
        found = node.GetAttribute(name)
        return found is not None and value in (None, found)

    def _nodes(self) -> list:
        if self._scene is None:
            return []
        everything = (self._scene.GetNthNode(index) for index in range(self._scene.GetNumberOfNodes()))
        return [node for node in everything if node.GetID() and self._accepts(node)]

    def nodeCount(self) -> int:
        return len(self._nodes())

    def nodeFromIndex(self, index: int):
        nodes = self._nodes()
        return nodes[index] if 0 <= index < len(nodes) else None

    def addAttribute(self, nodeType: str, name: str, value: object = None) -> None:
        self._attributes[nodeType] = (name, None if value is None else str(value))
        self._refresh()

    def removeAttribute(self, nodeType: str, name: str) -> None:
        if self._attributes.get(nodeType, ("",))[0] == name:
            del self._attributes[nodeType]
            self._refresh()

    def nodeTypeLabel(self, nodeType: str) -> str:
        known = self._scene.GetTypeDisplayNameByClassName(nodeType) if self._scene else ""
        return self._labels.get(nodeType) or known or "node"

    def setNodeTypeLabel(self, label: str, nodeType: str) -> None:
        self._labels[nodeType] = label

    def addNode(self, nodeType: str | None = None):
        if not self.nodeTypes or self._scene is None or (nodeType or self.nodeTypes[0]) not in self.nodeTypes:
            return None
        nodeType = nodeType or self.nodeTypes[0]
        name = self._scene.GenerateUniqueName(self.baseName or self.nodeTypeLabel(nodeType))
        node = getattr(slicer, nodeType)()
        node.SetName(name)
        if nodeType in self._attributes:
            attribute, value = self._attributes[nodeType]
            node.SetAttribute(attribute, value or "")
        node = self._scene.AddNode(node)
        if self.selectNodeUponCreation:
            self.setCurrentNode(node)
        self.nodeAddedByUser.emit(node)
        return node

    def removeCurrentNode(self) -> None:
        self._scene.RemoveNode(self.currentNode())

    def editCurrentNode(self) -> None:
        self.nodeAboutToBeEdited.emit(self.currentNode())

    # the choice

    def currentNode(self):
        return self._scene.GetNodeByID(self._current) if self._scene and self._current else None

    def setCurrentNode(self, node) -> None:
        if node is not None and not hasattr(node, "GetID"):
            raise ValueError(f"setCurrentNode takes a vtkMRMLNode, not {node!r}")
        self.setCurrentNodeID(node.GetID() if node is not None else "")

    def setCurrentNodeID(self, nodeID: str | None) -> None:
        if self._scene is None:
            self._requested = nodeID or ""
        else:
            self._choose(nodeID or "")

    def setCurrentNodeIndex(self, index: int) -> None:
        self.setCurrentNode(self.nodeFromIndex(index))

    currentNodeID = QtCore.Property(str, lambda self: self._current, setCurrentNodeID)
    currentNodeId = QtCore.Property(str, lambda self: self._current, setCurrentNodeID)

    def _choose(self, nodeID: str) -> None:
        if nodeID not in self._shown:
            self._refresh()  # an attribute that the filter asks for may have come since
        self._setCurrent(nodeID if nodeID in self._shown else "")

    def _setCurrent(self, nodeID: str) -> None:
        changed, self._current = nodeID != self._current, nodeID
        blocker = QtCore.QSignalBlocker(self._combo)
        self._combo.setCurrentIndex(self._combo.findData(nodeID))
        blocker.unblock()
        if changed:
            self.currentNodeChanged.emit(self.currentNode())
            self.currentNodeIDChanged.emit(nodeID)

    def _onIndex(self, _index: int) -> None:
        self._setCurrent(self._combo.currentData or "")

    def _refresh(self, wanted: str | None = None) -> None:
        # qMRMLSceneModel::onMRMLSceneNodeAdded: what is imported is known when all of it is there.
        changing = self._scene is not None and (self._scene.IsClosing() or self._scene.IsImporting())
        if not hasattr(self, "_combo") or changing:
            return
        nodes = self._nodes()
        before, self._shown = self._shown, [node.GetID() for node in nodes]
        blocker = QtCore.QSignalBlocker(self._combo)
        self._combo.clear()
        if self.noneEnabled:
            self._combo.addItem(self.noneDisplay, "")
        for node in nodes:
            self._combo.addItem(node.GetName(), node.GetID())
        self._combo.setPlaceholderText(f"Select a {self.nodeTypeLabel(self.nodeTypes[0])}" if self.nodeTypes else "")
        blocker.unblock()
        self._setCurrent(self._afterChange(before, self._current if wanted is None else wanted))

    def _afterChange(self, before: list[str], wanted: str) -> str:
        if wanted in self._shown or not self._shown:
            return wanted if wanted in self._shown else ""
        if wanted in before:  # it has been removed
            return self._shown[min(before.index(wanted), len(self._shown) - 1)]
        return "" if self.noneEnabled else self._shown[0]


class qMRMLCheckableNodeComboBox(qMRMLNodeComboBox):
    """Chooses several nodes by check boxes."""

    checkedNodesChanged = QtCore.Signal()

    def __init__(self, parent=None):
        super().__init__(parent)
        self._checked: set[str] = set()

    def checkedNodes(self) -> tuple:
        return tuple(node for node in self._nodes() if node.GetID() in self._checked)

    def uncheckedNodes(self) -> tuple:
        return tuple(node for node in self._nodes() if node.GetID() not in self._checked)

    def allChecked(self) -> bool:
        return not self.uncheckedNodes()

    def noneChecked(self) -> bool:
        return not self.checkedNodes()

    def checkState(self, node) -> QtCore.Qt.CheckState:
        return QtCore.Qt.Checked if node.GetID() in self._checked else QtCore.Qt.Unchecked

    def setCheckState(self, node, state: QtCore.Qt.CheckState) -> None:
        before = set(self._checked)
        (self._checked.add if state == QtCore.Qt.Checked else self._checked.discard)(node.GetID())
        if self._checked != before:
            self.checkedNodesChanged.emit()

    def check(self, node) -> None:
        self.setCheckState(node, QtCore.Qt.Checked)

    def uncheck(self, node) -> None:
        self.setCheckState(node, QtCore.Qt.Unchecked)
