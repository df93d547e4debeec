"""Volume: voxels together with where they are in the patient."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from genaug.errors import GenaugError, Reason

FloatArray = npt.NDArray[np.floating[Any]]
AnyArray = npt.NDArray[Any]
BoolArray = npt.NDArray[np.bool_]

LABEL = "label"
"""The modality of a label map: integer voxels, nearest neighbour only."""

GEOMETRY_TOLERANCE_MM = 1e-3
"""Two grids are the same when no corner of one lies further than this from the other's."""


AIR_HU = -500.0
"""What lies around a body, or in a lung, is below, and no image of another kind commonly is."""

DARKEST_PERCENT = 1.0

SAMPLES = 20_000


@dataclass(frozen=True, eq=False)
class Volume:
    """One scalar image or label map of a subject.

    Attributes:
        array: voxels, shape (I, J, K); a 2D image has K = 1. Never written to.
        affine: (4, 4) float64, voxel index (i, j, k, 1) to patient position in mm, RAS. It may be oblique, anisotropic
            and left-handed.
        modality: "MR", "CT", ... or "label".
        history: the steps that made these voxels from the stored ones, oldest first, as plain dictionaries.
        source: the file it was read from, if any.
    """

    array: AnyArray
    affine: npt.NDArray[np.float64]
    modality: str = "MR"
    history: tuple[Mapping[str, Any], ...] = field(default=())
    source: Path | None = None

    def __post_init__(self) -> None:
        if self.array.ndim != 3:
            raise ValueError(f"a Volume has three axes (I, J, K), got shape {self.array.shape}")
        affine = np.asarray(self.affine, dtype=np.float64)
        if affine.shape != (4, 4) or not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-12:
            raise GenaugError(
                Reason.GEOMETRY_MISMATCH,
                self.source or "volume",
                f"affine {affine.tolist()}",
                "an invertible 4 x 4 matrix",
                "Repair the image's orientation and spacing in the header.",
            )
        object.__setattr__(self, "affine", affine)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Number of voxels along I, J, K."""
        i, j, k = self.array.shape
        return int(i), int(j), int(k)

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Voxel edge lengths along I, J, K in mm."""
        x, y, z = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(x), float(y), float(z)

    @property
    def extent(self) -> tuple[float, float, float]:
        """Field of view along I, J, K in mm: size times spacing."""
        (a, b, c), (x, y, z) = self.shape, self.spacing
        return a * x, b * y, c * z

    @property
    def is_label(self) -> bool:
        """Whether this is a label map."""
        return self.modality == LABEL

    def with_array(self, array: AnyArray, **step: Any) -> Volume:
        """The same grid with other voxels; `step` is appended to the history."""
        if array.shape != self.array.shape:
            raise ValueError(f"shape {array.shape} does not fit the grid {self.array.shape}")
        return replace(self, array=array, history=(*self.history, step) if step else self.history)

    def same_grid(self, other: Volume) -> bool:
        """Whether both have the same size and every voxel at the same place (corners within GEOMETRY_TOLERANCE_MM)."""
        return geometry_difference(self, other) == ""


def geometry_difference(first: Volume, second: Volume) -> str:
    """What differs between two grids, in words; "" when they agree.

    Corners are compared rather than matrix entries, so that the tolerance is a distance in the patient.
    """
    if first.shape != second.shape:
        return f"size {_cross(first.shape)} against {_cross(second.shape)}"
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in first.shape], indexing="ij")).reshape(3, -1)
    corners = np.vstack([corners, np.ones(corners.shape[1])])
    distance = np.linalg.norm((first.affine @ corners - second.affine @ corners)[:3], axis=0).max()
    if distance > GEOMETRY_TOLERANCE_MM:
        return (
            f"voxels up to {distance:.3f} mm apart (spacing {_cross(first.spacing)} against {_cross(second.spacing)},"
            f" origin {_cross(first.affine[:3, 3])} against {_cross(second.affine[:3, 3])})"
        )
    return ""


def looks_like_hounsfield(array: AnyArray) -> bool:
    """Whether the lowest voxels are as dark as the air of a CT; some of them, evenly spread, are looked at.

    The Slicer module asks its user in the same case (`GenerativeAugmentLib.modalities`).
    """
    voxels = array.ravel(order="K")
    some = voxels[:: max(1, voxels.size // SAMPLES)]
    return some.size > 0 and float(np.percentile(some, DARKEST_PERCENT)) < AIR_HU


def require_told_modality(volume: Volume, remedy: str) -> None:
    """Raise WRONG_MODALITY, naming the file, for MR that nobody has called so and that looks like CT.

    A CT that is taken for MR loses its Hounsfield units, and a model of MR makes something of it all the same.
    """
    if volume.modality == "MR" and looks_like_hounsfield(volume.array):
        raise GenaugError(
            Reason.WRONG_MODALITY,
            volume.source or "image",
            f"no modality in the file, and {DARKEST_PERCENT:g} % of its voxels or more below {AIR_HU:g}, as air in CT",
            "a modality that is told where it cannot be guessed",
            remedy,
        )


def label_volumes(label: Volume, values: Sequence[int]) -> list[float]:
    """Volume of each label value in mm3; 0 for an absent one."""
    voxel = abs(float(np.linalg.det(label.affine[:3, :3])))
    return [float(np.count_nonzero(label.array == value)) * voxel for value in values]


def label_values(array: AnyArray) -> list[int]:
    """The values in a label map, ascending; an order of magnitude sooner than `np.unique` of it.

    Eight bytes of it are looked at as one number, of which there are few different ones, because labels are coherent.
    """
    # In the order of memory: files are read with I fastest, and to flatten such an array takes longest of all.
    flat = array.ravel(order="K")
    whole = flat.size * flat.itemsize // 8 * 8 // flat.itemsize
    words = np.unique(flat[:whole].view(np.uint64))
    return [int(value) for value in np.unique(np.concatenate([words.view(flat.dtype), flat[whole:]]))]


def require_same_grid(first: Volume, other: Volume) -> None:
    """Raise GEOMETRY_MISMATCH, naming both files, unless the two volumes share one grid."""
    difference = geometry_difference(first, other)
    if difference:
        raise GenaugError(
            Reason.GEOMETRY_MISMATCH,
            other.source or other.modality,
            difference,
            f"the grid of {first.source or first.modality}",
            "Resample the label map onto the image with nearest neighbour, or export both from one reference geometry."
            if other.is_label
            else "Register the images of a case and resample them onto one grid, in Slicer with General Registration.",
        )


def _cross(values: Any) -> str:
    return " x ".join(f"{v:g}" for v in values)
