"""The variational autoencoder whose posterior is a few steps of Hamiltonian dynamics."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genaug.networks.autoencoders import VectorAutoencoder
from genaug.networks.base import Batch, Outputs, Signature, activate, draw, single_precision

Gradient = Callable[[Tensor], Tensor]
"""Codes (B, latent) to the gradient of their potential energy, (B, latent)."""


def leapfrog(code: Tensor, momentum: Tensor, gradient: Gradient, step: Tensor | float) -> tuple[Tensor, Tensor]:
    """One leapfrog step under unit mass: half a kick, a drift, half a kick. Reversible, and it keeps volumes."""
    momentum = momentum - step / 2 * gradient(code)
    code = code + step * momentum
    return code, momentum - step / 2 * gradient(code)


def inverse_temperature(step: int, steps: int, start: float) -> float:
    """Square root of the inverse temperature after `step` of `steps`, from sqrt(start) to 1 (Caterini 2018, eq. 9)."""
    root = start**0.5
    return float(1 / ((1 - 1 / root) * (step / steps) ** 2 + 1 / root))


class HamiltonianAutoencoder(VectorAutoencoder):
    """Hamiltonian VAE (Caterini 2018, arXiv:1805.11328).

    A code drawn from the Gaussian posterior is moved by leapfrog steps downhill in -log p(case, code), with a momentum
    that is cooled from step to step. The likelihood in there is Gaussian for the image and categorical for the label
    map; the objective's own terms compare the case with what is decoded where the code ends.

    Args:
        latent: numbers of a code.
        leapfrog_steps: how many; each costs two passes through the decoder and their gradients.
        step: their length at first; it is learnt, one for each number of the code.
        cold: inverse temperature of the first momentum, in (0, 1].
        likelihood: nats that a mean squared error of 1 over the case costs: latent / weight of the objective's
            `sampled_kl` makes dynamics and objective speak of the same posterior.
        labels: weight of the label map's cross-entropy beside the squared error; the objective's, likewise.
        path: as of VectorAutoencoder.
    """

    def __init__(
        self,
        signature: Signature,
        latent: int = 16,
        leapfrog_steps: int = 2,
        step: float = 0.01,
        cold: float = 0.3,
        likelihood: float = 1000.0,
        labels: float = 1.0,
        **path: Any,
    ) -> None:
        super().__init__(signature, latent, **path)
        if not 0 < cold <= 1:
            raise ValueError(f"cold is {cold}, and must be above 0 and at most 1")
        self.leapfrog_steps, self.cold = leapfrog_steps, cold
        self.likelihood, self.labels = likelihood, labels
        self.log_step = nn.Parameter(torch.full((latent,), step).log())

    def potential(self, code: Tensor, batch: Batch) -> Tensor:
        """-log p(case, code) up to a constant, (B,)."""
        raw = self.generate(code, batch)
        count = self.signature.image_channels
        inside = torch.ones_like(raw[:, :1]) if batch.inside is None else batch.inside
        errors = torch.zeros_like(inside)
        if count:
            squared = (activate(raw[:, :count], count) - batch.target[:, :count]) ** 2
            errors = errors + squared.mean(dim=1, keepdim=True)
        if self.signature.label_channels:
            truth = (batch.target[:, count:] > 0).to(raw)
            errors = errors + self.labels * F.cross_entropy(raw[:, count:], truth, reduction="none")[:, None]
        seen = (errors * inside).flatten(1).sum(1) / inside.flatten(1).sum(1).clamp(min=1)
        return self.likelihood * seen + 0.5 * (code**2).sum(1)

    def slope(self, batch: Batch) -> Gradient:
        """Gradient of the potential; it is itself differentiable where the forward pass is."""
        wanted = torch.is_grad_enabled()

        def gradient(code: Tensor) -> Tensor:
            with torch.enable_grad():
                at = code if code.requires_grad else code.detach().requires_grad_(True)
                found: Tensor
                (found,) = torch.autograd.grad(self.potential(at, batch).sum(), at, create_graph=wanted)
            return found

        return gradient

    def forward(self, batch: Batch, generator: torch.Generator) -> Outputs:
        """Reconstruction from where the dynamics end, with the log-densities of `sampled_kl`, those of momenta too.

        In single precision whatever autocast says: the dynamics are driven by small differences of large energies.
        """
        with single_precision(batch.target):
            return self.moved(batch, generator)

    def moved(self, batch: Batch, generator: torch.Generator) -> Outputs:
        """The forward pass itself."""
        mean, log_variance = self.encode(self.corrupted(batch, generator))
        normal = draw(tuple(mean.shape), mean, generator)
        kick = draw(tuple(mean.shape), mean, generator)
        code, momentum = mean + (0.5 * log_variance).exp() * normal, kick / self.cold**0.5
        gradient, warmth = self.slope(batch), self.cold**0.5
        for step in range(self.leapfrog_steps):
            code, momentum = leapfrog(code, momentum, gradient, self.log_step.exp())
            cooler = inverse_temperature(step + 1, self.leapfrog_steps, self.cold)
            # All cooling together shrinks volumes by just what the first momentum was spread out.
            momentum, warmth = momentum * (warmth / cooler), cooler
        return {
            **self.made(code, batch),
            "mean": mean,
            "log_variance": log_variance,
            "log_posterior": -0.5 * (normal**2 + log_variance + kick**2).sum(1),
            "log_prior": -0.5 * (code**2 + momentum**2).sum(1),
        }
