"""The denoising diffusion GAN: few big steps, each of which draws a clean image instead of its mean."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from genaug.networks.base import Batch, Outputs, Signature, activate, draw, raw_mean, spread
from genaug.networks.critics import Critic
from genaug.networks.denoising import DenoisingSystem, conditions_of
from genaug.recipe import Sampler
from genaug.samplers import Callback, Noise, find_sampler


class DiffusionGan(DenoisingSystem):
    """Generator of a denoising diffusion GAN (Xiao 2022, arXiv:2112.07804), for voxels.

    The mean of the clean image is all that a denoiser can say, and over a big step that is not enough. Here the network
    is told a random vector z as well and draws one of the clean images that fit, so that with the posterior
    q(x_s | x_t, x0) a step of any length is right, see `samplers.ancestral`. What it learns are deviations from the
    mean case.

    Args:
        latent: length of z, which is told as a vector of covariates is.
        levels: number of steps.
        channels, attention, res_blocks, head_channels, groups, haar_levels, schedule: see DenoisingSystem.
    """

    def __init__(
        self,
        signature: Signature,
        latent: int = 16,
        levels: int = 4,
        channels: Sequence[int] = (48, 96),
        attention: Sequence[bool] = (False, True),
        res_blocks: int = 1,
        head_channels: int = 32,
        groups: int = 16,
        haar_levels: int = 1,
        schedule: Mapping[str, Any] | None = None,
    ) -> None:
        told = replace(
            signature,
            condition_channels=signature.condition_channels + latent,
            vector=(*signature.vector, ("number", latent)),
        )
        super().__init__(
            told, channels, attention, res_blocks, head_channels, groups, haar_levels, schedule, "x0", None, levels
        )
        self.signature, self.latent = signature, latent
        self.template: Tensor
        self.register_buffer("template", torch.zeros(self.noise_shape()))

    def start_at(self, mean: Tensor) -> None:
        """Make the mean target what a zero output means."""
        self.template.copy_(raw_mean(mean, self.signature.image_channels))

    def drawn(self, noised: Tensor, timesteps: Tensor, z: Tensor, batch: Batch) -> Tensor:
        """Raw clean image (B, C, *S) for `noised` at timesteps (B,), by z (B, latent)."""
        vector = z if batch.vector is None else torch.cat([batch.vector, z], dim=1)
        told = replace(batch, target=noised, vector=vector)
        return self.predict(noised, timesteps, conditions_of(told)) + self.template

    def forward(self, batch: Batch, generator: torch.Generator) -> Outputs:
        """One step from a random level, as it was and as the generator makes it.

        `signal` (B,) is the share of the variance of what the network is given that is no noise: at 0 the clean image
        has to be made up.
        `step_real` and `step_fake` are what a StepCritic compares, (B, 2C + 1, *S): the image after the step, the one
        before it, and the share of the schedule that the step begins at.
        """
        timesteps, following = self.draw_timesteps(batch, generator)
        shape, target = tuple(batch.target.shape), batch.target
        t, s = self._sigmas(timesteps, target), self._sigmas(following, target)
        real = target + s * draw(shape, target, generator)
        before = real + (t**2 - s**2).sqrt() * draw(shape, target, generator)
        noised = before / (1 + t**2).sqrt()
        raw = self.drawn(noised, timesteps, draw((len(target), self.latent), target, generator), batch)
        generated = activate(raw, self.signature.image_channels)
        # The posterior of a step from t to s, equations 6 and 7 of Ho 2020 in VE coordinates.
        share = (s / t) ** 2
        fake = torch.lerp(generated, before, share) + s * (1 - share).sqrt() * draw(shape, target, generator)
        at = spread(((timesteps + 1) / self.schedule.steps).to(target)[:, None], shape[2:])
        scale = (1 + s**2).sqrt()
        return {
            "raw": raw,
            "generated": generated,
            "signal": (1 / (1 + t**2)).flatten(),
            "step_real": torch.cat([real / scale, noised, at], dim=1),
            "step_fake": torch.cat([fake / scale, noised, at], dim=1),
        }

    def _sigmas(self, timesteps: Tensor, like: Tensor) -> Tensor:
        """Noise levels, 0 at timestep -1, shaped to multiply `like`."""
        table = torch.cat([torch.zeros(1, dtype=torch.float64), self.schedule.sigmas])
        return table[timesteps.cpu() + 1].to(like.device, like.dtype).view(-1, *[1] * (like.ndim - 1))

    def sample(self, noise: Noise, batch: Batch, sampler: Sampler, callback: Callback | None = None) -> Tensor:
        """Run the sampler, with a z of its own for every step, which is one for all windows of a case."""

        def denoise(x: Tensor, sigma: float) -> Tensor:
            z = noise((self.latent,)).to(x)
            timesteps = torch.full((len(x),), self.schedule.timestep_of(sigma), device=x.device)
            raw = self.drawn(x / math.sqrt(1 + sigma**2), timesteps, z, batch)
            return activate(raw.to(x.dtype), self.signature.image_channels)

        return find_sampler(sampler.name).sample(
            denoise, self.schedule, noise, steps=sampler.steps, callback=callback, **sampler.options
        )


class StepCritic(Critic):
    """Judges a step, see `DiffusionGan.forward`: whether the image after it could have come from the one before.

    Only the image after the step has a slope: the rest is no player's doing, and R1 is to be of the former alone.
    """

    def __init__(
        self,
        signature: Signature,
        channels: Sequence[int] = (32, 64, 128),
        haar_levels: int = 1,
        conditional: bool = True,
    ) -> None:
        shown = replace(signature, image_channels=2 * signature.channels + 1, label_channels=0)
        super().__init__(shown, channels, haar_levels, conditional)
        self.judged = signature.channels

    def forward(self, x: Tensor) -> Tensor:
        """Scores (B, 1) for steps joined with their condition."""
        return super().forward(torch.cat([x[:, : self.judged], x[:, self.judged :].detach()], dim=1))
