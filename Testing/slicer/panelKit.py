"""For tests of the panels: volumes that the small models fit, and ways to look at the scene."""

import json
import time
from pathlib import Path

import numpy as np


def blob(size: int = 16, name: str = "head", spacing: tuple[float, float, float] = (1.5, 1.0, 2.0)):
    """A volume as the small models were trained on: a bright ball in noise, MR."""
    import slicer

    grid = np.indices((size, size, size)) - size / 2
    ball = 100.0 * (np.sqrt((grid**2).sum(axis=0)) < size / 3)
    voxels = (ball + np.random.default_rng(1).normal(50, 5, ball.shape)).astype(np.float32)
    node = slicer.util.addVolumeFromArray(voxels, np.diag([*spacing, 1.0]), name)
    node.SetAttribute("GenerativeAugment.modality", "MR")
    return node


def tissueOf(volumeNode, name: str = "tissue", segment: str = "sphere"):
    """A segmentation of the bright part of a volume, on its grid."""
    import slicer

    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", name)
    node.CreateDefaultDisplayNodes()
    node.SetReferenceImageGeometryParameterFromVolumeNode(volumeNode)
    key = node.GetSegmentation().AddEmptySegment(segment, segment)
    mask = (slicer.util.arrayFromVolume(volumeNode) > 100).astype(np.uint8)
    slicer.util.updateSegmentBinaryLabelmapFromArray(mask, node, key, volumeNode)
    return node


def recordOf(node) -> dict:
    """The Record that a node of a result names."""
    return json.loads(Path(node.GetAttribute("GenerativeAugment.record")).read_text(encoding="utf-8"))


def visible() -> list[str]:
    """Names of the segmentations that are not hidden."""
    import slicer

    nodes = slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
    return [node.GetName() for node in nodes if node.GetDisplayVisibility()]


def choose(comboBox, value: str) -> None:
    """Choose the entry of a combo box that stands for a value."""
    index = comboBox.findData(value)
    assert index >= 0, [comboBox.itemText(number) for number in range(comboBox.count)]
    comboBox.currentIndex = index


def nodeIds() -> set[str]:
    """Every node of the scene."""
    import slicer

    count = slicer.mrmlScene.GetNumberOfNodes()
    return {slicer.mrmlScene.GetNthNode(index).GetID() for index in range(count)}


def hierarchyItems() -> list[str]:
    """Names of all items of the subject hierarchy."""
    from GenerativeAugmentLib import hierarchy

    return sorted(hierarchy.hierarchyNode().GetItemName(item) for item in hierarchy.allItems())


def written(planned):
    """A planned job whose inputs are written."""
    if planned.preparation is not None:
        total = sum(iter(planned.preparation.steps))
        assert total == planned.preparation.total
    return planned


def finish(shell, waitFor) -> None:
    """Press Apply and wait until the job is over."""
    assert shell.ui.applyButton.enabled, shell.ui.reasonLabel.text
    shell.ui.applyButton.click()
    waitFor(lambda: not shell.jobs.busy)


def waitedForProcessor() -> float:
    """Seconds this thread was ready to run while the processor was given to others; 0 where the system does not say."""
    try:
        return int(Path("/proc/thread-self/schedstat").read_text().split()[1]) / 1e9
    except OSError:
        return 0.0


class Stopwatch:
    """Time that passes, without what other processes take of it."""

    def __init__(self) -> None:
        self._start = time.perf_counter() - waitedForProcessor()

    def seconds(self) -> float:
        """Since it was made."""
        return time.perf_counter() - waitedForProcessor() - self._start


class Heartbeat:
    """Beats every 10 ms in the application's event loop and remembers the longest time between two beats.

    `longest` is without the time for which a busy computer had no processor for this thread, `longestByClock` with it.
    """

    def __init__(self) -> None:
        import qt

        self.longest, self.longestByClock = 0.0, 0.0
        self._watch, self._last = Stopwatch(), time.perf_counter()
        self._timer = qt.QTimer()
        self._timer.setInterval(10)
        self._timer.timeout.connect(self._beat)

    def _beat(self) -> None:
        self.longest = max(self.longest, self._watch.seconds())
        self.longestByClock = max(self.longestByClock, time.perf_counter() - self._last)
        self._watch, self._last = Stopwatch(), time.perf_counter()

    def restart(self) -> None:
        """Forget what was, and go on from now."""
        self.longest, self.longestByClock = 0.0, 0.0
        self._watch, self._last = Stopwatch(), time.perf_counter()
        self._timer.start()

    def stop(self) -> None:
        """Count the time since the last beat as well, and beat no more."""
        self._beat()
        self._timer.stop()
