"""A codebook: vectors replaced by the nearest of a few, which are learnt."""

from __future__ import annotations

import torch
import torch.distributed
import torch.nn.functional as F
from torch import Tensor, nn

from genaug.networks.base import single_precision

RARE = 0.3
"""An entry that was used less often a batch, on average, is moved to where it will be used."""


class Codebook(nn.Module):
    """Vector quantisation (van den Oord 2017, arXiv:1711.00937).

    Entries follow the mean of the vectors that chose them (appendix A.1), or learn by gradient when there is no decay.
    Entries that nobody chooses are put where vectors of the batch are (Dhariwal 2020, arXiv:2005.00341, section 3.1):
    on few cases most of a codebook would die in its first iterations. The first batch fills it in the same way.

    In single precision whatever autocast says: half precision cannot tell close entries apart.

    Args:
        entries: how many.
        width: numbers of each.
        decay: of the running means; None for a codebook that learns by gradient.
    """

    def __init__(self, entries: int, width: int, decay: float | None = 0.98) -> None:
        super().__init__()
        self.decay = decay
        self.entries: Tensor
        self.used: Tensor
        self.sums: Tensor
        start = torch.zeros(entries, width)
        if decay is None:
            self.entries = nn.Parameter(start)
        else:
            self.register_buffer("entries", start)
            self.register_buffer("sums", start.clone())
        self.register_buffer("used", torch.zeros(entries))

    def forward(self, x: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Quantise; in training the codebook moves as well.

        Args:
            x: vectors (B, width, *S).
            generator: chooses the vectors that unused entries move to.

        Returns:
            The nearest entries (B, width, *S) with the gradient of `x` (straight through), the same with the entries'
            own, and which they are (B, *S).
        """
        vectors = x.detach().float().movedim(1, -1).flatten(0, -2)
        if self.training:
            self._revive(vectors, generator)
        which = self.choose(x)
        nearest = self.look_up(which)
        if self.training:
            self._follow(vectors, which.flatten())
        return x + (nearest - x).detach(), nearest, which

    def choose(self, x: Tensor) -> Tensor:
        """Index of the nearest entry (B, *S) of vectors (B, width, *S)."""
        with single_precision(x):
            vectors = x.float().movedim(1, -1)
            distances = (self.entries**2).sum(1) - 2 * vectors @ self.entries.T
            return distances.argmin(-1)

    def look_up(self, which: Tensor) -> Tensor:
        """Entries (B, width, *S) for indices (B, *S)."""
        return F.embedding(which, self.entries).movedim(-1, 1)

    @torch.no_grad()
    def _revive(self, vectors: Tensor, generator: torch.Generator) -> None:
        chosen = torch.randint(len(vectors), (len(self.entries),), generator=generator, device=generator.device)
        candidates = vectors[chosen.to(vectors.device)].contiguous()
        if torch.distributed.is_initialized():
            torch.distributed.broadcast(candidates, 0)
        rare = self.used < RARE
        self.entries[rare] = candidates[rare]
        self.used[rare] = 1
        if self.decay is not None:
            self.sums[rare] = candidates[rare]

    @torch.no_grad()
    def _follow(self, vectors: Tensor, which: Tensor) -> None:
        hot = F.one_hot(which, len(self.entries)).to(vectors)
        with single_precision(vectors):
            counts, sums = hot.sum(0), hot.T @ vectors
        if torch.distributed.is_initialized():
            torch.distributed.all_reduce(counts)
            torch.distributed.all_reduce(sums)
        decay = 0.98 if self.decay is None else self.decay
        self.used.lerp_(counts, 1 - decay)
        if self.decay is not None:
            self.sums.lerp_(sums, 1 - decay)
            self.entries.copy_(self.sums / self.used.clamp(min=1e-5)[:, None])
