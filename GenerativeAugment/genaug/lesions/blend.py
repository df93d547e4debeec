"""Laying a lesion into a host so that its border and its noise look as if they had been scanned.

    out = (1 - a) * host + a * (lesion + g * residual)

a is a soft ramp of the signed distance, residual is what is left of the host when its tissue is smoothed: the host's
own noise, with its own spatial correlation. g keeps the noise at the host's level when the lesion brings some itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from genaug.errors import GenaugError, Reason
from genaug.lesions.local import Float32Array, Vector
from genaug.lesions.parameters import ContrastUnit, Range
from genaug.strict import Strict
from genaug.volume import AnyArray, BoolArray, Volume

RAMP = 1.88
"""Half-width over sigma of the cubic ramp that is as steep as a normal distribution's: 0.75 / RAMP = 1/sqrt(2 pi)."""
SUPPORT_MM = 6.0
"""How far around a lesion the host's tissue is looked at."""

BELOW_ALL_BUT_HU = -200.0
"""Fat is above this in CT and air below; the magnitude images of an MR scanner have nothing below 0."""

_SMOOTH_MM = 2.0
_MAD_TO_SIGMA = 1.4826
_OUTLIER = 3.0
_FEWEST = 20


class BlendDraws(Strict):
    """Softness of the border: sigma in mm of the blend, before the voxel's own width is added."""

    edge_mm: float


@dataclass(frozen=True)
class Surroundings:
    """The tissue around a lesion: median, robust standard deviation, and standard deviation of its noise."""

    mean: float
    spread: float
    noise: float

    def unit(self, unit: ContrastUnit, subject: str) -> float:
        """What one contrast unit is in stored intensities.

        Raises:
            GenaugError: BAD_PARAMETER when the tissue has no spread or no positive mean to measure contrast in.
        """
        value = {"spread": self.spread, "fraction": self.mean, "intensity": 1.0}[unit]
        if value <= 0:
            raise GenaugError(
                Reason.BAD_PARAMETER,
                f"contrast_unit of {subject}",
                f"{unit}, but the tissue around the lesion has mean {self.mean:g} and spread {self.spread:g}",
                "a positive unit",
                "Give the contrast as intensity (or, for spread, as fraction).",
            )
        return float(value)


def resolve_unit(unit: ContrastUnit, host: Volume) -> ContrastUnit:
    """What `auto` means: Hounsfield units for CT, multiples of the tissue's spread for everything else.

    Raises:
        GenaugError: WRONG_MODALITY for `auto` in an image that passes for something else than CT and holds air in HU.
    """
    if unit != "auto":
        return unit
    if host.modality == "CT":
        return "intensity"
    lowest = float(host.array.min())
    if lowest < BELOW_ALL_BUT_HU:
        raise GenaugError(
            Reason.WRONG_MODALITY,
            host.source or host.modality,
            f"{host.modality} with values down to {lowest:g}, as a CT has",
            "the modality that the image has, without which nobody knows what a contrast is in",
            "Say that it is CT (--modality CT, of a cohort when it is read), or choose another contrast_unit.",
        )
    return "spread"


def draw_blend(rng: np.random.Generator, edge_mm: Range) -> BlendDraws:
    """Draw the softness of one lesion's border."""
    return BlendDraws(edge_mm=rng.uniform(*edge_mm))


def ramp_reach_mm(edge_mm: float, spacing: Vector) -> float:
    """Beyond this distance from the border nothing of a lesion is left."""
    return RAMP * float(np.hypot(edge_mm, max(spacing) / np.sqrt(12)))


def soft_alpha(signed: Float32Array, spacing: Vector, edge_mm: float) -> Float32Array:
    """Weight of the lesion, 1 inside to exactly 0 outside.

    The ramp is as wide as `edge_mm` and the voxel in the direction across the border together, so that thick slices
    show the partial volume they would have had.

    Args:
        signed: signed distance in mm, negative inside, (I, J, K).
        spacing: voxel size in mm.
        edge_mm: sigma of the border.
    """
    across = np.zeros_like(signed)
    length = np.full_like(signed, 1e-12)
    for axis, step in enumerate(spacing):
        if signed.shape[axis] > 1:
            slope = np.gradient(signed, step, axis=axis) ** 2
            across += slope * np.float32(step**2 / 12)
            length += slope
    half = RAMP * np.sqrt(edge_mm**2 + across / length)
    position = np.clip(0.5 - 0.5 * signed / np.maximum(half, 1e-6), 0, 1)
    return np.asarray(position * position * (3 - 2 * position), dtype=np.float32)


def surroundings(host: Float32Array, tissue: BoolArray, spacing: Vector) -> Surroundings | None:
    """Statistics of the tissue in a box; None when there are fewer than 20 voxels of it."""
    if int(tissue.sum()) < _FEWEST:
        return None
    values = host[tissue]
    mean = float(np.median(values))
    spread = _MAD_TO_SIGMA * float(np.median(np.abs(values - mean)))
    if spread == 0:
        # More than half of the tissue may have one value, as in a label-like or heavily quantised image.
        spread = float(values.std())
    residual = noise_of(host, tissue, spacing)[tissue]
    return Surroundings(mean, spread, _MAD_TO_SIGMA * float(np.median(np.abs(residual))))


def noise_of(host: Float32Array, tissue: BoolArray, spacing: Vector) -> Float32Array:
    """The host minus its Gaussian average over the tissue alone, so that nothing bleeds in across borders; 0 beyond."""
    from scipy import ndimage

    sigma_mm = max(_SMOOTH_MM, 1.5 * min(spacing))
    sigma = [sigma_mm / s if n > 1 else 0.0 for s, n in zip(spacing, host.shape)]
    weight = tissue.astype(np.float32)
    total = ndimage.gaussian_filter(weight, sigma, truncate=3)
    average = ndimage.gaussian_filter(np.where(tissue, host, np.float32(0)), sigma, truncate=3)
    return np.where(tissue, host - average / np.maximum(total, np.float32(1e-6)), np.float32(0))


def composite(
    host: Float32Array,
    lesion: Float32Array,
    alpha: Float32Array,
    tissue: BoolArray,
    spacing: Vector,
    around: Surroundings,
    lesion_noise: float = 0.0,
) -> Float32Array:
    """Blend `lesion` into `host`; where `alpha` is 0 the result equals the host.

    Args:
        host: intensities of the box, (I, J, K).
        lesion: what they would be if the box were all lesion.
        alpha: weight of the lesion.
        tissue: voxels whose deviation from their surroundings is noise.
        spacing: voxel size in mm.
        around: statistics of the tissue.
        lesion_noise: standard deviation of the noise that `lesion` brings along, in the host's intensities.
    """
    residual = noise_of(host, tissue, spacing)
    # What stands out of the noise is anatomy, and the lesion has taken its place.
    np.clip(residual, -_OUTLIER * around.noise, _OUTLIER * around.noise, out=residual)
    gain = float(np.sqrt(max(0.0, 1 - (lesion_noise / around.noise) ** 2))) if around.noise > 0 else 0.0
    return np.asarray(host + alpha * (lesion + np.float32(gain) * residual - host), dtype=np.float32)


def to_type(values: Float32Array, like: AnyArray) -> AnyArray:
    """`values` in the type of `like`; integers are rounded and clipped to the type's range."""
    if not np.issubdtype(like.dtype, np.integer):
        return values.astype(like.dtype)
    limits = np.iinfo(like.dtype)
    return np.clip(np.rint(values.astype(np.float64)), limits.min, limits.max).astype(like.dtype)
