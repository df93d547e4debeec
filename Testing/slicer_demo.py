"""The module's whole work without a window: through GenerativeAugmentLogic, on a real MRML scene.

    python Testing/slicer_demo.py             everything, into build/slicer-demo
    python Testing/slicer_demo.py --short     fewer lesions and cases, the same steps

Loads the sample head, synthesizes, inserts lesions, translates, reviews two cases, exports, and saves the scene as an
.mrb, which is loaded again. Every step is checked; the process ends with an error when one of them is not right.
"""

import argparse
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hosted import ROOT, headModel, loadHead, openModule

OUTPUT = ROOT / "build" / "slicer-demo"

SYNTHETIC = "GenerativeAugment.synthetic"


class DemoError(RuntimeError):
    """A step did something else than it should."""


def require(holds: bool, what: str) -> None:
    """Raise DemoError unless something holds."""
    if not holds:
        raise DemoError(what)


class Demo:
    """The steps, in their order; each returns a line about what it did.

    Args:
        logic: GenerativeAugmentLogic.
        folder: for everything that is written; empty.
        short: do less of everything.
        models: folder of a model by task, instead of those of `headModel`.
        small: use small models in any case.
    """

    def __init__(
        self, logic: Any, folder: Path, short: bool, models: dict[str, Path] | None = None, small: bool = False
    ) -> None:
        self.logic, self.folder, self.short, self.models, self.small = logic, folder, short, models or {}, small
        self.t1: Any = None
        self.tissue: Any = None

    def model(self, task: str) -> Any:
        """What to call the model of a task."""
        return self.models.get(task) or headModel(self.logic.catalogue, task, self.small)

    def load(self) -> str:
        """The sample head."""
        import slicer

        self.t1, _t2, self.tissue = loadHead()
        size = " x ".join(map(str, self.t1.GetImageData().GetDimensions()))
        require(slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode") == 2, "T1 and T2 are not loaded")
        segments = self.tissue.GetSegmentation().GetNumberOfSegments()
        return f"T1 and T2 of {size} voxels, {segments} tissues"

    def synthesize(self) -> str:
        """New cases with their label maps, kept on disk for the review."""
        count = 2 if self.short else 4
        model = self.model("synthesis")
        result = self.logic.synthesize(model, count=count, seed=7, outputFolder=self.folder)
        require(len(result.volumes) == len(result.segmentations) == count, f"not {count} images with label maps")
        shown = [*result.volumes, *result.segmentations]
        require(all(node.GetAttribute(SYNTHETIC) == "true" for node in shown), "a result is not marked")
        return f"{count} cases by {Path(str(model)).name}, in the scene with their label maps"

    def insertLesions(self) -> str:
        """Lesions into the white matter of the head."""
        import slicer
        from GenerativeAugmentLib import exchange

        count = 2 if self.short else 6
        volume, lesions = self.logic.insertLesions(
            self.t1,
            self.tissue,
            tissueSegment=self.tissue.GetSegmentation().GetNthSegmentID(2),
            count=count,
            diameter=(6, 10) if self.short else (8, 16),
            seed=5,
            modality="MR",
        )
        before, after = exchange.volumeGeometry(self.t1), exchange.volumeGeometry(volume)
        require(exchange.sameGeometry(before, after), exchange.describeDifference(before, after))
        changed = slicer.util.arrayFromVolume(volume) != slicer.util.arrayFromVolume(self.t1)
        require(changed.any() and not changed.all(), "the lesions changed nothing, or everything")
        require(lesions.GetSegmentation().GetNumberOfSegments() == 1, "the lesions have no segment of their own")
        return f"{count} lesions into {self.t1.GetName()}, {changed.sum()} voxels are different"

    def translate(self) -> str:
        """The head in another contrast, on the same voxels."""
        from GenerativeAugmentLib import exchange

        model = self.model("translation")
        translated = self.logic.translate(self.t1, model, modality="MR", overlap=0.25)
        before, after = exchange.volumeGeometry(self.t1), exchange.volumeGeometry(translated)
        require(exchange.sameGeometry(before, after), exchange.describeDifference(before, after))
        return f"{translated.GetName()} by {Path(str(model)).name}, on the voxels of {self.t1.GetName()}"

    def review(self) -> str:
        """Two of the synthetic cases: one is accepted, one is rejected."""
        queue = self.logic.reviewQueue(self._cohort(), "demo")
        queue.decide("accepted", comment="Made by the demo")
        queue.nextUnreviewed()
        queue.decide("rejected", reason="artifact")
        again = self.logic.reviewQueue(self._cohort(), "demo").counts()
        require(again["accepted"] == again["rejected"] == 1, f"the decisions were not kept: {again}")
        return ", ".join(f"{count} {state}" for state, count in again.items() if count)

    def export(self) -> str:
        """The accepted case, as a data set for nnU-Net."""
        exported = self.logic.exportCohort(
            self.folder / "export", synthetic=[self._cohort()], layout="nnunet", name="Demo", requireChecks=False
        )
        left = len(exported["left_out"])
        cases = sum(1 for _ in Path(exported["dataset"]).rglob("labels*/*.nii.gz"))
        require(cases == 1, f"{cases} cases were exported instead of the accepted one")
        return f"{Path(exported['dataset']).name} with 1 case; {left} left out"

    def save(self) -> str:
        """The scene as one file, and loaded again."""
        import slicer

        path = self.folder / "scene.mrb"
        names = self._syntheticNames()
        require(slicer.util.saveScene(str(path)), f"{path} could not be written")
        slicer.mrmlScene.Clear(0)
        slicer.util.loadScene(str(path))
        require(
            self._syntheticNames() == names and names, "the loaded scene has other synthetic nodes than the saved one"
        )
        return f"{path.name}, {path.stat().st_size / 2**20:.1f} MB; loaded again with {len(names)} synthetic nodes"

    def _cohort(self) -> Path:
        return next(self.folder.glob("Synthesis-*"))

    @staticmethod
    def _syntheticNames() -> list[str]:
        import slicer

        nodes = slicer.util.getNodesByClass("vtkMRMLDisplayableNode")
        return sorted(node.GetName() for node in nodes if node.GetAttribute(SYNTHETIC) == "true")


STEPS: tuple[tuple[str, Callable[[Demo], str]], ...] = (
    ("Load the sample head", Demo.load),
    ("Synthesize", Demo.synthesize),
    ("Insert lesions", Demo.insertLesions),
    ("Translate", Demo.translate),
    ("Review two cases", Demo.review),
    ("Export", Demo.export),
    ("Save and load the scene", Demo.save),
)


def runSteps(demo: Demo) -> None:
    """Every step, with a line and its time."""
    had = "torch" in sys.modules
    for title, step in STEPS:
        began = time.perf_counter()
        done = step(demo)
        print(f"  {title:<24} {time.perf_counter() - began:6.1f} s   {done}", flush=True)
        require(had or "torch" not in sys.modules, f"{title} brought torch into the application")


def main() -> None:
    """Run the demo."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--short", action="store_true", help="fewer lesions and cases")
    parser.add_argument("--small-models", action="store_true", help="even where the starter models are there")
    arguments = parser.parse_args()
    if OUTPUT.exists():
        shutil.rmtree(OUTPUT)
    OUTPUT.mkdir(parents=True)
    began = time.perf_counter()
    with openModule() as representation:
        print(f"GenerativeAugmentLogic on an MRML scene, started in {time.perf_counter() - began:.1f} s")
        runSteps(Demo(representation.self().logic, OUTPUT, arguments.short, small=arguments.small_models))
    scene = (OUTPUT / "scene.mrb").relative_to(ROOT)
    print(f"All of it took {time.perf_counter() - began:.0f} s. For Slicer: {scene}")


if __name__ == "__main__":
    main()
