"""From noise to cases in model space, through however many stages a recipe has."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from genaug.devices import reproducible_kernels
from genaug.networks.base import Batch, OnePass, System, activate
from genaug.recipe import Recipe, Sampler
from genaug.samplers import Callback, Noise
from genaug.strict import Strict


class CodeScale(Strict):
    """Codes are learnt and sampled as (code - mean) / deviation, per channel; without it a latent model is useless."""

    mean: list[float]
    deviation: list[float]

    @classmethod
    def of(cls, codes: Tensor) -> CodeScale:
        """The scale that gives codes (N, C, ...) zero mean and unit variance per channel."""
        axes = [axis for axis in range(codes.ndim) if axis != 1]
        return cls(mean=codes.mean(axes).tolist(), deviation=codes.std(axes).clamp(min=1e-6).tolist())

    def scale(self, codes: Tensor) -> Tensor:
        """Standardise codes (B, C, ...)."""
        mean, deviation = self._per_channel(codes)
        return (codes - mean) / deviation

    def unscale(self, codes: Tensor) -> Tensor:
        """Inverse of `scale`."""
        mean, deviation = self._per_channel(codes)
        return codes * deviation + mean

    def _per_channel(self, codes: Tensor) -> tuple[Tensor, Tensor]:
        shape = (1, -1, *[1] * (codes.ndim - 2))
        return torch.tensor(self.mean).to(codes).view(shape), torch.tensor(self.deviation).to(codes).view(shape)


@torch.no_grad()
@reproducible_kernels()
def generate(
    recipe: Recipe,
    systems: Mapping[str, System],
    code_scale: CodeScale | None,
    noise: Noise,
    batch: Batch,
    sampler: Sampler,
    callback: Callback | None = None,
) -> Tensor:
    """Cases (B, C, *window) in model space, the same bits whenever the same is asked of the same machine.

    Every sampling passes through here, so this is where cuDNN is held to reproducible kernels.

    Args:
        recipe: names the stages in order.
        systems: the trained networks by stage, in evaluation mode.
        code_scale: of the codes, where the last stage works on codes.
        noise: of the last stage's `noise_shape`.
        batch: its conditions; the target only tells the batch size.
        sampler: how to draw.
        callback: called at every network call; raising stops at once.
    """
    names = list(recipe.stages)
    made = systems[names[-1]].sample(noise, batch, sampler, callback)
    if recipe.stages[names[-1]].space == "voxel":
        return made
    decoder = systems[names[-2]]
    assert isinstance(decoder, OnePass) and code_scale is not None  # training wrote both or neither
    return activate(decoder.generate(code_scale.unscale(made), batch), decoder.signature.image_channels)
