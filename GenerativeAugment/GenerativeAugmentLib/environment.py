"""Which Python runs the worker, what it has, and how what it lacks gets into it."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from GenerativeAugmentLib.errors import JobError, _

SETTING = "GenerativeAugment/python"

MODULE_FOLDER = Path(__file__).resolve().parent.parent
"""Holds `genaug`, the package that the worker runs."""

REQUIREMENTS_FILE = MODULE_FOLDER / "Resources" / "requirements.txt"

TORCH = "torch>=2.4"

TORCH_VERSIONS = ">=2.4,<2.13"
"""For PyTorchUtils. The upper bound stays while issue 176 of light-the-torch, its installer, is open."""

BUNDLED = ("numpy", "scipy", "SimpleITK", "requests", "vtk", "pydicom")
"""What comes with Slicer and must never be replaced in it: other modules have it loaded."""

NEVER_DRAWN_IN = ("torch", *BUNDLED)
"""What no other package may bring: MONAI would choose a torch that does not fit the graphics card."""

ASK_SECONDS = 30.0
"""How long another Python may take to say what it has."""

_UNRECORDED = "99999"

_REQUIREMENT = re.compile(r"([\w.-]+)(?:>=([\d.]+))?(?:\s*;\s*python_version\s*<\s*['\"]([\d.]+)['\"])?")

_START = "from genaug.cli import main; main()"

_QUESTION = """
import importlib.metadata, json, sys
found = {}
for name in json.loads(sys.argv[1]):
    try:
        found[name] = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        found[name] = None
print(json.dumps({"python": list(sys.version_info[:2]), "packages": found}))
"""


@dataclass(frozen=True)
class Requirement:
    """One package and its lowest version, "" for any."""

    name: str
    lowest: str = ""
    belowPython: tuple[int, ...] = ()

    @classmethod
    def parse(cls, line: str) -> Requirement:
        """From "name>=1.2" or "name>=1.2; python_version < '3.11'", the forms that requirements.txt keeps to."""
        match = re.fullmatch(
            r"([\w.-]+)(?:>=([\d.]+))?(?:\s*;\s*python_version\s*<\s*['\"]([\d.]+)['\"])?", line.strip()
        )
        if match is None:
            raise ValueError(f"'{line}' is not of the form name>=version")
        name, lowest, below = match.groups()
        return cls(name, lowest or "", numbers(below or ""))

    def __str__(self) -> str:
        return f"{self.name}>={self.lowest}" if self.lowest else self.name

    def appliesTo(self, python: tuple[int, ...]) -> bool:
        """Whether this version of Python needs it."""
        return not self.belowPython or python < self.belowPython

    def isMetBy(self, version: str | None) -> bool:
        """Whether `version` is high enough; None is a package that is not there."""
        return version is not None and numbers(version) >= numbers(self.lowest)


@dataclass(frozen=True)
class EnvironmentState:
    """What a Python has.

    Attributes:
        torchVersion: None when torch is not installed, "" when nobody has asked this Python yet.
        missing: what has to be installed before the worker runs, each as "name>=version".
        line: all of it in one line for the panel.
    """

    torchVersion: str | None
    missing: list[str]
    line: str

    @property
    def isKnown(self) -> bool:
        """Whether this Python was asked."""
        return self.torchVersion != ""

    @property
    def isComplete(self) -> bool:
        """Whether the worker can run."""
        return self.isKnown and not self.missing


class Environment:
    """The Python of the worker: Slicer's own, or another one the user has chosen.

    Making one does nothing: no process, no installation, no network.

    Args:
        settings: where the choice is kept; the application's settings by default.
    """

    def __init__(self, settings: Any = None) -> None:
        self._settings = settings
        self._asked: dict[str, EnvironmentState] = {}

    def pythonExecutable(self) -> str:
        """The chosen Python, else PythonSlicer."""
        return self._chosen() or slicerPython()

    def setPythonExecutable(self, path: str | Path | None) -> None:
        """Choose another Python, by its program or by the folder of its environment; None for Slicer's own.

        Raises:
            JobError: "missing_file" when there is no Python at `path`.
        """
        settings = self._store()
        if path is None or not str(path):
            settings.remove(SETTING)
        else:
            settings.setValue(SETTING, str(findPython(Path(path))))

    @property
    def isSlicerPython(self) -> bool:
        """Whether the worker runs in Slicer's own Python."""
        return isSlicerPython(self.pythonExecutable())

    def command(self) -> tuple[list[str], dict[str, str]]:
        """Arguments and environment that start the worker.

        Raises:
            JobError: "not_installed" when the chosen Python is gone.
        """
        python = self.pythonExecutable()
        if not Path(python).is_file():
            raise JobError(
                "not_installed",
                python,
                _("no such file"),
                _("the Python that runs the worker"),
                _("Choose another Python environment, or Slicer's own."),
            )
        return [python, "-c", _START, "worker"], workerEnvironment(python)

    def state(self, ask: bool = False) -> EnvironmentState:
        """What the chosen Python has; torch is never imported for it.

        Slicer's own is looked at in this process. Another one has to be asked by a short process of its own, which
        happens only with `ask`, and once.
        """
        python = self.pythonExecutable()
        if isSlicerPython(python):
            return _stateOf(sys.version_info[:2], _installedHere)
        if ask or python in self._asked:
            if python not in self._asked:
                self._asked[python] = _ask(python)
            return self._asked[python]
        return EnvironmentState("", [], _("{python}: not checked yet").format(python=python))

    def forget(self) -> None:
        """Ask again next time, as after an installation."""
        self._asked.clear()
        importlib.invalidate_caches()

    def line(self, workerInfo: Mapping[str, Any] | None = None) -> str:
        """One line about torch and the device it will use.

        Args:
            workerInfo: the `ready` event of a running worker, which alone knows the devices.
        """
        if workerInfo is None:
            return self.state().line
        torchVersion = workerInfo["versions"].get("torch")
        if not torchVersion:
            return _("torch is not installed")
        devices = workerInfo["devices"]
        # A job with device "auto" takes the first CUDA device where there is one, and never MPS.
        shown = [device for device in devices if str(device.get("kind", "")).startswith("cuda")]
        shown = shown or [device for device in devices if device.get("kind") == "cpu"]
        parts = [f"torch {torchVersion}", *(_deviceText(device) for device in shown)]
        missing = missingPackages(workerInfo)
        if missing:
            parts.append(_("missing: {names}").format(names=", ".join(missing)))
        return ", ".join(parts)

    def installTorch(self) -> None:
        """Install torch into Slicer's Python through the PyTorch extension; only on the user's explicit wish.

        PyTorchUtils chooses the build for this computer's graphics card, asks for confirmation, and imports torch once
        when it is done; restart the application afterwards to give its memory back.

        Raises:
            JobError: "not_installed" when the PyTorch extension is missing or the installation failed, "cancelled" when
                the user declined.
        """
        self._requireSlicerPython()
        try:
            import PyTorchUtils
        except ModuleNotFoundError as error:
            raise JobError(
                "not_installed",
                "PyTorch",
                _("an extension that is not installed"),
                _("the extension PyTorch, which installs torch"),
                _("Install it with the Extensions Manager and restart the application."),
            ) from error
        with _installing("torch"):
            torch = PyTorchUtils.PyTorchUtilsLogic().installTorch(
                askConfirmation=True, torchVersionRequirement=TORCH_VERSIONS
            )
        if torch is None:
            raise _declined("torch")
        self.forget()

    def installRequirements(self) -> None:
        """Install what else the worker needs into Slicer's Python; only on the user's explicit wish.

        Raises:
            JobError: "not_installed" when the installation failed, "cancelled" when the user declined.
        """
        self._requireSlicerPython()
        wanted = [
            requirement
            for requirement in requirements()
            if requirement.appliesTo(sys.version_info[:2]) and requirement.name not in BUNDLED
        ]
        missing = [
            str(requirement) for requirement in wanted if not requirement.isMetBy(_installedHere(requirement.name))
        ]
        missing += _absentDependencies(wanted)
        if not missing:
            return
        names = ", ".join(missing)
        with _installing(names):
            _installIntoSlicer(missing, names)
            self.forget()
            absent = _absentDependencies(wanted)
            if absent:
                raise RuntimeError(_("still missing: {names}").format(names=", ".join(absent)))

    def _requireSlicerPython(self) -> None:
        python = self.pythonExecutable()
        if isSlicerPython(python):
            return
        raise JobError(
            "not_installed",
            python,
            _("a Python environment that is not Slicer's"),
            _("Slicer's own Python, the only one that is changed from here"),
            _("Install into it by its own means: {command}").format(
                command=f'"{python}" -m pip install "{TORCH}" -r "{REQUIREMENTS_FILE}"'
            ),
        )

    def _chosen(self) -> str:
        return str(self._store().value(SETTING) or "")

    def _store(self) -> Any:
        if self._settings is None:
            import qt

            self._settings = qt.QSettings()
        return self._settings


def slicerPython() -> str:
    """PythonSlicer: Slicer's interpreter, behind a launcher that sets up its libraries."""
    return shutil.which("PythonSlicer") or sys.executable


def isSlicerPython(python: str | Path) -> bool:
    """Whether this is the interpreter of the running application."""
    return Path(python) in (Path(slicerPython()), Path(sys.executable))


def findPython(path: Path) -> Path:
    """The Python program at `path`, or in the environment's folder at `path`; raises "missing_file"."""
    names = ("bin/python3", "bin/python", "Scripts/python.exe", "python.exe")
    candidates = [path / name for name in names] if path.is_dir() else [path]
    for candidate in candidates:
        if candidate.is_file() and os.access(candidate, os.X_OK):
            # Not resolved: the program of a virtual environment is a link, and knows its environment by its place.
            return candidate.absolute()
    raise JobError(
        "missing_file",
        path,
        _("no Python program"),
        _("a Python program, or the folder of a Python environment"),
        _("Choose for instance the python of a virtual or conda environment."),
    )


def workerEnvironment(python: str | Path, folder: Path = MODULE_FOLDER) -> dict[str, str]:
    """Environment variables for a worker in `python`.

    Threads are left alone (no OMP_NUM_THREADS): torch takes the processor's cores, the system shares them out, and the
    window's thread needs little of them.

    Args:
        python: the program.
        folder: holds the package `genaug`.
    """
    if isSlicerPython(python):
        environment = dict(os.environ)
        # Packages of the user's home are for another Python; one built for a different numpy would crash the worker.
        environment["PYTHONNOUSERSITE"] = "1"
    else:
        import slicer

        # As it was before Slicer started: its PYTHONHOME and libraries would break another Python. That one keeps the
        # packages of the user's home, where torch may well be.
        environment = dict(slicer.util.startupEnvironment())
    former = environment.get("PYTHONPATH", "")
    environment["PYTHONPATH"] = os.pathsep.join([str(folder), *([former] if former else [])])
    # The folder the application happens to run in holds nothing for the worker (Python 3.11 and later look at this).
    environment["PYTHONSAFEPATH"] = "1"
    # What libraries print is read as UTF-8, on Windows too.
    environment["PYTHONUTF8"] = "1"
    return environment


def missingPackages(workerInfo: Mapping[str, Any]) -> list[str]:
    """Top-level names of the packages that a worker could not import, each once."""
    names = []
    for entry in workerInfo["missing"]:
        absent = re.search(r"No module named '([\w.]+)'", str(entry))
        name = (absent.group(1) if absent else str(entry).partition(":")[0]).partition(".")[0]
        if name not in names:
            names.append(name)
    return names


def requirements() -> list[Requirement]:
    """What the worker needs besides torch."""
    lines = REQUIREMENTS_FILE.read_text(encoding="utf-8").splitlines()
    return [Requirement.parse(line) for line in lines if line.strip() and not line.startswith("#")]


def numbers(version: str) -> tuple[int, ...]:
    """The release of a version, for comparing: "2.13.0+cpu" is (2, 13, 0)."""
    release = re.match(r"\d+(?:\.\d+)*", version)
    return tuple(int(part) for part in release.group().split(".")) if release else ()


def _installedHere(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        # Slicer's own builds of what it brings may come without a record of their version.
        return _UNRECORDED if name in BUNDLED and importlib.util.find_spec(name) is not None else None


def _stateOf(python: tuple[int, ...], versionOf: Callable[[str], str | None]) -> EnvironmentState:
    needed = [requirement for requirement in requirements() if requirement.appliesTo(python)]
    missing = [requirement for requirement in needed if not requirement.isMetBy(versionOf(requirement.name))]
    torch = Requirement.parse(TORCH)
    torchVersion = versionOf("torch")
    if not torch.isMetBy(torchVersion):
        missing.insert(0, torch)
    names = [str(requirement) for requirement in missing]
    if torchVersion is None:
        line = _("torch is not installed")
    elif names:
        line = _("torch {version}, missing: {names}").format(version=torchVersion, names=", ".join(names))
    else:
        line = _("torch {version}, device known when the first job starts").format(version=torchVersion)
    return EnvironmentState(torchVersion, names, line)


def _ask(python: str) -> EnvironmentState:
    """What another Python has, from itself."""
    names = [Requirement.parse(TORCH).name, *(requirement.name for requirement in requirements())]
    try:
        output, errors = _runShortly([python, "-c", _QUESTION, json.dumps(names)], workerEnvironment(python))
    except OSError as error:
        output, errors = "", error.strerror or str(error)
    try:
        answer = json.loads(output)
        version, packages = tuple(answer["python"]), answer["packages"]
    except (ValueError, KeyError, TypeError) as error:
        said = next(iter(reversed(errors.strip().splitlines())), _("no answer"))
        raise JobError(
            "not_installed",
            python,
            said,
            _("a Python that says what is installed in it"),
            _("Choose another Python environment."),
            errors,
        ) from error
    if version < (3, 10):
        raise JobError(
            "not_installed",
            python,
            _("Python {version}").format(version=".".join(map(str, version))),
            _("Python 3.10 or newer"),
            _("Choose another Python environment."),
        )
    return _stateOf(version, packages.get)


def _runShortly(arguments: list[str], environment: dict[str, str]) -> tuple[str, str]:
    """Output and errors of a process that answers within ASK_SECONDS; the application goes on drawing meanwhile."""
    import slicer

    process = subprocess.Popen(
        arguments,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
        creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
    )
    answer: list[bytes] = []
    thread = threading.Thread(target=lambda: answer.extend(process.communicate()), daemon=True)
    thread.start()
    deadline = time.monotonic() + ASK_SECONDS
    while thread.is_alive() and time.monotonic() < deadline:
        slicer.app.processEvents()
        thread.join(0.01)
    if thread.is_alive():
        process.kill()
        thread.join(1.0)
    output, errors = answer if len(answer) == 2 else (b"", b"")
    return output.decode("utf-8", "replace"), errors.decode("utf-8", "replace")


def _absentDependencies(wanted: Iterable[Requirement]) -> list[str]:
    """What the packages that are there need, at any depth, and is not there itself.

    Where some are left out, slicer.packaging installs dependencies one by one, goes on when one fails, and never looks
    again at those of a package that is there.
    """
    try:
        import slicer.packaging  # noqa: F401
    except ModuleNotFoundError:
        # pip alone installs all or nothing.
        return []
    from packaging.requirements import InvalidRequirement
    from packaging.requirements import Requirement as Dependency
    from packaging.utils import canonicalize_name

    waiting = [requirement.name for requirement in wanted]
    seen = {canonicalize_name(name) for name in (*waiting, *NEVER_DRAWN_IN)}
    absent = []
    while waiting:
        for text in _dependenciesOf(waiting.pop()):
            try:
                dependency = Dependency(text)
            except InvalidRequirement:
                # The installer passes over it as well.
                continue
            needed = dependency.marker is None or dependency.marker.evaluate({"extra": ""})
            if not needed or canonicalize_name(dependency.name) in seen:
                continue
            seen.add(canonicalize_name(dependency.name))
            if _installedHere(dependency.name) is None:
                absent.append(f"{dependency.name}{dependency.specifier}")
            else:
                waiting.append(dependency.name)
    return absent


def _dependenciesOf(name: str) -> list[str]:
    try:
        return importlib.metadata.requires(name) or []
    except importlib.metadata.PackageNotFoundError:
        return []


def _installIntoSlicer(missing: list[str], names: str) -> None:
    import slicer

    # Asked here: pip_ensure raises the same error when the user says no as for some failures.
    if not slicer.util.confirmOkCancelDisplay(
        _("These Python packages will be downloaded and installed: {names}").format(names=names)
    ):
        raise _declined(names)
    try:
        import slicer.packaging
    except ModuleNotFoundError:
        # Slicer before 5.12: dependencies cannot be left out one by one.
        slicer.util.pip_install(missing)
        return
    slicer.packaging.pip_ensure(
        missing, requester="GenerativeAugment", skip_packages=list(NEVER_DRAWN_IN), prompt_install=False
    )


@contextmanager
def _installing(names: str) -> Iterator[None]:
    """Turn what installers raise into a JobError: they fail in many ways, none of which is a defect of this module."""
    try:
        yield
    except JobError:
        raise
    except Exception as error:
        raise JobError(
            "not_installed",
            names,
            _("an installation that failed ({error})").format(error=error),
            _("the packages to be installed"),
            _("Look at the log for the cause, often a missing network connection, and try again."),
        ) from error


def _declined(names: str) -> JobError:
    return JobError(
        "cancelled",
        names,
        _("an installation that was declined"),
        _("consent to install"),
        _("Press Install again when you want it, or choose a Python environment that has these packages."),
    )


def _deviceText(device: Mapping[str, Any]) -> str:
    free = _("{size} GB free").format(size=round(device.get("free_bytes", 0) / 2**30))
    kind = "CPU" if device.get("kind") == "cpu" else "CUDA"
    return f"{kind} {device.get('name', '')}, {free}"
