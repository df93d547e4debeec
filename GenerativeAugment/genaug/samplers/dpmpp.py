"""DPM-Solver++: second order at one network call a step."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from genaug.denoiser import Denoise
from genaug.samplers.stepping import Callback, Noise, stepping


@torch.no_grad()
def dpmpp_2m(denoise: Denoise, x: Tensor, sigmas: Tensor, *, noise: Noise, callback: Callback | None = None) -> Tensor:
    """DPM-Solver++(2M), algorithm 2 of Lu et al. 2022 (arXiv:2211.01095), in VE coordinates where alpha is 1.

    The clean estimate is extrapolated, linearly in lambda = -log(sigma), from this call and the one before. The first
    step has none before it and the last, to sigma 0, has no lambda; both are of first order.

    Args:
        denoise: see Denoise.
        x: (B, C, ...) at level sigmas[0], see draw_initial.
        sigmas: see stepping.
        noise: never called; the method is deterministic.
        callback: see stepping.

    Returns:
        x0, of x's shape.
    """
    previous: Tensor | None = None
    previous_width = 0.0
    for t, s in stepping(sigmas, callback):
        x0 = current = denoise(x, t)
        if s > 0:
            width = math.log(t / s)
            if previous is not None:
                x0 = torch.lerp(previous, current, 1 + width / (2 * previous_width))
            previous, previous_width = current, width
        x = torch.lerp(x0, x, s / t)
    return x
