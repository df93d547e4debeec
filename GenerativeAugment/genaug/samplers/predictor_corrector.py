"""Predictor and corrector: a step down the noise levels, then Langevin dynamics at the level it has reached."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from genaug.denoiser import Denoise
from genaug.errors import GenaugError, Reason
from genaug.samplers.stepping import Callback, Noise, stepping


@torch.no_grad()
def predictor_corrector(
    denoise: Denoise,
    x: Tensor,
    sigmas: Tensor,
    *,
    noise: Noise,
    callback: Callback | None = None,
    snr: float = 0.16,
) -> Tensor:
    """Algorithm 2 of Song et al. 2021 (arXiv:2011.13456) with one corrector a step, in VE coordinates.

    The predictor is the ancestral step. The corrector follows the score, (x0 - x) / sigma^2, by a step whose length is
    chosen case by case, so that it is `snr` times as long as the noise that is added; the paper takes one length for
    the whole batch, in which a case would depend on its neighbours.

    Args:
        denoise: see Denoise; called twice a step, once for the last, which ends in the clean image.
        x: (B, C, ...) at level sigmas[0], see draw_initial.
        sigmas: see stepping.
        noise: called twice a step, but not for the last.
        callback: see stepping.
        snr: signal-to-noise ratio of the corrector, above 0 and less than 1; 0.16 is the paper's.

    Returns:
        x0, of x's shape.

    Raises:
        GenaugError: BAD_PARAMETER, when `snr` lies outside (0, 1).
    """
    if not 0 < snr < 1:
        raise GenaugError(
            Reason.BAD_PARAMETER, "snr", f"{snr:g}", "more than 0 and less than 1", "0.1 to 0.2 suit most models."
        )
    for t, s in stepping(sigmas, callback):
        x = torch.lerp(denoise(x, t), x, (s / t) ** 2)
        if s > 0:
            x = x + s * math.sqrt(1 - (s / t) ** 2) * noise()
            score, fresh = (denoise(x, s) - x) / s**2, noise()
            step = 2 * (snr * _length(fresh) / _length(score).clamp(min=1e-30)) ** 2
            x = x + step * score + (2 * step).sqrt() * fresh
    return x


def _length(x: Tensor) -> Tensor:
    """Euclidean length of every case, (B, 1, ...)."""
    return torch.as_tensor(torch.linalg.vector_norm(x.flatten(1), dim=1).view(-1, *[1] * (x.ndim - 1)))
