"""Players without convolutions: every number of a case from every number of the code."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from genaug.networks.base import Batch, FromNoise, Signature
from genaug.networks.critics import seen_channels
from genaug.networks.generator import with_vector
from genaug.networks.template import TemplateHead


class DenseGenerator(FromNoise):
    """Fully connected layers from the noise vector to feature maps, of which every voxel's bands are a mixture.

    Args:
        signature: shapes to build for; the window must be divisible by 2 ** haar_levels.
        latent: length of the noise vector.
        hidden: units of both hidden layers.
        features: of every place at 1 / 2^haar_levels of the resolution.
        haar_levels: levels of the inverse Haar transform, which makes the case.
        detail_rate: see TemplateHead.
    """

    def __init__(
        self,
        signature: Signature,
        latent: int = 32,
        hidden: int = 128,
        features: int = 16,
        haar_levels: int = 2,
        detail_rate: float = 1.0,
    ) -> None:
        super().__init__(signature)
        self.latent = latent
        self.size = signature.reduced(2**haar_levels)
        self.layers = nn.Sequential(
            nn.Linear(latent + signature.vector_length, hidden),
            nn.LeakyReLU(0.2),
            nn.Linear(hidden, hidden),
            nn.LeakyReLU(0.2),
            nn.Linear(hidden, features * math.prod(self.size)),
        )
        self.head = TemplateHead(features, signature, haar_levels, detail_rate=detail_rate)

    def start_at(self, mean: Tensor) -> None:
        """Make the mean target what a zero output means."""
        self.head.start_at(mean)

    def noise_shape(self) -> tuple[int, ...]:
        """(latent,)."""
        return (self.latent,)

    def generate(self, noise: Tensor, batch: Batch) -> Tensor:
        """Raw output (B, C, *window) for noise (B, latent) and the batch's vector."""
        return torch.as_tensor(self.head(self.layers(with_vector(noise, batch)).unflatten(1, (-1, *self.size))))


class DenseCritic(nn.Module):
    """One number per case from all of its voxels, and from the means of what it was made for."""

    def __init__(self, signature: Signature, hidden: int = 64, conditional: bool = True) -> None:
        super().__init__()
        self.channels, self.seen = signature.channels, seen_channels(signature, conditional)
        voxels = signature.channels * math.prod(signature.window)
        self.layers = nn.Sequential(
            nn.Linear(voxels + self.seen - self.channels, hidden),
            nn.LeakyReLU(0.2),
            nn.Linear(hidden, hidden),
            nn.LeakyReLU(0.2),
            nn.Linear(hidden, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Scores (B, 1) for tensors joined with their condition, (B, C, *window)."""
        case, known = x[:, : self.channels].flatten(1), x[:, self.channels : self.seen].flatten(2).mean(dim=2)
        return torch.as_tensor(self.layers(torch.cat([case, known], dim=1)))
