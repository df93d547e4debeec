"""Which Python runs the worker: chosen, described, started and completed, never without being asked."""

import os
import stat
import subprocess
import sys
import time
import types
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULE = ROOT / "GenerativeAugment"


@pytest.fixture
def environment(scene):
    from GenerativeAugmentLib import environment

    return environment


@pytest.fixture
def mine(environment):
    return environment.Environment()


@pytest.fixture
def refused(environment):
    from GenerativeAugmentLib.errors import JobError

    def check(call, *arguments):
        with pytest.raises(JobError) as caught:
            call(*arguments)
        assert caught.value.found and caught.value.expected and caught.value.remedy
        return caught.value

    return check


@pytest.fixture(scope="module")
def otherPython(tmp_path_factory):
    """The folder of a real environment with nothing in it."""
    folder = tmp_path_factory.mktemp("other") / "Umgebung für torch"
    venv.create(folder, with_pip=False)
    return folder


def program(path, text):
    """An executable script."""
    path.write_text(f"#!{sys.executable}\n{text}\n", encoding="utf-8")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


posix = pytest.mark.skipif(os.name == "nt", reason="scripts as programs")


def test_the_requirements_are_those_of_the_package(environment):
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = (MODULE / "Resources" / "requirements.txt").read_text(encoding="utf-8").splitlines()
    wanted = [line for line in lines if line and not line.startswith("#")]
    # torch comes through PyTorchUtils; the report of the demo and the bar of the command line are not the worker's.
    elsewhere = ("torch", "jinja2", "tqdm")
    assert wanted == [
        entry for entry in project["dependencies"] if environment.Requirement.parse(entry).name not in elsewhere
    ]
    assert environment.TORCH in project["dependencies"]
    assert environment.TORCH_VERSIONS.startswith(environment.TORCH.removeprefix("torch"))
    assert [str(entry) for entry in environment.requirements()] == [line.partition(";")[0] for line in wanted]


def test_a_requirement_is_met_by_what_is_new_enough(environment):
    requirement = environment.Requirement.parse("safetensors>=0.4.3")
    assert [requirement.isMetBy(version) for version in (None, "0.4.2", "0.4.3", "0.10.0", "1.0rc1")] == [
        False,
        False,
        True,
        True,
        True,
    ]
    assert environment.numbers("2.13.0+cpu") == (2, 13, 0)
    old = environment.Requirement.parse("tomli>=2; python_version < '3.11'")
    assert old.appliesTo((3, 10)) and not old.appliesTo((3, 12))
    with pytest.raises(ValueError, match="name>=version"):
        environment.Requirement.parse("torch @ https://somewhere")


def test_slicers_own_python_is_the_default(environment, mine, monkeypatch, tmp_path):
    assert mine.pythonExecutable() == sys.executable and mine.isSlicerPython
    launcher = tmp_path / ("PythonSlicer.exe" if os.name == "nt" else "PythonSlicer")
    program(launcher, "")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert Path(mine.pythonExecutable()) == launcher and mine.isSlicerPython


def test_another_python_is_chosen_by_program_or_folder_and_kept(environment, mine, refused, otherPython, tmp_path):
    mine.setPythonExecutable(otherPython)
    chosen = Path(mine.pythonExecutable())
    # The link itself, not what it points to: that has no torch.
    assert chosen.is_relative_to(otherPython) and not mine.isSlicerPython
    assert environment.Environment().pythonExecutable() == str(chosen)
    mine.setPythonExecutable(str(chosen))
    assert mine.pythonExecutable() == str(chosen)
    for nothing in (tmp_path, tmp_path / "nowhere"):
        assert refused(mine.setPythonExecutable, nothing).reason == "missing_file"
    assert mine.pythonExecutable() == str(chosen)
    mine.setPythonExecutable(None)
    assert mine.isSlicerPython and environment.Environment().isSlicerPython


def test_slicers_python_gets_slicers_environment(environment, mine, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "/slicer/lib")
    monkeypatch.setenv("PYTHONHOME", "/slicer")
    arguments, variables = mine.command()
    assert arguments[0] == sys.executable and arguments[-1] == "worker"
    assert variables["PYTHONPATH"] == os.pathsep.join([str(MODULE), "/slicer/lib"])
    assert variables["PYTHONHOME"] == "/slicer" and variables["PYTHONNOUSERSITE"] == "1"
    assert os.environ["PYTHONPATH"] == "/slicer/lib"


def test_another_python_gets_the_environment_from_before_slicer(environment, mine, monkeypatch, otherPython):
    import slicer

    monkeypatch.setenv("PYTHONHOME", "/slicer")
    monkeypatch.setenv("QT_PLUGIN_PATH", "/slicer/plugins")
    monkeypatch.setattr(slicer.util, "startupEnvironment", lambda: {"PATH": "/usr/bin", "PYTHONPATH": "/elsewhere/me"})
    mine.setPythonExecutable(otherPython)
    arguments, variables = mine.command()
    assert Path(arguments[0]).is_relative_to(otherPython)
    assert (
        variables["PYTHONPATH"] == os.pathsep.join([str(MODULE), "/elsewhere/me"]) and variables["PATH"] == "/usr/bin"
    )
    assert not {"PYTHONHOME", "QT_PLUGIN_PATH", "PYTHONNOUSERSITE"} & set(variables)


def test_a_python_that_is_gone_is_named(mine, refused, otherPython, tmp_path):
    python = tmp_path / "python"
    program(python, "")
    mine.setPythonExecutable(python)
    python.unlink()
    raised = refused(mine.command)
    assert raised.reason == "not_installed" and raised.subject == str(python)


def test_the_worker_finds_its_package_and_nothing_else(environment, mine, tmp_path):
    # What lies where the application happens to run must not be taken for a package.
    for name in ("genaug.py", "click.py"):
        (tmp_path / name).write_text("raise SystemExit('taken')")
    (python, *_), variables = mine.command()
    asked = "import click, genaug, sys; print(genaug.__file__, sys.flags.utf8_mode)"
    answer = subprocess.run([python, "-c", asked], env=variables, cwd=tmp_path, capture_output=True, timeout=60)
    assert answer.stdout.decode().split() == [str(MODULE / "genaug" / "__init__.py"), "1"], answer.stderr


def test_the_state_is_known_without_importing_torch():
    script = """
import sys
from GenerativeAugmentLib.environment import Environment
class Settings:
    def value(self, key): return None
state = Environment(Settings()).state()
print(state.line)
assert state.isComplete and state.torchVersion, state
assert not {"torch", "monai", "pydantic", "genaug"} & set(sys.modules)
"""
    output = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, timeout=60).stdout.decode()
    assert output.startswith("torch 2.")


def test_what_is_missing_is_said(environment, mine, monkeypatch):
    from importlib.metadata import version

    there = {"monai": None, "pydantic": "1.10"}
    monkeypatch.setattr(environment, "_installedHere", lambda name: there.get(name, "99"))
    state = mine.state()
    assert state.missing == ["monai>=1.5", "pydantic>=2.7"] and not state.isComplete
    assert state.line == "torch 99, missing: monai>=1.5, pydantic>=2.7" == mine.line()
    there["torch"] = None
    assert mine.state().missing[0] == "torch>=2.4"
    assert mine.line() == "torch is not installed"
    there["torch"] = "1.13.1"
    assert "torch>=2.4" in mine.line()
    assert version("torch")


def test_what_slicer_brings_counts_even_without_a_record(environment, monkeypatch):
    def version(name):
        raise environment.importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(environment.importlib.metadata, "version", version)
    assert environment.Requirement.parse("numpy>=1.26").isMetBy(environment._installedHere("numpy"))
    assert environment._installedHere("click") is None


def test_another_python_is_asked_once_and_only_when_told(environment, mine, monkeypatch, otherPython):
    started = []
    popen = subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", lambda *args, **options: started.append(args) or popen(*args, **options))
    mine.setPythonExecutable(otherPython)
    state = mine.state()
    assert not state.isKnown and not state.isComplete and "not checked" in state.line and not started
    state = mine.state(ask=True)
    assert state.torchVersion is None and "monai>=1.5" in state.missing and len(started) == 1
    assert mine.state(ask=True) == mine.state() == state and len(started) == 1
    mine.forget()
    assert not mine.state().isKnown


@posix
@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("import sys; sys.exit('cannot start: no license')", "no license"),
        ("print('[1, 2')", "no answer"),
        ('print(\'{"python": [3, 8], "packages": {}}\')', "Python 3.8"),
        ("import time; time.sleep(60)", "no answer"),
    ],
)
def test_a_python_that_does_not_answer_is_told(environment, mine, refused, monkeypatch, tmp_path, text, found):
    monkeypatch.setattr(environment, "ASK_SECONDS", 1.0)
    mine.setPythonExecutable(program(tmp_path / "python", text))
    began = time.perf_counter()
    assert found in refused(mine.state, True).found
    assert time.perf_counter() - began < 10


def test_job_folders_lie_in_slicers_temporary_folder(scene):
    import slicer
    from GenerativeAugmentLib.jobs import newJobFolder

    assert newJobFolder("train").parent == Path(slicer.app.temporaryPath) / "GenerativeAugment"


def test_on_windows_their_path_has_no_special_characters(scene, monkeypatch, tmp_path):
    import slicer
    from GenerativeAugmentLib import jobs

    monkeypatch.setattr(slicer, "app", types.SimpleNamespace(temporaryPath=str(tmp_path / "Jürgen")))
    assert jobs.jobsRoot() == tmp_path / "Jürgen" / "GenerativeAugment" or os.name == "nt"
    monkeypatch.setattr(jobs, "os", types.SimpleNamespace(name="nt"))
    monkeypatch.setattr(jobs, "shortName", lambda path: Path("C:/JRGEN~1") if "Jürgen" in str(path) else path)
    assert jobs.jobsRoot() == Path("C:/JRGEN~1/GenerativeAugment")
    # Short names can be switched off; then another folder will do, and a special character is the last resort.
    monkeypatch.setattr(jobs, "shortName", lambda path: path)
    monkeypatch.setattr(jobs.tempfile, "gettempdir", lambda: "D:/Temp")
    assert jobs.jobsRoot() == Path("D:/Temp/GenerativeAugment")
    monkeypatch.setattr(jobs.tempfile, "gettempdir", lambda: "D:/Größer")
    assert jobs.jobsRoot() == tmp_path / "Jürgen" / "GenerativeAugment"


def devices(*kinds):
    return [
        {
            "name": {"cpu": "8 cores", "mps": "Apple GPU"}.get(kind, "NVIDIA A100"),
            "kind": kind,
            "free_bytes": 23.4 * 2**30,
        }
        for kind in kinds
    ]


@pytest.mark.parametrize(
    ("versions", "kinds", "missing", "line"),
    [
        ({"torch": "2.13.0"}, ["cpu"], [], "torch 2.13.0, CPU 8 cores, 23 GB free"),
        ({"torch": "2.13.0"}, ["cpu", "cuda:0"], [], "torch 2.13.0, CUDA NVIDIA A100, 23 GB free"),
        ({"torch": "2.13.0"}, ["cpu", "mps"], [], "torch 2.13.0, CPU 8 cores, 23 GB free"),
        (
            {"torch": "2.13.0"},
            ["cpu"],
            ["genaug.training: No module named 'monai.networks'", "genaug.x: No module named 'monai'", "scipy: broken"],
            "torch 2.13.0, CPU 8 cores, 23 GB free, missing: monai, scipy",
        ),
        ({}, ["cpu"], ["torch: No module named 'torch'"], "torch is not installed"),
    ],
)
def test_one_line_tells_what_computes(mine, versions, kinds, missing, line):
    assert mine.line({"versions": versions, "devices": devices(*kinds), "missing": missing}) == line


def installer(monkeypatch, answer):
    """A PyTorchUtils that notes its calls; answers, or raises."""
    calls = []

    class Logic:
        def installTorch(self, **options):
            calls.append(options)
            if isinstance(answer, Exception):
                raise answer
            return answer

    monkeypatch.setitem(sys.modules, "PyTorchUtils", types.SimpleNamespace(PyTorchUtilsLogic=Logic))
    return calls


def test_torch_comes_through_pytorchutils(environment, mine, monkeypatch):
    calls = installer(monkeypatch, types.ModuleType("torch"))
    mine.installTorch()
    assert calls == [{"askConfirmation": True, "torchVersionRequirement": ">=2.4,<2.13"}]


def test_without_the_pytorch_extension_the_user_is_told(mine, refused, monkeypatch):
    monkeypatch.setitem(sys.modules, "PyTorchUtils", None)
    raised = refused(mine.installTorch)
    assert raised.reason == "not_installed" and "Extensions Manager" in raised.remedy


def test_an_installation_may_be_declined_or_fail(mine, refused, monkeypatch):
    installer(monkeypatch, None)
    assert refused(mine.installTorch).reason == "cancelled"
    installer(monkeypatch, subprocess.CalledProcessError(1, "ltt"))
    raised = refused(mine.installTorch)
    assert raised.reason == "not_installed" and "ltt" in raised.found


def packaging(monkeypatch, answer=None):
    """A slicer.packaging that notes its calls."""
    import slicer

    calls = []

    def ensure(requirements, **options):
        calls.append((requirements, options))
        if answer is not None:
            raise answer

    monkeypatch.setattr(slicer.util, "confirmOkCancelDisplay", lambda text, *rest, **options: True)
    module = types.SimpleNamespace(pip_ensure=ensure)
    monkeypatch.setitem(sys.modules, "slicer.packaging", module)
    monkeypatch.setattr(slicer, "packaging", module, raising=False)
    return calls


def without(environment, monkeypatch, *names):
    monkeypatch.setattr(environment, "_installedHere", lambda name: None if name in names else "99")


def test_the_rest_comes_through_slicers_packaging(environment, mine, monkeypatch):
    calls = packaging(monkeypatch)
    without(environment, monkeypatch, "monai", "numpy", "tomli", "psutil")
    mine.installRequirements()
    ((requirements, options),) = calls
    # Never what Slicer brings, and nothing that this version of Python has itself.
    assert requirements == ["monai>=1.5", "psutil>=5.9"]
    assert options["requester"] == "GenerativeAugment"
    assert {"torch", "numpy", "SimpleITK", "scipy"} <= set(options["skip_packages"])
    without(environment, monkeypatch)
    mine.installRequirements()
    assert len(calls) == 1


def test_packages_may_be_declined_or_fail(environment, mine, refused, monkeypatch):
    import slicer

    without(environment, monkeypatch, "monai")
    calls = packaging(monkeypatch)
    monkeypatch.setattr(slicer.util, "confirmOkCancelDisplay", lambda text, *rest, **options: False)
    assert refused(mine.installRequirements).reason == "cancelled" and not calls
    for error in (subprocess.CalledProcessError(1, "pip install"), RuntimeError("PythonSlicer executable not found")):
        packaging(monkeypatch, error)
        raised = refused(mine.installRequirements)
        assert raised.reason == "not_installed" and raised.subject == "monai>=1.5"


def test_what_an_installation_left_out_is_installed_by_the_next(environment, mine, refused, monkeypatch):
    calls, there = packaging(monkeypatch), {"tensorboard", "werkzeug"}
    needs = {"tensorboard": ["werkzeug>=1.0", "numpy>=1.12", "six; extra == 'old'"], "werkzeug": ["MarkupSafe>=2.1"]}
    monkeypatch.setattr(environment, "requirements", lambda: [environment.Requirement("tensorboard")])
    monkeypatch.setattr(environment, "_dependenciesOf", lambda name: needs.get(name, []))
    monkeypatch.setattr(environment, "_installedHere", lambda name: "99" if name in there else None)
    raised = refused(mine.installRequirements)
    assert raised.reason == "not_installed" and "MarkupSafe" in raised.found
    assert [requirements for requirements, _options in calls] == [["MarkupSafe>=2.1"]]
    there.add("MarkupSafe")
    mine.installRequirements()
    assert len(calls) == 1


def test_an_older_slicer_asks_and_installs_with_its_own_means(environment, mine, refused, monkeypatch):
    import slicer

    installed, consent = [], [True]
    monkeypatch.setitem(sys.modules, "slicer.packaging", None)
    monkeypatch.setattr(slicer.util, "pip_install", installed.append)
    monkeypatch.setattr(slicer.util, "confirmOkCancelDisplay", lambda text, *rest, **options: consent[0])
    without(environment, monkeypatch, "monai")
    mine.installRequirements()
    assert installed == [["monai>=1.5"]]
    consent[0] = False
    assert refused(mine.installRequirements).reason == "cancelled"
    assert len(installed) == 1


def test_a_python_that_is_not_slicers_is_never_changed(mine, refused, monkeypatch, otherPython):
    torchCalls, packageCalls = installer(monkeypatch, None), packaging(monkeypatch)
    mine.setPythonExecutable(otherPython)
    for install in (mine.installTorch, mine.installRequirements):
        raised = refused(install)
        assert f'"{mine.pythonExecutable()}" -m pip install "torch>=2.4" -r' in raised.remedy
    assert not torchCalls and not packageCalls
