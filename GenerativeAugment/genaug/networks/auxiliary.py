"""Critics that know of class and numbers: one says which it sees in a case, one whether those it is told fit it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from genaug.networks.base import Signature
from genaug.networks.critics import Critic


class AuxiliaryCritic(Critic):
    """The critic of whole volumes with a second answer: the vector that it sees (ACGAN, Odena 2017, arXiv:1610.09585).

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


class ProjectionCritic(Critic):
    """The critic of whole volumes that is told the vector as a direction among its features (Miyato 2018).

    What it adds to the score of a case is the product of the case's features and an embedding of the vector, which is
    the form of log p(vector | case) for classes and for numbers of normal noise (arXiv:1802.05637). A critic to which
    the vector is shown as more channels has to learn that product first.

    Raises:
        ValueError: for a recipe without a vector.
    """

    def __init__(self, signature: Signature, channels: Sequence[int] = (32, 64, 128), haar_levels: int = 1) -> None:
        super().__init__(signature, channels, haar_levels, conditional=False)
        self.length = signature.vector_length
        if not self.length:
            raise ValueError("a projection critic needs covariates to be told")
        hidden = self.last[0]
        assert isinstance(hidden, nn.Linear)
        self.embedding = nn.Linear(self.length, hidden.out_features, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Scores (B, 1) for tensors joined with their condition, whose last channels are the vector."""
        features = self.last[:-1](self.described(x))
        vector = x[:, -self.length :].flatten(2)[..., 0]
        return torch.as_tensor(self.last[-1](features) + (features * self.embedding(vector)).sum(dim=1, keepdim=True))
