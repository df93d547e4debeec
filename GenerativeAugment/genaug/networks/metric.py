"""A Riemannian metric on the codes of an autoencoder, and random walks that follow it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from genaug.networks.hamiltonian import leapfrog
from genaug.samplers import Noise


@dataclass(frozen=True)
class Metric:
    """G(z) with inverse sum_i weight_i L_i L_i^T exp(-|z - c_i|^2 / T^2) + floor * I (Chadebec 2022, arXiv:2105.00026).

    Positive definite everywhere; its volume element is small near the centroids, where the data are, and large away.

    Attributes:
        centroids: c, (N, latent).
        factors: L, lower triangular, (N, latent, latent).
        weights: (N,), 1 or 0 for a place that is not filled.
        temperature: T, how far a centroid reaches.
        floor: of the inverse metric's eigenvalues.
    """

    centroids: Tensor
    factors: Tensor
    weights: Tensor
    temperature: float
    floor: float

    def _reach(self, z: Tensor) -> Tensor:
        distance = ((z[:, None] - self.centroids[None]) ** 2).sum(2)
        return self.weights * torch.exp(-distance / self.temperature**2)

    @cached_property
    def _shapes(self) -> Tensor:
        return self.factors @ self.factors.transpose(1, 2)

    def inverse(self, z: Tensor) -> Tensor:
        """The inverse metric at codes (B, latent), (B, latent, latent)."""
        identity = torch.eye(z.shape[1], dtype=z.dtype, device=z.device)
        return torch.einsum("bn,nij->bij", self._reach(z), self._shapes) + self.floor * identity

    def log_volume(self, z: Tensor) -> Tensor:
        """Logarithm of the volume element, log sqrt(det G), at codes (B, latent), (B,)."""
        return -0.5 * torch.logdet(self.inverse(z))

    def volume_slope(self, z: Tensor) -> Tensor:
        """Gradient of `log_volume`, (B, latent), in closed form."""
        covered = torch.einsum("bij,nji->bn", torch.linalg.inv(self.inverse(z)), self._shapes)
        pull = self._reach(z) * covered / self.temperature**2
        return pull.sum(1, keepdim=True) * z - pull @ self.centroids

    def kinetic_slope(self, z: Tensor, momentum: Tensor) -> Tensor:
        """Gradient in z of rho^T G^-1(z) rho / 2 for momenta rho (B, latent), (B, latent), in closed form."""
        along = torch.einsum("bi,nij->bnj", momentum, self.factors).square().sum(2)
        push = self._reach(z) * along / self.temperature**2
        return push @ self.centroids - push.sum(1, keepdim=True) * z

    def walk(self, noise: Noise, walks: int, leaps: int, step: float) -> Tensor:
        """Codes (B, latent) of density proportional to 1 / sqrt(det G), by Hamiltonian Monte Carlo from a centroid.

        The manifold sampling of Chadebec 2022, section 3.3, without its tempering, so that the density is kept exactly.

        Args:
            noise: draws (B, latent + 1): the last number chooses where to start, and whether a walk is accepted.
            walks: proposals.
            leaps: leapfrog steps of each.
            step: their length.
        """
        filled = self.centroids[self.weights > 0]
        chosen = (uniform(noise()[:, -1]) * len(filled)).long().clamp(max=len(filled) - 1)
        code = filled[chosen]
        for _ in range(walks):
            drawn = noise()
            momentum, chance = drawn[:, :-1], uniform(drawn[:, -1])
            before = self.log_volume(code) + 0.5 * (momentum**2).sum(1)
            moved = code
            for _ in range(leaps):
                moved, momentum = leapfrog(moved, momentum, self.volume_slope, step)
            after = self.log_volume(moved) + 0.5 * (momentum**2).sum(1)
            code = torch.where((chance.log() < before - after)[:, None], moved, code)
        return code


def uniform(normal: Tensor) -> Tensor:
    """Standard normal numbers as uniform ones in [0, 1], by their distribution function."""
    return torch.as_tensor(0.5 * torch.special.erfc(-normal / math.sqrt(2)))
