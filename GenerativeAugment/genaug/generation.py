"""From noise to cases in model space, through however many stages a recipe has."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from genaug.devices import reproducible_kernels
from genaug.networks.base import Autoencoder, Batch, System, activate
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
    last = systems[names[-1]]
    latent = recipe.stages[names[-1]].space == "latent"
    seen = (
        at_codes(batch, batch.target.new_zeros(len(batch.target), last.signature.channels, *last.signature.window))
        if latent
        else batch
    )
    made = last.sample(noise, seen, sampler, callback)
    if not latent:
        return made
    decoder = systems[names[-2]]
    assert isinstance(decoder, Autoencoder)  # training has seen to it
    codes = made if code_scale is None else code_scale.unscale(made)
    return activate(decoder.generate(codes, batch), decoder.signature.image_channels)


def at_codes(batch: Batch, codes: Tensor) -> Batch:
    """The batch as a stage in the latent space sees it: codes for the target, the maps averaged down to their size."""
    size = codes.shape[2:]

    def small(maps: Tensor | None) -> Tensor | None:
        if maps is None or not size:
            return None
        factors = [n // m for n, m in zip(maps.shape[2:], size, strict=True)]
        return F.avg_pool2d(maps, factors) if len(size) == 2 else F.avg_pool3d(maps, factors)

    return Batch(codes, source=small(batch.source), label_map=small(batch.label_map), vector=batch.vector)
