"""The checkout can be set up and tested anywhere: build files, licence, lock, and nothing of one machine in it."""

from __future__ import annotations

import configparser
import hashlib
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[2]
LOCK = ROOT / "requirements-development.lock"
PYTHONS = ("3.10", "3.11", "3.12", "3.13")

# The licence as the Apache Software Foundation publishes it, white space folded, so that line ends do not matter.
APACHE_2 = "0ffddef9e48f8a09aed5caf2d44f7ba1c1be2d9b8e0a6f693b1635b2d5566645"

ADDRESSES = re.compile(rb"files\.pythonhosted|pypi\.org/simple|download\.pytorch|--(extra-)?index-url|--find-links")
MACHINE_PATHS = re.compile(rb"(?<![\w.<>])/(home|root|work|Users|opt|mnt|data|scratch)/\w|[A-Z]:\\\\?Users")
SUFFIXES_OF_DATA = {".safetensors", ".png", ".jpg", ".gz", ".nrrd", ".nii", ".npz"}


def git(*arguments: str) -> list[str]:
    if not (ROOT / ".git").exists() or shutil.which("git") is None:
        pytest.skip("not a git checkout, or no git: what is committed cannot be listed")
    done = subprocess.run(["git", *arguments, "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    return [name for name in done.stdout.split("\0") if name]


def machine(python: str) -> dict[str, str]:
    """This machine as markers see it, with another Python."""
    here = {name: str(value) for name, value in default_environment().items()}
    return {**here, "python_version": python, "python_full_version": f"{python}.0"}


def requirements(python: str) -> dict[str, Requirement]:
    environment = machine(python)
    lines = [line.strip() for line in LOCK.read_text().splitlines() if line.strip() and not line.startswith("#")]
    valid = [Requirement(line) for line in lines]
    chosen = [r for r in valid if r.marker is None or r.marker.evaluate(environment)]
    by_name: dict[str, Requirement] = {canonicalize_name(r.name): r for r in chosen}
    assert len(by_name) == len(chosen), f"two pins of one package for Python {python}"
    return by_name


def wanted(python: str) -> dict[str, Requirement]:
    """What pyproject.toml asks for, extras that name genaug itself resolved."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    environment = machine(python)
    found: dict[str, Requirement] = {}
    pending = [*project["dependencies"], *extras["development"]]
    while pending:
        requirement = Requirement(pending.pop())
        if canonicalize_name(requirement.name) == "genaug":
            pending += [line for extra in requirement.extras for line in extras[extra]]
        elif requirement.marker is None or requirement.marker.evaluate(environment):
            found[canonicalize_name(requirement.name)] = requirement
    return found


def test_license_is_apache_2_in_full() -> None:
    text = " ".join((ROOT / "LICENSE").read_text().split())
    assert text.startswith("Apache License Version 2.0, January 2004")
    assert hashlib.sha256(text.encode()).hexdigest() == APACHE_2


@pytest.mark.parametrize("python", PYTHONS)
def test_lock_pins_exactly_and_covers_pyproject(python: str) -> None:
    locked = requirements(python)
    assert all(re.fullmatch(r"==[^*]+", str(pin.specifier)) for pin in locked.values())
    assert str(locked["torch"].specifier) == "==2.13.0"
    for name, requirement in wanted(python).items():
        assert name in locked, f"{name} is not locked for Python {python}"
        version = str(locked[name].specifier).removeprefix("==")
        assert requirement.specifier.contains(version), f"{name} {version} is not {requirement.specifier}"


def test_nothing_ignored_is_committed() -> None:
    tracked = git("ls-files", "--cached", "--ignored", "--exclude-standard")
    assert not tracked, f"{len(tracked)} ignored files are committed, the first is {tracked[0]}"


def test_no_package_host_and_no_path_of_one_machine_is_committed() -> None:
    ignored = set(git("ls-files", "--cached", "--ignored", "--exclude-standard"))
    found = []
    for name in git("ls-files"):
        path = ROOT / name
        if name in ignored or path.suffix in SUFFIXES_OF_DATA or path == Path(__file__) or not path.is_file():
            continue
        content = path.read_bytes()
        found += [f"{name}: {hit.group()!r}" for rule in (ADDRESSES, MACHINE_PATHS) for hit in rule.finditer(content)]
    assert not found, "\n".join(found)


def test_the_rules_find_what_they_are_for() -> None:
    assert ADDRESSES.search(b"pip install --extra-index-url https://host/simple torch")
    assert MACHINE_PATHS.search(b'open("/home/anna/case.nii")')
    assert MACHINE_PATHS.search(b"cd /" + b"work/main")
    assert not MACHINE_PATHS.search(b"../shared/data/home/x and <sub>/data/y")


@pytest.mark.parametrize("target", ["venv", "demo", "demo-short", "starter", "test", "lint", "bench-main", "clean"])
def test_make_knows_the_target(target: str) -> None:
    done = make("-n", target)
    assert done.returncode == 0, done.stderr


def test_make_without_a_target_lists_them() -> None:
    listing = make().stdout
    for target in ("venv", "demo", "starter", "test", "lint", "bench-main", "clean"):
        assert re.search(rf"^ +make {target} +\S", listing, re.MULTILINE), f"{target} is not explained"


def test_make_refuses_an_old_python_with_the_version_it_found(tmp_path: Path) -> None:
    old = tmp_path / "python"
    # Runs the Makefile's own check as if this were Python 3.8, and could run nothing else.
    pretend = "import sys; sys.version_info = (3, 8, 1)"
    old.write_text(f'#!/bin/sh\nexec {sys.executable} -c "{pretend}\n${{2#import sys; }}"\n')
    old.chmod(0o755)
    done = make("venv", f"PYTHON={old}", f"VENV={tmp_path / 'venv'}")
    assert done.returncode != 0
    assert "this is 3.8" in done.stderr
    assert not (tmp_path / "venv").exists()


def test_continuous_integration_can_be_started() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert subprocess.run(["bash", "-n", str(script)], check=False).returncode == 0


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project's wheel, built from a copy: setuptools leaves its workings where it builds."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        (source / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, source / name)
    package = Path("GenerativeAugment", "genaug")
    shutil.copytree(ROOT / package, source / package, ignore=shutil.ignore_patterns("__pycache__"))
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check", "--quiet"]
    command = [sys.executable, "-m", "pip", "wheel", *options, "--wheel-dir", str(folder), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (built,) = folder.glob("genaug-*.whl")
    return built


def test_the_wheel_holds_the_package_its_data_and_its_licence_and_nothing_else(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    package = ROOT / "GenerativeAugment" / "genaug"
    suffixes = (".py", ".toml", ".json", ".typed")
    expected = {
        path.relative_to(package.parent).as_posix() for path in package.rglob("*") if path.name.endswith(suffixes)
    }
    assert "genaug/py.typed" in expected
    assert {f"genaug/recipes/{name}.toml" for name in ("vae", "ldm", "pix2pix")} <= expected
    described = {name for name in names if ".dist-info/" in name}
    assert names - described == expected
    assert any(name.endswith("/LICENSE") for name in described)


def test_genaug_runs_from_the_wheel_alone(wheel: Path, tmp_path: Path) -> None:
    """Unpacked, which is all that installing a wheel of pure Python does; the commands are those it declares."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
        (declared,) = (name for name in archive.namelist() if name.endswith("entry_points.txt"))
        points = configparser.ConfigParser()
        points.read_string(archive.read(declared).decode())
    module, _, function = points["console_scripts"]["genaug"].partition(":")
    code = f"import genaug, sys; print(genaug.__file__); from {module} import {function}; {function}(sys.argv[1:])"
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    for arguments, words in ((["--help"], "synthesize"), (["methods"], "pix2pix")):
        command = [sys.executable, "-c", code, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment, check=False)
        assert done.returncode == 0, done.stderr
        assert Path(done.stdout.splitlines()[0]).is_relative_to(tmp_path)
        assert words in done.stdout


MODELS = ROOT / "Resources" / "Models"
MODEL_BYTES = 20_000_000


def test_starter_models_are_small_whole_and_say_what_they_are_for() -> None:
    folders = sorted(path.parents[1] for path in MODELS.glob("[!.]*/configs/genaug.json"))
    if not folders:
        pytest.skip("no starter model in Resources/Models yet: `make starter` trains them")
    from genaug.package import read_info, verify

    size = sum(file.stat().st_size for folder in folders for file in folder.rglob("*") if file.is_file())
    assert size <= MODEL_BYTES, f"{size / 1e6:.1f} MB in {', '.join(folder.name for folder in folders)}"
    for folder in folders:
        verify(folder, read_info(folder))
        card = (folder / "docs" / "README.md").read_text(encoding="utf-8")
        assert "for trying out: trained on deformations of one template" in card.lower(), folder.name
        unsafe = [file.name for file in folder.rglob("*") if file.suffix in (".pt", ".pth", ".pkl", ".ckpt", ".bin")]
        assert not unsafe, f"{folder.name} holds {unsafe[0]}, which cannot be loaded without unpickling"


def make(*arguments: str) -> subprocess.CompletedProcess[str]:
    if shutil.which("make") is None:
        pytest.skip("no make on this machine: the Makefile cannot be asked")
    environment = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")}
    return subprocess.run(
        ["make", "--no-print-directory", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
