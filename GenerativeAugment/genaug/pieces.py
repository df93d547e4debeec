"""Connected pieces of label maps, and islands: pieces that are smaller than any that an annotator has drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from genaug.volume import AnyArray, Volume

# Voxels that share no more than a corner belong together.
_TOUCHING = np.ones((3, 3, 3), dtype=bool)

_ROUNDING = 1e-6


def piece_volumes(label: Volume, values: Sequence[int]) -> list[list[float]]:
    """For each label value the volume of every connected piece, mm3, in no order; none where it does not occur."""
    voxel = _voxel(label)
    return [[float(size) * voxel for size in _numbered(label.array == value)[1]] for value in values]


def without_islands(label: Volume, smallest: Mapping[int, float]) -> tuple[Volume, int]:
    """The label map with its islands given to what surrounds them, and how many voxels those were.

    Args:
        label: a label map.
        smallest: by label value, mm3 below which a piece is an island. The largest piece of a label never is.

    Returns:
        The label map itself where there is none.
    """
    voxel = _voxel(label)
    islands = np.zeros(label.array.shape, dtype=bool)
    for value, least in smallest.items():
        numbered, sizes = _numbered(label.array == value)
        small = sizes * voxel < least * (1 - _ROUNDING)
        if len(sizes):
            small[sizes.argmax()] = False
        if small.any():
            islands |= np.concatenate([[False], small])[numbered]
    count = int(np.count_nonzero(islands))
    return (replace(label, array=_filled(label.array, islands)), count) if count else (label, 0)


def _filled(array: AnyArray, islands: npt.NDArray[np.bool_]) -> AnyArray:
    """Islands that touch become what there is most of around them."""
    filled = array.copy()
    numbered, _ = _numbered(islands)
    for number, place in enumerate(ndimage.find_objects(numbered), start=1):
        box = tuple(slice(max(0, one.start - 1), one.stop + 1) for one in place)
        island = numbered[box] == number
        around = array[box][ndimage.binary_dilation(island, _TOUCHING) & ~island]
        values, counts = np.unique(around, return_counts=True)
        filled[box][island] = values[counts.argmax()]
    return filled


def _numbered(inside: npt.NDArray[np.bool_]) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.intp]]:
    """The number of its piece for every voxel inside, 0 outside, and the voxels of every piece."""
    numbered = np.zeros(inside.shape, dtype=np.int32)
    if not inside.any():
        return numbered, np.zeros(0, dtype=np.intp)
    # Most of a label map is background.
    (box,) = ndimage.find_objects(inside.astype(np.uint8))
    count = ndimage.label(inside[box], _TOUCHING, output=numbered[box])
    return numbered, np.bincount(numbered[box].ravel(), minlength=count + 1)[1:]


def _voxel(label: Volume) -> float:
    return abs(float(np.linalg.det(label.affine[:3, :3])))
