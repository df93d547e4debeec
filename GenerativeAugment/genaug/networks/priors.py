"""Priors of the codes of an autoencoder that are fitted, not trained: stages in its latent space.

What is fitted is kept as parameters, so that a recipe may go on to train it by its `likelihood`.
"""

from __future__ import annotations

import math
from abc import abstractmethod

import numpy as np
import torch
from sklearn.covariance import LedoitWolf
from sklearn.mixture import GaussianMixture
from torch import Tensor, nn

from genaug.networks.base import Batch, Outputs, Signature, System
from genaug.networks.metric import uniform
from genaug.recipe import Sampler
from genaug.samplers import Callback, Noise

LARGEST = 4096
"""Numbers of a code of which a covariance is still kept."""


class LatentPrior(System):
    """A density of codes, whatever their shape; inside they are rows of numbers (B, size)."""

    def __init__(self, signature: Signature) -> None:
        super().__init__(signature)
        self.shape = (signature.channels, *signature.window)
        self.size = math.prod(self.shape)

    @abstractmethod
    def log_density(self, codes: Tensor, batch: Batch) -> Tensor:
        """Of codes (B, size), up to a constant where noted, (B,)."""

    @abstractmethod
    def draw(self, normal: Tensor, batch: Batch) -> Tensor:
        """Codes (B, size) made of standard normal numbers (B, *noise_shape)."""

    def noise_shape(self) -> tuple[int, ...]:
        """(size,)."""
        return (self.size,)

    def forward(self, batch: Batch, generator: torch.Generator) -> Outputs:
        """The log-density of the batch's codes, for the term `likelihood`."""
        return {"log_density": self.log_density(batch.target.flatten(1), batch)}

    def sample(self, noise: Noise, batch: Batch, sampler: Sampler, callback: Callback | None = None) -> Tensor:
        """Codes (B, *shape)."""
        codes = torch.unflatten(self.draw(noise(), batch), 1, self.shape)
        if callback is not None:
            callback(1, 1)
        return codes


class GaussianPrior(LatentPrior):
    """One Gaussian over all numbers of a code, whose mean follows what is known of the case.

    The covariance is Ledoit and Wolf's (2004), shrunk as far as the number of cases demands; the mean is a ridge
    regression on the vector of class and numbers, where there is one.

    Args:
        ridge: of the regression, in cases: how many it takes to believe in an effect.
    """

    def __init__(self, signature: Signature, ridge: float = 1.0) -> None:
        super().__init__(signature)
        if self.size > LARGEST:
            raise ValueError(f"a Gaussian over codes of {self.size} numbers: at most {LARGEST}")
        self.ridge = ridge
        self.mean = nn.Parameter(torch.zeros(self.size))
        self.effects = nn.Parameter(torch.zeros(signature.vector_length, self.size))
        self.factor = nn.Parameter(torch.eye(self.size))

    @torch.no_grad()
    def fit(self, codes: Batch) -> None:
        """Mean, effects and covariance of the codes."""
        x = codes.target.flatten(1).double()
        self.mean.copy_(x.mean(0))
        rest = x - x.mean(0)
        if codes.vector is not None and self.signature.vector_length:
            known = codes.vector.double()
            centred = known - known.mean(0)
            penalty = self.ridge * torch.eye(known.shape[1], dtype=torch.float64)
            effects = torch.linalg.solve(centred.T @ centred + penalty, centred.T @ rest)
            self.effects.copy_(effects)
            self.mean.sub_(known.mean(0) @ effects)
            rest = rest - centred @ effects
        covariance = torch.from_numpy(LedoitWolf(assume_centered=True).fit(rest.numpy()).covariance_)
        self.factor.copy_(torch.linalg.cholesky(covariance + 1e-6 * torch.eye(self.size, dtype=torch.float64)))

    def expected(self, batch: Batch) -> Tensor:
        """Mean code of cases like these, (B, size) or (size,)."""
        return self.mean if batch.vector is None else self.mean + batch.vector @ self.effects

    def log_density(self, codes: Tensor, batch: Batch) -> Tensor:
        """Log-density, (B,)."""
        return _gaussian(codes - self.expected(batch), self.factor)

    def draw(self, normal: Tensor, batch: Batch) -> Tensor:
        """Mean and correlated deviation."""
        return self.expected(batch) + normal @ self.factor.tril().T


class MixturePrior(LatentPrior):
    """A mixture of Gaussians fitted to the codes after training (Ghosh 2020, arXiv:1903.12436).

    Args:
        components: of the mixture, at most one for every `cases_each` codes.
        cases_each: codes that a component needs.
        floor: variance that is added to every component's.
    """

    def __init__(self, signature: Signature, components: int = 8, cases_each: int = 10, floor: float = 1e-2) -> None:
        super().__init__(signature)
        if components * self.size**2 > LARGEST**2:
            raise ValueError(f"{components} Gaussians over codes of {self.size} numbers are too many")
        self.cases_each, self.floor = cases_each, floor
        self.log_weights = nn.Parameter(torch.zeros(components))
        self.means = nn.Parameter(torch.zeros(components, self.size))
        self.factors = nn.Parameter(torch.eye(self.size).repeat(components, 1, 1))

    NEVER = -1e4
    """Log-weight of a component that is not needed; finite, for weights that are not are refused."""

    @torch.no_grad()
    def fit(self, codes: Batch) -> None:
        """Expectation maximisation from a fixed start, so that the same codes give the same mixture."""
        x = codes.target.flatten(1).double().numpy()
        count = min(len(self.log_weights), max(1, len(x) // self.cases_each))
        found = GaussianMixture(count, reg_covar=self.floor, init_params="k-means++", n_init=3, random_state=0).fit(x)
        self.log_weights.fill_(self.NEVER)
        self.log_weights[:count] = torch.from_numpy(np.log(found.weights_)).float()
        self.means[:count] = torch.from_numpy(found.means_).float()
        self.factors[:count] = torch.linalg.cholesky(torch.from_numpy(found.covariances_)).float()

    def noise_shape(self) -> tuple[int, ...]:
        """(size + 1,): the last number chooses the component."""
        return (self.size + 1,)

    def log_density(self, codes: Tensor, batch: Batch) -> Tensor:
        """Log-density, (B,)."""
        each = [_gaussian(codes - mean, factor) for mean, factor in zip(self.means, self.factors)]
        return torch.logsumexp(torch.stack(each, dim=1) + self.log_weights.log_softmax(0), dim=1)

    def draw(self, normal: Tensor, batch: Batch) -> Tensor:
        """A component, and a draw from it."""
        bounds = self.log_weights.softmax(0).cumsum(0)
        chosen = torch.searchsorted(bounds, uniform(normal[:, -1])).clamp(max=len(bounds) - 1)
        deviation = torch.einsum("bij,bj->bi", self.factors[chosen].tril(), normal[:, :-1])
        return self.means[chosen] + deviation


def _gaussian(deviations: Tensor, factor: Tensor) -> Tensor:
    """Log-density of deviations (B, size) under the covariance factor @ factor.T, (B,)."""
    lower = factor.tril()
    white = torch.linalg.solve_triangular(lower, deviations.T, upper=False)
    volume = lower.diagonal().abs().log().sum() + 0.5 * len(factor) * math.log(2 * math.pi)
    return torch.as_tensor(-0.5 * (white**2).sum(0) - volume)
