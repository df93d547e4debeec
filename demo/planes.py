"""Cutting a volume into planes the way a radiologist looks at them.

Radiological convention: seen from the patient's feet and from the front, so the patient's right is at the left of the
picture in axial and coronal planes; anterior is up in axial planes and at the left in sagittal ones; superior is up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import permutations
from typing import Literal

import numpy as np
from genaug.volume import AnyArray, Volume

PlaneName = Literal["axial", "coronal", "sagittal"]
PLANES: tuple[PlaneName, ...] = ("axial", "coronal", "sagittal")

Box = tuple[tuple[int, int], ...]
"""First and one past the last index along each axis."""

MARGIN_MM = 11.0
"""Kept around the patient when the empty space around it is not shown."""

_NORMAL: dict[PlaneName, int] = {"axial": 2, "coronal": 1, "sagittal": 0}
_LETTERS: dict[PlaneName, tuple[str, str, str, str]] = {
    "axial": ("R", "L", "A", "P"),
    "coronal": ("R", "L", "S", "I"),
    "sagittal": ("A", "P", "S", "I"),
}


@dataclass(frozen=True)
class Plane:
    """One plane, ready to be drawn: the first row is the top, the first column the left of the picture.

    Attributes:
        pixels: (rows, columns).
        pixel_mm: (height, width) of a pixel.
        letters: what lies left, right, up and down: of R, L, A, P, S, I. In an oblique volume the nearest of them.
    """

    pixels: AnyArray
    pixel_mm: tuple[float, float]
    letters: tuple[str, str, str, str]

    @property
    def size_mm(self) -> tuple[float, float]:
        """(height, width)."""
        (rows, columns), (height, width) = self.pixels.shape, self.pixel_mm
        return rows * height, columns * width


def to_ras(volume: Volume) -> Volume:
    """The same voxels with axes I, J, K pointing as nearly as they can to right, anterior and superior.

    Axes are permuted and flipped, never resampled, and the affine follows, so every voxel stays where it was in the
    patient. An oblique volume stays oblique.
    """
    directions = volume.affine[:3, :3] / np.asarray(volume.spacing)
    # The assignment of axes with the largest total agreement; taking each axis' largest component one by one can
    # assign the same axis twice when the volume is turned by about 45 degrees.
    agreement = np.abs(directions)
    order = max(permutations(range(3)), key=lambda axes: float(agreement[range(3), axes].sum()))
    array = volume.array.transpose(order)
    affine = volume.affine.copy()
    affine[:3, :3] = volume.affine[:3, order]
    for ras in range(3):
        if affine[ras, ras] < 0:
            array = np.flip(array, ras)
            affine[:3, 3] += affine[:3, ras] * (array.shape[ras] - 1)
            affine[:3, ras] *= -1
    return replace(volume, array=array, affine=affine)


def cut(volume: Volume, plane: PlaneName, index: int) -> Plane:
    """Plane number `index` along its normal of a volume that `to_ras` has turned."""
    normal = _NORMAL[plane]
    across, up = (axis for axis in range(3) if axis != normal)
    # Along both axes the index grows towards R, A or S, which are at the left and at the top.
    pixels = np.take(volume.array, index, axis=normal).T[::-1, ::-1]
    return Plane(pixels, (volume.spacing[up], volume.spacing[across]), _LETTERS[plane])


def cut_at(volume: Volume, plane: PlaneName, voxel: tuple[int, int, int]) -> Plane:
    """The plane through `voxel` (of the turned volume)."""
    return cut(volume, plane, voxel[_NORMAL[plane]])


def shown_planes(volume: Volume) -> tuple[PlaneName, ...]:
    """The planes worth showing: all three of a volume, only the imaged one of a single slice. After `to_ras`."""
    flat = [plane for plane in PLANES if volume.shape[_NORMAL[plane]] == 1]
    return tuple(flat[:1]) or PLANES


def content(volume: Volume, above: float, share: float = 0.0) -> Box:
    """The smallest box that holds what is brighter than `above`, and MARGIN_MM more; all of the volume when nothing is.

    A plane counts as holding something when more than `share` of its pixels are bright, so that single noisy voxels do
    not.
    """
    bright = np.asarray(volume.array) > above
    box = []
    for axis, (size, spacing) in enumerate(zip(volume.shape, volume.spacing)):
        where = np.flatnonzero(bright.mean(axis=tuple(a for a in range(3) if a != axis)) > share)
        if not where.size:
            return tuple((0, size) for size in volume.shape)
        margin = int(np.ceil(MARGIN_MM / spacing))
        box.append((max(0, int(where[0]) - margin), min(size, int(where[-1]) + 1 + margin)))
    return tuple(box)


def union(boxes: Sequence[Box]) -> Box:
    """The smallest box that holds all of them."""
    return tuple((min(low for low, _ in axis), max(high for _, high in axis)) for axis in zip(*boxes))


def crop(volume: Volume, box: Box) -> Volume:
    """The part of a volume inside a box, at its place in the patient."""
    affine = volume.affine.copy()
    affine[:3, 3] += affine[:3, :3] @ [low for low, _ in box]
    return replace(volume, array=volume.array[tuple(slice(low, high) for low, high in box)], affine=affine)


def nearest_voxel(volume: Volume, position: tuple[float, float, float]) -> tuple[int, int, int]:
    """The voxel of the volume that is nearest to a position in the patient (RAS, mm)."""
    index = np.linalg.solve(volume.affine, [*position, 1.0])[:3]
    i, j, k = (int(v) for v in np.clip(np.round(index), 0, np.array(volume.shape) - 1))
    return i, j, k


def middle(volume: Volume) -> tuple[int, int, int]:
    """The voxel in the middle."""
    i, j, k = (n // 2 for n in volume.shape)
    return i, j, k


def fullest(mask: Volume) -> tuple[int, int, int]:
    """For each axis the plane with the most voxels of the mask, so that the mask is seen in all three.

    The middle of the volume when the mask is empty.
    """
    inside = mask.array > 0
    if not inside.any():
        return middle(mask)
    i, j, k = (int(inside.sum(axis=tuple(a for a in range(3) if a != axis)).argmax()) for axis in range(3))
    return i, j, k
