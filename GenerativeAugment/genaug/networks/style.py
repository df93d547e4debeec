"""The style-based generator (StyleGAN, Karras 2019, arXiv:1812.04948)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from monai.networks.layers.factories import Conv
from torch import Tensor, nn

from genaug.networks.base import Batch, FromNoise, Signature
from genaug.networks.template import TemplateHead


class StyleLayer(nn.Module):
    """Convolution, noise, activation; then every channel gets the mean and the spread that the style says.

    Args:
        before, after: channels.
        style: length of the style vector.
        dimension: 2 or 3.
    """

    def __init__(self, before: int, after: int, style: int, dimension: int) -> None:
        super().__init__()
        self.convolution = Conv[Conv.CONV, dimension](before, after, 3, padding=1)
        self.noise = nn.Parameter(torch.zeros(after))
        self.modulation = nn.Linear(style, 2 * after)
        nn.init.zeros_(self.modulation.bias)

    def forward(self, x: Tensor, style: Tensor, noise: Tensor) -> Tensor:
        """Maps (B, after, *S) for maps (B, before, *S), styles (B, style) and noise (B, 1, *S)."""
        ones = [1] * (x.ndim - 2)
        x = F.leaky_relu(self.convolution(x) + self.noise.view(1, -1, *ones) * noise, 0.2)
        scale, shift = self.modulation(style).view(len(x), -1, *ones).chunk(2, dim=1)
        return torch.as_tensor(F.instance_norm(x) * (1 + scale) + shift)


class StyleGenerator(FromNoise):
    """Style vectors steer a learnt constant, level by level; noise of its own gives every voxel its grain.

    A mapping network turns the normal noise and what is known of the case into the style. One draw holds the normal
    vector and the noise of all levels behind it, so that a case depends on its own noise alone. The paper's last layer
    makes the image; here it makes the deviation from the mean case, see TemplateHead.

    Args:
        signature: shapes to build for; the window must be divisible by 2 ** (len(channels) - 1 + haar_levels).
        latent: length of the normal vector and of the style.
        mapping: layers of the mapping network.
        channels: feature channels from coarse to fine.
        haar_levels: finest levels without convolutions.
        detail_rate: see TemplateHead.
    """

    def __init__(
        self,
        signature: Signature,
        latent: int = 64,
        mapping: int = 4,
        channels: Sequence[int] = (64, 48, 24),
        haar_levels: int = 1,
        detail_rate: float = 1.0,
    ) -> None:
        super().__init__(signature)
        d = signature.dimension
        self.latent = latent
        self.sizes = [signature.reduced(2 ** (haar_levels + level)) for level in reversed(range(len(channels)))]
        layers: list[nn.Module] = []
        for index in range(mapping):
            known = signature.vector_length if index == 0 else 0
            layers += [nn.Linear(latent + known, latent), nn.LeakyReLU(0.2)]
        self.mapping = nn.Sequential(*layers)
        self.constant = nn.Parameter(torch.randn(channels[0], *self.sizes[0]))
        befores = (channels[0], *channels[:-1])
        self.levels = nn.ModuleList(StyleLayer(b, a, latent, d) for b, a in zip(befores, channels))
        self.head = TemplateHead(channels[-1], signature, haar_levels, detail_rate=detail_rate)

    def start_at(self, mean: Tensor) -> None:
        """Make the mean target what a zero output means."""
        self.head.start_at(mean)

    def noise_shape(self) -> tuple[int, ...]:
        """(latent + voxels of all levels,)."""
        return (self.latent + sum(math.prod(size) for size in self.sizes),)

    def code_length(self) -> int:
        """None: of the normal vector only the direction counts, which has no middle."""
        return 0

    def style(self, z: Tensor, batch: Batch) -> Tensor:
        """Styles (B, latent) for normal vectors, which only count by their direction, and the batch's vector."""
        z = z / (z.square().mean(dim=1, keepdim=True) + 1e-8).sqrt()
        return torch.as_tensor(self.mapping(z if batch.vector is None else torch.cat([z, batch.vector], dim=1)))

    def generate(self, noise: Tensor, batch: Batch) -> Tensor:
        """Raw output (B, C, *window) for noise of `noise_shape` and the batch's vector."""
        z, *grain = torch.split(noise, [self.latent, *(math.prod(size) for size in self.sizes)], dim=1)
        style = self.style(z, batch)
        x = self.constant.expand(len(noise), *self.constant.shape)
        for level, (layer, size, values) in enumerate(zip(self.levels, self.sizes, grain)):
            if level:
                x = F.interpolate(x, scale_factor=2.0, mode="nearest")
            x = layer(x, style, values.view(-1, 1, *size))
        return torch.as_tensor(self.head(x))
