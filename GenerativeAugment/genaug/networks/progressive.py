"""Players that grow from coarse to fine while they train (PGGAN, Karras 2018, arXiv:1710.10196).

Both are built whole and told how far the training is. The level that is being added is faded in, so that nothing jumps;
finer levels are not computed yet, which is also what makes the first part of a training cheap. What the critic sees of
a case is averaged down to the finest level there is, of real cases and of fakes alike.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from monai.networks.blocks import ResidualUnit
from monai.networks.layers.factories import Conv
from torch import Tensor, nn

from genaug.networks.base import Batch, FromNoise, Signature
from genaug.networks.critics import PatchCritic, seen_channels, with_spread
from genaug.networks.generator import NORM, with_vector
from genaug.networks.haar import to_features
from genaug.networks.template import TemplateHead
from genaug.networks.warping import enlarged

WHOLE_AT = 0.6
"""Share of the training after which every level is there."""


class Growth(nn.Module):
    """Which levels, counted from the coarsest, are there by now; all of them until it is told otherwise.

    How far it has come belongs to the weights: a training that ends early is packaged as the network that was trained.
    It is no buffer, which a GPU would have to be asked for in every pass.
    """

    def __init__(self, levels: int) -> None:
        super().__init__()
        self.levels = levels
        self.position = float(levels - 1)

    def get_extra_state(self) -> Tensor:
        """The position, as it is kept with the weights."""
        return torch.tensor(self.position)

    def set_extra_state(self, state: Tensor) -> None:
        """Take a position that was kept."""
        self.position = float(state)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        # Packages of before positions were kept hold whole networks.
        state_dict.setdefault(f"{prefix}_extra_state", torch.tensor(float(self.levels - 1)))
        super()._load_from_state_dict(state_dict, prefix, *args)

    def grow(self, progress: float) -> None:
        """Told which share of the training is over."""
        self.position = (self.levels - 1) * min(1.0, progress / WHOLE_AT)

    def share(self, level: int) -> float:
        """How much a level counts: it fades in over the first half of its phase and settles in the second."""
        return min(1.0, max(0.0, 2 * (self.position - (level - 1)))) if level else 1.0

    @property
    def finest(self) -> int:
        """The finest level that counts."""
        return max(level for level in range(self.levels) if self.share(level) > 0)


class ProgressiveGenerator(FromNoise):
    """Noise vector to case, one level after the other, each adding its part to the mean case.

    Every level is told the maps of the condition at its own resolution: label maps, sources. The last level makes the
    finest detail through the inverse Haar transform, see TemplateHead.

    Args:
        signature: shapes to build for; the window must be divisible by 2 ** (len(channels) - 1 + haar_levels).
        latent: length of the noise vector.
        start: channels of the coarsest maps, which a linear layer fills.
        channels: feature channels from coarse to fine, multiples of 8.
        haar_levels: finest levels without convolutions.
        detail_rate: see TemplateHead.
    """

    def __init__(
        self,
        signature: Signature,
        latent: int = 64,
        start: int = 32,
        channels: Sequence[int] = (64, 48, 24),
        haar_levels: int = 1,
        detail_rate: float = 1.0,
    ) -> None:
        super().__init__(signature)
        self.latent, self.growth = latent, Growth(len(channels))
        d = signature.dimension
        factor = 2 ** (len(channels) - 1 + haar_levels)
        self.size = signature.reduced(factor)
        self.first = nn.Linear(latent + signature.vector_length, start * math.prod(self.size))
        maps = signature.condition_channels - signature.vector_length
        befores = (start, *channels)
        self.blocks = nn.ModuleList(
            ResidualUnit(d, before + maps, after, norm=NORM, act="leakyrelu")
            for before, after in zip(befores, channels)
        )
        self.parts = nn.ModuleList(Conv[Conv.CONV, d](after, signature.channels, 1) for after in channels[:-1])
        for parameter in self.parts.parameters():
            nn.init.zeros_(parameter)
        self.head = TemplateHead(channels[-1], signature, haar_levels, detail_rate=detail_rate)

    def grow(self, progress: float) -> None:
        """Told which share of the training is over."""
        self.growth.grow(progress)

    def start_at(self, mean: Tensor) -> None:
        """Make the mean target what a zero output means."""
        self.head.start_at(mean)

    def noise_shape(self) -> tuple[int, ...]:
        """(latent,)."""
        return (self.latent,)

    def generate(self, noise: Tensor, batch: Batch) -> Tensor:
        """Raw output (B, C, *window) for noise (B, latent) and the batch's conditions."""
        x = self.first(with_vector(noise, batch)).unflatten(1, (-1, *self.size))
        raw = self.head.template.expand(len(noise), *self.head.template.shape)
        for level in range(self.growth.finest + 1):
            if level:
                x = F.interpolate(x, scale_factor=2.0, mode="nearest")
            x = self.blocks[level](torch.cat([x, *_maps(batch, x.shape[2:])], dim=1))
            raw = raw + self.growth.share(level) * self._part(level, x)
        return raw

    def _part(self, level: int, x: Tensor) -> Tensor:
        """What a level adds to the mean case, at the window's resolution."""
        if level == self.growth.levels - 1:
            return torch.as_tensor(self.head(x)) - self.head.template
        return enlarged(self.parts[level](x), self.signature.window)


class ProgressiveCritic(nn.Module):
    """One number per case, without normalisation, from what can be seen of it at the finest level there is.

    Args:
        signature: shapes to build for.
        channels: feature channels from fine to coarse, as many levels as the generator has.
        haar_levels: as the generator's.
        conditional: whether it is told what the case was made for.
    """

    def __init__(
        self,
        signature: Signature,
        channels: Sequence[int] = (24, 48, 64),
        haar_levels: int = 1,
        conditional: bool = True,
    ) -> None:
        super().__init__()
        self.growth = Growth(len(channels))
        d = signature.dimension
        self.seen = seen_channels(signature, conditional)
        self.sizes = [tuple(n // 2 ** (haar_levels + j) for n in signature.window) for j in range(len(channels))]
        finest = to_features(self.seen, channels[0], d, haar_levels)
        coarser = [Conv[Conv.CONV, d](self.seen, width, 1) for width in channels[1:]]
        self.entries = nn.ModuleList([finest, *coarser])
        self.blocks = nn.ModuleList(
            Conv[Conv.CONV, d](before, after, 4, stride=2, padding=1) for before, after in pairwise(channels)
        )
        width = channels[-1]
        self.last = nn.Sequential(
            nn.Linear(width * math.prod(self.sizes[-1]) + 1, width), nn.LeakyReLU(0.2), nn.Linear(width, 1)
        )

    def grow(self, progress: float) -> None:
        """Told which share of the training is over."""
        self.growth.grow(progress)

    def forward(self, x: Tensor) -> Tensor:
        """Scores (B, 1) for generated or real tensors joined with their condition, (B, C, *window)."""
        growth = self.growth
        first, share = growth.levels - 1 - growth.finest, growth.share(growth.finest)
        features = self._enter(x, first)
        for j in range(first, growth.levels - 1):
            features = F.leaky_relu(self.blocks[j](features), 0.2)
            if j == first and share < 1:
                features = share * features + (1 - share) * self._enter(x, j + 1)
        return torch.as_tensor(self.last(with_spread(features.flatten(1))))

    def _enter(self, x: Tensor, j: int) -> Tensor:
        """Features of the j-th resolution, counted from the finest."""
        seen = x[:, : self.seen]
        return F.leaky_relu(self.entries[j](seen if j == 0 else _averaged(seen, self.sizes[j])), 0.2)


class GrowingPatchCritic(PatchCritic):
    """A critic of patches that grows with a ProgressiveGenerator: it sees no detail that the generator cannot make yet.

    Else it would know every fake of the first half of the training by its missing detail, and teach nothing.

    Args:
        signature: shapes to build for.
        levels: as many as the generator has.
        channels, layers, haar_levels, conditional: see PatchCritic; `haar_levels` is also the generator's.
    """

    def __init__(
        self,
        signature: Signature,
        levels: int = 3,
        channels: int = 32,
        layers: int = 2,
        haar_levels: int = 1,
        conditional: bool = True,
    ) -> None:
        super().__init__(signature, channels, layers, haar_levels, conditional)
        self.growth = Growth(levels)
        self.sizes = [
            tuple(n // 2 ** (haar_levels + levels - 1 - level) for n in signature.window) for level in range(levels)
        ]

    def grow(self, progress: float) -> None:
        """Told which share of the training is over."""
        self.growth.grow(progress)

    def layers(self, x: Tensor) -> list[Tensor]:
        """What every layer makes of what can be seen by now, the scores last."""
        finest = self.growth.finest
        share = self.growth.share(finest)
        shown = self._seen_at(x, finest)
        if share < 1:
            shown = share * shown + (1 - share) * self._seen_at(x, finest - 1)
        return super().layers(shown)

    def _seen_at(self, x: Tensor, level: int) -> Tensor:
        """The tensor without the detail that comes after a level."""
        if level == self.growth.levels - 1:
            return x
        return enlarged(_averaged(x, self.sizes[level]), x.shape[2:])


def _maps(batch: Batch, size: Sequence[int]) -> list[Tensor]:
    """The maps of the condition at another size."""
    return [_averaged(maps, size) for maps in (batch.source, batch.label_map) if maps is not None]


def _averaged(x: Tensor, size: Sequence[int]) -> Tensor:
    factors = [n // m for n, m in zip(x.shape[2:], size, strict=True)]
    return F.avg_pool2d(x, factors) if len(factors) == 2 else F.avg_pool3d(x, factors)
