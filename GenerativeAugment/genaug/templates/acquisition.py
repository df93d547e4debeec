"""What a scanner adds to a picture of tissue: contrast curve, point spread, coil bias and Rician noise."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from genaug.templates.lattice import Lattice, Shape, draw_lattice, interpolate
from genaug.volume import AnyArray


class AcquisitionRanges(BaseModel):
    """From where an acquisition is drawn; every amount uniformly between none, or its lower bound, and this."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    gamma: float = Field(default=0.1, ge=0, lt=1, description="half width of the exponent's range around 1")
    blur_mm: float = Field(default=0.5, ge=0, description="largest standard deviation of the point spread")
    bias: float = Field(default=0.06, ge=0, description="standard deviation of the logarithm of the coil bias")
    bias_smoothness_mm: float = Field(default=70.0, gt=0)
    noise: tuple[float, float] = Field(default=(1.0, 3.0), description="standard deviation, intensities of 0 to 255")


class AcquisitionDraws(BaseModel):
    """One drawn acquisition.

    Attributes:
        gamma: exponent of the intensity, relative to 255.
        blur_mm: standard deviation of the Gaussian point spread.
        bias: lattice of the logarithm of the multiplicative coil bias.
        noise: standard deviation of each of the two channels whose magnitude is measured.
        noise_seed: seed of the noise's own generator.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    gamma: float
    blur_mm: float
    bias: Lattice
    noise: float
    noise_seed: int


def draw_acquisition(
    rng: np.random.Generator, shape: Shape, spacing: Sequence[float], ranges: AcquisitionRanges | None = None
) -> AcquisitionDraws:
    """Draw an acquisition for arrays of `shape` with `spacing` in mm."""
    ranges = ranges or AcquisitionRanges()
    return AcquisitionDraws(
        gamma=round(float(rng.uniform(1 - ranges.gamma, 1 + ranges.gamma)), 4),
        blur_mm=round(float(rng.uniform(0, ranges.blur_mm)), 4),
        bias=draw_lattice(rng, shape, spacing, ranges.bias_smoothness_mm, ranges.bias),
        noise=round(float(rng.uniform(*ranges.noise)), 4),
        noise_seed=int(rng.integers(2**31)),
    )


def acquire(
    image: AnyArray, spacing: Sequence[float], draws: AcquisitionDraws, foreground: AnyArray
) -> npt.NDArray[np.float32]:
    """Measure an ideal image.

    Args:
        image: intensities of about 0 to 255, shape (I, J, K).
        spacing: mm.
        draws: the acquisition.
        foreground: boolean, shape (I, J, K); outside, the result is exactly 0, as in a skull-stripped image.

    Returns:
        float32 intensities, not negative.
    """
    from scipy import ndimage

    measured = 255.0 * (np.clip(image, 0, None) / 255.0) ** draws.gamma
    if draws.blur_mm > 0:
        measured = ndimage.gaussian_filter(measured, [draws.blur_mm / s for s in spacing], mode="nearest")
    measured = measured * np.exp(interpolate(draws.bias.array, _shape(image))[0])
    rng = np.random.Generator(np.random.PCG64(draws.noise_seed))
    real, imaginary = rng.normal(0.0, draws.noise, (2, *image.shape))
    return np.where(foreground, np.hypot(measured + real, imaginary), 0.0).astype(np.float32)


def _shape(array: AnyArray) -> Shape:
    i, j, k = array.shape
    return i, j, k
