"""The module's self test, as far as it needs no network: in the application and from ctest alike."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import slicer

from GenerativeAugmentLib import exchange
from GenerativeAugmentLib.errors import JobError
from GenerativeAugmentLib.frozen import writeVolume


class GenerativeAugmentTestCases:
    """Test methods; mixed into a unittest.TestCase."""

    def test_moduleOpens(self):
        """Every panel can be chosen, without a main window and without torch."""
        widget = slicer.util.getModuleWidget("GenerativeAugment")
        shell, shown = widget.shell, widget.shell.panel.name
        shell.enter()
        try:
            for name in shell.panels:
                shell.selectPanel(name)
                self.assertEqual(shell.panel.name, name)
                self.assertTrue(shell.ui.applyButton.toolTip)
            shell.selectPanel(shown)
        finally:
            # "Reload and Test" is pressed in the module itself, whose form has to go on following the parameters.
            if not widget.parent.isEntered:
                shell.exit()

    def test_volumesSurviveTheExchange(self):
        """An oblique volume comes back with its voxels and its place."""
        node = self._head()
        matrix = np.array([[0.0, -1.2, 0.1, 30.0], [1.0, 0.0, 0.0, -20.0], [0.0, 0.12, 2.0, 5.0], [0, 0, 0, 1]])
        slicer.util.updateVolumeFromArray(node, slicer.util.arrayFromVolume(node))
        matrix[:3, 2] = np.cross(matrix[:3, 0], matrix[:3, 1])
        node.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(matrix))
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "head.nrrd"
            writeVolume(node, path)
            back = exchange.readVolume(path, "back")
        self.assertEqual(exchange.describeDifference(exchange.volumeGeometry(back), exchange.volumeGeometry(node)), "")
        np.testing.assert_array_equal(slicer.util.arrayFromVolume(back), slicer.util.arrayFromVolume(node))

    def test_lesionsAreInserted(self):
        """A job runs in the worker and its result is taken in; without its packages it fails with that reason."""
        logic = slicer.util.getModuleLogic("GenerativeAugment")
        head = self._head()
        tissue = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "tissue")
        slicer.util.updateVolumeFromArray(tissue, (slicer.util.arrayFromVolume(head) > 50).astype(np.uint8))
        before = slicer.mrmlScene.GetNumberOfNodes()
        try:
            volume, lesions = logic.insertLesions(head, tissue, diameter=(4, 6), margin=1)
        except JobError as error:
            self.assertEqual(error.reason, "not_installed", error.message)
            self.assertEqual(slicer.mrmlScene.GetNumberOfNodes(), before)
            return
        self.assertEqual(volume.GetAttribute(exchange.SYNTHETIC_ATTRIBUTE), "true")
        self.assertEqual(lesions.GetSegmentation().GetNumberOfSegments(), 1)
        changed = slicer.util.arrayFromVolume(volume) != slicer.util.arrayFromVolume(head)
        self.assertTrue(changed.any())
        self.assertFalse(changed[slicer.util.arrayFromVolume(tissue) == 0].all())
        logic.undoLast()
        self.assertEqual(slicer.mrmlScene.GetNumberOfNodes(), before)
        logic.shutdown()

    def _head(self):
        """A ball in noise."""
        rng = np.random.default_rng(0)
        grid = np.indices((40, 40, 40)) - 19.5
        ball = 100.0 * (np.sqrt((grid**2).sum(axis=0)) < 15)
        voxels = (ball + rng.normal(10, 2, ball.shape)).astype(np.float32)
        return slicer.util.addVolumeFromArray(voxels, name="head")
