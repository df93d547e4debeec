"""What every sampler shares: walking down the noise levels, reporting and stopping."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Protocol, TypeAlias

import torch
from torch import Tensor


class Noise(Protocol):
    """Where a sampler's random numbers come from."""

    def __call__(self, shape: Sequence[int] | None = None, /) -> Tensor:
        """A fresh standard normal tensor of x's shape, type and device, or (B, *shape) where a network draws others."""


Callback: TypeAlias = Callable[[int, int], None]
"""(steps done, steps in all). Raising from it, as a Reporter does when the job should stop, ends the sampling."""


def stepping(sigmas: Tensor, callback: Callback | None) -> Iterator[tuple[float, float]]:
    """Yield (sigma, next sigma) for every step, reporting before the first one and after each.

    The first report, of 0 steps, lets a job that is already to be stopped do so before the network is called.

    Args:
        sigmas: (steps + 1,) strictly falling, the last one 0; float64, or the levels are coarser than they look.
        callback: told of progress, may be None.

    Raises:
        ValueError: `sigmas` is not of this form.
    """
    # As Python floats the coefficients made of them are computed in double precision without a tensor's overhead.
    levels: list[float] = sigmas.tolist() if sigmas.ndim == 1 and sigmas.dtype == torch.float64 else []
    if len(levels) < 2 or levels[-1] != 0 or not all(level > following for level, following in pairwise(levels)):
        raise ValueError(f"sigmas must be float64 and fall strictly to 0, got {sigmas}")
    total = len(levels) - 1
    if callback is not None:
        callback(0, total)
    for done, pair in enumerate(pairwise(levels), start=1):
        yield pair
        if callback is not None:
            callback(done, total)
