"""The same patient with other covariates: a diffeomorphism of the real image (CounterSynth, Pombo 2023)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from monai.networks.blocks import ResidualUnit
from monai.networks.layers.factories import Conv
from torch import Tensor, nn

from genaug.networks.base import Batch, Outputs, Signature, System, spread
from genaug.networks.generator import NORM
from genaug.networks.haar import to_features
from genaug.networks.warping import enlarged, integrate, warp
from genaug.recipe import Sampler
from genaug.samplers import Callback, Noise

REACH = 0.25
"""Largest velocity of a level, in its own voxels per unit time: fields of such slope integrate without folds."""


class CounterfactualWarper(System):
    """Bends a case's source towards the covariates that are asked for, and adds nothing (arXiv:2111.14923).

    Anatomy moves and no intensity is made up, so whatever the scanner put into the image stays. Velocities are made at
    a quarter of the resolution and at coarser ones, each level within its reach, and integrated; at first they are
    zero, so that a case starts as its own counterfactual.

    In training other covariates are asked for than the case has: those of another case of the batch. The outputs are
    `generated`, `velocity` (B, d, *window) in voxels, and `wanted` (B, V), the vector that was asked for.

    Args:
        signature: its condition is one source channel for each target channel, and the vector.
        channels: of the encoder, from half of the resolution on; each further one halves it again.
        haar_levels: of the front.

    Raises:
        ValueError: without covariates, or with label channels.
    """

    def __init__(self, signature: Signature, channels: Sequence[int] = (16, 32, 64, 64), haar_levels: int = 1) -> None:
        super().__init__(signature)
        d = signature.dimension
        sources = signature.condition_channels - signature.vector_length
        if not signature.vector_length or sources != signature.channels:
            raise ValueError("a counterfactual needs covariates, and the channels it makes as its source")
        self.front = to_features(signature.condition_channels, channels[0], d, haar_levels)
        self.down = nn.ModuleList(
            ResidualUnit(d, before, after, strides=2, norm=NORM, act="leakyrelu")
            for before, after in pairwise(channels)
        )
        self.fields = nn.ModuleList(Conv[Conv.CONV, d](after, d, 3, padding=1) for after in channels[1:])
        for parameter in self.fields.parameters():
            nn.init.zeros_(parameter)
        self.scales = [2 ** (haar_levels + level) for level in range(1, len(channels))]

    def noise_shape(self) -> tuple[int, ...]:
        """One number, which is not used: the warp is deterministic."""
        return (1,)

    def velocity(self, batch: Batch) -> Tensor:
        """The stationary velocity (B, d, *window), in voxels per unit time, towards the batch's vector."""
        if batch.source is None or batch.vector is None:
            raise ValueError("a counterfactual needs a source image and covariates")
        size = batch.source.shape[2:]
        x = self.front(torch.cat([batch.source, spread(batch.vector, size)], dim=1))
        total = batch.source.new_zeros(len(batch.source), len(size), *size)
        for down, field, scale in zip(self.down, self.fields, self.scales):
            x = down(x)
            level = REACH * scale * torch.tanh(field(x))
            total = total + enlarged(level, size)
        return total

    def sample(self, noise: Noise, batch: Batch, sampler: Sampler, callback: Callback | None = None) -> Tensor:
        """The batch's sources with the covariates of its vector; `sampler` has nothing to choose."""
        result = self._bent(batch, self.velocity(batch))
        if callback is not None:
            callback(1, 1)
        return result

    def forward(self, batch: Batch, generator: torch.Generator) -> Outputs:
        """The batch's sources with the covariates of one another."""
        if batch.vector is None:
            raise ValueError("a counterfactual needs covariates")
        order = torch.randperm(len(batch.vector), generator=generator).to(batch.vector.device)
        asked = Batch(batch.target, source=batch.source, vector=batch.vector[order])
        velocity = self.velocity(asked)
        return {"generated": self._bent(asked, velocity), "velocity": velocity, "wanted": batch.vector[order]}

    @staticmethod
    def _bent(batch: Batch, velocity: Tensor) -> Tensor:
        assert batch.source is not None
        return warp(batch.source, integrate(velocity))
