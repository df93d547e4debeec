"""Diffusion in the wavelet domain: the Haar bands of a case are what is noised and denoised."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from genaug.networks.base import Batch, Outputs, Signature, System
from genaug.networks.denoising import DenoisingSystem
from genaug.networks.haar import Haar, band_channels
from genaug.recipe import Sampler
from genaug.samplers import Callback, Noise
from genaug.schedule import Prediction


class BandDenoiser(DenoisingSystem):
    """A denoiser of bands, see `to_bands`, whose estimates are held to what the bands of images in [-1, 1] can be.

    Args:
        signature: of the bands.
        levels: how often they were halved.
        channels, attention, ...: see DenoisingSystem.
    """

    def __init__(self, signature: Signature, levels: int, *args: Any) -> None:
        super().__init__(signature, *args)
        self.halvings = levels

    def held(self, x0: Tensor) -> Tensor:
        """As the authors do at every step: what errors of single bands add up to is cut off as an image."""
        return to_bands(to_images(x0, self.halvings).clamp(-1, 1), self.halvings)


class WaveletDenoiser(System):
    """A denoiser of Haar bands (Friedrich 2024, arXiv:2402.19043).

    The low-pass band, which is 2^(d/2) times as strong as the image for every level, is brought back to the image's
    range, so that noise of one strength drowns the anatomy early and the detail late or never; a denoiser of voxels,
    even one that looks at them through the transform, has the two drown as the voxels do.

    Args:
        wavelet_levels: how often the bands are halved, 1 or 2.
        channels, attention, ...: see DenoisingSystem.
    """

    stepped = True

    def __init__(
        self,
        signature: Signature,
        wavelet_levels: int = 1,
        channels: Sequence[int] = (64, 96, 128),
        attention: Sequence[bool] = (False, False, True),
        res_blocks: int = 1,
        head_channels: int = 32,
        groups: int = 16,
        schedule: Mapping[str, Any] | None = None,
        prediction: Prediction = "x0",
    ) -> None:
        super().__init__(signature)
        d = signature.dimension
        self.levels = wavelet_levels
        self.merge = Haar(wavelet_levels, inverse=True)
        maps = signature.condition_channels - signature.vector_length
        bands = replace(
            signature,
            window=signature.reduced(2**wavelet_levels),
            image_channels=band_channels(signature.channels, d, wavelet_levels),
            label_channels=0,
            condition_channels=band_channels(maps, d, wavelet_levels) + signature.vector_length,
        )
        self.inner = BandDenoiser(
            bands, wavelet_levels, channels, attention, res_blocks, head_channels, groups, 0, schedule, prediction
        )

    def noise_shape(self) -> tuple[int, ...]:
        """(bands, *window / 2^levels)."""
        return self.inner.noise_shape()

    def forward(self, batch: Batch, generator: torch.Generator) -> Outputs:
        """Prediction and truth at one random timestep per case.

        As images, by the orthonormal transform of the bands as they are: errors keep their size, and voxels that
        nobody scanned can be left out of them.
        """
        outputs = self.inner(self._in_bands(batch), generator)
        return {name: self.merge(outputs[name]) for name in ("prediction", "truth")}

    def sample(self, noise: Noise, batch: Batch, sampler: Sampler, callback: Callback | None = None) -> Tensor:
        """Bands from noise, then the images that they are of."""
        bands = self.inner.sample(noise, self._in_bands(batch), sampler, callback)
        return to_images(bands, self.levels).clamp(-1, 1)

    def _in_bands(self, batch: Batch) -> Batch:
        return Batch(
            to_bands(batch.target, self.levels),
            source=None if batch.source is None else to_bands(batch.source, self.levels),
            label_map=None if batch.label_map is None else to_bands(batch.label_map, self.levels),
            vector=batch.vector,
        )


def to_bands(x: Tensor, levels: int) -> Tensor:
    """Images (B, C, *S) as bands in the images' range, the low-pass ones first."""
    low, high = Haar(levels)(x).tensor_split([x.shape[1]], dim=1)
    return torch.cat([low / _gain(x, levels), high], dim=1)


def to_images(bands: Tensor, levels: int) -> Tensor:
    """Inverse of `to_bands`."""
    channels = bands.shape[1] // band_channels(1, bands.ndim - 2, levels)
    low, high = bands.tensor_split([channels], dim=1)
    return torch.as_tensor(Haar(levels, inverse=True)(torch.cat([low * _gain(bands, levels), high], dim=1)))


def _gain(x: Tensor, levels: int) -> float:
    """How much stronger the low-pass band is than the image."""
    return float(2 ** ((x.ndim - 2) * levels / 2))
