"""SynDiff: an adversarial diffusion translator that learns from unpaired images through a pair of translators."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from genaug.networks.base import Batch, Outputs, Signature, System
from genaug.networks.cycle import CyclePair
from genaug.networks.diffusion_gan import DiffusionGan
from genaug.networks.translators import FEATURES
from genaug.recipe import Sampler
from genaug.samplers import Callback, Noise


class SynDiff(System):
    """Özbey 2023 (arXiv:2207.08208): a cycle pair supplies sources for the targets, a diffusion GAN learns from them.

    No target has a source of its own. The translator back makes one, and the diffusion GAN learns the target given
    that; a case is made by the diffusion GAN alone, from a real source. The paper trains both directions, this the one
    that is asked for.

    Args:
        features: of the translators.
        diffusion: options of the DiffusionGan.
        from_source: see CyclePair.
    """

    stepped = True

    def __init__(
        self,
        signature: Signature,
        features: Sequence[int] = FEATURES,
        diffusion: Mapping[str, Any] | None = None,
        from_source: bool = False,
    ) -> None:
        super().__init__(signature)
        self.pair = CyclePair(signature, features, identity=False, from_source=from_source)
        self.diffusion = DiffusionGan(signature, **(diffusion or {}))

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
        """What the terms of a cycle look at, and a step of the diffusion GAN for sources that the pair has made.

        `denoised` is the clean image of that step, (B, C, *S): what the target, gone to its source and back through the
        diffusion GAN, is held to.
        """
        outputs = self.pair(batch, generator)
        made = self.diffusion(replace(batch, source=outputs["reversed"].detach()), generator)
        return {
            **outputs,
            "denoised": made["generated"],
            "step_real": made["step_real"],
            "step_fake": made["step_fake"],
        }

    def sample(self, noise: Noise, batch: Batch, sampler: Sampler, callback: Callback | None = None) -> Tensor:
        """The diffusion GAN's target for the batch's source."""
        return self.diffusion.sample(noise, batch, sampler, callback)
