"""What the slice views show of a result: itself, before and after in turns, and what is different.

Only the nodes that views follow are set, so that everything works without a window as well.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import slicer
import vtk

from GenerativeAugmentLib import exchange, hierarchy, provenance
from GenerativeAugmentLib.errors import _

FLICKER_MILLISECONDS = 600

DIFFERENCE_OPACITY = 0.6
COLORS = 256


def compositeNodes() -> list[Any]:
    """The nodes that say what each slice view shows."""
    return list(slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode"))


def showVolume(volumeNode: Any) -> None:
    """Show a volume in all slice views."""
    for node in compositeNodes():
        node.SetBackgroundVolumeID(volumeNode.GetID())


def showForeground(volumeNode: Any, opacity: float = DIFFERENCE_OPACITY) -> None:
    """Show a volume over what the slice views show; None takes it away."""
    for node in compositeNodes():
        node.SetForegroundVolumeID(None if volumeNode is None else volumeNode.GetID())
        node.SetForegroundOpacity(opacity if volumeNode is not None else 0.0)


class Flicker:
    """Shows two volumes in turns until it is stopped; the application is free in between."""

    def __init__(self, milliseconds: int = FLICKER_MILLISECONDS) -> None:
        self._milliseconds = milliseconds
        self._timer: Any = None
        self._ids = ("", "")

    @property
    def active(self) -> bool:
        """Whether it is running."""
        return self._timer is not None

    def start(self, before: Any, after: Any) -> None:
        """Begin with `before`; both are windowed alike, so that only what was inserted changes."""
        import qt

        self.stop()
        _windowAlike(before, after)
        self._ids = (before.GetID(), after.GetID())
        self._timer = qt.QTimer()
        self._timer.setInterval(self._milliseconds)
        self._timer.timeout.connect(self._turn)
        self._turn()
        self._timer.start()

    def stop(self) -> None:
        """End with `after`, where it is still there."""
        if self._timer is None:
            return
        self._timer.stop()
        self._timer = None
        after = slicer.mrmlScene.GetNodeByID(self._ids[1])
        if after is not None:
            showVolume(after)

    def _turn(self) -> None:
        nodes = [slicer.mrmlScene.GetNodeByID(key) for key in self._ids]
        if None in nodes:
            self.stop()
            return
        shown = {node.GetBackgroundVolumeID() for node in compositeNodes()}
        showVolume(nodes[1] if self._ids[0] in shown else nodes[0])


def addDifference(before: Any, after: Any) -> Any:
    """A volume of after minus before, blue through clear to red; it goes with `after` when that is undone.

    Both lie on the same voxels.
    """
    exchange.requireSameGeometry(exchange.volumeGeometry(after), exchange.volumeGeometry(before), after.GetName())
    voxels = np.subtract(
        slicer.util.arrayFromVolume(after), slicer.util.arrayFromVolume(before), dtype=np.float32, casting="unsafe"
    )
    largest = float(max(voxels.max(), -voxels.min())) or 1.0
    name = slicer.mrmlScene.GenerateUniqueName(_("{volume} difference").format(volume=after.GetName()))
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name)
    slicer.util.updateVolumeFromArray(node, voxels)
    matrix = vtk.vtkMatrix4x4()
    after.GetIJKToRASMatrix(matrix)
    node.SetIJKToRASMatrix(matrix)
    node.CreateDefaultDisplayNodes()
    colors = _divergingColors()
    display = node.GetDisplayNode()
    display.SetAndObserveColorNodeID(colors.GetID())
    display.SetAutoWindowLevel(False)
    display.SetWindowLevel(2 * largest, 0)
    imported = after.GetAttribute(provenance.IMPORT)
    if imported:
        for added in (node, display, colors):
            provenance.markImported(added, imported)
    provenance.mark(node, {provenance.SYNTHETIC: "true"})
    tree = hierarchy.hierarchyNode()
    hierarchy.place(node, tree.GetItemParent(hierarchy.itemOf(after)))
    return node


def _divergingColors() -> Any:
    """Blue for less, red for more, and nothing where nothing changed."""
    table = slicer.vtkMRMLColorTableNode()
    table.SetTypeToUser()
    table.SetName(slicer.mrmlScene.GenerateUniqueName(_("Difference colors")))
    table.SetHideFromEditors(True)
    table.SetNumberOfColors(COLORS)
    for index in range(COLORS):
        position = 2 * index / (COLORS - 1) - 1
        red, blue = (1.0, 0.2) if position > 0 else (0.2, 1.0)
        # Clear up to a hundredth of the range, so that rounding does not tint the whole image.
        strength = min(1.0, 2 * abs(position)) if abs(position) > 0.01 else 0.0
        table.SetColor(index, f"{position:+.2f}", red, 0.2, blue, strength)
    return slicer.mrmlScene.AddNode(table)


def _windowAlike(before: Any, after: Any) -> None:
    source, target = before.GetDisplayNode(), after.GetDisplayNode()
    if source is not None and target is not None:
        target.SetAutoWindowLevel(False)
        target.SetWindowLevel(source.GetWindow(), source.GetLevel())
