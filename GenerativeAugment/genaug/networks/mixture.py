"""Several generators before one critic, and who tells them apart."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from genaug.networks.base import Batch, FromNoise, Outputs, Signature
from genaug.networks.critics import Critic
from genaug.networks.generator import LatentGenerator


class GeneratorMixture(FromNoise):
    """Generators of which every case draws one, all judged by the same critics (Hoang 2018, MGAN, arXiv:1708.02556).

    A generator that has lost a part of the cohort need not find it again: another one can make it, and an OriginCritic
    rewards them for parting. The last number of the noise chooses: its normal distribution is cut into as many equally
    likely parts as there are generators.

    Args:
        signature: shapes to build for.
        generators: how many.
        latent, start, channels, haar_levels, detail_rate: of each, see LatentGenerator.
    """

    def __init__(
        self,
        signature: Signature,
        generators: int = 3,
        latent: int = 64,
        start: int = 16,
        channels: Sequence[int] = (48, 24),
        haar_levels: int = 1,
        detail_rate: float = 1.0,
    ) -> None:
        super().__init__(signature)
        self.latent = latent
        self.generators = nn.ModuleList(
            LatentGenerator(signature, latent, start, channels, haar_levels=haar_levels, detail_rate=detail_rate)
            for _ in range(generators)
        )

    def start_at(self, mean: Tensor) -> None:
        """Make the mean target what a zero output means, in each."""
        for one in self._all():
            one.start_at(mean)

    def noise_shape(self) -> tuple[int, ...]:
        """(latent + 1,)."""
        return (self.latent + 1,)

    def chosen(self, noise: Tensor) -> Tensor:
        """Which generator makes each case, (B,) integers."""
        count = len(self.generators)
        share = torch.as_tensor(torch.special.ndtr(noise[:, -1].float()))
        return (share * count).long().clamp(max=count - 1)

    def made_from(self, noise: Tensor, batch: Batch) -> Outputs:
        """Also which generator made each case, "origin", (B,) integers."""
        return {**super().made_from(noise, batch), "origin": self.chosen(noise)}

    def generate(self, noise: Tensor, batch: Batch) -> Tensor:
        """Raw output (B, C, *window) for noise (B, latent + 1) and the batch's vector."""
        chosen = self.chosen(noise)
        made = torch.stack([one.generate(noise[:, :-1], batch) for one in self._all()])
        return made[chosen, torch.arange(len(noise), device=noise.device)]

    def _all(self) -> list[LatentGenerator]:
        return [one for one in self.generators if isinstance(one, LatentGenerator)]


class OriginCritic(Critic):
    """The classifier of MGAN (Hoang 2018): which of several generators has made a case.

    A player of its own, where the paper's shares all layers but its last with the critic.

    Args:
        signature: shapes to build for.
        generators: how many there are.
        channels, haar_levels: see Critic; it is not told what the case was made for, which all of them are told.
    """

    def __init__(
        self, signature: Signature, generators: int = 3, channels: Sequence[int] = (32, 64, 128), haar_levels: int = 1
    ) -> None:
        super().__init__(signature, channels, haar_levels, conditional=False)
        last = self.last[-1]
        assert isinstance(last, nn.Linear)
        self.last[-1] = nn.Linear(last.in_features, generators)
