"""What the slice views show: a case in place of what was there, before and after in turns, and what is different.

Only the nodes that views follow are set, so that everything works without a window as well.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import slicer
import vtk

from GenerativeAugmentLib import exchange, hierarchy, provenance
from GenerativeAugmentLib.errors import _
from GenerativeAugmentLib.results import ImportedResult

FLICKER_MILLISECONDS = 600

DIFFERENCE_OPACITY = 0.6
COLORS = 256
RISE = 2
"""So many times as fast as the difference grows its color: half the largest one has all of it."""

MASK_FILL = 0.2
"""Opacity of a mask inside its outline: what lies beneath has to be seen."""


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


def jumpInto(segmentationNode: Any, volumeNode: Any) -> None:
    """Move all slices through the first segment, where most of it is cut; nothing moves for an empty one."""
    key = segmentationNode.GetSegmentation().GetNthSegmentID(0)
    mask = slicer.util.arrayFromSegmentBinaryLabelmap(segmentationNode, key, volumeNode) if key else np.zeros((0, 0, 0))
    if not mask.any():
        return
    slab = int(np.count_nonzero(mask, axis=(1, 2)).argmax())
    row = int(np.count_nonzero(mask[slab], axis=1).argmax())
    columns = np.flatnonzero(mask[slab, row])
    column = int(columns[columns.size // 2])
    ras = exchange.ijkToRAS(volumeNode) @ (column, row, slab, 1)
    slicer.vtkMRMLSliceNode.JumpAllSlices(slicer.mrmlScene, *ras[:3], slicer.vtkMRMLSliceNode.OffsetJumpSlice)


class Stage:
    """Gives the views to one case after the other, and in the end back to what they showed before the first."""

    def __init__(self) -> None:
        self._layers: dict[str, tuple[str | None, str | None, float, str | None]] = {}
        self._hidden: list[str] = []
        self._shown = ("", "")
        self._geometry: exchange.Geometry | None = None

    def show(self, volume: Any, mask: Any = None, alone: bool = True) -> None:
        """Show an image with its mask. The slices stay where they are while the voxel grid is the same.

        Args:
            volume: the image; None for a case without one, whose mask lies over nothing.
            mask: its segmentation.
            alone: take everything else away: other segmentations, and volumes over the image.
        """
        former = [slicer.mrmlScene.GetNodeByID(node.GetBackgroundVolumeID() or "") for node in compositeNodes()]
        grids = [exchange.volumeGeometry(node) for node in former if node is not None]
        for node in compositeNodes():
            layers = (node.GetBackgroundVolumeID(), node.GetForegroundVolumeID(), node.GetForegroundOpacity())
            self._layers.setdefault(node.GetID(), (*layers, node.GetLabelVolumeID()))
            node.SetBackgroundVolumeID(_idOf(volume))
            if alone:
                node.SetForegroundVolumeID(None)
                node.SetLabelVolumeID(None)
        for other in slicer.util.getNodesByClass("vtkMRMLSegmentationNode") if alone else ():
            if other is not mask and other.GetDisplayVisibility():
                self._hidden.append(other.GetID())
                other.SetDisplayVisibility(False)
        if mask is not None:
            mask.SetDisplayVisibility(True)
        self._shown = (_idOf(volume) or "", _idOf(mask) or "")
        if volume is not None:
            known = [*grids, *([self._geometry] if self._geometry is not None else [])]
            self._geometry = exchange.volumeGeometry(volume)
            isKnown = any(exchange.sameGeometry(self._geometry, grid) for grid in known)
            if not isKnown and slicer.app.layoutManager() is not None:
                slicer.util.resetSliceViews()

    def giveBack(self) -> None:
        """Show again what was there, as far as it still is; what the user has chosen to see meanwhile stays."""
        shown, mask = (slicer.mrmlScene.GetNodeByID(key) for key in self._shown)
        if mask is not None:
            mask.SetDisplayVisibility(False)
        for key, (background, foreground, opacity, label) in self._layers.items():
            node = slicer.mrmlScene.GetNodeByID(key)
            if node is None or slicer.mrmlScene.GetNodeByID(node.GetBackgroundVolumeID() or "") is not shown:
                continue
            node.SetBackgroundVolumeID(_present(background))
            node.SetForegroundVolumeID(_present(foreground))
            node.SetForegroundOpacity(opacity)
            node.SetLabelVolumeID(_present(label))
        for key in self._hidden:
            node = slicer.mrmlScene.GetNodeByID(key)
            if node is not None:
                node.SetDisplayVisibility(True)
        self.forget()

    def forget(self) -> None:
        """The scene is being closed, and there will be nothing to show again."""
        self._layers, self._hidden, self._shown, self._geometry = {}, [], ("", ""), None


class ResultViews:
    """Shows results of jobs, and when one is undone what the views showed before it."""

    def __init__(self) -> None:
        self._stages: dict[str, Stage] = {}

    def show(self, imported: ImportedResult, alone: bool = True, fill: float = MASK_FILL) -> tuple[Any, Any]:
        """Show the first case of a result.

        Args:
            imported: the result.
            alone: see `Stage.show`.
            fill: opacity of its mask inside the outline.

        Returns:
            Its image and its segmentation, each None where there is none, or none any more.
        """
        case = imported.cases[0]
        volume = imported.volume(case.id, next(iter(case.volumeIds), ""))
        mask = imported.segmentation(case.id)
        if mask is not None:
            mask.GetDisplayNode().SetOpacity2DFill(fill)
        if volume is not None or mask is not None:
            self._stages.setdefault(imported.mark, Stage()).show(volume, mask, alone)
        return volume, mask

    def onUndone(self, imported: ImportedResult) -> None:
        """A result was taken out of the scene."""
        self._stages.pop(imported.mark, Stage()).giveBack()

    def forget(self) -> None:
        """The scene is being closed."""
        self._stages.clear()


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

    Raises:
        JobError: "geometry_mismatch" where one of them was moved or resampled since.
    """
    exchange.requireSameGeometry(
        exchange.volumeGeometry(before),
        exchange.volumeGeometry(after),
        before.GetName(),
        _("the voxel grid of {volume}").format(volume=after.GetName()),
        _("The volume was moved or resampled since: undo that, or press Apply again."),
    )
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


def differenceLegend(difference: Any) -> str:
    """What the colors of `addDifference` mean, in the units of the volume, and how far it goes."""
    voxels = slicer.util.arrayFromVolume(difference)
    full = difference.GetDisplayNode().GetWindow() / (2 * RISE)
    text = _("Blue is less than before, red is more: full color from {full:.3g} on. Here {low:.3g} to {high:.3g}.")
    return text.format(full=full, low=float(voxels.min()), high=float(voxels.max()))


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
        strength = min(1.0, RISE * abs(position)) if abs(position) > 0.01 else 0.0
        table.SetColor(index, f"{position:+.2f}", red, 0.2, blue, strength)
    return slicer.mrmlScene.AddNode(table)


def _idOf(node: Any) -> str | None:
    return None if node is None else node.GetID()


def _present(nodeId: str | None) -> str | None:
    """The id of a node that is still in the scene, None without one."""
    return nodeId if nodeId and slicer.mrmlScene.GetNodeByID(nodeId) is not None else None


def _windowAlike(before: Any, after: Any) -> None:
    source, target = before.GetDisplayNode(), after.GetDisplayNode()
    if source is not None and target is not None:
        target.SetAutoWindowLevel(False)
        target.SetWindowLevel(source.GetWindow(), source.GetLevel())
