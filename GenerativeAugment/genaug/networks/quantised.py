"""The autoencoder with discrete codes, on one or two levels."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from monai.networks.blocks import ResidualUnit
from monai.networks.layers.factories import Conv
from torch import Tensor, nn

from genaug.networks.base import Autoencoder, Batch, Outputs, Signature, activate
from genaug.networks.codebook import Codebook
from genaug.networks.generator import NORM
from genaug.networks.haar import to_features
from genaug.networks.metric import uniform
from genaug.networks.template import TemplateHead
from genaug.recipe import Sampler
from genaug.samplers import Callback, Noise


class QuantisedAutoencoder(Autoencoder):
    """VQ-VAE (van den Oord 2017, arXiv:1711.00937), or VQ-VAE-2 with two levels (Razavi 2019, arXiv:1906.00446).

    A code is a row of integers, the top level's first, each level in the order of its voxels: what an autoregressive
    prior reads. With two levels the bottom one is encoded in sight of what the top one says, half as large again, so it
    holds the detail only.

    Args:
        entries: of each codebook.
        width: numbers of an entry.
        channels: feature channels from fine to coarse, multiples of 8; the bottom codes lie at
            1 / 2^(len(channels) - 1 + haar_levels) of the resolution.
        levels: 1 or 2.
        haar_levels: in front and behind, see `haar`.
        decay: of the codebooks, see Codebook.
    """

    def __init__(
        self,
        signature: Signature,
        entries: int = 128,
        width: int = 16,
        channels: Sequence[int] = (32, 64),
        levels: int = 1,
        haar_levels: int = 1,
        decay: float | None = 0.98,
    ) -> None:
        super().__init__(signature)
        d = signature.dimension
        factor = 2 ** (len(channels) - 1 + haar_levels + levels - 1)
        if levels not in (1, 2) or any(n % factor for n in signature.window):
            raise ValueError(f"{levels} levels at window {signature.window}: 1 or 2, divisible by {factor}")
        self.entries, self.levels = entries, levels
        bottom = tuple(n * 2 ** (levels - 1) // factor for n in signature.window)
        self.sizes = [tuple(n // 2 for n in bottom), bottom][2 - levels :]
        down: list[nn.Module] = [to_features(signature.channels, channels[0], d, haar_levels)]
        up: list[nn.Module] = []
        for level, after in enumerate(channels):
            before = channels[max(level - 1, 0)]
            down.append(ResidualUnit(d, before, after, strides=2 if level else 1, norm=NORM, act="leakyrelu"))
            step: list[nn.Module] = [nn.Upsample(scale_factor=2, mode="nearest")] if level else []
            up = [ResidualUnit(d, after, after, norm=NORM, act="leakyrelu"), *step, _mix(d, after, before), *up]
        coarse = channels[-1]
        self.down, self.up = nn.Sequential(*down), nn.Sequential(_mix(d, levels * width, coarse), *up)
        self.head = TemplateHead(channels[0], signature, haar_levels)
        self.books = nn.ModuleList(Codebook(entries, width, decay) for _ in range(levels))
        self.to_bottom = _mix(d, coarse + (levels - 1) * width, width)
        self.enlarge = nn.Upsample(scale_factor=2, mode="nearest")
        self.top: nn.Module | None = None
        if levels == 2:
            smaller = ResidualUnit(d, coarse, coarse, strides=2, norm=NORM, act="leakyrelu")
            self.top = nn.Sequential(smaller, _mix(d, coarse, width))

    def start_at(self, mean: Tensor) -> None:
        """Make the mean target what a zero output means."""
        self.head.start_at(mean)

    def noise_shape(self) -> tuple[int, ...]:
        """(integers of a code,)."""
        return (sum(math.prod(size) for size in self.sizes),)

    def codes(self, batch: Batch) -> Tensor:
        """Integers (B, n)."""
        features = self.down(batch.target)
        chosen: list[Tensor] = []
        if self.top is not None:
            chosen.append(self._book(0).choose(self.top(features)))
            above = self.enlarge(self._book(0).look_up(chosen[0]))
            features = torch.cat([features, above], dim=1)
        chosen.append(self._book(-1).choose(self.to_bottom(features)))
        return torch.cat([which.flatten(1) for which in chosen], dim=1)

    def generate(self, noise: Tensor, batch: Batch) -> Tensor:
        """Raw output for integers (B, n)."""
        parts = torch.split(noise, [math.prod(size) for size in self.sizes], dim=1)
        found = [
            self._book(level).look_up(torch.unflatten(part, 1, size))
            for level, (part, size) in enumerate(zip(parts, self.sizes, strict=True))
        ]
        return self._decode(found)

    def forward(self, batch: Batch, generator: torch.Generator) -> Outputs:
        """Reconstruction through the codebooks; "encoded" and "nearest", (B, N), are what `commitment` compares."""
        features = self.down(batch.target)
        encoded: list[Tensor] = []
        found: list[Tensor] = []
        nearest: list[Tensor] = []
        if self.top is not None:
            encoded.append(self.top(features))
            through, entry, _ = self._book(0)(encoded[0], generator)
            found.append(through)
            nearest.append(entry)
            features = torch.cat([features, self.enlarge(through)], dim=1)
        encoded.append(self.to_bottom(features))
        through, entry, _ = self._book(-1)(encoded[-1], generator)
        raw = self._decode([*found, through])
        return {
            "raw": raw,
            "generated": activate(raw, self.signature.image_channels),
            "encoded": torch.cat([x.flatten(1) for x in encoded], dim=1),
            "nearest": torch.cat([x.flatten(1) for x in [*nearest, entry]], dim=1),
        }

    def sample(self, noise: Noise, batch: Batch, sampler: Sampler, callback: Callback | None = None) -> Tensor:
        """Every integer by itself and equally likely: what is known before a prior is learnt."""
        which = (uniform(noise()) * self.entries).long().clamp(max=self.entries - 1)
        if callback is not None:
            callback(1, 1)
        return activate(self.generate(which, batch), self.signature.image_channels)

    def _decode(self, found: list[Tensor]) -> Tensor:
        above = [self.enlarge(found[0])] if self.levels == 2 else []
        return torch.as_tensor(self.head(self.up(torch.cat([*above, found[-1]], dim=1))))

    def _book(self, level: int) -> Codebook:
        book = self.books[level]
        assert isinstance(book, Codebook)
        return book


def _mix(dimension: int, before: int, after: int) -> nn.Module:
    """A convolution of kernel 1."""
    mixed: nn.Module = Conv[Conv.CONV, dimension](before, after, 1)
    return mixed
