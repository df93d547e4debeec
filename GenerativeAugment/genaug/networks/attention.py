"""Players that look at all places at once: self-attention in a GAN (SAGAN, Zhang 2019, arXiv:1805.08318)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from monai.networks.layers.factories import Conv
from torch import Tensor, nn

from genaug.networks.base import Signature
from genaug.networks.critics import Critic
from genaug.networks.generator import LatentGenerator
from genaug.networks.spectral import normalize_spectrum


class SelfAttention(nn.Module):
    """Adds to every place what other places look like that it attends to; nothing at first (Zhang 2019, equation 2).

    Args:
        channels: of the feature maps (B, channels, *S).
        dimension: 2 or 3.
        keys: channels in which places are compared.
    """

    def __init__(self, channels: int, dimension: int, keys: int | None = None) -> None:
        super().__init__()
        conv = Conv[Conv.CONV, dimension]
        width = keys or max(channels // 8, 1)
        self.query, self.key = conv(channels, width, 1), conv(channels, width, 1)
        self.value = conv(channels, channels, 1)
        self.amount = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        """Feature maps of the same shape."""
        query, key, value = (layer(x).flatten(2) for layer in (self.query, self.key, self.value))
        weights = torch.softmax(query.transpose(1, 2) @ key, dim=2)
        seen: Tensor = (value @ weights.transpose(1, 2)).unflatten(2, x.shape[2:])
        return torch.as_tensor(x + self.amount * seen)


class AttentionGenerator(LatentGenerator):
    """The GANs' generator with self-attention on its coarsest maps and normalised spectra.

    The layer that makes the image keeps its weights as they are: it starts at zero, which has no spectrum. So does the
    one that takes the noise: with a norm of one it is hardly louder than its own bias, and where no batch normalisation
    restores how much cases differ, as it does in the paper, the generator soon draws the same case for any noise.
    """

    def __init__(
        self,
        signature: Signature,
        latent: int = 64,
        start: int = 32,
        channels: Sequence[int] = (64, 24),
        blocks: int = 1,
        haar_levels: int = 1,
        detail_rate: float = 1.0,
    ) -> None:
        super().__init__(signature, latent, start, channels, blocks, haar_levels, detail_rate=detail_rate)
        attention = SelfAttention(channels[0], signature.dimension)
        layers = list(self.up.layers)
        self.up.layers = nn.Sequential(*layers[:blocks], attention, *layers[blocks:])
        normalize_spectrum(self.up.layers)


class AttentionCritic(Critic):
    """The critic of whole volumes with self-attention behind its first convolution and normalised spectra."""

    def __init__(
        self,
        signature: Signature,
        channels: Sequence[int] = (32, 64, 128),
        haar_levels: int = 1,
        conditional: bool = True,
    ) -> None:
        super().__init__(signature, channels, haar_levels, conditional)
        front, *layers = self.features
        attention = SelfAttention(channels[0], signature.dimension)
        self.features = nn.Sequential(front, *layers[:2], attention, *layers[2:])
        normalize_spectrum(self)
