"""A critic that also says what a case was made for (ACGAN, Odena 2017, arXiv:1610.09585)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from genaug.networks.base import Signature
from genaug.networks.critics import Critic


class AuxiliaryCritic(Critic):
    """The critic of whole volumes with a second answer: the vector of class and numbers that it sees in the case.

    It is never told that vector, which it would only have to repeat.

    Raises:
        ValueError: for a recipe without a vector.
    """

    def __init__(self, signature: Signature, channels: Sequence[int] = (32, 64, 128), haar_levels: int = 1) -> None:
        super().__init__(signature, channels, haar_levels, conditional=False)
        if not signature.vector_length:
            raise ValueError("an auxiliary critic needs covariates to predict")
        first = self.last[0]
        assert isinstance(first, nn.Linear)
        width = first.out_features
        self.known = nn.Sequential(
            nn.Linear(first.in_features - 1, width), nn.LeakyReLU(0.2), nn.Linear(width, signature.vector_length)
        )

    def forward(self, x: Tensor, answer: Literal["score", "vector"] = "score") -> Tensor:
        """Scores (B, 1), or what it takes for the vector (B, V): logits of classes, and numbers."""
        if answer == "score":
            return super().forward(x)
        return torch.as_tensor(self.known(self.features(x[:, : self.seen]).flatten(1)))
