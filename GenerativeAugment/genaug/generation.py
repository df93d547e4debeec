"""From noise to cases in model space, through however many stages a recipe has."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor

from genaug.acceleration import accelerated
from genaug.convolution import sampling
from genaug.devices import reproducible_kernels
from genaug.errors import GenaugError, Reason
from genaug.networks.base import Autoencoder, Batch, System, activate
from genaug.recipe import Recipe, Sampler
from genaug.samplers import Callback, CaseNoise, Noise
from genaug.stages import chains, stage_view, with_part
from genaug.strict import Strict
from genaug.tensors import Roles

NoiseOf: TypeAlias = Callable[[Sequence[int], torch.device], Noise]
"""(shape of one case's draw, device) -> noise for the batch."""


class CodeScale(Strict):
    """Codes are learnt and sampled as (code - mean) / deviation, per channel; without it a latent model is useless."""

    mean: list[float]
    deviation: list[float]

    @classmethod
    def of(cls, codes: Tensor) -> CodeScale:
        """The scale that gives codes (N, C, ...) zero mean and unit variance per channel, where they vary at all."""
        axes = [axis for axis in range(codes.ndim) if axis != 1]
        deviation = codes.std(axes, correction=int(codes.numel() > codes.shape[1]))
        return cls(mean=codes.mean(axes).tolist(), deviation=deviation.where(deviation > 1e-6, 1).tolist())

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
@sampling()
def generate(
    recipe: Recipe,
    systems: Mapping[str, System],
    code_scale: CodeScale | None,
    generators: Sequence[torch.Generator] | NoiseOf,
    batch: Batch,
    roles: Roles,
    sampler: Sampler,
    callback: Callback | None = None,
) -> Tensor:
    """Cases (B, C, *window) in model space, the same bits whenever the same is asked of the same machine.

    Every sampling passes through here, so this is where cuDNN is held to reproducible kernels, and where convolutions
    on the CPU take the route of `genaug.convolution` and a GPU the arithmetic of `genaug.acceleration`.

    Args:
        recipe: names the stages in order.
        systems: the trained networks by stage, in evaluation mode; while a recipe is trained, those there are so far.
        code_scale: of the codes, where a stage works on codes.
        generators: one CPU generator a case, from which its noise is drawn, or what gives the noise of a shape.
        batch: the conditions; of its target, the channels and the size tell what is to be made.
        roles: what the channels are.
        sampler: how to draw.
        callback: called at every network call, with the calls of one chain; raising stops at once.
    """
    target = batch.target
    with accelerated(target.device):
        for chain in chains(recipe, systems):
            last = maker(recipe, chain, systems, sampler)
            stage, system = recipe.stages[last], systems[last]
            seen = stage_view(replace(batch, target=target), stage, roles)
            shape, device = system.noise_shape(), target.device
            noise = generators(shape, device) if callable(generators) else CaseNoise(generators, shape, device)
            if stage.space == "voxel":
                made = system.sample(noise, seen, sampler, callback)
            else:
                code = target.new_zeros(len(target), system.signature.channels, *system.signature.window)
                codes = system.sample(noise, at_codes(seen, code), sampler, callback)
                decoder = autoencoder_of(chain, systems)
                scaled = codes if code_scale is None else code_scale.unscale(codes)
                # The autoencoder may know less of the case than the stage that works on its codes.
                known = stage_view(replace(batch, target=target), recipe.stages[chain[0]], roles)
                made = activate(decoder.generate(scaled, known), decoder.signature.image_channels)
            target = with_part(target, made, stage, roles)
    return target


def maker(recipe: Recipe, chain: Sequence[str], systems: Mapping[str, System], sampler: Sampler) -> str:
    """The stage of a chain that makes cases: the last one, or of teachers and students who suits the sampler.

    A teacher of one pass stands in for nobody: it would make its cases whatever the sampler says.
    """
    last = chain[-1]
    while not systems[last].suits(sampler):
        teacher = recipe.stages[last].follows
        if teacher is None or teacher not in systems or not systems[teacher].stepped:
            break
        last = teacher
    return last


def autoencoder_of(chain: Sequence[str], systems: Mapping[str, System]) -> Autoencoder:
    """The autoencoder that the stages of a chain in the latent space work behind, the first one of the chain."""
    first = systems[chain[0]]
    if not isinstance(first, Autoencoder):
        raise GenaugError(
            Reason.BAD_RECIPE,
            chain[-1],
            f"a stage in the latent space of a {type(first).__name__}",
            "an autoencoder as the first stage of those that make the same part",
            "Correct the stages of the recipe.",
        )
    return first


def at_codes(batch: Batch, codes: Tensor) -> Batch:
    """The batch as a stage in the latent space sees it: codes for the target, the maps averaged down to their size."""
    size = codes.shape[2:]

    def small(maps: Tensor | None) -> Tensor | None:
        if maps is None or not size:
            return None
        factors = [n // m for n, m in zip(maps.shape[2:], size, strict=True)]
        return F.avg_pool2d(maps, factors) if len(size) == 2 else F.avg_pool3d(maps, factors)

    return Batch(codes, source=small(batch.source), label_map=small(batch.label_map), vector=batch.vector)
