"""slicer.packaging: reads and checks requirements; never installs anything.

A test that wants an installation replaces `pip_install` and `pip_uninstall` here, for instance by monkeypatch.
"""

import importlib.metadata
import logging
import re
import sys
from collections.abc import Callable
from pathlib import Path

import slicer
from packaging.markers import Environment, default_environment
from packaging.requirements import Requirement
from packaging.utils import NormalizedName, canonicalize_name

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = [
    "Environment",
    "NormalizedName",
    "canonicalize_name",
    "default_environment",
    "isPipInstallInProgress",
    "load_pyproject_dependencies",
    "load_requirements",
    "pip_check",
    "pip_ensure",
    "pip_install",
    "pip_uninstall",
]


def load_requirements(path: "str | Path") -> "list[Requirement]":
    """The requirements of a requirements.txt, without comments and options."""
    lines = (re.sub(r"(^|\s)#.*", "", line).strip() for line in Path(path).read_text(encoding="utf-8").splitlines())
    return [Requirement(line) for line in lines if line and not line.startswith("-")]


def load_pyproject_dependencies(path: "str | Path") -> "list[Requirement]":
    """The dependencies of a pyproject.toml."""
    project = tomllib.loads(Path(path).read_text(encoding="utf-8"))["project"]
    return [Requirement(line) for line in project["dependencies"]]


def _list(requirements: "str | Requirement | list[str | Requirement]") -> "list[Requirement]":
    several = requirements if isinstance(requirements, list) else [requirements]
    return [Requirement(one) if isinstance(one, str) else one for one in several]


def pip_check(
    req: "str | Requirement | list[str | Requirement]", _seen: "set[tuple[str, frozenset[str]]] | None" = None
) -> "bool":
    """True if all requirements are installed in a fitting version."""
    for requirement in _list(req):
        if requirement.marker is not None and not requirement.marker.evaluate():
            continue
        try:
            version = importlib.metadata.version(requirement.name)
        except importlib.metadata.PackageNotFoundError:
            return False
        if not requirement.specifier.contains(version, prereleases=True):
            return False
    return True


def isPipInstallInProgress() -> "bool":
    """The host never installs."""
    return False


def pip_ensure(
    requirements: "str | Requirement | list[str | Requirement]",
    constraints: "str | Path | None" = None,
    skip_packages: "list[str] | None" = None,
    prompt_install: "bool" = True,
    prompt_restart: "bool" = True,
    requester: "str | None" = None,
    skip_in_testing: "bool" = True,
    show_progress: "bool" = True,
) -> "list[str] | None":
    """Install what is missing, after asking; in testing mode nothing."""
    missing = [requirement for requirement in _list(requirements) if not pip_check(requirement)]
    if not missing:
        return None
    if skip_in_testing and slicer.app.testingEnabled():
        logging.info("Testing mode: not installing %s", ", ".join(map(str, missing)))
        return None
    names = ", ".join(requirement.name for requirement in missing)
    if prompt_install and not slicer.util.confirmOkCancelDisplay(f"{requester or 'A module'} needs {names}. Install?"):
        raise RuntimeError("User declined package installation")
    return pip_install(
        [str(requirement) for requirement in missing],
        constraints=constraints,
        skip_packages=skip_packages,
        requester=requester,
        show_progress=show_progress,
    )


def pip_install(
    requirements: "str | list[str]",
    constraints: "str | Path | None" = None,
    no_deps_requirements: "str | list[str] | None" = None,
    skip_packages: "list[str] | None" = None,
    blocking: "bool" = True,
    show_progress: "bool" = True,
    requester: "str | None" = None,
    logCallback: "Callable[[str], None] | None" = None,
    completedCallback: "Callable[[int], None] | None" = None,
) -> "list[str] | None":
    """Refused: tests do not change the environment."""
    raise RuntimeError(f"The host installs nothing (asked for {requirements}); a test has to replace pip_install")


def pip_uninstall(
    requirements: "str | list[str]",
    blocking: "bool" = True,
    logCallback: "Callable[[str], None] | None" = None,
    completedCallback: "Callable[[int], None] | None" = None,
) -> "None":
    """Refused: tests do not change the environment."""
    raise RuntimeError(f"The host removes nothing (asked for {requirements}); a test has to replace pip_uninstall")
