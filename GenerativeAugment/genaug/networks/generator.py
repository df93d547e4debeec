"""Latent vector to volume: the generator of the GANs, which is also the decoder of the vector autoencoders."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from monai.networks.blocks import ResidualUnit
from torch import Tensor, nn

from genaug.networks.base import Batch, FromNoise, Signature
from genaug.networks.template import TemplateHead

NORM = ("group", {"num_groups": 8})
"""Group rather than instance normalisation: the latter removes from every map the level that a code gave it."""


class UpPath(nn.Module):
    """Vector (B, latent) to raw volume (B, C, *window).

    What it learns are deviations from the mean of the training cases, see TemplateHead. A linear layer makes the
    coarsest feature map, voxel by voxel its own mixture of the code, as principal components would; each further level
    is nearest-neighbour upsampling and residual units: a transposed convolution leaves a checkerboard (Odena 2016).

    Args:
        signature: shapes to build for; the window must be divisible by 2 ** (len(channels) - 1 + haar_levels).
        latent: length of the vector.
        start: channels of the coarsest feature map that the linear layer fills.
        channels: feature channels from coarse to fine, multiples of 8.
        blocks: residual units a level.
        haar_levels: finest levels that come from the inverse Haar transform instead of convolutions.
        deform: bend a learnt template, see TemplateHead.
        detail_rate: see TemplateHead.
    """

    def __init__(
        self,
        signature: Signature,
        latent: int,
        start: int,
        channels: Sequence[int],
        blocks: int,
        haar_levels: int,
        deform: bool = False,
        detail_rate: float = 1.0,
    ) -> None:
        super().__init__()
        d = signature.dimension
        factor = 2 ** (len(channels) - 1 + haar_levels)
        self.start = signature.reduced(factor)
        self.first = nn.Linear(latent, start * math.prod(self.start))
        layers: list[nn.Module] = []
        before = start
        for level, after in enumerate(channels):
            if level:
                layers.append(nn.Upsample(scale_factor=2, mode="nearest"))
            for _ in range(blocks):
                layers.append(ResidualUnit(d, before, after, norm=NORM, act="leakyrelu"))
                before = after
        self.layers = nn.Sequential(*layers)
        self.head = TemplateHead(before, signature, haar_levels, deform, detail_rate)

    def forward(self, z: Tensor) -> Tensor:
        """Raw output for vectors (B, latent)."""
        x = self.first(z).unflatten(1, (-1, *self.start))
        return torch.as_tensor(self.head(self.layers(x)))


def with_vector(code: Tensor, batch: Batch) -> Tensor:
    """A code (B, N) and what is known of the case, (B, N + V) (Mirza 2014, arXiv:1411.1784)."""
    return code if batch.vector is None else torch.cat([code, batch.vector], dim=1)


class LatentGenerator(FromNoise):
    """The generator of a GAN: normal noise vector in, images and label maps out."""

    def __init__(
        self,
        signature: Signature,
        latent: int = 64,
        start: int = 32,
        channels: Sequence[int] = (64, 24),
        blocks: int = 1,
        haar_levels: int = 1,
        deform: bool = False,
        detail_rate: float = 1.0,
    ) -> None:
        super().__init__(signature)
        self.latent, code = latent, latent + signature.vector_length
        self.up = UpPath(signature, code, start, channels, blocks, haar_levels, deform, detail_rate)

    def start_at(self, mean: Tensor) -> None:
        """Make the mean target what a zero output means."""
        self.up.head.start_at(mean)

    def noise_shape(self) -> tuple[int, ...]:
        """(latent,)."""
        return (self.latent,)

    def generate(self, noise: Tensor, batch: Batch) -> Tensor:
        """Raw output (B, C, *window) for noise (B, latent) and the batch's vector."""
        return torch.as_tensor(self.up(with_vector(noise, batch)))
