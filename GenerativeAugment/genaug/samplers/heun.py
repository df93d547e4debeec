"""Heun's method: the second-order reference, at two network calls a step."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor

from genaug.denoiser import Denoise
from genaug.errors import GenaugError, Reason
from genaug.samplers.stepping import Callback, Noise, stepping

LARGEST_RATIO = 10.0
"""Of the noise levels at the two ends of a step. The slope at the end is divided by the level there, so a difference
between the two estimates enters multiplied by half this ratio. Measured on Gaussian mixtures with Karras' levels, the
method is less accurate than DDIM beyond about ten, and on a cosine schedule's first step, of thousands, useless."""


@torch.no_grad()
def heun(denoise: Denoise, x: Tensor, sigmas: Tensor, *, noise: Noise, callback: Callback | None = None) -> Tensor:
    """Algorithm 1 of Karras et al. 2022 (arXiv:2206.00364): dx/dsigma = (x - x0) / sigma by the trapezoidal rule.

    Args:
        denoise: see Denoise; called twice a step, once for the last, whose end has no slope.
        x: (B, C, ...) at level sigmas[0], see draw_initial.
        sigmas: see stepping.
        noise: never called; the method is deterministic.
        callback: see stepping.

    Returns:
        x0, of x's shape.

    Raises:
        GenaugError: BAD_PARAMETER, when a step is too long for the method; see LARGEST_RATIO.
    """
    _require_short_steps(sigmas)
    for t, s in stepping(sigmas, callback):
        x0 = denoise(x, t)
        euler = torch.lerp(x0, x, s / t)
        if s > 0:
            slope = (x - x0) / t + (euler - denoise(euler, s)) / s
            x = x + (s - t) / 2 * slope
        else:
            x = euler
    return x


def _require_short_steps(sigmas: Tensor) -> None:
    """Raise BAD_PARAMETER if a step, other than the one to 0, spans more than LARGEST_RATIO."""
    ratio, t, s = max(((t / s, t, s) for t, s in pairwise(sigmas.tolist()) if s > 0), default=(0.0, 0.0, 0.0))
    if ratio > LARGEST_RATIO:
        raise GenaugError(
            Reason.BAD_PARAMETER,
            "sampler heun",
            f"a step from sigma {t:.3g} to {s:.3g}, a factor of {ratio:.0f}, in {len(sigmas) - 1} steps",
            f"steps of at most a factor of {LARGEST_RATIO:g}",
            "Take more steps, the spacing karras, or the sampler dpmpp_2m, which has no such limit.",
        )
