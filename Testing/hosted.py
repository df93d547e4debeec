"""The module on the host of Testing/host, for scripts that are not tests: no Slicer and no screen are needed."""

import contextlib
import hashlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from smallModels import MODELS

ROOT = Path(__file__).resolve().parents[1]
MODULE = ROOT / "GenerativeAugment" / "GenerativeAugment.py"
sys.path[:0] = [str(ROOT / "Testing" / "host"), str(MODULE.parent)]

# Starter models of lesions alone; everything else makes whole heads.
LESION_PREFIX = "lesion"


@contextlib.contextmanager
def openModule() -> Iterator[object]:
    """The module in a new scene of the application, its panel opened; yields the panel's Qt widget."""
    from slicerHost.application import newScene
    from slicerHost.install import install
    from slicerHost.moduleLoading import loadModule, unloadModule

    with _quietLogics():
        application = install()
        newScene(application)
    module = loadModule(MODULE)
    application.startupCompleted.emit()
    representation = module.widgetRepresentation()
    representation.enter()
    try:
        yield representation
    finally:
        representation.self().logic.shutdown()
        representation.exit()
        unloadModule(module)
        application.processEvents()


@contextlib.contextmanager
def _quietLogics() -> Iterator[None]:
    """Without the errors about terminology files, which slicer-core leaves out and every new scene misses."""
    from vtkmodules.vtkCommonCore import vtkLogger

    verbosity = vtkLogger.GetCurrentVerbosityCutoff()
    vtkLogger.SetStderrVerbosity(vtkLogger.VERBOSITY_OFF)
    try:
        yield
    finally:
        vtkLogger.SetStderrVerbosity(verbosity)


def loadHead() -> list:
    """The sample head: T1, T2 and the segmentation of its tissues."""
    import SampleData
    from GenerativeAugmentLib import sampleData

    return SampleData.SampleDataLogic().downloadSamples(sampleData.HEAD)


def headModel(catalogue, task: str, small: bool = False) -> str:
    """The name of a model of heads: one that comes with the extension, else a small one, trained the first time."""
    names = [entry.name for entry in catalogue.models(task) if not entry.name.startswith(LESION_PREFIX)]
    if small or not names:
        name = next(name for name, (its, _options) in MODELS.items() if its == task)
        folder = _smallModels()
        command = [sys.executable, str(ROOT / "Testing" / "smallModels.py"), str(folder), name]
        subprocess.run(command, check=True)
        return catalogue.importPackage(folder / name).name
    # Latent diffusion first: it is what most will want to see.
    return next((name for name in names if name.endswith("ldm")), names[0])


def _smallModels() -> Path:
    """Where small models lie; another folder when the networks are others."""
    networks = sorted((MODULE.parent / "genaug" / "networks").glob("*.py"))
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in networks))
    return ROOT / "build" / "small-models" / digest.hexdigest()[:12]
