"""Masked networks: every number of the output depends on the earlier numbers of the input alone."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class MaskedLinear(nn.Linear):
    """A linear layer some of whose weights are held at zero."""

    mask: Tensor

    def __init__(self, mask: Tensor) -> None:
        super().__init__(mask.shape[1], mask.shape[0])
        self.register_buffer("mask", mask, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in) to (B, out)."""
        return F.linear(x, self.weight * self.mask, self.bias)


class Made(nn.Module):
    """Shift and log-scale of every number given those before it (Germain 2015, arXiv:1502.03509), one hidden layer.

    Both are zero at the start, so that a flow of it begins as the identity.

    Args:
        size: numbers.
        hidden: units of the hidden layer.
        context: numbers that every output may depend on.
    """

    def __init__(self, size: int, hidden: int, context: int = 0) -> None:
        super().__init__()
        place = torch.arange(size)
        # Hidden unit i sees the inputs up to its degree; degrees are dealt out evenly over 0 ... size - 2.
        degree = torch.arange(hidden) % max(size - 1, 1)
        self.first = MaskedLinear((degree[:, None] >= place[None, :]).float())
        self.last = MaskedLinear((place[:, None] > degree[None, :]).float().repeat(2, 1))
        self.context = nn.Linear(context, hidden) if context else None
        # What is given by the context alone: the first number has nothing before it, and so no hidden unit.
        self.given = nn.Linear(context, 2 * size) if context else None
        for layer in (self.last, self.given):
            for parameter in () if layer is None else layer.parameters():
                nn.init.zeros_(parameter)

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Shift and log-scale, (B, size) each, for x (B, size) and the context (B, context)."""
        hidden = self.first(x)
        if self.context is not None and context is not None:
            hidden = hidden + self.context(context)
        out = self.last(F.elu(hidden))
        if self.given is not None and context is not None:
            out = out + self.given(context)
        shift, log_scale = out.chunk(2, dim=1)
        return shift, log_scale
