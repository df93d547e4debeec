"""Whether a model can do something with a volume, told before a job is started.

The worker decides by the same rules (`genaug.grid`); here they are applied to what is in the scene and to what the
package's description says, so that a refusal costs no time.
"""

from __future__ import annotations

from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np

from GenerativeAugmentLib import exchange
from GenerativeAugmentLib.catalogueFile import ModelEntry
from GenerativeAugmentLib.errors import JobError, _
from GenerativeAugmentLib.files import readJson

INFO = Path("configs") / "genaug.json"

FIELD_OF_VIEW_TOLERANCE = 0.1
"""A field of view may leave the range seen in training by this share."""

SPACING_TOLERANCE = 1e-3
"""Spacings that differ by less than this share are the same."""

SIZE_TOLERANCE = 1e-3
"""A size of 100.0000001 voxels is 100."""

_DIRECTIONS = {"R": (0, 1), "L": (0, -1), "A": (1, 1), "P": (1, -1), "S": (2, 1), "I": (2, -1)}


def gridOf(entry: ModelEntry) -> dict[str, Any]:
    """The space of a model, as its package describes it.

    Raises:
        JobError: "bad_package", "missing_file" or "unreadable_file".
    """
    if entry.folder is None:
        raise JobError(
            "missing_file",
            entry.title,
            _("an entry of the catalog without its files"),
            _("a model that is installed"),
            _("Import the model in the Models panel."),
        )
    path = entry.folder / INFO
    grid = readJson(path, _("the description of a model package")).get("grid")
    if not isinstance(grid, dict):
        raise JobError("bad_package", path, _("no grid"), _("a model package"), _("Import the model again."))
    return grid


def geometryProblem(grid: dict[str, Any], geometry: exchange.Geometry, whole: bool) -> str:
    """Why a model cannot work on a voxel grid; "" when it can.

    Args:
        grid: of `gridOf`.
        geometry: as `exchange.volumeGeometry` gives it.
        whole: for a model that is applied window by window, which sets no limit where training volumes were larger than
            a window.
    """
    shape, matrix = geometry
    axes = axesTowards(matrix, grid["orientation"])
    lengths = np.linalg.norm(np.asarray(matrix)[:3, :3], axis=0)
    for m in range(grid["dimension"]):
        size, length = shape[axes[m]], float(lengths[axes[m]])
        extent, low, high = size * length, grid["fov_min"][m], grid["fov_max"][m]
        window = grid["size"][m] * grid["spacing"][m]
        unlimited = whole and high > window
        low = min(low, window) if unlimited else low
        tooLarge = not unlimited and extent > high * (1 + FIELD_OF_VIEW_TOLERANCE)
        if extent < low * (1 - FIELD_OF_VIEW_TOLERANCE) or tooLarge:
            limits = _("at least {low:.0f} mm") if unlimited else _("{low:.0f} to {high:.0f} mm")
            found = _("field of view: {extent:.0f} mm along {direction}, while the model was trained on {limits}.")
            return found.format(
                extent=extent, direction=grid["orientation"][m], limits=limits.format(low=low, high=high)
            )
        ratio = grid["spacing"][m] / length
        needed = int(np.ceil(size / (1.0 if abs(ratio - 1.0) <= SPACING_TOLERANCE else ratio) - SIZE_TOLERANCE))
        if not whole and needed > grid["size"][m]:
            found = _("size: {needed} voxels of the model's along {direction}, while it has {room}.")
            return found.format(needed=needed, direction=grid["orientation"][m], room=grid["size"][m])
    return ""


def modalityProblem(expected: str, found: str, hounsfield: bool) -> str:
    """Why a volume's modality does not fit; "" when it does, or when nobody knows it and a model of MR may take it.

    Args:
        expected: what the model was trained on.
        found: what is known of the volume; "" for nothing.
        hounsfield: whether its values look like Hounsfield units.
    """
    if not found and hounsfield:
        text = _("modality: not known, and the values look like those of CT; the model was trained on {expected}.")
        return text.format(expected=expected)
    found = found or "MR"
    if found == expected:
        return ""
    return _("modality: {found}, while the model was trained on {expected}.").format(found=found, expected=expected)


def axesTowards(matrix: np.ndarray, orientation: str) -> tuple[int, int, int]:
    """The axes of a volume that lie closest to the patient directions of a model, such as "RAS"."""
    directions = np.asarray(matrix)[:3, :3] / np.linalg.norm(np.asarray(matrix)[:3, :3], axis=0)
    wanted = [_DIRECTIONS[code] for code in orientation]
    cosines = np.array([[sign * directions[patient, axis] for axis in range(3)] for patient, sign in wanted])
    # Summed one after the other, so that axes at 45 degrees are decided as the worker decides them.
    return max(permutations(range(3)), key=lambda axes: sum(abs(cosines[m, axis]) for m, axis in enumerate(axes)))
