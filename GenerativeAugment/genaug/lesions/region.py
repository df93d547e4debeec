"""Where lesions may lie, read only where somebody looks."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from genaug.lesions.local import Box, Index, IndexArray, as_index, crop, most_touched, whole
from genaug.volume import AnyArray, BoolArray, Volume

_BLOCKS = 96**3
"""Largest number of blocks of the first, coarse look for the widest place."""
_BLOCK_MM = 2.0
_MOST_LOOKS = 200
_CLOSE_LOOK = 64**3
_CLOSE_ENOUGH = 1.05


@dataclass
class Region:
    """The tissue of a volume without the lesions that are there already; outside the volume there is none.

    No array of the volume's size is ever made: the tissue map is compared at the voxels that are asked for.

    Attributes:
        tissue: label map or mask on the host's grid.
        values: values of `tissue` that count; none means all but 0.
        annotated: a label map with lesions to keep clear of, and their value.
        taken: boxes and masks of the lesions placed so far, a voxel wider than they are.
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
        """Keep later lesions off this one, with at least a voxel between them, so that they stay two lesions."""
        from scipy import ndimage

        self.taken.append((box, ndimage.binary_dilation(mask, np.ones((3, 3, 3)))))

    def at(self, index: IndexArray) -> BoolArray:
        """Whether the voxels lie in the region.

        Args:
            index: (n, 3) voxel indices, also beyond the volume.
        """
        free = np.asarray(((index >= 0) & (index < self.shape)).all(axis=1))
        known = index if free.all() else np.where(free[:, None], index, 0)
        i, j, k = known.T
        free &= self._is_tissue(self.tissue.array[i, j, k])
        free &= self.unannotated(known)
        for box, mask in self.taken:
            near = np.flatnonzero(np.logical_and(known >= box.lower, known < box.upper).all(axis=1))
            a, b, c = (known[near] - box.lower).T
            free[near] &= ~mask[a, b, c]
        return free

    def unannotated(self, index: IndexArray) -> BoolArray:
        """Whether the voxels hold no annotated lesion; beyond the volume there is none. Arguments as for `at`."""
        if self.annotated is None:
            return np.ones(len(index), dtype=bool)
        array, value = self.annotated
        there = np.asarray(((index >= 0) & (index < self.shape)).all(axis=1))
        i, j, k = np.where(there[:, None], index, 0).T
        return np.asarray(~there | (array[i, j, k] != value))

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

    def around(self, box: Box, mask: BoolArray) -> BoolArray:
        """The part of the region in `box`, which lies inside the volume, that a lesion is to be compared with.

        Of several tissues it is the one that touches most of the lesion's border, as for the lesions of a bank.
        """
        free = self.crop(box)
        values = self.tissue.array[box.slices]
        touched = most_touched(values, mask, free, self.tissue.spacing)
        return free if touched is None else free & (values == touched)

    def distance_mm(self, box: Box) -> npt.NDArray[np.float64]:
        """Distance of the voxels of `box` to the nearest voxel outside the region, as far as the box shows it."""
        from scipy import ndimage

        free = self.crop(box)
        if free.all():
            return np.full(box.shape, np.inf)
        return np.asarray(ndimage.distance_transform_edt(free, sampling=self.tissue.spacing))

    def widest_mm(self) -> float:
        """Diameter of the largest sphere that fits into the region, within about 5 %; 0 when the region is empty.

        Branch and bound. A block that is not all tissue has something outside within half its diagonal of its centre,
        so the distance between blocks bounds the distance between voxels. Blocks are measured closely, best bound
        first, until no other can hold notably more.
        """
        spacing = np.array(self.tissue.spacing)
        size, full, some = self._blocks()
        bound = self._between_blocks(full, size * spacing)
        bound += float(np.linalg.norm(spacing * size * self._padded()))
        best = 0.0
        for _ in range(_MOST_LOOKS):
            first = as_index(np.unravel_index(np.argmax(np.where(some, bound, 0)), some.shape))
            limit = float(bound[first])
            if not some[first] or limit <= best * _CLOSE_ENOUGH:
                break
            # The neighbours of the most promising block are about as promising and seen with it at little cost.
            around = np.where(self._padded(), (limit / 4 / (size * spacing)).astype(int), 0)
            near = Box(as_index(first - around), as_index(first + around + 1)).intersection(whole(as_index(some.shape)))
            some[near.slices] = False
            inner = Box(as_index(near.lower * size), as_index(near.upper * size)).intersection(whole(self.shape))
            pad = np.where(self._padded(), np.ceil(limit / spacing) + 1, 0).astype(int)
            outer = Box(as_index(inner.lower - pad), as_index(inner.upper + pad)).intersection(self._rim())
            best = max(best, self._deepest(outer, inner))
        # Half a voxel lies between the last voxel's centre and the border.
        return max(0.0, 2 * (best - 0.5 * float(spacing[self._padded() == 1].min()))) if best else 0.0

    def _deepest(self, outer: Box, inner: Box) -> float:
        """Largest distance in `inner` to the outside as `outer` shows it, on fewer voxels where that is large."""
        from scipy import ndimage

        step = max(1, round(float(np.prod(outer.shape) / _CLOSE_LOOK) ** (1 / 3)))
        steps = [step if n > 1 else 1 for n in self.shape]
        some = tuple(slice(None, None, n) for n in steps)
        free = self.crop(outer)[some]
        if free.all():
            return float("inf")
        sampling = np.array(self.tissue.spacing) * steps
        depth = np.where(free, ndimage.distance_transform_edt(free, sampling=sampling), 0.0)
        ranges = [
            slice(min((low - start) // n, size - 1), max((high - start) // n, (low - start) // n + 1))
            for low, high, start, n, size in zip(inner.lower, inner.upper, outer.lower, steps, depth.shape)
        ]
        return float(depth[tuple(ranges)].max())

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

    def _blocks(self) -> tuple[npt.NDArray[np.int64], BoolArray, BoolArray]:
        """Block size in voxels, which blocks are all tissue, and which hold any; one pass, slab by slab."""
        spacing, shape = np.array(self.tissue.spacing), np.array(self.shape)
        step = max(_BLOCK_MM, float(np.prod(spacing * shape) / _BLOCKS) ** (1 / 3))
        size = np.clip(np.round(step / spacing).astype(int), 1, shape)
        count = -(-shape // size)
        full, some = np.zeros(count, dtype=bool), np.zeros(count, dtype=bool)
        for n in range(count[0]):
            # Beyond the volume there is no tissue, so a block that sticks out is never full.
            slab = self.crop(Box((int(n * size[0]), 0, 0), as_index([(n + 1) * size[0], *(count * size)[1:]])))
            parts = slab.reshape(size[0], count[1], size[1], count[2], size[2])
            full[n], some[n] = parts.all(axis=(0, 2, 4)), parts.any(axis=(0, 2, 4))
        return size, full, some

    def _between_blocks(self, full: BoolArray, edges: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Distance in mm from every block's centre to that of the nearest block that is not full."""
        from scipy import ndimage

        pad = [(int(p), int(p)) for p in self._padded()]
        distance = ndimage.distance_transform_edt(np.pad(full, pad), sampling=edges)
        i, j, k = (slice(p[0], p[0] + n) for p, n in zip(pad, full.shape))
        return np.asarray(distance[i, j, k])
