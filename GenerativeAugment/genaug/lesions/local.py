"""Working on a box of a volume, so that the cost of a lesion depends on the lesion and not on the volume."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from genaug.errors import GenaugError, Reason
from genaug.volume import AnyArray, BoolArray, Volume

Index = tuple[int, int, int]
Vector = tuple[float, float, float]
Float32Array = npt.NDArray[np.float32]
IndexArray = npt.NDArray[np.intp]

SHEAR_TOLERANCE = 1e-3
"""Largest cosine between two axes of a grid whose distances are still taken along its axes."""


class Unfit(GenaugError):
    """A drawn lesion cannot be used here; another draw may do."""


class TooSmall(Unfit):
    """It holds no voxel of the host."""


class TooLarge(Unfit):
    """There is no room for it."""


@dataclass(frozen=True)
class Box:
    """Voxels lower <= (i, j, k) < upper of a volume; it may reach beyond the volume."""

    lower: Index
    upper: Index

    @property
    def shape(self) -> Index:
        """Number of voxels along I, J, K."""
        a, b, c = (max(0, high - low) for low, high in zip(self.lower, self.upper))
        return a, b, c

    @property
    def slices(self) -> tuple[slice, slice, slice]:
        """The slices that read this box, which must lie inside the array."""
        i, j, k = (slice(low, high) for low, high in zip(self.lower, self.upper))
        return i, j, k

    def intersection(self, other: Box) -> Box:
        """What both boxes hold; its shape has a zero when they do not touch."""
        lower = tuple(max(a, b) for a, b in zip(self.lower, other.lower))
        upper = tuple(min(a, b) for a, b in zip(self.upper, other.upper))
        return Box(as_index(lower), as_index(upper))

    def within(self, outer: Box) -> tuple[slice, slice, slice]:
        """The slices that read this box from an array that holds `outer`."""
        return self.moved(tuple(-v for v in outer.lower)).slices

    def moved(self, by: Any) -> Box:
        """The box shifted by whole voxels."""
        return Box(
            as_index([low + int(step) for low, step in zip(self.lower, by)]),
            as_index([high + int(step) for high, step in zip(self.upper, by)]),
        )


def as_index(values: Any) -> Index:
    """Three Python integers."""
    i, j, k = (int(v) for v in values)
    return i, j, k


def as_vector(values: Any) -> Vector:
    """Three Python floats."""
    x, y, z = (float(v) for v in values)
    return x, y, z


def whole(shape: Index) -> Box:
    """The box of a whole volume."""
    return Box((0, 0, 0), shape)


def box_around(volume: Volume, radius_mm: float) -> Box:
    """The smallest box around voxel (0, 0, 0) that holds a sphere of `radius_mm` on the volume's grid.

    Along an axis of one voxel (a 2D image) the box has one voxel: the lesion is cut by the slice. It never reaches
    further than the volume is long, since nothing beyond that can be seen from any voxel.
    """
    inverse = np.linalg.inv(volume.affine[:3, :3])
    reach = [
        0 if size == 1 else min(size, math.ceil(radius_mm * float(np.linalg.norm(row))) + 1)
        for size, row in zip(volume.shape, inverse)
    ]
    return Box(as_index([-n for n in reach]), as_index([n + 1 for n in reach]))


def positions_mm(volume: Volume, box: Box, origin: Vector) -> Float32Array:
    """Position of the voxels of `box` relative to the point at voxel coordinates `origin`.

    Returns:
        (3, *box.shape) float32, RAS millimetres.
    """
    linear = volume.affine[:3, :3]
    i, j, k = (np.arange(low, high) - at for low, high, at in zip(box.lower, box.upper, origin))
    return np.stack(
        [
            (row[0] * i[:, None, None] + row[1] * j[None, :, None] + row[2] * k[None, None, :]).astype(np.float32)
            for row in linear
        ]
    )


def crop(array: AnyArray, box: Box, fill: Any = 0) -> AnyArray:
    """A copy of the box; voxels beyond the array are `fill`."""
    values = np.full(box.shape, fill, dtype=array.dtype)
    inside = box.intersection(whole(as_index(array.shape)))
    if 0 not in inside.shape:
        values[inside.within(box)] = array[inside.slices]
    return values


def crop_edge(array: AnyArray, box: Box) -> AnyArray:
    """A copy of the box; voxels beyond the array repeat its nearest voxel."""
    ranges = [np.clip(np.arange(lo, hi), 0, n - 1) for lo, hi, n in zip(box.lower, box.upper, array.shape)]
    return np.asarray(array[np.ix_(*ranges)])


def mask_box(mask: AnyArray) -> Box:
    """The smallest box that holds every true voxel; an empty mask is a ValueError."""
    ranges = []
    for axis in range(3):
        hit = np.flatnonzero(mask.any(axis=tuple(a for a in range(3) if a != axis)))
        if hit.size == 0:
            raise ValueError("an empty mask has no box")
        ranges.append((hit[0], hit[-1] + 1))
    return Box(as_index([r[0] for r in ranges]), as_index([r[1] for r in ranges]))


def most_touched(values: AnyArray, mask: BoolArray, counted: BoolArray, spacing: Vector) -> int | None:
    """The value that the largest part of a mask's surface borders on; None where it borders on nothing that counts.

    Args:
        values: of a label map, (I, J, K).
        mask: what has the surface.
        counted: voxels whose value counts; those of the mask itself never do.
        spacing: voxel size in mm.
    """
    counted = counted & ~mask
    touched, areas = [], []
    for axis in range(3):
        area = float(np.prod(spacing)) / spacing[axis]
        one, other = ([slice(None)] * 3 for _ in range(2))
        one[axis], other[axis] = slice(None, -1), slice(1, None)
        for inside, outside in ((tuple(one), tuple(other)), (tuple(other), tuple(one))):
            found = values[outside][mask[inside] & counted[outside]]
            touched.append(found)
            areas.append(np.full(found.size, area))
    there, which = np.unique(np.concatenate(touched), return_inverse=True)
    if not there.size:
        return None
    return int(there[np.argmax(np.bincount(which, np.concatenate(areas)))])


def require_orthogonal(volume: Volume) -> None:
    """Raise GEOMETRY_MISMATCH for a sheared grid, on which distances along the axes would not be distances."""
    columns = volume.affine[:3, :3] / np.linalg.norm(volume.affine[:3, :3], axis=0)
    cosine = float(np.abs(columns.T @ columns - np.eye(3)).max())
    if cosine > SHEAR_TOLERANCE:
        raise GenaugError(
            Reason.GEOMETRY_MISMATCH,
            volume.source or volume.modality,
            f"axes that are not perpendicular (cosine {cosine:.3f})",
            f"perpendicular axes (cosine up to {SHEAR_TOLERANCE:g})",
            "Resample the volume onto a grid without shear, for instance one made by a CT gantry-tilt correction.",
        )


@dataclass
class Canvas:
    """A volume with small changes that have not been copied into it yet.

    Attributes:
        base: the unchanged voxels, never written to; None stands for zeros.
        shape: size of the volume.
        dtype: type of the voxels.
        changes: boxes and their new voxels, oldest first.
    """

    base: AnyArray | None
    shape: Index
    dtype: np.dtype[Any]
    changes: list[tuple[Box, AnyArray]] = field(default_factory=list)

    @classmethod
    def over(cls, array: AnyArray) -> Canvas:
        """A canvas that shows `array`."""
        return cls(array, as_index(array.shape), array.dtype)

    @classmethod
    def zeros(cls, shape: Index, dtype: Any) -> Canvas:
        """An empty canvas."""
        return cls(None, shape, np.dtype(dtype))

    def read(self, box: Box) -> AnyArray:
        """A copy of the voxels of `box` with every change made so far."""
        values = np.zeros(box.shape, self.dtype) if self.base is None else self.base[box.slices].copy()
        for changed, new in self.changes:
            common = changed.intersection(box)
            if 0 not in common.shape:
                values[common.within(box)] = new[common.within(changed)]
        return values

    def write(self, box: Box, values: AnyArray) -> None:
        """Change the voxels of `box`, which lies inside the volume."""
        self.changes.append((box, values.astype(self.dtype, copy=False)))

    def write_into(self, array: AnyArray) -> None:
        """Write only the changed boxes into the caller's own copy of the base, for instance a memory-mapped file."""
        if array.shape != self.shape:
            raise ValueError(f"shape {array.shape} does not fit {self.shape}")
        for box, values in self.changes:
            array[box.slices] = values

    def whole(self) -> AnyArray:
        """The complete volume as a new array in the memory order of the base: the one pass over all voxels."""
        array = np.zeros(self.shape, self.dtype) if self.base is None else np.array(self.base, order="K", copy=True)
        self.write_into(array)
        return array
