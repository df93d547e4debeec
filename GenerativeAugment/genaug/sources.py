"""Where the inputs of generated cases lay, so that a replay finds them again.

The Records prove by hash which package and which images a case was made from; they do not say where those are, since a
path is no part of what a case is. `sources.json` in the cohort's folder does, as a hint that a replay may overrule.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from genaug.files import read_json, write_json
from genaug.strict import Strict

SOURCES = "sources.json"


class Sources(Strict):
    """Role to path, relative to the folder of sources.json where that is possible."""

    roles: dict[str, str]


def write_sources(folder: Path, roles: Mapping[str, Path | None]) -> None:
    """Write the paths that are given."""
    known = {role: _relative(path, folder) for role, path in roles.items() if path is not None}
    write_json(folder / SOURCES, Sources(roles=known).model_dump())


def read_sources(folder: Path) -> dict[str, Path]:
    """The paths, absolute; empty when the folder has no sources.json.

    Raises:
        GenaugError: UNREADABLE_FILE.
    """
    path = folder / SOURCES
    if not path.is_file():
        return {}
    return {role: (folder / text).resolve() for role, text in read_json(path, Sources).roles.items()}


def _relative(path: Path, folder: Path) -> str:
    try:
        return Path(os.path.relpath(path.resolve(), folder.resolve())).as_posix()
    except ValueError:
        # Windows: no relative path leads to another drive.
        return path.resolve().as_posix()
