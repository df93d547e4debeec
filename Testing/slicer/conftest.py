"""Fixtures for tests of the Slicer module.

Nothing is set up before a test asks: the torch side's tests run in the same processes. Tests import slicer, qt, ctk and
the module's code in their functions, after the fixture has set the host up.
"""

import hashlib
import importlib.util
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

# Helpers that tests import by name: those beside this file, and the engine's small cohorts.
sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "backend")]

HOST = Path(__file__).parents[1] / "host"
MODULE = Path(__file__).parents[2] / "GenerativeAugment"

PATIENCE_S = 300.0
"""To wait for what must happen; what must happen soon is measured where it is promised."""


@pytest.fixture(scope="session")
def slicerHost():
    """The running stand-in application (slicer.app); skips only where its two wheels are not installed."""
    for package, distribution in (("slicer_core", "slicer-core"), ("PySide6", "PySide6-Essentials")):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{distribution} is not installed: pip install {distribution}")
    for folder in (HOST, MODULE):
        if str(folder) not in sys.path:
            sys.path.insert(0, str(folder))
    from slicerHost.install import install

    return install()


@pytest.fixture(autouse=True)
def slotErrors() -> Iterator[list[BaseException]]:
    """Exceptions raised in slots and VTK observers, which only reach the console; a test fails if any is left in it."""
    errors: list[BaseException] = []
    before, sys.excepthook = sys.excepthook, lambda kind, error, trace: errors.append(error)
    yield errors
    sys.excepthook = before
    if errors:
        raise AssertionError(f"{len(errors)} error(s) in slots or observers") from errors[0]


@pytest.fixture
def scene(slicerHost):
    """A new, empty MRML scene with all logics, also slicer.mrmlScene; settings are empty, too."""
    import qt
    from slicerHost.application import newScene

    settings = qt.QSettings()
    settings.clear()
    settings.sync()
    services = newScene(slicerHost)
    yield services.scene
    services.scene.Clear(1)
    slicerHost.processEvents()


@pytest.fixture
def openModule(slicerHost, scene) -> Iterator[Callable[[Path], object]]:
    """openModule(path): load a scripted module from its file and open its panel; returns the module's widget object."""
    from slicerHost.moduleLoading import loadModule, unloadModule

    loaded = []

    def open_(path: Path):
        loaded.append(loadModule(path))
        slicerHost.startupCompleted.emit()
        representation = loaded[-1].widgetRepresentation()
        representation.resize(480, 900)
        representation.show()
        representation.enter()
        slicerHost.processEvents()
        return representation.self()

    yield open_
    for module in loaded:
        module.widgetRepresentation().exit()
        unloadModule(module)
    slicerHost.processEvents()


@pytest.fixture
def moduleWidget(openModule) -> Callable[[], object]:
    """moduleWidget(): open the module GenerativeAugment; returns its GenerativeAugmentWidget."""
    return lambda: openModule(MODULE / "GenerativeAugment.py")


@pytest.fixture
def pyTorchUtils(slicerHost, monkeypatch):
    """The PyTorch extension, as a fake: its class PyTorchUtilsLogic, which remembers its calls."""
    from slicerHost.pyTorchUtils import build

    module = build()
    monkeypatch.setitem(sys.modules, "PyTorchUtils", module)
    return module.PyTorchUtilsLogic


@pytest.fixture
def waitFor(slicerHost) -> Callable[..., None]:
    """waitFor(condition, timeoutSeconds=PATIENCE_S): handle events until the condition holds, else TimeoutError."""
    from slicerHost.moduleLoading import deletePosted

    def wait(condition: Callable[[], bool], timeoutSeconds: float = PATIENCE_S) -> None:
        deadline = time.monotonic() + timeoutSeconds
        while not condition():
            if time.monotonic() > deadline:
                raise TimeoutError(f"Waited {timeoutSeconds} s in vain")
            slicerHost.processEvents()
            deletePosted()
            time.sleep(0.005)

    return wait


TRAINING = """
import sys
from pathlib import Path
sys.path[:0] = sys.argv[1:3]
from engine_data import blob_cohort, tiny_options
from genaug.cohort import Cohort
from genaug.progress import Silent
from genaug.training import train
folder = Path(sys.argv[3])

def cohort(name, **settings):
    made = (folder / name / "cohort.json").is_file()
    return Cohort.read(folder / name) if made else blob_cohort(folder / name, **settings)

small, large = cohort("cohort"), cohort("large", count=3, size=32)
for recipe in ("vae", "spade", "pix2pix", "mm-gan"):
    package = folder / "packages" / recipe
    if not package.is_dir():
        train(large if recipe in ("pix2pix", "mm-gan") else small, tiny_options(recipe, 2), package, "cpu", Silent())
"""


@pytest.fixture(scope="session")
def trained() -> Path:
    """A folder with packages/{vae,spade,pix2pix,mm-gan}, trained for two iterations each, and the cohorts they are of.

    They are made in a process of its own, so that this one stays without torch, as the application does; and kept in
    build/ as long as the engine's code is the same.
    """
    backend = Path(__file__).parents[1] / "backend"
    sources = [backend / "engine_data.py", *sorted((MODULE / "genaug").rglob("*.py"))]
    digest = hashlib.sha256(TRAINING.encode() + b"".join(path.read_bytes() for path in sources)).hexdigest()
    folder = MODULE.parent / "build" / "tiny-models" / digest[:16]
    if len(list(folder.glob("packages/*/configs/genaug.json"))) < 4:
        command = [sys.executable, "-c", TRAINING, str(backend), str(MODULE), str(folder)]
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=300)
    return folder


@pytest.fixture
def models(trained, scene, slicerHost) -> Iterator[Path]:
    """The small models as the user's own, in the settings folder of the application; that folder."""
    from GenerativeAugmentLib.catalogue import modelFolders

    folder = modelFolders(Path(slicerHost.slicerUserSettingsFilePath).parent)[-1]
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(trained / "packages", folder, ignore=shutil.ignore_patterns("*.training"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


class WarmWorker:
    """Hands one worker on from test to test: starting one takes longer than any of the small jobs."""

    def __init__(self) -> None:
        self.kept = None

    def lend(self, runner) -> None:
        """Let a new runner have the worker of the one before."""
        if self.kept is not None:
            runner._worker, runner._arguments, runner._workerInfo = self.kept
            self.kept = None

    def takeBack(self, runner) -> None:
        """Keep the worker of a runner that is done, and end what is not."""
        if runner._worker is not None and runner._worker.alive and not runner.busy:
            self.kept = (runner._worker, runner._arguments, runner._workerInfo)
            runner._dropWorker()
        runner.shutdown()

    def end(self) -> None:
        """Let it go."""
        if self.kept is not None:
            self.kept[0].close(wait=True)


@pytest.fixture(scope="session")
def warmWorker(slicerHost) -> Iterator[WarmWorker]:
    """One real worker for the tests that need no new one."""
    worker = WarmWorker()
    yield worker
    worker.end()


@pytest.fixture
def shell(models, moduleWidget, warmWorker):
    """The shell of the opened module, with the small models and a real worker."""
    widget = moduleWidget()
    warmWorker.lend(widget.logic.jobs.runner)
    yield widget.shell
    warmWorker.takeBack(widget.logic.jobs.runner)
