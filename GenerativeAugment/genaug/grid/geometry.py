"""Axis order, spacing and padding of arrays: the steps of which a Placement is made, each with its way back.

Every function works on arrays of shape (I, J, K) along their own axes; where they lie in the patient is the business
of the affines that `oriented_affine` and `Placement.model_affine` compute.
"""

from __future__ import annotations

from itertools import permutations

import numpy as np
import numpy.typing as npt

from genaug.volume import AnyArray

Size = tuple[int, int, int]
Spacing = tuple[float, float, float]

_DIRECTIONS = {"R": (0, 1), "L": (0, -1), "A": (1, 1), "P": (1, -1), "S": (2, 1), "I": (2, -1)}

# Full width at half maximum of a Gaussian over its standard deviation.
_FWHM = 2.0 * np.sqrt(2.0 * np.log(2.0))

# A size of 100.0000001 voxels is 100: spacings come from float32 headers.
_SIZE_TOLERANCE = 1e-3


def is_orientation(codes: str) -> bool:
    """Whether `codes` names one direction of each patient axis, such as "RAS" or "PSR"."""
    return len(codes) == 3 and all(c in _DIRECTIONS for c in codes) and len({_DIRECTIONS[c][0] for c in codes}) == 3


def axes_towards(affine: npt.NDArray[np.float64], orientation: str) -> tuple[Size, tuple[bool, bool, bool]]:
    """The axis permutation and flips that bring an array closest to `orientation`.

    Closest means the largest sum of cosines between the array's axes and the wanted patient directions, so an oblique
    array keeps its obliqueness and no two of its axes ever fall on the same patient axis.

    Returns:
        For each of the three wanted axes the axis of the array it comes from, and whether it runs backwards.
    """
    directions = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    wanted = [_DIRECTIONS[code] for code in orientation]
    cosines = np.array([[sign * directions[patient_axis, axis] for axis in range(3)] for patient_axis, sign in wanted])
    order = max(permutations(range(3)), key=lambda axes: sum(abs(cosines[m, axis]) for m, axis in enumerate(axes)))
    i, j, k = order
    return (i, j, k), (bool(cosines[0, i] < 0), bool(cosines[1, j] < 0), bool(cosines[2, k] < 0))


def orient(array: AnyArray, axes: Size, flips: tuple[bool, bool, bool]) -> AnyArray:
    """Permute, then flip. A view, nothing is copied."""
    return array.transpose(axes)[_steps(flips)]


def orient_back(array: AnyArray, axes: Size, flips: tuple[bool, bool, bool]) -> AnyArray:
    """The inverse of `orient`, also a view."""
    return array[_steps(flips)].transpose(np.argsort(axes))


def oriented_affine(
    affine: npt.NDArray[np.float64], shape: Size, axes: Size, flips: tuple[bool, bool, bool]
) -> npt.NDArray[np.float64]:
    """The affine of `orient(array, axes, flips)` for an array of `shape` with `affine`."""
    result = affine.copy()
    result[:, :3] = affine[:, axes]
    for m in range(3):
        if flips[m]:
            result[:, 3] += result[:, m] * (shape[axes[m]] - 1)
            result[:, m] *= -1.0
    return result


def resampled_size(size: int, ratio: float) -> int:
    """How many voxels, `ratio` times as long, cover `size` voxels: rounded up, so that none is left out."""
    return max(1, int(np.ceil(size / ratio - _SIZE_TOLERANCE)))


def resample_image(array: AnyArray, size: Size, ratios: Spacing) -> AnyArray:
    """Sample an image on another spacing about the same centre, with cubic splines.

    Along an axis made coarser the image is first smoothed to the wider voxel, so that nothing aliases: by the Gaussian
    that turns a point spread of one old voxel into one of one new voxel (full width at half maximum; Cardoso et al.,
    MICCAI 2015). Beyond the outermost voxel centres the border value goes on.

    Args:
        array: shape (I, J, K).
        size: of the result.
        ratios: new voxel length over old one, per axis; where it is 1 and the size stays, the axis is untouched.

    Returns:
        float32 array of shape `size`, or `array` itself where nothing changes.
    """
    if size == array.shape and ratios == (1.0, 1.0, 1.0):
        return array
    from scipy import ndimage

    sigmas = [np.sqrt(max(ratio**2 - 1.0, 0.0)) / _FWHM for ratio in ratios]
    smooth = np.asarray(array, dtype=np.float32)
    if any(sigmas):
        smooth = ndimage.gaussian_filter(smooth, sigmas, mode="nearest")
    offset = [_first_position(array.shape[m], size[m], ratios[m]) for m in range(3)]
    return np.asarray(
        ndimage.affine_transform(smooth, np.array(ratios), offset, size, np.float32, order=3, mode="nearest")
    )


def resample_label(array: AnyArray, size: Size, ratios: Spacing) -> AnyArray:
    """Like `resample_image` with the nearest voxel's value, so that no value arises that was not there."""
    indices = []
    for m in range(3):
        position = _first_position(array.shape[m], size[m], ratios[m]) + ratios[m] * np.arange(size[m])
        indices.append(np.clip(np.floor(position + 0.5), 0, array.shape[m] - 1).astype(np.intp))
    return np.asarray(array[np.ix_(*indices)])


def pad(array: AnyArray, before: Size, size: Size, value: float | None) -> AnyArray:
    """Put `array` into an array of `size`, starting at `before`; `value` around it, its edge carried on when None."""
    widths = [(first, whole - first - n) for first, whole, n in zip(before, size, array.shape, strict=True)]
    return np.pad(array, widths, "edge") if value is None else np.pad(array, widths, constant_values=value)


def unpad(array: AnyArray, before: Size, size: Size) -> AnyArray:
    """The inverse of `pad`: the part of `size` that starts at `before`."""
    return array[_window(before, size)]


def _first_position(old: int, new: int, ratio: float) -> float:
    """Where the first new voxel's centre lies among the old ones, when both arrays share their centre."""
    return (old - 1) / 2 - ratio * (new - 1) / 2


def _steps(flips: tuple[bool, bool, bool]) -> tuple[slice, ...]:
    return tuple(slice(None, None, -1 if flipped else None) for flipped in flips)


def _window(before: Size, size: tuple[int, ...]) -> tuple[slice, ...]:
    return tuple(slice(start, start + length) for start, length in zip(before, size, strict=True))
