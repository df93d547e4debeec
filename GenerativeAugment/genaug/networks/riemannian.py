"""The geometry-aware variational autoencoder."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genaug.networks.base import Batch, Outputs, Signature, activate, draw
from genaug.networks.hamiltonian import Gradient, HamiltonianAutoencoder, inverse_temperature
from genaug.networks.metric import Metric
from genaug.recipe import Sampler
from genaug.samplers import Callback, Noise

FIXED_POINT = 3
"""Iterations of the implicit half steps, as in the paper."""


class RiemannianAutoencoder(HamiltonianAutoencoder):
    """Riemannian Hamiltonian VAE (Chadebec 2022, arXiv:2105.00026).

    The encoder also gives each case a matrix, and codes and matrices of the cases make up a metric in which the
    Hamiltonian posterior moves. New cases are drawn along that metric, from where training cases are, instead of from
    the prior: with few cases most of the prior decodes to nothing. In training the metric is that of the batch;
    afterwards that of the cases it is told of, which are kept with the weights.

    Args:
        latent: numbers of a code; few, for the metric has the square of them.
        temperature, floor: see Metric.
        kept: cases that the metric is made of afterwards, at most.
        walks, leaps, walk_step: see `Metric.walk`.
        path: as of HamiltonianAutoencoder.
    """

    def __init__(
        self,
        signature: Signature,
        latent: int = 10,
        temperature: float = 1.5,
        floor: float = 0.01,
        kept: int = 256,
        walks: int = 100,
        leaps: int = 10,
        walk_step: float = 0.05,
        **path: Any,
    ) -> None:
        super().__init__(signature, latent, **path)
        self.temperature, self.floor = temperature, floor
        self.walks, self.leaps, self.walk_step = walks, leaps, walk_step
        self.triangle = nn.Linear(self.summary, latent * (latent + 1) // 2)
        self.centroids: Tensor
        self.factors: Tensor
        self.filled: Tensor
        self.register_buffer("centroids", torch.zeros(kept, latent))
        self.register_buffer("factors", torch.zeros(kept, latent, latent))
        self.register_buffer("filled", torch.zeros(kept))

    def noise_shape(self) -> tuple[int, ...]:
        """(latent + 1,): a momentum, and a number for the choices."""
        return (self.latent + 1,)

    def lower(self, features: Tensor) -> Tensor:
        """Lower triangular matrices with a positive diagonal (B, latent, latent) for the encoder's features."""
        rows, columns = torch.tril_indices(self.latent, self.latent, device=features.device)
        numbers = self.triangle(features)
        numbers = torch.where(rows == columns, F.softplus(numbers), numbers)
        matrix = features.new_zeros(len(features), self.latent, self.latent, dtype=numbers.dtype)
        return matrix.index_put((torch.arange(len(features), device=features.device)[:, None], rows, columns), numbers)

    @property
    def metric(self) -> Metric:
        """The metric of the cases that were kept."""
        return Metric(self.centroids, self.factors, self.filled, self.temperature, self.floor)

    @torch.no_grad()
    def remember(self, batches: Iterable[Batch]) -> None:
        """Make the metric that of these cases; of more than can be kept, of as many spread evenly over them."""
        seen = [self.features(batch) for batch in batches]
        features = torch.cat(seen)
        if len(features) > len(self.filled):
            features = features[torch.linspace(0, len(features) - 1, len(self.filled)).round().long()]
        count = len(features)
        self.filled.zero_()
        self.filled[:count] = 1
        self.centroids[:count] = self.moments(features)[0]
        self.factors[:count] = self.lower(features)

    def moved(self, batch: Batch, generator: torch.Generator) -> Outputs:
        """Reconstruction from where the dynamics in the metric of this batch end; see HamiltonianAutoencoder."""
        features = self.features(self.corrupted(batch, generator))
        mean, log_variance = self.moments(features)
        metric = Metric(mean, self.lower(features), mean.new_ones(len(mean)), self.temperature, self.floor)
        normal = draw(tuple(mean.shape), mean, generator)
        kick = draw(tuple(mean.shape), mean, generator)
        code = mean + (0.5 * log_variance).exp() * normal
        # Momenta have the metric as their covariance: G = R^-T R^-1 for the factor R of the inverse.
        root = torch.linalg.cholesky(metric.inverse(code))
        momentum = torch.linalg.solve_triangular(root.mT, kick[..., None], upper=True)[..., 0] / self.cold**0.5
        start = metric.log_volume(code)
        gradient, warmth = self.slope(batch), self.cold**0.5
        slope = gradient(code)
        for step in range(self.leapfrog_steps):
            code, momentum, slope = generalised_leapfrog(code, momentum, slope, gradient, metric, self.log_step.exp())
            cooler = inverse_temperature(step + 1, self.leapfrog_steps, self.cold)
            momentum, warmth = momentum * (warmth / cooler), cooler
        kinetic = 0.5 * torch.einsum("bi,bij,bj->b", momentum, metric.inverse(code), momentum)
        return {
            **self.made(code, batch),
            "mean": mean,
            "log_variance": log_variance,
            "log_posterior": -0.5 * (normal**2 + log_variance + kick**2).sum(1) - start,
            "log_prior": -0.5 * (code**2).sum(1) - kinetic - metric.log_volume(code),
        }

    def code_length(self) -> int:
        """None: the noise are kicks of a walk, which begins where training cases are."""
        return 0

    def sample(self, noise: Noise, batch: Batch, sampler: Sampler, callback: Callback | None = None) -> Tensor:
        """Walk along the metric and decode; before the network is told its cases, the prior is all there is."""
        if self.filled.any():
            code = self.metric.walk(noise, self.walks, self.leaps, self.walk_step)
        else:
            code = noise()[:, : self.latent]
        made = activate(self.generate(code, batch), self.signature.image_channels)
        if callback is not None:
            callback(1, 1)
        return made


def generalised_leapfrog(
    code: Tensor,
    momentum: Tensor,
    slope: Tensor,
    gradient: Gradient,
    metric: Metric,
    step: Tensor | float,
) -> tuple[Tensor, Tensor, Tensor]:
    """One step of the dynamics of U(z) + log sqrt det G(z) + rho^T G^-1(z) rho / 2 (Girolami 2011).

    Its first kick and its drift are implicit, and solved by a few fixed-point iterations.

    Args:
        code: z, (B, latent).
        momentum: rho, (B, latent).
        slope: gradient of U at `code`.
        gradient: of U.
        metric: G.
        step: length, a number or one for each number of the code.

    Returns:
        Code and momentum after the step, and the gradient of U there.
    """
    half = momentum
    for _ in range(FIXED_POINT):
        half = momentum - step / 2 * (slope + _curvature(code, half, metric))
    moved, speed = code, velocity(code, half, metric)
    for _ in range(FIXED_POINT):
        moved = code + step / 2 * (speed + velocity(moved, half, metric))
    slope = gradient(moved)
    return moved, half - step / 2 * (slope + _curvature(moved, half, metric)), slope


def velocity(code: Tensor, momentum: Tensor, metric: Metric) -> Tensor:
    """G^-1 rho, (B, latent)."""
    return torch.einsum("bij,bj->bi", metric.inverse(code), momentum)


def _curvature(code: Tensor, momentum: Tensor, metric: Metric) -> Tensor:
    """What the metric alone adds to the potential's gradient."""
    return metric.volume_slope(code) + metric.kinetic_slope(code, momentum)
