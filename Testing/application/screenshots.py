"""Draw every panel of the module, with sample data in the views; run by Slicer itself.

    Slicer --testing --no-splash --additional-module-paths GenerativeAugment \
        --python-script Testing/application/screenshots.py FOLDER

Slicer exits with status 1 when anything goes wrong.
"""

import sys
import traceback
from pathlib import Path

import qt
import SampleData
import slicer

SIZE = (1500, 1000)
SETTLE_MS = 500


def settle() -> None:
    """Let windows and views draw what has changed."""
    loop = qt.QEventLoop()
    qt.QTimer.singleShot(SETTLE_MS, loop.quit)
    loop.exec_()
    slicer.app.processEvents()


def draw(folder: Path) -> None:
    """Save one picture per panel into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    window = slicer.util.mainWindow()
    window.resize(*SIZE)
    window.show()
    SampleData.SampleDataLogic().downloadSamples("GenerativeAugmentHead")
    slicer.util.selectModule("GenerativeAugment")
    widget = slicer.modules.GenerativeAugmentWidget
    slicer.app.layoutManager().setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView)
    slicer.util.resetSliceViews()

    from GenerativeAugmentLib.panels import PANELS

    for panel in PANELS:
        widget.shell.selectPanel(panel.name)
        settle()
        path = folder / f"{panel.name}.png"
        if not window.grab().save(str(path)):
            raise OSError(f"{path} could not be written")
        print(f"Written: {path}")


try:
    draw(Path(sys.argv[-1]))
except Exception:
    traceback.print_exc()
    slicer.util.exit(1)
else:
    slicer.util.exit(0)
