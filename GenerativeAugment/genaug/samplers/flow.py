"""Heun's method along the straight paths of a rectified flow."""

from __future__ import annotations

import torch
from torch import Tensor

from genaug.denoiser import Denoise
from genaug.samplers.stepping import Callback, Noise, stepping


@torch.no_grad()
def flow_heun(denoise: Denoise, x: Tensor, sigmas: Tensor, *, noise: Noise, callback: Callback | None = None) -> Tensor:
    """The trapezoidal rule for dy/dt = noise - x0 of a rectified flow (Liu et al. 2023, arXiv:2209.03003).

    On the path y = (1 - t) x0 + t noise, which in VE coordinates is x / (1 + sigma) at t = sigma / (1 + sigma), the
    velocity is (y - x0) / t. Euler's method on it is `ddim`, exactly: both go straight to the estimate of x0. Because
    the paths are straight, no step is too long for this method, unlike for `heun`, which follows the curve in sigma.

    Args:
        denoise: see Denoise; called twice a step, once for the last, whose end has no velocity.
        x: (B, C, ...) at level sigmas[0], see draw_initial.
        sigmas: see stepping.
        noise: never called; the method is deterministic.
        callback: see stepping.

    Returns:
        x0, of x's shape.
    """
    for sigma, following in stepping(sigmas, callback):
        t, s = sigma / (1 + sigma), following / (1 + following)
        y, x0 = x * (1 - t), denoise(x, sigma)
        euler = torch.lerp(x0, y, s / t)
        if s > 0:
            velocity = (y - x0) / t + (euler - denoise(euler / (1 - s), following)) / s
            x = (y + (s - t) / 2 * velocity) / (1 - s)
        else:
            x = euler
    return x
