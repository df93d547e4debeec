"""How near a translated image is to the real one of the same patient: SSIM, PSNR, MAE and bone, inside the body.

Value ranges and masks change these numbers more than methods do, so both are fixed here: CT is scored in HU with the
range of the SynthRAD challenge, other modalities in the range of the reference inside the body.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from genaug.volume import AnyArray, BoolArray, FloatArray

CT_RANGE_HU = (-1024.0, 3000.0)
"""SynthRAD 2023 (Huijben et al. 2024): values are limited to it for SSIM and PSNR, and it is the data range."""

BONE_HU = 200.0
CT_TISSUES_HU: Mapping[str, tuple[float, float]] = {
    "air": (-np.inf, -200.0),
    "fat": (-200.0, -30.0),
    "soft": (-30.0, BONE_HU),
    "bone": (BONE_HU, np.inf),
}
"""Tissue classes by HU of the reference, lower limit exclusive."""

WINDOW, SIGMA = 11, 1.5
"""Of Wang et al. 2004."""

PSNR_LIMIT = 100.0


def value_range(reference: FloatArray, modality: str, mask: BoolArray) -> tuple[float, float] | None:
    """The range that SSIM and PSNR relate to: CT_RANGE_HU, or the reference's 0.5 to 99.5 percentile in `mask`.

    None where these are equal, as in a blank plane: SSIM and PSNR are not defined there.
    """
    if modality == "CT":
        return CT_RANGE_HU
    low, high = np.percentile(reference[mask], [0.5, 99.5])
    return (float(low), float(high)) if low < high else None


def mae(reference: FloatArray, result: FloatArray, mask: BoolArray) -> float | None:
    """Mean absolute error in `mask`, in the images' unit; None for an empty mask."""
    if not mask.any():
        return None
    return float(np.abs(result[mask].astype(np.float64) - reference[mask]).mean())


def psnr(reference: FloatArray, result: FloatArray, mask: BoolArray, limits: tuple[float, float]) -> float:
    """Peak signal-to-noise ratio in dB in `mask`, values limited to `limits`; at most PSNR_LIMIT, for equal images."""
    low, high = _positive(limits)
    difference = np.clip(result[mask], low, high).astype(np.float64) - np.clip(reference[mask], low, high)
    error = float(np.mean(difference**2)) / (high - low) ** 2
    return float(-10 * np.log10(max(error, 10 ** (-PSNR_LIMIT / 10))))


def ssim(reference: FloatArray, result: FloatArray, mask: BoolArray, limits: tuple[float, float]) -> float:
    """Mean SSIM (Wang et al. 2004) over the voxels of `mask`, values limited to `limits` and scaled to [0, 1].

    The Gaussian window has 11 voxels along each axis, fewer along a shorter one (the next odd number), and continues
    beyond the border by reflection, so that thin volumes keep all their slices. Voxels outside the mask are `limits[0]`
    in both images (as in SynthRAD 2023), because windows at the skin reach beyond it.

    Args:
        reference: (I, J) or (I, J, K).
        result: same shape.
        mask: same shape, not empty.
        limits: lowest and highest value, not equal; see `value_range`.
    """
    import torch

    from genaug.evaluation.structural import contrast, local_mean, luminance

    low, high = _positive(limits)
    size = tuple(min(WINDOW, length - 1 + length % 2) for length in reference.shape)
    border = [(length // 2, length // 2) for length in size]
    inside = (np.where(mask, np.clip(image, low, high), low) for image in (reference, result))
    scaled = (((image - low) / (high - low)).astype(np.float32) for image in inside)
    x, y = (torch.from_numpy(np.pad(image, border, "symmetric")) for image in scaled)
    dims = reference.ndim
    mean_x, mean_y, xx, yy, xy = (local_mean(image, dims, size, SIGMA) for image in (x, y, x * x, y * y, x * y))
    structure = contrast(xx - mean_x**2, yy - mean_y**2, xy - mean_x * mean_y, 1.0)
    similarity = (structure * luminance(mean_x, mean_y, 1.0)).numpy()
    return float(similarity[mask].mean(dtype=np.float64))


def half_voxel(image: FloatArray, axis: int) -> FloatArray:
    """The image moved by half a voxel along one axis, by linear interpolation; the last voxel stays.

    Half a voxel is what a good rigid registration is off by, so two images that differ by no more cannot be told apart
    by a score that compares voxel by voxel.
    """
    return (image + _next(image, axis)) / 2


def half_voxel_mask(mask: BoolArray, axis: int) -> BoolArray:
    """A mask moved in the same way, voxels that are half inside counted as inside."""
    return mask | _next(mask, axis)


def ct_tissues(reference: FloatArray, mask: BoolArray) -> dict[str, BoolArray]:
    """Masks of the classes of CT_TISSUES_HU inside `mask`."""
    return {name: mask & (reference > low) & (reference <= high) for name, (low, high) in CT_TISSUES_HU.items()}


def _next(array: AnyArray, axis: int) -> AnyArray:
    """Each voxel's neighbour along an axis; the last voxel is its own."""
    last = array.shape[axis] - 1
    return np.take(array, [*range(1, last + 1), last], axis=axis)


def _positive(limits: tuple[float, float]) -> tuple[float, float]:
    low, high = limits
    if not low < high:
        raise ValueError(f"a value range needs low < high, got {limits}")
    return low, high
