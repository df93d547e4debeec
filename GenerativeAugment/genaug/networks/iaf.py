"""The variational autoencoder whose posterior is bent by an inverse autoregressive flow."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from genaug.networks.autoencoders import VectorAutoencoder
from genaug.networks.base import Batch, Outputs, Signature, draw
from genaug.networks.made import Made


class InverseAutoregressiveFlow(nn.Module):
    """z -> gate * z + (1 - gate) * shift, step after step, the order of the numbers turned round in between.

    Gate and shift of a number come from those before it (Kingma 2016, arXiv:1606.04934, equations 13 and 14), so the
    Jacobian is triangular and its log-determinant the sum of the gates' logarithms.

    Args:
        size: numbers of a code.
        steps: of the flow.
        hidden: units of each step's hidden layer.
        context: numbers of the encoder that every step sees.
    """

    BIAS = 2.0
    """Added to the gates before the sigmoid: the flow begins close to the identity (section 4 of the paper)."""

    def __init__(self, size: int, steps: int, hidden: int, context: int) -> None:
        super().__init__()
        self.steps = nn.ModuleList(Made(size, hidden, context) for _ in range(steps))

    def forward(self, z: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        """The bent codes (B, size), and the log-determinant of the Jacobian (B,)."""
        log_determinant = z.new_zeros(len(z))
        for step in self.steps:
            shift, raw = step(z, context)
            gate = torch.sigmoid(raw + self.BIAS)
            z = (gate * z + (1 - gate) * shift).flip(1)
            log_determinant = log_determinant + nn.functional.logsigmoid(raw + self.BIAS).sum(1)
        return z, log_determinant


class FlowAutoencoder(VectorAutoencoder):
    """A vector autoencoder with a posterior of any shape that the flow can reach."""

    def __init__(
        self, signature: Signature, latent: int = 32, steps: int = 3, hidden: int = 64, context: int = 32, **path: Any
    ) -> None:
        super().__init__(signature, latent, **path)
        self.context = nn.Linear(self.summary, context)
        self.flow = InverseAutoregressiveFlow(latent, steps, hidden, context)

    def codes(self, batch: Batch) -> Tensor:
        """Where the flow takes the means of the posterior, (B, latent)."""
        features = self.features(batch)
        code, _ = self.flow(self.moments(features)[0], self.context(features))
        return torch.as_tensor(code)

    def forward(self, batch: Batch, generator: torch.Generator) -> Outputs:
        """Reconstruction by one draw, with the log-densities of posterior and prior there; see `sampled_kl`."""
        features = self.features(self.corrupted(batch, generator))
        mean, log_variance = self.moments(features)
        normal = draw(tuple(mean.shape), mean, generator)
        code, log_determinant = self.flow(mean + (0.5 * log_variance).exp() * normal, self.context(features))
        return {
            **self.made(code, batch),
            "mean": mean,
            "log_variance": log_variance,
            "log_posterior": -0.5 * (normal**2 + log_variance).sum(1) - log_determinant,
            "log_prior": -0.5 * (code**2).sum(1),
        }
