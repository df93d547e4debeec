"""slicer.app, slicer.util and the modules that come with the application."""

import hashlib
import logging
import sys
import time
from pathlib import Path

import numpy as np
import pytest


def test_the_application_is_in_testing_mode_without_a_main_window(slicerHost):
    import slicer

    assert slicer.app.testingEnabled()
    assert slicer.util.mainWindow() is None
    assert slicer.app.layoutManager() is None
    assert (slicer.app.majorVersion, slicer.app.minorVersion) == (5, 13)
    assert Path(slicer.app.temporaryPath).is_dir()
    assert Path(slicer.util.tempDirectory()).parent == Path(slicer.app.temporaryPath)


def test_messages_only_log_in_testing_mode(slicerHost, caplog):
    import slicer

    with caplog.at_level(logging.INFO):
        slicer.util.infoDisplay("for your information")
        assert not slicer.util.confirmRetryCloseDisplay("again?")
    assert "for your information" in caplog.text


def test_settings(slicerHost, scene):
    import qt
    import slicer

    qt.QSettings().setValue("A/flag", "true")
    assert slicer.util.settingsValue("A/flag", False, converter=slicer.util.toBool) is True
    assert slicer.util.settingsValue("A/none", 5, converter=int) == 5


def test_processes_are_heard_on_the_main_thread(slicerHost, waitFor):
    import slicer

    lines, codes = [], []
    start = time.monotonic()
    slicer.util.launchConsoleProcess(
        [sys.executable, "-c", "import sys; print('hello', flush=True); sys.exit(3)"],
        blocking=False,
        logCallback=lines.append,
        completedCallback=codes.append,
    )
    assert time.monotonic() - start < 2
    waitFor(lambda: codes, 20)
    assert (lines, codes) == (["hello"], [3])


def test_startup_environment_is_that_of_the_shell(slicerHost, monkeypatch):
    import slicer

    monkeypatch.setenv("SET_LATER", "1")
    environment = slicer.util.startupEnvironment()
    assert "PATH" in environment
    assert "SET_LATER" not in environment


def test_nothing_is_installed(slicerHost, tmp_path):
    import slicer.packaging

    (tmp_path / "requirements.txt").write_text("# what we need\nnumpy>=1\nno-such-package>=3  # really\n")
    requirements = slicer.packaging.load_requirements(tmp_path / "requirements.txt")
    assert [str(requirement) for requirement in requirements] == ["numpy>=1", "no-such-package>=3"]
    assert slicer.packaging.pip_check(requirements[0])
    assert not slicer.packaging.pip_check(requirements)
    assert slicer.packaging.pip_ensure(requirements, requester="Test") is None
    with pytest.raises(RuntimeError, match="installs nothing"):
        slicer.util.pip_install("no-such-package")


def test_pytorch_extension_is_missing_unless_asked_for(slicerHost):
    with pytest.raises(ModuleNotFoundError):
        import PyTorchUtils  # noqa: F401


def test_pytorch_extension_as_a_fake(pyTorchUtils):
    import PyTorchUtils

    logic = PyTorchUtils.PyTorchUtilsLogic()
    assert not logic.torchInstalled()
    assert logic.installTorch(askConfirmation=True, torchVersionRequirement=">=2.1") is not None
    assert pyTorchUtils.calls[0]["torchVersionRequirement"] == ">=2.1"
    assert logic.torchInstalled()


def test_sample_data_is_fetched_and_checked(scene, tmp_path):
    import SampleData
    import slicer

    volume = slicer.util.addVolumeFromArray(np.arange(24, dtype=np.int16).reshape(2, 3, 4), name="head")
    path = tmp_path / "head.nrrd"
    assert slicer.util.exportNode(volume, str(path), {})
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    register = SampleData.SampleDataLogic.registerCustomSampleDataSource
    for name, checksum in (("Good", digest), ("Bad", "0" * 64)):
        register(
            category="Test",
            sampleName=name,
            uris=path.as_uri(),
            fileNames=f"{name}.nrrd",
            nodeNames=name,
            checksums=f"SHA256:{checksum}",
        )
    register(category="Test", sampleName="Good", uris=path.as_uri(), fileNames="Good.nrrd", nodeNames="Good",
             checksums=f"SHA256:{digest}")  # fmt: skip
    assert len(slicer.modules.sampleDataSources["Test"]) == 2
    node = SampleData.SampleDataLogic().downloadSample("Good")
    assert node.GetName() == "Good"
    with pytest.raises(ValueError, match="failed 3 times"):
        SampleData.SampleDataLogic().downloadSample("Bad")


def test_modules_without_a_logic_say_so(scene):
    import slicer

    assert slicer.modules.volumes.logic().GetClassName() == "vtkSlicerVolumesLogic"
    assert slicer.util.getModuleLogic("Segmentations") is slicer.modules.segmentations.logic()
    with pytest.raises(RuntimeError):
        slicer.util.getModule("NoSuchModule")
    with pytest.raises(RuntimeError, match="does not restart"):
        slicer.util.restart()


def test_errors_in_slots_fail_a_test(slicerHost, slotErrors):
    import qt

    button = qt.QPushButton()
    button.clicked.connect(lambda: 1 / 0)
    button.click()
    assert isinstance(slotErrors.pop(), ZeroDivisionError)


def test_errors_in_observers_fail_a_test(scene, slotErrors):
    def failing(*_event):
        raise ValueError("observer")

    tag = scene.AddObserver(scene.NodeAddedEvent, failing)
    scene.AddNewNodeByClass("vtkMRMLModelNode")
    scene.RemoveObserver(tag)
    assert isinstance(slotErrors.pop(), ValueError)
