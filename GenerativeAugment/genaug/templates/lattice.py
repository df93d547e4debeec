"""Smooth random functions: values on a coarse lattice, interpolated by cubic splines.

The lattice values are the draws; whatever has few numbers and no noise can be written into a Record and read again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, model_validator

from genaug.volume import AnyArray

Shape = tuple[int, int, int]

# Digits that are kept of a drawn value: enough for nanometres, few enough for a readable Record.
_DECIMALS = 4


class Lattice(BaseModel):
    """Values on a lattice of `shape` points whose outermost points lie on an array's outermost voxel centres.

    Attributes:
        shape: lattice points along each axis.
        values: in C order; a multiple of the number of points when there are several components.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    shape: Shape
    values: tuple[float, ...]

    @model_validator(mode="after")
    def _consistent(self) -> Lattice:
        if not self.values or len(self.values) % int(np.prod(self.shape)):
            raise ValueError(f"{len(self.values)} values for a lattice of shape {self.shape}")
        return self

    @property
    def array(self) -> npt.NDArray[np.float64]:
        """The values, shape (components, *shape)."""
        return np.array(self.values, dtype=np.float64).reshape(-1, *self.shape)


def draw_lattice(
    rng: np.random.Generator,
    shape: Shape,
    spacing: Sequence[float],
    smoothness_mm: float,
    amplitude: float,
    components: int = 1,
) -> Lattice:
    """Independent normal values of standard deviation `amplitude` on points about `smoothness_mm` apart.

    Args:
        rng: source of the draws.
        shape: of the array that the lattice spans.
        spacing: its voxel edge lengths in mm.
        smoothness_mm: distance of lattice points, that is half the shortest wavelength.
        amplitude: standard deviation of the values.
        components: 3 for a vector field.
    """
    i, j, k = (max(2, round((n - 1) * s / smoothness_mm) + 1) for n, s in zip(shape, spacing, strict=True))
    values = np.round(rng.normal(0.0, amplitude, (components, i, j, k)), _DECIMALS)
    return Lattice(shape=(i, j, k), values=tuple(values.ravel().tolist()))


def interpolate(array: AnyArray, shape: Shape) -> npt.NDArray[np.float32]:
    """Cubic spline through the values of a coarse array, sampled on `shape` voxels with the same outermost points.

    One axis after the other, as a product with a sparse matrix of four weights a row: many times faster than sampling
    in three dimensions at once, and, unlike a dense product, the same to the last bit on any number of threads.

    Args:
        array: shape (components, *lattice), at least two points along each axis.
        shape: of the result along the last three axes.

    Returns:
        float32 array of shape (components, *shape).
    """
    from scipy import ndimage

    result = np.asarray(array, dtype=np.float64)
    for axis in (1, 2, 3):
        result = ndimage.spline_filter1d(result, order=3, axis=axis, mode="mirror")
    result = result.astype(np.float32)
    for axis, samples in enumerate(shape, start=1):
        points = result.shape[axis]
        lines = np.moveaxis(result, axis, 0)
        sampled = _weights(points, samples) @ lines.reshape(points, -1)
        result = np.moveaxis(sampled.reshape(samples, *lines.shape[1:]), 0, axis)
    return np.ascontiguousarray(result)


def _weights(points: int, samples: int) -> Any:
    """Sparse (samples, points) matrix of cubic B-spline weights, the spline being mirrored at its outermost points."""
    from scipy import sparse

    position = np.linspace(0, points - 1, samples)
    first = np.minimum(np.floor(position), points - 2).astype(np.intp)
    t = position - first
    # The four pieces of the uniform cubic B-spline.
    weights = np.stack([(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3], axis=1) / 6
    columns = np.abs(first[:, np.newaxis] + np.arange(-1, 3))
    columns = np.where(columns > points - 1, 2 * (points - 1) - columns, columns)
    rows = np.repeat(np.arange(samples), 4)
    entries = (weights.ravel().astype(np.float32), (rows, columns.ravel()))
    return sparse.csr_matrix(entries, shape=(samples, points))
