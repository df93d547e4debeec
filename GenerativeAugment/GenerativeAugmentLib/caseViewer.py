"""One case of a cohort in the views: its image, its mask over it, and the mask as it was changed.

The nodes are the viewer's own. They are replaced by the next case's and are not saved with the scene.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import slicer

from GenerativeAugmentLib import exchange, provenance
from GenerativeAugmentLib.errors import JobError, _
from GenerativeAugmentLib.frozen import writeVolume
from GenerativeAugmentLib.imageFiles import imageGeometry, readImageInto
from GenerativeAugmentLib.labelMaps import readSegmentation, segmentNames
from GenerativeAugmentLib.sliceViews import MASK_FILL, Stage

WINDOW_PERCENTILES = (1.0, 99.0)
OUTLINE_OPACITY = 1.0
SEGMENT_PREFIX = "Segment_"


class CaseViewer:
    """Shows cases, one after the other.

    Args:
        onMaskChanged: called when the shown mask is changed for the first time.

    Attributes:
        maskChanged: whether it was, since it was shown or stored.
        changes: counts every change.
    """

    def __init__(self, onMaskChanged: Callable[[], None]) -> None:
        self._onMaskChanged = onMaskChanged
        self._volumeId = self._segmentationId = ""
        self._stage = Stage()
        self._observed: list[tuple[Any, int]] = []
        self.maskChanged, self.changes = False, 0

    @property
    def volume(self) -> Any:
        """The image; None when nothing is shown, or it was removed."""
        return slicer.mrmlScene.GetNodeByID(self._volumeId) if self._volumeId else None

    @property
    def segmentation(self) -> Any:
        """The mask; None without one."""
        return slicer.mrmlScene.GetNodeByID(self._segmentationId) if self._segmentationId else None

    def show(
        self, title: str, image: Path, mask: Path | None, labelNames: Mapping[int, str], equalize: bool = False
    ) -> None:
        """Show a case in place of the one before.

        Args:
            title: what the nodes are called.
            image: file of the channel to show.
            mask: label map to lay over it.
            labelNames: label value to name.
            equalize: window the image by its own percentiles, and let nothing about its nodes tell what it is.

        Raises:
            JobError: when a file cannot be read; then nothing is shown.
        """
        self._remove()
        volume = slicer.vtkMRMLScalarVolumeNode()
        readImageInto(image, volume)
        segmentation = None if mask is None else readSegmentation(mask, labelNames)
        self._volumeId = self._add(volume, title)
        if equalize:
            for name in (provenance.SYNTHETIC, provenance.MODALITY):
                volume.RemoveAttribute(name)
            _windowByPercentiles(volume)
        if segmentation is not None:
            self._segmentationId = self._add(segmentation, _("{title} mask").format(title=title))
            segmentation.SetReferenceImageGeometryParameterFromVolumeNode(volume)
            display = segmentation.GetDisplayNode()
            display.SetOpacity2DFill(MASK_FILL)
            display.SetOpacity2DOutline(OUTLINE_OPACITY)
            self.watchMask()
        self.present()

    def exchangeImage(self, image: Path) -> None:
        """Show another channel of the case under its mask, which stays as it is, be it changed or not.

        Raises:
            JobError: "geometry_mismatch" for another voxel grid, whose mask would be another; what reading raises. Then
                the former channel is shown.
        """
        volume = self.volume
        if volume is None:
            raise JobError(
                "bad_parameter",
                _("image"),
                _("none in the views"),
                _("a case with an image"),
                _("Show the case again."),
            )
        exchange.requireSameGeometry(
            imageGeometry(image),
            exchange.volumeGeometry(volume),
            image,
            _("the voxel grid of the channel in the views"),
            _("Resample the channels of the case onto one grid."),
        )
        readImageInto(image, volume)

    def present(self) -> None:
        """Give the views to the case alone, again where `putAside` has taken them away from it."""
        if self.volume is not None:
            self._stage.show(self.volume, self.segmentation)

    def putAside(self) -> None:
        """Let the views show what they did before the first case; the nodes stay."""
        self._stage.giveBack()

    def watchMask(self) -> None:
        """Take the mask as it is for unchanged, and notice the next change."""
        self._stopWatching()
        self.maskChanged = False
        if self.segmentation is None:
            return
        segmentation = self.segmentation.GetSegmentation()
        kind = slicer.vtkSegmentation
        names = segmentNames(segmentation)
        # A name is what a label is stored by. Colors and the like are no change of the mask.
        renamed = segmentation.AddObserver(
            kind.SegmentModified, lambda caller, *rest: segmentNames(caller) == names or self._onChanged()
        )
        self._observed.append((segmentation, renamed))
        for event in (kind.SourceRepresentationModified, kind.SegmentAdded, kind.SegmentRemoved):
            tag = segmentation.AddObserver(event, lambda *arguments: self._onChanged())
            self._observed.append((segmentation, tag))

    def writeMask(self, path: Path, labelNames: Mapping[int, str]) -> None:
        """Write the mask on the image's grid, each segment with the label value it was read with.

        Args:
            path: a .nrrd file.
            labelNames: value to name, for segments that were added.

        Raises:
            JobError: "wrong_labels" for a segment that is none of the cohort's labels; what writing raises.
        """
        volume, segmentation = self.volume, self.segmentation
        if volume is None or segmentation is None:
            raise JobError(
                "bad_parameter", _("mask"), _("none in the views"), _("a case with a mask"), _("Show the case again.")
            )
        voxels = np.zeros(slicer.util.arrayFromVolume(volume).shape, np.uint32)
        for key in segmentation.GetSegmentation().GetSegmentIDs():
            value = labelValue(key, segmentation.GetSegmentation().GetSegment(key).GetName(), labelNames)
            inside = slicer.util.arrayFromSegmentBinaryLabelmap(segmentation, key, volume)
            if inside is not None and inside.size:
                voxels[inside > 0] = value
        node = slicer.vtkMRMLLabelMapVolumeNode()
        node.SetName(segmentation.GetName())
        slicer.util.updateVolumeFromArray(node, voxels.astype(np.min_scalar_type(voxels.max()), copy=False))
        node.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(exchange.ijkToRAS(volume)))
        writeVolume(node, path, synthetic=True)

    def keepMask(self, path: Path) -> None:
        """Write the mask as it is, whatever its segments are called.

        Args:
            path: a .seg.nrrd file.

        Raises:
            JobError: "no_permission" when it cannot be written.
        """
        storage = slicer.vtkMRMLSegmentationStorageNode()
        storage.SetFileName(str(path))
        storage.SetUseCompression(True)
        if not storage.WriteData(self.segmentation):
            raise JobError(
                "no_permission",
                path.parent,
                _("no segmentation could be written"),
                _("a folder that can be written to, with room for it"),
                _("Check the rights and the disk of this folder."),
            )

    def takeUpMask(self, path: Path) -> None:
        """Change the mask to the one that `keepMask` has written.

        Raises:
            JobError: "unreadable_file"; then the mask is as it was.
        """
        storage = slicer.vtkMRMLSegmentationStorageNode()
        storage.SetFileName(str(path))
        kept = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode")
        try:
            # A file that is cut short, as by a power failure, would end the application when it is read.
            if not _isWhole(path) or not storage.ReadData(kept):
                raise JobError(
                    "unreadable_file",
                    path,
                    _("no segmentation, or one that is cut short"),
                    _("a mask that was changed and not stored"),
                    _("Remove the file, and correct the mask again."),
                )
            self.segmentation.GetSegmentation().DeepCopy(kept.GetSegmentation())
        finally:
            _removeWithHelpers(kept)

    def clear(self) -> None:
        """Take the case out of the scene, and show what was there before the first one."""
        self._remove()
        self._stage.giveBack()

    def forget(self) -> None:
        """The scene is being closed and takes the nodes with it."""
        self._stopWatching()
        self._volumeId = self._segmentationId = ""
        self.maskChanged = False
        self._stage.forget()

    def _remove(self) -> None:
        self._stopWatching()
        self.maskChanged = False
        for node in (self.segmentation, self.volume):
            if node is not None:
                _removeWithHelpers(node)
        self._volumeId = self._segmentationId = ""

    def _add(self, node: Any, title: str) -> str:
        node.SetName(title)
        node.SetSaveWithScene(False)
        slicer.mrmlScene.AddNode(node)
        node.CreateDefaultDisplayNodes()
        node.GetDisplayNode().SetSaveWithScene(False)
        return node.GetID()

    def _onChanged(self) -> None:
        self.changes += 1
        if not self.maskChanged:
            self.maskChanged = True
            self._onMaskChanged()

    def _stopWatching(self) -> None:
        for segmentation, tag in self._observed:
            segmentation.RemoveObserver(tag)
        self._observed = []


def _isWhole(path: Path) -> bool:
    """Whether the compressed voxels after the header of an NRRD file are all there."""
    try:
        gzip.decompress(path.read_bytes().partition(b"\n\n")[2] or b"none")
    except (OSError, EOFError, zlib.error):
        return False
    return True


def labelValue(segmentId: str, name: str, labelNames: Mapping[int, str]) -> int:
    """The label value of a segment: the one it was read with, else the one of its name.

    Raises:
        JobError: "wrong_labels" for a segment of another name.
    """
    number = segmentId.removeprefix(SEGMENT_PREFIX)
    named = {label.casefold(): value for value, label in labelNames.items()}
    if name.casefold() in named:
        return named[name.casefold()]
    # A label without a name in the cohort is called by its value.
    if segmentId.startswith(SEGMENT_PREFIX) and number.isdigit() and int(number) not in labelNames:
        return int(number)
    raise JobError(
        "wrong_labels",
        name,
        _("a segment of this name"),
        ", ".join(labelNames.values()) or _("a label of the cohort"),
        _("Rename the segment, or remove it."),
    )


def _windowByPercentiles(volume: Any) -> None:
    """The same share of voxels dark and bright in every case; the background, mostly one value, does not count."""
    voxels = slicer.util.arrayFromVolume(volume)
    sample = voxels[tuple(slice(None, None, 2 if size > 64 else 1) for size in voxels.shape)]
    values = sample[np.isfinite(sample) & (sample != sample.flat[0])]
    low, high = np.percentile(values, WINDOW_PERCENTILES) if values.size else (0.0, 1.0)
    display = volume.GetDisplayNode()
    display.SetAutoWindowLevel(False)
    display.SetWindowLevelMinMax(float(low), float(max(high, low + 1e-6)))


def _removeWithHelpers(node: Any) -> None:
    """Remove a node with its display and storage nodes."""
    helpers = [node.GetNthDisplayNode(index) for index in range(node.GetNumberOfDisplayNodes())]
    helpers += [node.GetNthStorageNode(index) for index in range(node.GetNumberOfStorageNodes())]
    for each in [*(helper for helper in helpers if helper is not None), node]:
        slicer.mrmlScene.RemoveNode(each)
