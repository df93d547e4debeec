"""SynDiff: an adversarial diffusion translator that learns from unpaired images through a translator back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from genaug.networks.base import Batch, Outputs, Signature, System, take_whole
from genaug.networks.cycle import CyclePair, made_from, reverse_of
from genaug.networks.diffusion_gan import DiffusionGan
from genaug.networks.translators import FEATURES, Translator
from genaug.recipe import Sampler
from genaug.samplers import Callback, Noise


class SynDiff(System):
    """Özbey 2023 (arXiv:2207.08208): a cycle supplies sources for the targets, a diffusion GAN learns from them.

    No target has a source of its own. The translator back of the cycle that this follows makes one, and the diffusion
    GAN learns the target given that; a case is made by the diffusion GAN alone, from a real source. The paper trains
    cycle and diffusion together and in both directions. Here the cycle is learnt first and then stays as it is, so that
    what a source shows means the same throughout, and only the direction that is asked for has a diffusion GAN.

    Args:
        features, norm, dropout, from_source: of the CyclePair that it follows.
        identity: the same; not used here.
        diffusion: options of the DiffusionGan.
    """

    stepped = True

    def __init__(
        self,
        signature: Signature,
        features: Sequence[int] = FEATURES,
        norm: str = "instance",
        dropout: float = 0.0,
        identity: bool = True,
        from_source: bool = False,
        diffusion: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(signature)
        self.back = Translator(reverse_of(signature), features, norm, dropout, from_source=from_source)
        self.back.requires_grad_(False)
        self.diffusion = DiffusionGan(signature, **(diffusion or {}))

    def follow(self, teacher: System) -> None:
        """Take over the translator back of the cycle that this follows."""
        if not isinstance(teacher, CyclePair):
            raise ValueError(f"it needs the translator back of a cycle_pair; a {type(teacher).__name__} has none")
        take_whole(self.back, teacher.back)

    def train(self, mode: bool = True) -> SynDiff:
        """Train the diffusion GAN alone: the translator back drops nothing and keeps the means of its norms."""
        super().train(mode)
        self.back.eval()
        return self

    def start_at(self, mean: Tensor) -> None:
        """Make the mean target what a zero output of the diffusion GAN means."""
        self.diffusion.start_at(mean)

    def suits(self, sampler: Sampler) -> bool:
        """Whether the sampler stops at the levels that were trained."""
        return self.diffusion.suits(sampler)

    def noise_shape(self) -> tuple[int, ...]:
        """(C, *window)."""
        return self.diffusion.noise_shape()

    def forward(self, batch: Batch, generator: torch.Generator) -> Outputs:
        """A step of the diffusion GAN, for sources that the translator back makes of the batch's targets."""
        with torch.no_grad():
            source = made_from(batch.target, self.back, batch)
        outputs: Outputs = self.diffusion(replace(batch, source=source), generator)
        return outputs

    def sample(self, noise: Noise, batch: Batch, sampler: Sampler, callback: Callback | None = None) -> Tensor:
        """The diffusion GAN's target for the batch's source."""
        return self.diffusion.sample(noise, batch, sampler, callback)
