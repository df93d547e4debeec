"""Players with batch normalisation and strided convolutions, as in DCGAN (Radford 2016, arXiv:1511.06434)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from monai.networks.layers.factories import Conv, Norm
from torch import Tensor, nn

from genaug.networks.base import Batch, FromNoise, Signature
from genaug.networks.critics import Critic
from genaug.networks.generator import with_vector
from genaug.networks.template import TemplateHead


class DeconvolutionGenerator(FromNoise):
    """Noise vector to case by transposed convolutions of kernel 4 and stride 2 with batch normalisation and ReLU.

    The paper's last layer makes the image from nothing; here it makes the deviation from the mean case, see
    TemplateHead, and the finest levels come from the inverse Haar transform.

    Args:
        signature: shapes to build for; the window must be divisible by 2 ** (len(channels) - 1 + haar_levels).
        latent: length of the noise vector.
        channels: feature channels from coarse to fine.
        haar_levels: finest levels without convolutions.
        detail_rate: see TemplateHead.
    """

    def __init__(
        self,
        signature: Signature,
        latent: int = 64,
        channels: Sequence[int] = (64, 32),
        haar_levels: int = 1,
        detail_rate: float = 1.0,
    ) -> None:
        super().__init__(signature)
        d = signature.dimension
        factor = 2 ** (len(channels) - 1 + haar_levels)
        self.latent = latent
        self.start = signature.reduced(factor)
        self.first = nn.Linear(latent + signature.vector_length, channels[0] * math.prod(self.start))
        layers: list[nn.Module] = [Norm[Norm.BATCH, d](channels[0]), nn.ReLU()]
        for before, after in pairwise(channels):
            up = Conv[Conv.CONVTRANS, d](before, after, 4, stride=2, padding=1, bias=False)
            layers += [up, Norm[Norm.BATCH, d](after), nn.ReLU()]
        self.layers = nn.Sequential(*layers)
        self.head = TemplateHead(channels[-1], signature, haar_levels, detail_rate=detail_rate)

    def start_at(self, mean: Tensor) -> None:
        """Make the mean target what a zero output means."""
        self.head.start_at(mean)

    def noise_shape(self) -> tuple[int, ...]:
        """(latent,)."""
        return (self.latent,)

    def generate(self, noise: Tensor, batch: Batch) -> Tensor:
        """Raw output (B, C, *window) for noise (B, latent) and the batch's vector."""
        x = self.first(with_vector(noise, batch)).unflatten(1, (-1, *self.start))
        return torch.as_tensor(self.head(self.layers(x)))


class NormedCritic(Critic):
    """The critic of whole volumes with batch normalisation behind every convolution but the first."""

    def __init__(
        self,
        signature: Signature,
        channels: Sequence[int] = (32, 64, 128),
        haar_levels: int = 1,
        conditional: bool = True,
    ) -> None:
        super().__init__(signature, channels, haar_levels, conditional)
        layers: list[nn.Module] = []
        for layer in self.features:
            layers.append(layer)
            if isinstance(layer, (nn.Conv2d, nn.Conv3d)) and len(layers) > 2:
                layers.append(Norm[Norm.BATCH, signature.dimension](layer.out_channels))
        self.features = nn.Sequential(*layers)
