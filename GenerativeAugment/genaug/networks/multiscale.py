"""Patch critics at several resolutions, which together see texture and arrangement."""

from __future__ import annotations

import torch
from monai.networks.layers.factories import Pool
from torch import Tensor, nn

from genaug.networks.base import Signature
from genaug.networks.critics import PatchCritic


class MultiScaleCritic(nn.Module):
    """As many PatchCritics as `scales`, each on half the resolution of the one before (Wang 2018, arXiv:1711.11585).

    Args:
        scales: number of resolutions.
        channels, layers, haar_levels, conditional: of every critic, see PatchCritic; the coarsest must leave a patch.
    """

    def __init__(
        self,
        signature: Signature,
        scales: int = 2,
        channels: int = 32,
        layers: int = 2,
        haar_levels: int = 0,
        conditional: bool = True,
    ) -> None:
        super().__init__()
        if scales < 1:
            raise ValueError(f"{scales} scales judge nothing; use at least 1")
        smallest = min(signature.window) // 2 ** (scales - 1 + layers + haar_levels)
        if smallest < 3:
            raise ValueError(f"a window of {signature.window} leaves no patch at scale {scales}; use fewer of them")
        self.halve = Pool[Pool.AVG, signature.dimension](2)
        self.critics = nn.ModuleList(
            PatchCritic(signature, channels, layers, haar_levels, conditional) for _ in range(scales)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Scores (B, 1, patches) of all scales, one after the other; each scale counts by its number of patches."""
        return self.layers(x)[-1]

    def layers(self, x: Tensor) -> list[Tensor]:
        """What every layer of every scale makes of it, the scores of all scales last."""
        inner: list[Tensor] = []
        scores = []
        for scale, critic in enumerate(self.critics):
            x = self.halve(x) if scale else x
            assert isinstance(critic, PatchCritic)
            *features, score = critic.layers(x)
            inner += features
            scores.append(score.flatten(2))
        return [*inner, torch.cat(scores, dim=2)]
