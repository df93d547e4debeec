"""Ancestral sampling: the reverse chain of DDPM."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from genaug.denoiser import Denoise
from genaug.samplers.stepping import Callback, Noise, stepping


@torch.no_grad()
def ancestral(denoise: Denoise, x: Tensor, sigmas: Tensor, *, noise: Noise, callback: Callback | None = None) -> Tensor:
    """Draw each x_s from the posterior q(x_s | x_t, x_0) with the estimate in place of x_0.

    Eq. 6 and 7 of Ho et al. 2020 (arXiv:2006.11239) in VE coordinates, from level t to level s: mean
    (s/t)^2 x + (1 - (s/t)^2) x0, variance s^2 (t^2 - s^2) / t^2. Right in the limit of many steps.

    Args:
        denoise: see Denoise.
        x: (B, C, ...) at level sigmas[0], see draw_initial.
        sigmas: see stepping.
        noise: called once a step, but not for the last.
        callback: see stepping.

    Returns:
        x0, of x's shape.
    """
    for t, s in stepping(sigmas, callback):
        x = torch.lerp(denoise(x, t), x, (s / t) ** 2)
        if s > 0:
            x = x + s * math.sqrt(1 - (s / t) ** 2) * noise()
    return x
