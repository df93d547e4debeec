"""A patch critic that is also shown what it has been shown before."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from genaug.networks.base import Signature
from genaug.networks.critics import PatchCritic


class PoolCritic(PatchCritic):
    """A PatchCritic that keeps fakes of earlier iterations (Shrivastava 2017, arXiv:1612.07828).

    The pool is part of its state, so that a resumed training shows it the same fakes. It judges images without what
    they were made for, since the fakes in the pool were made for other cases.

    Args:
        pool: fakes to keep.
        channels, layers, haar_levels, judges: see PatchCritic.
    """

    def __init__(
        self,
        signature: Signature,
        pool: int = 50,
        channels: int = 32,
        layers: int = 3,
        haar_levels: int = 0,
        judges: Literal["target", "source"] = "target",
    ) -> None:
        super().__init__(signature, channels, layers, haar_levels, conditional=False, judges=judges)
        if pool < 1:
            raise ValueError(f"a pool of {pool} fakes holds none; use at least 1, or a patch_critic")
        self.pool: Tensor
        self.filled: Tensor
        self.register_buffer("pool", torch.zeros(pool, self.seen, *signature.window))
        self.register_buffer("filled", torch.tensor(0))

    @torch.no_grad()
    def recall(self, fakes: Tensor, generator: torch.Generator) -> Tensor:
        """What to show for fakes (B, C, *window): with equal chance itself or an older one, whose place it takes."""
        shown = []
        for fake in fakes:
            filled = int(self.filled)
            if filled < len(self.pool):
                self.pool[filled].copy_(fake)
                self.filled += 1
                shown.append(fake)
            elif torch.rand((), generator=generator) < 0.5:
                shown.append(fake)
            else:
                place = int(torch.randint(filled, (), generator=generator))
                shown.append(self.pool[place].to(fake).clone())
                self.pool[place].copy_(fake)
        return torch.stack(shown)
