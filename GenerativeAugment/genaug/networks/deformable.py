"""Diffusion deformable model: what is denoised is a source image that moves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from monai.networks.nets import UNet
from torch import Tensor, nn

from genaug.networks.base import Batch, Outputs, Signature
from genaug.networks.denoising import DenoisingSystem, conditions_of
from genaug.networks.haar import Haar, band_channels
from genaug.networks.warping import enlarged, integrate, warp
from genaug.recipe import Sampler
from genaug.samplers import Callback, Noise, find_sampler


class DeformableDenoiser(DenoisingSystem):
    """A denoiser whose clean image is its source, bent (Kim 2022, arXiv:2206.13295).

    The denoiser predicts the noise in the target, given the source. That prediction is a code of what differs between
    the two, from which a second network makes a velocity field; the source, moved by it, is the clean image. A code of
    zeros is no movement, by construction, and a part of the code a part of the way: phases in between the two images.

    Args:
        field_channels: of the network that makes the field.
        channels, attention, ..., schedule: see DenoisingSystem.

    Raises:
        ValueError: where source and target have not equally many channels, or label maps are to be made.
    """

    sampler_options = ("amplitude",)

    def __init__(
        self,
        signature: Signature,
        field_channels: Sequence[int] = (16, 32, 32),
        channels: Sequence[int] = (32, 64),
        attention: Sequence[bool] = (False, True),
        res_blocks: int = 1,
        head_channels: int = 32,
        groups: int = 16,
        haar_levels: int = 1,
        schedule: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(
            signature, channels, attention, res_blocks, head_channels, groups, haar_levels, schedule, "epsilon"
        )
        sources = signature.condition_channels - signature.vector_length
        if signature.label_channels or sources != signature.channels:
            raise ValueError(f"a source of {sources} channels cannot be bent into {signature.channels} channels")
        d = signature.dimension
        self.field = nn.Sequential(
            Haar(haar_levels),
            UNet(
                spatial_dims=d,
                in_channels=band_channels(2 * sources, d, haar_levels),
                out_channels=d,
                channels=tuple(field_channels),
                strides=(2,) * (len(field_channels) - 1),
                num_res_units=1,
            ),
        )

    def velocity(self, code: Tensor, source: Tensor) -> Tensor:
        """Velocity field (B, d, *S) in voxels for a code and a source (B, C, *S); none for a code of zeros."""
        moving, still = (self.field(torch.cat([x, source], dim=1)) for x in (code, torch.zeros_like(code)))
        return enlarged(moving - still, code.shape[2:])

    def forward(self, batch: Batch, generator: torch.Generator) -> Outputs:
        """The noise in the target, and the source bent by what it tells."""
        outputs = super().forward(batch, generator)
        velocity = self.velocity(outputs["prediction"], _source(batch))
        return {**outputs, "velocity": velocity, "generated": warp(_source(batch), integrate(velocity))}

    def sample(self, noise: Noise, batch: Batch, sampler: Sampler, callback: Callback | None = None) -> Tensor:
        """The source on its way to a target.

        The sampler's option `amplitude` says how far: 1 for the target, 0 for the source, above 1 beyond the target.
        """
        options = dict(sampler.options)
        amplitude = float(options.pop("amplitude", 1.0))
        source = _source(batch)
        code = torch.zeros_like(batch.target)

        def denoise(x: Tensor, sigma: float) -> Tensor:
            nonlocal code
            timesteps = torch.full((len(x),), self.schedule.timestep_of(sigma), device=x.device)
            code = self.predict(x / (1 + sigma**2) ** 0.5, timesteps, conditions_of(batch)).to(x.dtype)
            return warp(source, integrate(self.velocity(code, source)))

        # Its last call is the one that the result is made of.
        find_sampler(sampler.name).sample(
            denoise, self.schedule, noise, steps=sampler.steps, callback=callback, **options
        )
        return warp(source, integrate(self.velocity(amplitude * code, source)))


def _source(batch: Batch) -> Tensor:
    if batch.source is None:
        raise ValueError("a deformable model needs a source image")
    return batch.source
