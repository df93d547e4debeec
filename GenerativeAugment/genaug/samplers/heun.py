"""Heun's method: the second-order reference, at two network calls a step."""

from __future__ import annotations

import torch
from torch import Tensor

from genaug.denoiser import Denoise
from genaug.samplers.stepping import Callback, Noise, stepping

LARGEST_RATIO = 10.0
"""Of the noise levels at the two ends of a step. The slope at the end is divided by the level there, so a difference
between the two estimates enters multiplied by half this ratio. Measured on Gaussian mixtures with Karras' levels, the
correction harms beyond about ten; the first step of a cosine schedule, out of nothing but noise, spans thousands."""


@torch.no_grad()
def heun(denoise: Denoise, x: Tensor, sigmas: Tensor, *, noise: Noise, callback: Callback | None = None) -> Tensor:
    """Algorithm 1 of Karras et al. 2022 (arXiv:2206.00364): dx/dsigma = (x - x0) / sigma by the trapezoidal rule.

    A step longer than LARGEST_RATIO is left as Euler takes it, as is the last one, whose end has no slope.

    Args:
        denoise: see Denoise; called twice a step, once for one that is Euler's.
        x: (B, C, ...) at level sigmas[0], see draw_initial.
        sigmas: see stepping.
        noise: never called; the method is deterministic.
        callback: see stepping.

    Returns:
        x0, of x's shape.
    """
    for t, s in stepping(sigmas, callback):
        x0 = denoise(x, t)
        euler = torch.lerp(x0, x, s / t)
        if t <= LARGEST_RATIO * s:
            slope = (x - x0) / t + (euler - denoise(euler, s)) / s
            x = x + (s - t) / 2 * slope
        else:
            x = euler
    return x
