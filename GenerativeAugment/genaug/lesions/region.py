"""Where lesions may lie, read only where somebody looks."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from genaug.lesions.local import BoolArray, Box, Index, IndexArray, as_index, crop, whole
from genaug.volume import AnyArray, Volume

_LATTICE = 80**3
"""Largest number of lattice points of the first, coarse look for the widest place."""
_LATTICE_MM = 4.0


@dataclass
class Region:
    """The tissue of a volume without the lesions that are there already; outside the volume there is none.

    No array of the volume's size is ever made: the tissue map is compared at the voxels that are asked for.

    Attributes:
        tissue: label map or mask on the host's grid.
        values: values of `tissue` that count; none means all but 0.
        annotated: a label map with lesions to keep clear of, and their value.
        taken: boxes and masks of the lesions placed so far.
    """

    tissue: Volume
    values: tuple[int, ...] = ()
    annotated: tuple[AnyArray, int] | None = None
    taken: list[tuple[Box, BoolArray]] = field(default_factory=list)

    @property
    def shape(self) -> Index:
        """Size of the volume."""
        return self.tissue.shape

    def take(self, box: Box, mask: BoolArray) -> None:
        """Keep later lesions off this one."""
        self.taken.append((box, mask))

    def at(self, index: IndexArray) -> BoolArray:
        """Whether the voxels lie in the region.

        Args:
            index: (n, 3) voxel indices, also beyond the volume.
        """
        free = np.asarray(((index >= 0) & (index < self.shape)).all(axis=1))
        known = index if free.all() else np.where(free[:, None], index, 0)
        i, j, k = known.T
        free &= self._is_tissue(self.tissue.array[i, j, k])
        if self.annotated is not None:
            free &= self.annotated[0][i, j, k] != self.annotated[1]
        for box, mask in self.taken:
            near = np.flatnonzero(np.logical_and(known >= box.lower, known < box.upper).all(axis=1))
            a, b, c = (known[near] - box.lower).T
            free[near] &= ~mask[a, b, c]
        return free

    def crop(self, box: Box) -> BoolArray:
        """The region in a box, which may reach beyond the volume."""
        free = np.zeros(box.shape, dtype=bool)
        inside = box.intersection(whole(self.shape))
        if 0 in inside.shape:
            return free
        free[inside.within(box)] = self._is_tissue(self.tissue.array[inside.slices])
        if self.annotated is not None:
            free &= crop(self.annotated[0], box) != self.annotated[1]
        for taken, mask in self.taken:
            common = taken.intersection(box)
            if 0 not in common.shape:
                free[common.within(box)] &= ~mask[common.within(taken)]
        return free

    def distance_mm(self, box: Box) -> npt.NDArray[np.float64]:
        """Distance of the voxels of `box` to the nearest voxel outside the region, as far as the box shows it."""
        from scipy import ndimage

        free = self.crop(box)
        if free.all():
            return np.full(box.shape, np.inf)
        return np.asarray(ndimage.distance_transform_edt(free, sampling=self.tissue.spacing))

    def widest_mm(self) -> float:
        """Diameter of the largest sphere that fits into the region; 0 when the region is empty.

        Branch and bound: on a lattice, which is a subset of the voxels, the distance to the outside is never too
        small, and it changes by at most the way to the next lattice point. So cells are measured exactly, best bound
        first, until no other cell can hold more.
        """
        spacing = np.array(self.tissue.spacing)
        stride, reach, bound = self._lattice()
        cells = np.argwhere(bound > 0)
        limits = bound[bound > 0] + reach
        best = 0.0
        for n in np.argsort(-limits, kind="stable"):
            if limits[n] <= best:
                break
            # One lattice point of padding stands before the first voxel.
            centre = (cells[n] - self._padded()) * stride
            half = stride // 2 + 1
            pad = np.where(self._padded(), np.ceil(limits[n] / spacing) + 1, 0).astype(int)
            outer = Box(as_index(centre - half - pad), as_index(centre + half + pad + 1)).intersection(self._rim())
            inner = Box(as_index(centre - half), as_index(centre + half + 1)).intersection(whole(self.shape))
            best = max(best, float(self.distance_mm(outer)[inner.within(outer)].max()))
        # Half a voxel lies between the last voxel's centre and the border.
        return max(0.0, 2 * (best - 0.5 * float(spacing[self._padded() == 1].min()))) if best else 0.0

    def _is_tissue(self, values: AnyArray) -> BoolArray:
        if not self.values:
            return np.asarray(values != 0)
        if len(self.values) == 1:
            return np.asarray(values == self.values[0])
        return np.isin(values, self.values)

    def _padded(self) -> npt.NDArray[np.int64]:
        """1 along axes that have a border; 0 along the single slice of a 2D image, which has none."""
        return np.array([1 if n > 1 else 0 for n in self.shape])

    def _rim(self) -> Box:
        """The volume with one voxel of outside around it."""
        pad = self._padded()
        return Box(as_index(-pad), as_index(np.array(self.shape) + pad))

    def _lattice(self) -> tuple[npt.NDArray[np.int64], float, npt.NDArray[np.float64]]:
        """Strides, half a cell's diagonal in mm, and each lattice point's distance to the outside on the lattice."""
        from scipy import ndimage

        spacing, shape = np.array(self.tissue.spacing), np.array(self.shape)
        step = max(_LATTICE_MM, float(np.prod(spacing * shape) / _LATTICE) ** (1 / 3))
        stride = np.clip(np.round(step / spacing).astype(int), 1, np.maximum(shape // 2, 1))
        points = np.stack(np.meshgrid(*[np.arange(0, n, s) for n, s in zip(shape, stride)], indexing="ij"), axis=-1)
        free = self.at(points.reshape(-1, 3)).reshape(points.shape[:3])
        free = np.pad(free, [(int(p), int(p)) for p in self._padded()])
        reach = 0.5 * float(np.linalg.norm(spacing * stride * self._padded()))
        return stride, reach, np.asarray(ndimage.distance_transform_edt(free, sampling=spacing * stride))
