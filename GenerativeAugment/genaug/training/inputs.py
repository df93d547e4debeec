"""The files a training reads, and whether they are still what they were when it was planned."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from genaug.cohort import Case
from genaug.dicom import visible_files
from genaug.errors import GenaugError, Reason
from genaug.files import sha256_file

_DETACHED = (".mhd", ".nhdr")
"""Headers whose voxels lie in a file of the same name beside them."""


class FileState(BaseModel):
    """A file as it was seen: its size in bytes, when it was changed in ns, and what it held."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    size: int
    changed: int
    sha256: str


def file_states(
    cases: Sequence[Case], channels: Sequence[str], labels: bool, known: Mapping[str, FileState]
) -> dict[str, FileState]:
    """Every file of the cases' images and label maps, by case, role and name, wherever the cohort lies now.

    A file that has the size and the time of `known` is taken to hold the same; any other is hashed. So a look at an
    unchanged cohort costs nothing, a copied cohort is recognised, and a changed voxel is not missed.

    Args:
        cases: whose files.
        channels: which images.
        labels: whether label maps too.
        known: what an earlier call answered.

    Raises:
        GenaugError: MISSING_FILE.
    """
    states = {}
    for case in cases:
        roles = {name: case.images[name] for name in channels if name in case.images}
        if labels and case.label is not None:
            roles["label map"] = case.label
        for role, image in roles.items():
            for file in _parts(image):
                name = f"{case.id}/{role}/{file.name}"
                states[name] = _state(file, known.get(name))
    return states


def contents(states: Mapping[str, FileState]) -> str:
    """SHA-256 over what the files hold."""
    lines = [f"{name}\0{state.sha256}\n" for name, state in sorted(states.items())]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _parts(image: Path) -> list[Path]:
    """The files an image consists of: itself, the slices of a DICOM series, or a header and its voxels."""
    if image.is_dir():
        return visible_files(image)
    if image.suffix.lower() in _DETACHED:
        beside = sorted(path for path in image.parent.iterdir() if path.name.startswith(f"{image.stem}."))
        return beside or [image]
    return [image]


def _state(file: Path, known: FileState | None) -> FileState:
    try:
        status = file.stat()
        if known is not None and (known.size, known.changed) == (status.st_size, status.st_mtime_ns):
            return known
        return FileState(size=status.st_size, changed=status.st_mtime_ns, sha256=sha256_file(file))
    except FileNotFoundError as error:
        raise GenaugError(
            Reason.MISSING_FILE, file, "no such file", "an image or label map of the cohort", "Check the path."
        ) from error
