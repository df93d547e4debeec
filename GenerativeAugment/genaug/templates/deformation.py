"""Random diffeomorphic deformation: drawn as a few numbers, applied as a displacement field.

The deformation is T(x) = A exp(v)(x) + t about the centre of the array. v is a stationary velocity field, and its
exponential is computed by scaling and squaring (Arsigny et al., MICCAI 2006), so exp(v) is smooth and invertible with
inverse exp(-v); A and t are a random affine map. T pulls back: the warped image at x is the image at T(x).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from genaug.templates.lattice import Lattice, Shape, draw_lattice, interpolate
from genaug.volume import FloatArray, Volume

Field3 = npt.NDArray[np.float32]
"""Displacement in mm along the array's own axes, shape (3, I, J, K)."""

# The velocity is integrated on a grid this many times finer than its lattice, which resolves a cubic spline.
_OVERSAMPLING = 6

# After scaling, no point moves further than this share of that grid's step, so that one Euler step is accurate.
_SMALL_STEP = 0.05

Three = tuple[float, float, float]


class AffineRanges(BaseModel):
    """Half widths of the uniform ranges from which an affine map is drawn, each per axis."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rotation_deg: float = Field(default=5.0, ge=0, lt=90)
    scaling: float = Field(default=0.06, ge=0, lt=0.5, description="share of the length")
    shear: float = Field(default=0.02, ge=0, lt=0.5)
    translation_mm: float = Field(default=2.0, ge=0)


class DeformationDraws(BaseModel):
    """One drawn deformation.

    Attributes:
        velocity: lattice of the velocity's three components in mm.
        rotation_deg: about the array's three axes, applied in that order.
        scaling: factors along the axes.
        shear: of the first axis by the second, of the first by the third, of the second by the third.
        translation_mm: along the axes.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    velocity: Lattice
    rotation_deg: Three = (0.0, 0.0, 0.0)
    scaling: Three = (1.0, 1.0, 1.0)
    shear: Three = (0.0, 0.0, 0.0)
    translation_mm: Three = (0.0, 0.0, 0.0)

    @property
    def matrix(self) -> npt.NDArray[np.float64]:
        """The linear part A = rotation, shear, scaling: (3, 3), of positive determinant."""
        rotation = np.eye(3)
        for axis, degrees in enumerate(self.rotation_deg):
            angle, (a, b) = np.deg2rad(degrees), [m for m in range(3) if m != axis]
            turn = np.eye(3)
            turn[a, a] = turn[b, b] = np.cos(angle)
            turn[a, b], turn[b, a] = -np.sin(angle), np.sin(angle)
            rotation = turn @ rotation
        shear = np.eye(3)
        shear[0, 1], shear[0, 2], shear[1, 2] = self.shear
        return np.asarray(rotation @ shear @ np.diag(self.scaling))


def draw_deformation(
    rng: np.random.Generator,
    shape: Shape,
    spacing: Sequence[float],
    amplitude_mm: float = 2.5,
    smoothness_mm: float = 36.0,
    affine: AffineRanges | None = None,
) -> DeformationDraws:
    """Draw a deformation for arrays of `shape` with `spacing`.

    Args:
        rng: source of the draws.
        shape: of the array.
        spacing: its voxel edge lengths in mm.
        amplitude_mm: standard deviation of the velocity's components, about that of the displacement.
        smoothness_mm: distance of the lattice points of the velocity.
        affine: ranges of the affine part, None for the default ones.
    """
    ranges = affine or AffineRanges()
    return DeformationDraws(
        velocity=draw_lattice(rng, shape, spacing, smoothness_mm, amplitude_mm, components=3),
        rotation_deg=_uniform(rng, 0.0, ranges.rotation_deg),
        scaling=_uniform(rng, 1.0, ranges.scaling),
        shear=_uniform(rng, 0.0, ranges.shear),
        translation_mm=_uniform(rng, 0.0, ranges.translation_mm),
    )


def displacement(draws: DeformationDraws, shape: Shape, spacing: Sequence[float], inverse: bool = False) -> Field3:
    """The displacement T(x) - x in mm, or that of the inverse of T, at every voxel centre.

    Args:
        draws: the deformation.
        shape: of the array; another resolution of the same field of view gives the same deformation.
        spacing: voxel edge lengths in mm.
        inverse: return T^-1(x) - x instead.

    Returns:
        float32 array of shape (3, *shape), along the array's axes.
    """
    lengths = np.array([(n - 1) * s for n, s in zip(shape, spacing, strict=True)])
    moved = _exponential(draws.velocity.array * (-1.0 if inverse else 1.0), lengths)
    centre = (lengths / 2).reshape(3, 1)
    offset = np.array(draws.translation_mm).reshape(3, 1)
    axes = [np.arange(n, dtype=np.float32) * np.float32(s) for n, s in zip(shape, spacing, strict=True)]
    positions = np.stack(np.meshgrid(*axes, indexing="ij")).reshape(3, -1)
    if inverse:
        before = (_times(np.linalg.inv(draws.matrix), positions - centre - offset) + centre).astype(np.float32)
        at = before * _steps_per_mm(moved.shape[1:], lengths)
        after = before + _at(moved, at)
    else:
        inner = positions + interpolate(moved, shape).reshape(3, -1)
        after = _times(draws.matrix, inner - centre) + centre + offset
    return np.asarray(after - positions, dtype=np.float32).reshape(3, *shape)


def warp(volume: Volume, field: Field3, order: int) -> Volume:
    """The volume pulled back by a displacement field, on its own grid.

    Args:
        volume: image or label map.
        field: displacement in mm along the volume's axes, shape (3, *volume.shape).
        order: of the spline: 0 for label maps, 1 or 3 for images. Values stay within the volume's own range.

    Returns:
        The warped volume: the same dtype for order 0, else float32. Beyond the border the border's value goes on.
    """
    from scipy import ndimage

    if volume.is_label and order != 0:
        raise ValueError("a label map is warped with order 0")
    at = np.indices(volume.shape, dtype=np.float32)
    at += field / np.array(volume.spacing, dtype=np.float32).reshape(3, 1, 1, 1)
    dtype = volume.array.dtype if order == 0 else np.dtype(np.float32)
    warped = ndimage.map_coordinates(volume.array.astype(dtype, copy=False), at, order=order, mode="nearest")
    if order > 1:
        np.clip(warped, volume.array.min(), volume.array.max(), out=warped)
    return volume.with_array(warped, step="warp", order=order)


def _exponential(velocity: npt.NDArray[np.float64], lengths: npt.NDArray[np.float64]) -> Field3:
    """exp(v)(x) - x in mm on a grid `_OVERSAMPLING` times finer than the velocity's lattice."""
    i, j, k = ((n - 1) * _OVERSAMPLING + 1 for n in velocity.shape[1:])
    moved = interpolate(velocity, (i, j, k))
    per_mm = _steps_per_mm((i, j, k), lengths).reshape(3, 1, 1, 1)
    largest = float(np.abs(moved * per_mm).max())
    squarings = max(0, int(np.ceil(np.log2(max(largest, _SMALL_STEP) / _SMALL_STEP))))
    moved /= 2.0**squarings
    base = np.indices((i, j, k), dtype=np.float32)
    for _ in range(squarings):
        at = base + moved * per_mm
        moved = moved + _at(moved, at)
    return moved


def _at(field: Field3, index: FloatArray) -> Field3:
    """The field at fractional voxel indices; cubic, because linear interpolation damps it at every squaring."""
    from scipy import ndimage

    return np.stack([ndimage.map_coordinates(part, index, order=3, mode="nearest") for part in field])


def _times(matrix: FloatArray, points: FloatArray) -> FloatArray:
    """The product of a (3, 3) matrix and (3, N) points, summed in a fixed order, which BLAS does not promise."""
    return np.stack([sum((row[m] * points[m] for m in (1, 2)), row[0] * points[0]) for row in matrix])


def _steps_per_mm(points: Sequence[int], lengths: npt.NDArray[np.float64]) -> Field3:
    """Grid steps per mm along each axis, shape (3, 1); 0 along an axis of a single voxel, which has no length."""
    steps = np.array(points, dtype=np.float64) - 1
    return np.divide(steps, lengths, out=np.zeros(3), where=lengths > 0).astype(np.float32).reshape(3, 1)


def _uniform(rng: np.random.Generator, centre: float, half_width: float) -> Three:
    x, y, z = np.round(centre + rng.uniform(-half_width, half_width, 3), 5)
    return float(x), float(y), float(z)
