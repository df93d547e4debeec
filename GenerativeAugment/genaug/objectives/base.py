"""The form of an objective term."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from genaug.networks.base import Batch, Outputs, Signature


@dataclass(frozen=True)
class Play:
    """What a term may look at besides outputs and batch."""

    signature: Signature
    critics: Mapping[str, nn.Module]
    generator: torch.Generator
    iteration: int

    def images(self, x: Tensor) -> Tensor:
        """The image channels of a generated or target tensor."""
        return x[:, : self.signature.image_channels]

    def labels(self, x: Tensor) -> Tensor:
        """The label channels of a generated or target tensor; none of them for a recipe without labels."""
        return x[:, self.signature.image_channels :]


LossTerm = Callable[..., Tensor]
"""(outputs, batch, play, **options) -> scalar, minimised by the network."""

CriticTerm = Callable[..., Tensor]
"""(critic, outputs, batch, play, **options) -> scalar, minimised by the critic."""


def judged(x: Tensor, batch: Batch) -> Tensor:
    """What a critic sees: a real or generated tensor, joined with its condition where there is one."""
    return x if batch.condition is None else torch.cat([x, batch.condition], dim=1)


__all__ = ["Batch", "CriticTerm", "LossTerm", "Outputs", "Play", "judged"]
