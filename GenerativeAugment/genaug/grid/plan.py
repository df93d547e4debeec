"""Choosing a grid for a cohort from its headers alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from genaug.errors import GenaugError, Reason
from genaug.grid.geometry import Size, Spacing, axes_towards, resampled_size
from genaug.volume import AnyArray

Header = tuple[Size, npt.NDArray[np.float64]]
"""Shape (I, J, K) and (4, 4) RAS affine of one volume."""

SPACING_TOLERANCE = 1e-3
"""Spacings that differ by less than this share are the same, and no voxel is resampled."""


@dataclass(frozen=True)
class Geometry:
    """The numbers of a planned grid. All per grid axis; `size` and `content` have as many entries as the dimension."""

    spacing: Spacing
    size: tuple[int, ...]
    content: tuple[int, ...]
    fov_min: Spacing
    fov_max: Spacing
    fields: tuple[Spacing, ...]


def ratios_to(old: Iterable[float], new: Iterable[float], dimension: int) -> Spacing:
    """New voxel length over old one per axis; exactly 1 within the tolerance and along the slice axis of a 2D grid."""
    i, j, k = (
        1.0 if m >= dimension or abs(b / a - 1.0) <= SPACING_TOLERANCE else float(b / a)
        for m, (a, b) in enumerate(zip(old, new, strict=True))
    )
    return i, j, k


def round_up(size: int, multiple_of: int) -> int:
    """The smallest multiple that is not below `size`."""
    return -(-size // multiple_of) * multiple_of


PLANES = ("ASR", "RSA", "RAS")
"""Orientation of a grid of sagittal, coronal and axial planes: the third axis is the normal."""


def orientation_for(headers: Sequence[Header], dimension: int) -> str:
    """RAS, but for images that are all single planes the orientation that has them as planes of a 2D grid.

    Raises:
        GenaugError: GEOMETRY_MISMATCH for planes of several orientations, of which a 2D grid holds one.
    """
    if dimension != 2 or not headers or any(1 not in shape for shape, _ in headers):
        return "RAS"
    normals = set()
    for shape, affine in headers:
        axes, _ = axes_towards(affine, "RAS")
        # The last one, should several axes have one voxel.
        normals.add(max(m for m in range(3) if shape[axes[m]] == 1))
    if len(normals) > 1:
        found = " and ".join(("sagittal", "coronal", "axial")[m] for m in sorted(normals))
        raise GenaugError(
            Reason.GEOMETRY_MISMATCH,
            "the images of the cohort",
            f"{found} planes",
            "single planes of one orientation",
            "Make a cohort of each orientation.",
        )
    return PLANES[normals.pop()]


def plan_geometry(
    headers: Sequence[Header],
    dimension: int,
    orientation: str,
    spacing: Spacing | None,
    size: Sequence[int] | None,
    multiple_of: int,
    max_voxels: int | None,
    window: Sequence[int] | None,
    typical: bool = False,
) -> Geometry:
    """Spacing, size and field of view for volumes with these headers; see Grid.plan for the arguments.

    Raises:
        GenaugError: EMPTY_COHORT without headers; FIELD_OF_VIEW when a given `size` does not hold every volume;
            BAD_PARAMETER when `size` or `window` contradicts `multiple_of` or `max_voxels`.
    """
    if not headers:
        raise GenaugError(
            Reason.EMPTY_COHORT, "cohort", "no volume", "at least one volume", "Add training cases, then plan again."
        )
    shapes, spacings = _oriented(headers, orientation)
    extents = shapes * spacings
    median = np.round(np.median(spacings, axis=0), 4)
    chosen = median if spacing is None else np.asarray(spacing, dtype=np.float64)
    budget = None if window is not None or size is not None else max_voxels
    if budget is not None:
        chosen = _coarsened(shapes, spacings, chosen, dimension, multiple_of, budget)
    sizes = _sizes(shapes, spacings, chosen, dimension)
    content = _largest(sizes)
    needed = tuple(round_up(n, multiple_of) for n in content)
    if window is not None:
        bounds = needed
        if typical:
            bounds = tuple(round_up(int(np.ceil(n)), multiple_of) for n in np.median(sizes, axis=0))
        final = tuple(min(a, b) for a, b in zip(_checked("window", window, dimension, multiple_of, max_voxels), bounds))
    elif size is not None:
        final = _checked("size", size, dimension, multiple_of, max_voxels)
        _require_room(final, content, chosen)
    else:
        final = needed
    return Geometry(
        spacing=_three(chosen),
        size=final,
        content=content,
        fov_min=_three(extents.min(axis=0)),
        fov_max=_three(extents.max(axis=0)),
        fields=tuple(_three(extent) for extent in np.round(extents, 2)),
    )


def _oriented(headers: Sequence[Header], orientation: str) -> tuple[AnyArray, AnyArray]:
    """Shapes and spacings of all headers along the grid's axes, each (cases, 3)."""
    shapes, spacings = [], []
    for shape, affine in headers:
        axes, _ = axes_towards(affine, orientation)
        lengths = np.linalg.norm(affine[:3, :3], axis=0)
        shapes.append([shape[m] for m in axes])
        spacings.append([lengths[m] for m in axes])
    return np.array(shapes, dtype=np.int64), np.array(spacings, dtype=np.float64)


def _sizes(shapes: AnyArray, spacings: AnyArray, chosen: AnyArray, dimension: int) -> AnyArray:
    """Every volume's size after resampling along each axis of the network, (volumes, dimension)."""
    sizes = [
        [resampled_size(n, r) for n, r in zip(shape, ratios_to(old, chosen, dimension), strict=True)]
        for shape, old in zip(shapes.tolist(), spacings, strict=True)
    ]
    return np.array(sizes)[:, :dimension]


def _largest(sizes: AnyArray) -> tuple[int, ...]:
    return tuple(int(n) for n in sizes.max(axis=0))


def _coarsened(
    shapes: AnyArray, spacings: AnyArray, chosen: AnyArray, dimension: int, multiple_of: int, budget: int
) -> AnyArray:
    """The finest spacing, no finer than `chosen`, at which every whole volume fits the budget.

    Only the finest axes grow, up to a common length, so thick slices are not made thicker before they must be.
    """
    if budget < multiple_of**dimension:
        raise GenaugError(
            Reason.BAD_PARAMETER,
            "max_voxels",
            str(budget),
            f"at least {multiple_of**dimension}, the smallest grid with multiple_of {multiple_of}",
            "Raise max_voxels or lower multiple_of.",
        )

    def at_least(length: float) -> AnyArray:
        grown = np.maximum(chosen, length)
        grown[dimension:] = chosen[dimension:]
        return grown

    def fits(length: float) -> bool:
        content = _largest(_sizes(shapes, spacings, at_least(length), dimension))
        return int(np.prod([round_up(n, multiple_of) for n in content])) <= budget

    low, high = 0.0, float((shapes * spacings).max())
    if fits(low):
        return chosen
    while high - low > 1e-3:
        middle = (low + high) / 2
        low, high = (low, middle) if fits(middle) else (middle, high)
    return at_least(float(np.ceil(high * 1e3) / 1e3))


def _checked(
    name: str, size: Sequence[int], dimension: int, multiple_of: int, max_voxels: int | None
) -> tuple[int, ...]:
    wrong = len(size) != dimension or any(n < 1 or n % multiple_of for n in size)
    if wrong or (max_voxels is not None and int(np.prod(size)) > max_voxels):
        limit = "" if max_voxels is None else f", {max_voxels} voxels in all"
        raise GenaugError(
            Reason.BAD_PARAMETER,
            name,
            " x ".join(map(str, size)),
            f"{dimension} positive multiples of {multiple_of}{limit}",
            f"Change {name}, or leave it out to have it chosen from the cohort.",
        )
    return tuple(int(n) for n in size)


def _require_room(size: tuple[int, ...], content: tuple[int, ...], spacing: AnyArray) -> None:
    if any(n > room for n, room in zip(content, size, strict=True)):
        raise GenaugError(
            Reason.FIELD_OF_VIEW,
            "size",
            " x ".join(map(str, size)) + " voxels",
            " x ".join(map(str, content)) + " voxels at " + " x ".join(f"{s:g}" for s in spacing) + " mm",
            "Enlarge size, choose a coarser spacing, or crop the volumes yourself; they are never cropped silently.",
        )


def _three(values: AnyArray) -> Spacing:
    i, j, k = (float(v) for v in values)
    return i, j, k
