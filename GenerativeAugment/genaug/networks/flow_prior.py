"""A normalising flow as the prior of an autoencoder's codes."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from genaug.networks.base import Batch, Outputs, Signature, draw
from genaug.networks.made import Made
from genaug.networks.priors import LatentPrior

STEEPEST = 3.0
"""Largest absolute log-scale of a step."""


class FlowPrior(LatentPrior):
    """Masked autoregressive flow (Papamakarios 2017, arXiv:1705.07057), trained by the term `likelihood`.

    From codes to noise is one pass a step; from noise to codes takes as many as a code has numbers, so it is for short
    codes.

    Args:
        steps: of the flow, the order of the numbers turned round in between.
        hidden: units of each step's hidden layer.
        blur: standard deviation of the noise added to codes in training: a few dozen points have no density of their
            own.
    """

    def __init__(self, signature: Signature, steps: int = 4, hidden: int = 64, blur: float = 0.1) -> None:
        super().__init__(signature)
        self.blur = blur
        self.steps = nn.ModuleList(Made(self.size, hidden, signature.vector_length) for _ in range(steps))

    def forward(self, batch: Batch, generator: torch.Generator) -> Outputs:
        """The log-density of the batch's codes, blurred."""
        codes = batch.target.flatten(1)
        noise = draw(tuple(codes.shape), codes, generator)
        return {"log_density": self.log_density(codes + self.blur * noise, batch)}

    def log_density(self, codes: Tensor, batch: Batch) -> Tensor:
        """Log-density, (B,)."""
        normal, log_determinant = self.to_noise(codes, batch)
        return -0.5 * (normal**2).sum(1) - 0.5 * self.size * math.log(2 * math.pi) + log_determinant

    def to_noise(self, codes: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Where codes (B, size) come from, and the log-determinant of the way there, (B,)."""
        log_determinant = codes.new_zeros(len(codes))
        for step in self.steps:
            shift, log_scale = _bounded(step(codes, batch.vector))
            codes = ((codes - shift) * (-log_scale).exp()).flip(1)
            log_determinant = log_determinant - log_scale.sum(1)
        return codes, log_determinant

    def draw(self, normal: Tensor, batch: Batch) -> Tensor:
        """Codes (B, size), number by number."""
        for step in reversed(list(self.steps)):
            turned = normal.flip(1)
            normal = torch.zeros_like(turned)
            for place in range(self.size):
                shift, log_scale = _bounded(step(normal, batch.vector))
                normal = normal.clone()
                normal[:, place] = turned[:, place] * log_scale[:, place].exp() + shift[:, place]
        return normal


def _bounded(shift_and_log_scale: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    shift, log_scale = shift_and_log_scale
    return shift, STEEPEST * torch.tanh(log_scale / STEEPEST)
