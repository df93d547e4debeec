"""Fréchet distance between two sets of features, each taken as a Gaussian.

Dowson and Landau 1982; Heusel et al. 2017 (FID): |μ₁ − μ₂|² + tr(Σ₁ + Σ₂ − 2 (Σ₁ Σ₂)^½).

For any factors Σ = Fᵀ F, tr (Σ₁ Σ₂)^½ is the sum of the singular values of H = F₁ F₂ᵀ, the roots of the eigenvalues of
the symmetric H Hᵀ. So no square root of an unsymmetric matrix is taken: the result is real, and for n ≤ d, where the
covariances are singular, the centred rows themselves are the factor.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from genaug.evaluation.resampling import bootstrap_weights
from genaug.volume import FloatArray

REPLICATES = 100
"""Fewer than elsewhere: each draw costs three matrix factorisations."""


def frechet_distance(
    real: FloatArray,
    synthetic: FloatArray,
    real_weights: FloatArray | None = None,
    synthetic_weights: FloatArray | None = None,
) -> float:
    """Fréchet distance of (n, d) against (m, d) features, in float64; never negative.

    It is biased upwards by the number of cases: compare only at equal sizes, and beside the floor.

    Args:
        real: (n, d) features.
        synthetic: (m, d) features.
        real_weights: (n,) how often each case counts; None: once.
        synthetic_weights: (m,) the same for the synthetic cases.
    """
    if real.ndim != 2 or synthetic.ndim != 2 or real.shape[1] != synthetic.shape[1]:
        raise ValueError(f"features of shape {real.shape} and {synthetic.shape} do not compare")
    mean_real, factor_real = _moments(real, real_weights)
    mean_synthetic, factor_synthetic = _moments(synthetic, synthetic_weights)
    product = factor_real @ factor_synthetic.T
    if product.shape[0] > product.shape[1]:
        product = product.T
    eigenvalues = np.linalg.eigvalsh(product @ product.T)
    shared = np.sqrt(np.maximum(eigenvalues, 0)).sum()
    shift = ((mean_real - mean_synthetic) ** 2).sum()
    return max(0.0, float(shift + (factor_real**2).sum() + (factor_synthetic**2).sum() - 2 * shared))


def frechet_bootstrap(
    real: FloatArray,
    synthetic: FloatArray,
    rng: np.random.Generator,
    real_groups: Sequence[str] | None = None,
    replicates: int = REPLICATES,
) -> FloatArray:
    """(replicates,) Fréchet distances of redrawn cohorts; use with `resampling.centred_interval`."""
    real_weights = bootstrap_weights(len(real), replicates, rng, real_groups)
    synthetic_weights = bootstrap_weights(len(synthetic), replicates, rng)
    return np.array([frechet_distance(real, synthetic, w, v) for w, v in zip(real_weights, synthetic_weights)])


def _moments(features: FloatArray, weights: FloatArray | None) -> tuple[FloatArray, FloatArray]:
    """Mean (d,) and a factor F with Fᵀ F the covariance; F has at most d rows."""
    rows = features.astype(np.float64)
    if weights is None:
        weights = np.ones(len(rows))
    weights = weights.astype(np.float64)
    rows, weights = rows[weights > 0], weights[weights > 0]
    total = weights.sum()
    if total < 2:
        raise ValueError("a covariance needs at least two cases")
    mean = weights @ rows / total
    rows -= mean
    rows *= np.sqrt(weights / (total - 1))[:, None]
    return mean, rows if len(rows) <= rows.shape[1] else _triangle(rows.T @ rows)


def _triangle(covariance: FloatArray) -> FloatArray:
    """F with Fᵀ F = `covariance`: Cholesky's, or from the eigenvectors where features depend on each other linearly."""
    try:
        return np.linalg.cholesky(covariance).T
    except np.linalg.LinAlgError:
        eigenvalues, vectors = np.linalg.eigh(covariance)
        factor: FloatArray = np.sqrt(np.maximum(eigenvalues, 0))[:, None] * vectors.T
        return factor
