"""Draw every panel of the module as a user sees it, with what Apply leaves in the views, into Resources/Screenshots.

    python Testing/screenshots.py                     all panels
    python Testing/screenshots.py --only lesions      one of them
    python Testing/screenshots.py --folder FOLDER     somewhere else

Runs without a screen, on the host of Testing/host: the panels are the module's own on Qt, the views are drawn by
slicer-core. The module's jobs are run for it, by the starter models where they are there and by small ones elsewhere.
"""

import argparse
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from hosted import ROOT, headModel, loadHead, openModule
from PySide6 import QtCore, QtGui

SCREENSHOTS = ROOT / "Resources" / "Screenshots"

# A folder whose name may be read in a picture.
STUDY = Path(tempfile.gettempdir()) / "brain-study"

WIDTH = 1400
PANEL_WIDTH = 500
LEAST_HEIGHT = 860
BAR = 20
GAP = 2
PATIENCE_S = 900


class Studio:
    """The opened module and the views beside it.

    Args:
        widget: of the module, as Slicer holds it.
        representation: the Qt widget it lives in.
        views: of the scene.
        small: use small models in any case.
    """

    def __init__(self, widget, representation, views, small: bool) -> None:
        self.widget, self.representation, self.views, self._small = widget, representation, views, small

    @property
    def shell(self):
        """The module's shell."""
        return self.widget.shell

    @property
    def parameters(self):
        """All parameters of the module, live."""
        return self.shell.services.parameterNode

    @property
    def ui(self):
        """Widgets of the panel that is shown."""
        return self.shell.panel.ui

    def model(self, task: str) -> str:
        """The name of a model of a task to show."""
        name = headModel(self.widget.logic.catalogue, task, self._small)
        self.shell.services.modelsChanged()
        return name

    def apply(self) -> None:
        """Press Apply and wait for the job's end."""
        import slicer

        if not self.shell.ui.applyButton.enabled:
            raise RuntimeError(f"{self.shell.panel.name}: Apply cannot be pressed: {self.shell.ui.reasonLabel.text}")
        self.shell.ui.applyButton.click()
        deadline = time.monotonic() + PATIENCE_S
        while self.shell.jobs.busy:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.shell.panel.name}: the job has not ended after {PATIENCE_S} s")
            slicer.app.processEvents()
            time.sleep(0.01)
        if ": done" not in self.shell.ui.reasonLabel.text:
            raise RuntimeError(f"{self.shell.panel.name}: {self.shell.ui.reasonLabel.text}")

    def open(self, volumeNode, segmentationNode) -> None:
        """Have a volume and its segmentation in the views, as a user has who has just loaded them and pressed Show 3D.

        What the module does is not helped along: call it before Apply.
        """
        import slicer
        from GenerativeAugmentLib.sliceViews import MASK_FILL

        self.arrange()
        slicer.util.setSliceViewerLayers(background=volumeNode)
        slicer.util.resetSliceViews()
        segmentationNode.GetDisplayNode().SetOpacity2DFill(MASK_FILL)
        segmentationNode.CreateClosedSurfaceRepresentation()
        view = self.views.threeDWidget(0)
        view.mrmlViewNode().SetBoxVisible(False)
        view.mrmlViewNode().SetAxisLabelsVisible(False)
        # From the front, the right and above.
        camera = view.renderer.GetActiveCamera()
        camera.SetFocalPoint(0, 0, 0)
        camera.SetPosition(0.6, 1.0, 0.4)
        camera.SetViewUp(0, 0, 1)
        view.resetFocalPoint()

    def arrange(self) -> int:
        """Give panel and views their sizes; the height of the picture."""
        import slicer

        slicer.app.processEvents()
        height = max(LEAST_HEIGHT, self.representation.sizeHint.height())
        self.representation.resize(PANEL_WIDTH, height)
        size = (WIDTH - PANEL_WIDTH - 2 * GAP) // 2, (height - GAP) // 2 - BAR
        for view in (*map(self.views.sliceWidget, self.views.sliceViewNames()), self.views.threeDWidget(0)):
            if tuple(view.window.GetSize()) != size:
                view.resize(*size)
        return height

    def picture(self):
        """The panel beside the views, as a QImage."""
        height = self.arrange()
        # Texts that wrap need their width before they know their height.
        height = self.arrange()
        least = self.representation.minimumSizeHint.width()
        if least > PANEL_WIDTH:
            print(f"{self.shell.panel.name}: the panel needs {least} pixels and gets {PANEL_WIDTH}", file=sys.stderr)
        # All that is different in every run.
        label = self.shell.ui.environmentLabel
        label.text = re.sub(r"\d+ GB free", "16 GB free", label.text)
        picture = QtGui.QImage(WIDTH, height, QtGui.QImage.Format.Format_RGB32)
        picture.fill(QtGui.QColor(60, 60, 60))
        painter = QtGui.QPainter(picture)
        # What is wider is cut off, as it is in the application before one scrolls.
        painter.drawPixmap(0, 0, self.representation.grab().copy(0, 0, PANEL_WIDTH, height))
        for position, name in enumerate(("Red", "1", "Green", "Yellow")):
            view = self.views.sliceWidget(name) or self.views.threeDWidget(0)
            width, rows = view.window.GetSize()
            left = PANEL_WIDTH + GAP + position % 2 * (width + GAP)
            self._draw(painter, view, left, position // 2 * (rows + BAR + GAP))
        painter.end()
        return picture

    @staticmethod
    def _draw(painter, view, left: int, top: int) -> None:
        """A view under its bar."""
        if hasattr(view, "mrmlSliceNode"):
            node = view.mrmlSliceNode()
            axis = {"Axial": "S", "Coronal": "A", "Sagittal": "R"}[node.GetOrientationString()]
            shown = view.sliceLogic().GetBackgroundLayer().GetVolumeNode()
            # The application writes the volume's name into a corner of the view.
            name = f"    {shown.GetName()}" if shown is not None else ""
            text = f"{node.GetLayoutLabel()}    {axis}: {view.sliceLogic().GetSliceOffset():.1f} mm{name}"
        else:
            node = view.mrmlViewNode()
            text = node.GetLayoutLabel()
        pixels = view.pixels()
        height, width, _ = pixels.shape
        bar = QtCore.QRect(left, top, width, BAR)
        painter.fillRect(bar, QtGui.QColor.fromRgbF(*node.GetLayoutColor()))
        painter.setPen(QtGui.QColor("black"))
        painter.drawText(bar.adjusted(8, 0, 0, 0), QtCore.Qt.AlignmentFlag.AlignVCenter, text)
        image = QtGui.QImage(pixels.data, width, height, 3 * width, QtGui.QImage.Format.Format_RGB888)
        painter.drawImage(left, top + BAR, image)


def sampleCohort(name: str) -> Path:
    """A sample cohort in the study folder."""
    from GenerativeAugmentLib import sampleData

    target = STUDY / {sampleData.COHORT: "patients", sampleData.REVIEW: "synthetic"}[name]
    if not target.is_dir():
        shutil.copytree(sampleData.sampleFolder(name), target)
    return target


def loadCase(cohort: Path, index: int = 0):
    """A case of a cohort: its first channel, and its mask as a segmentation."""
    import slicer
    from GenerativeAugmentLib import exchange
    from GenerativeAugmentLib.cohortFiles import cohortCases, labelNames, readCohort
    from GenerativeAugmentLib.imageFiles import readImageInto
    from GenerativeAugmentLib.labelMaps import readSegmentation

    content = readCohort(cohort)
    case = cohortCases(content)[index]
    volume = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", case.id)
    readImageInto(next(iter(case.images.values())), volume)
    volume.CreateDefaultDisplayNodes()
    segmentation = slicer.mrmlScene.AddNode(readSegmentation(case.label, labelNames(content)))
    segmentation.CreateDefaultDisplayNodes()
    assert exchange.volumeGeometry(volume)
    return volume, segmentation


# One function a panel: fills it in, runs its job, and gives each moment worth a picture a name.


def data(studio: Studio) -> Iterator[str]:
    """Cases of the scene, then the fingerprint of a cohort on disk."""
    import slicer
    from GenerativeAugmentLib import hierarchy, sampleData
    from GenerativeAugmentLib.parameters import CohortSource

    t1, t2, tissue = loadHead()
    studio.open(t1, tissue)
    tree = hierarchy.hierarchyNode()
    study = tree.CreateStudyItem(tree.GetSceneItemID(), "Head")
    for node in (t1, t2, tissue):
        tree.SetItemParent(tree.GetItemByDataNode(node), study)
    parameters = studio.parameters.data
    parameters.name = "brains"
    parameters.channel = "T1"
    parameters.outputFolder = STUDY
    slicer.app.processEvents()
    studio.ui.itemsTree.setCurrentItem(study)
    studio.ui.addOneButton.click()
    for column, text in enumerate(("head", "patient-1", "T1, T2")):
        studio.ui.casesTable.item(0, column).setText(text)
    yield "data"
    for node in (t1, t2, tissue):
        slicer.mrmlScene.RemoveNode(node)
    studio.open(*loadCase(sampleCohort(sampleData.COHORT)))
    parameters.source = CohortSource.DISK
    parameters.cohortFolder = sampleCohort(sampleData.COHORT)
    studio.apply()
    yield "data-fingerprint"


def train(studio: Studio) -> Iterator[str]:
    """A short training of the sample cohort on the advice of the Data panel, with its curve and picture."""
    import slicer
    from GenerativeAugmentLib import sampleData
    from GenerativeAugmentLib.parameters import CohortSource, Purpose

    cohort = sampleCohort(sampleData.COHORT)
    studio.open(*loadCase(cohort))
    studio.shell.selectPanel("data")
    studio.parameters.data.source = CohortSource.DISK
    studio.parameters.data.cohortFolder = cohort
    studio.parameters.data.purpose = Purpose.SYNTHESIS
    studio.apply()
    studio.ui.trainButton.click()
    parameters = studio.parameters.train
    parameters.recipe = "vae"
    parameters.channels = "T1"
    parameters.outputFolder = STUDY
    parameters.name = "brain-t1"
    parameters.iterations = 40
    parameters.maximumVoxels = 16 * 16 * 16
    parameters.previewEvery = 20
    studio.apply()
    # Training puts nothing into the views; its curves make the panel, and with it the picture, higher.
    studio.arrange()
    slicer.util.resetSliceViews()
    yield "train"


def synthesize(studio: Studio) -> Iterator[str]:
    """New cases with their label maps."""
    parameters = studio.parameters.synthesize
    parameters.model = studio.model("synthesis")
    parameters.count = 2
    parameters.seed = 7
    studio.apply()
    yield "synthesize"


def translate(studio: Studio) -> Iterator[str]:
    """T1 to T2."""
    t1, _t2, tissue = loadHead()
    studio.open(t1, tissue)
    # In 3D only, so that the slices are seen themselves.
    tissue.GetDisplayNode().SetVisibility2D(False)
    parameters = studio.parameters.translate
    parameters.model = studio.model("translation")
    parameters.firstInput = t1
    studio.apply()
    yield "translate"


def lesions(studio: Studio) -> Iterator[str]:
    """Lesions in the white matter, then what they changed."""
    t1, _t2, tissue = loadHead()
    studio.open(t1, tissue)
    parameters = studio.parameters.lesions
    parameters.hostVolume = t1
    parameters.tissueNode = tissue
    parameters.tissueSegment = "Segment_3"
    parameters.count = 6
    parameters.seed = 5
    studio.apply()
    yield "lesions"
    studio.ui.differenceButton.click()
    yield "lesions-difference"


def review(studio: Studio) -> Iterator[str]:
    """The third of four cases, after two decisions."""
    from GenerativeAugmentLib import sampleData

    parameters = studio.parameters.review
    parameters.cohortFolder = sampleCohort(sampleData.REVIEW)
    parameters.reviewer = "AB"
    studio.ui.openButton.click()
    studio.ui.acceptButton.click()
    studio.ui.reasonSelector.currentIndex = 1
    studio.ui.rejectButton.click()
    yield "review"


def export(studio: Studio) -> Iterator[str]:
    """A patient and the accepted cases as a data set for nnU-Net."""
    from GenerativeAugmentLib import sampleData
    from GenerativeAugmentLib.cohorts import SceneCase

    t1, t2, tissue = loadHead()
    head = SceneCase("patient-1", "head", {"T1": t1, "T2": t2}, tissue, {"T1": "MR", "T2": "MR"})
    real = studio.widget.logic.cohortFromScene([head], STUDY / "real", "real")
    synthetic = sampleCohort(sampleData.REVIEW)
    queue = studio.widget.logic.reviewQueue(synthetic, "AB")
    for index, case in enumerate(queue.cases):
        queue.goTo(case.id)
        if queue.state(case.id) == "unreviewed":
            queue.decide(*(("rejected", "artifact") if index == 1 else ("accepted",)))
    tissue.GetDisplayNode().SetVisibility(False)
    studio.open(*loadCase(synthetic))
    parameters = studio.parameters.export
    parameters.realCohort = real
    parameters.syntheticCohorts = [synthetic]
    parameters.outputFolder = STUDY / "export"
    parameters.name = "BrainsAugmented"
    studio.apply()
    yield "export"


def models(studio: Studio) -> Iterator[str]:
    """The card of a model."""
    studio.parameters.models.model = studio.model("synthesis")
    t1, _t2, tissue = loadHead()
    studio.open(t1, tissue)
    yield "models"


def plain(studio: Studio) -> Iterator[str]:
    """A panel without a story of its own: the sample head."""
    t1, _t2, tissue = loadHead()
    studio.open(t1, tissue)
    yield studio.shell.panel.name


STORIES: dict[str, Callable[[Studio], Iterator[str]]] = {
    story.__name__: story for story in (data, train, synthesize, translate, lesions, review, export, models)
}


def draw(folder: Path, only: list[str], small: bool) -> list[Path]:
    """Write one or more pictures a panel; their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    written, left = [], None
    while left is None or left:
        with openModule() as representation:
            from slicerHost.views import Views

            widget = representation.self()
            if left is None:
                left = [name for name in widget.shell.panels if not only or name in only]
            panel = left.pop(0)
            began = time.monotonic()
            representation.resize(PANEL_WIDTH, LEAST_HEIGHT)
            representation.show()
            views = Views(400, 400, threeD=True)
            try:
                studio = Studio(widget, representation, views, small)
                studio.shell.selectPanel(panel)
                studio.arrange()
                for name in STORIES.get(panel, plain)(studio):
                    path = folder / f"{name}.png"
                    if not studio.picture().save(str(path), "PNG"):
                        raise OSError(f"{path} could not be written")
                    print(f"{path}  ({time.monotonic() - began:.0f} s)", flush=True)
                    written.append(path)
            finally:
                views.close()
    return written


def _say(kind, context, text: str) -> None:
    """Qt's messages, but for the one that a window without a screen gives rise to each time."""
    if "propagateSizeHints" not in text:
        print(text, file=sys.stderr)


def main() -> None:
    """Draw what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=SCREENSHOTS)
    parser.add_argument("--only", action="append", default=[], metavar="PANEL")
    parser.add_argument("--small-models", action="store_true", help="even where the starter models are there")
    arguments = parser.parse_args()
    if STUDY.exists():
        raise SystemExit(f"{STUDY} is in the way, maybe of a run that was stopped: delete it")
    STUDY.mkdir()
    QtCore.qInstallMessageHandler(_say)
    try:
        draw(arguments.folder, arguments.only, arguments.small_models)
    finally:
        shutil.rmtree(STUDY)


if __name__ == "__main__":
    main()
