"""Noise by case: what a case is made of does not depend on which cases share its batch, nor on its windows."""

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

    def __call__(self, shape: Sequence[int] | None = None) -> Tensor:
        """The next draw, (B, *shape) float32, of the shape that was given first where none is given here."""
        own = self._shape if shape is None else tuple(shape)
        draws = [torch.randn(own, generator=generator) for generator in self._generators]
        return torch.stack(draws).to(self._device)


class WindowNoise:
    """Standard normal noise of one case, seen through windows of it.

    Where two windows overlap they see the same noise, so what they make of it agrees there and can be blended. Noise
    that is not of the window's size, such as a style, is the same for all windows.

    Args:
        generator: of the case, on the CPU; seeded alike for every batch of windows and advanced by every draw.
        size: of the whole case along every axis.
        windows: where the windows of the batch lie, a slice an axis.
        shape: of one window's noise, (C, ...).
        device: where the noise is wanted.
    """

    def __init__(
        self,
        generator: torch.Generator,
        size: Sequence[int],
        windows: Sequence[tuple[slice, ...]],
        shape: Sequence[int],
        device: torch.device | str = "cpu",
    ) -> None:
        self._generator, self._size, self._windows = generator, tuple(size), list(windows)
        self._shape, self._device = tuple(shape), device

    def __call__(self, shape: Sequence[int] | None = None) -> Tensor:
        """The next draw, (windows, *shape) float32, of the shape that was given first where none is given here."""
        asked = self._shape if shape is None else tuple(shape)
        own = tuple(at.stop - at.start for at in self._windows[0])
        if asked[1:] != own:
            draw = torch.randn(asked, generator=self._generator)
            return draw.expand(len(self._windows), *asked).to(self._device)
        whole = torch.randn((asked[0], *self._size), generator=self._generator)
        return torch.stack([whole[(slice(None), *at)] for at in self._windows]).to(self._device)


def draw_initial(noise: Noise, sigma: float) -> Tensor:
    """Where sampling starts, in VE coordinates: one draw of `noise` times sqrt(1 + sigma^2).

    With this factor, rather than sigma, the network's first input is exactly standard normal, as in DDPM and DDIM; for
    data of unit variance that is the true distribution at the last timestep.
    """
    return noise() * math.sqrt(1 + sigma**2)
