"""Noise by case: what a case is made of does not depend on which cases share its batch."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from genaug.samplers.stepping import Noise


class CaseNoise:
    """Standard normal noise for a batch, each case from its own generator.

    Drawn on the CPU, whose generator gives the same numbers on every machine, and moved afterwards.

    Args:
        generators: one CPU generator a case, in batch order; advanced by every draw.
        shape: of one case, (C, ...).
        device: where the noise is wanted.
    """

    def __init__(
        self, generators: Sequence[torch.Generator], shape: Sequence[int], device: torch.device | str = "cpu"
    ) -> None:
        if not generators:
            raise ValueError("noise needs the generator of at least one case")
        self._generators, self._shape, self._device = list(generators), tuple(shape), device

    @classmethod
    def from_seeds(cls, seeds: Sequence[int], shape: Sequence[int], device: torch.device | str = "cpu") -> CaseNoise:
        """Fresh generators; the seeds are those of `record.case_seed`."""
        return cls([torch.Generator().manual_seed(seed) for seed in seeds], shape, device)

    def __call__(self) -> Tensor:
        """The next draw, (B, *shape) float32."""
        draws = [torch.randn(self._shape, generator=generator) for generator in self._generators]
        return torch.stack(draws).to(self._device)


def draw_initial(noise: Noise, sigma: float) -> Tensor:
    """Where sampling starts, in VE coordinates: one draw of `noise` times sqrt(1 + sigma^2).

    With this factor, rather than sigma, the network's first input is exactly standard normal, as in DDPM and DDIM; for
    data of unit variance that is the true distribution at the last timestep.
    """
    return noise() * math.sqrt(1 + sigma**2)
