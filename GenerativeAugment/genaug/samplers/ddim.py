"""DDIM: any sub-sequence of the noise levels, with as much fresh noise as wanted."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from genaug.denoiser import Denoise
from genaug.errors import GenaugError, Reason
from genaug.samplers.stepping import Callback, Noise, stepping


@torch.no_grad()
def ddim(
    denoise: Denoise,
    x: Tensor,
    sigmas: Tensor,
    *,
    noise: Noise,
    callback: Callback | None = None,
    eta: float = 0.0,
) -> Tensor:
    """Eq. 12 and 16 of Song et al. 2021 (arXiv:2010.02502) in VE coordinates.

    With `eta` 0 it is Euler's method for the probability-flow equation, first order; with 1 it is `ancestral`.

    Args:
        denoise: see Denoise.
        x: (B, C, ...) at level sigmas[0], see draw_initial.
        sigmas: see stepping.
        noise: called once a step, but not for the last; never when `eta` is 0.
        callback: see stepping.
        eta: share of the posterior's noise, 0 to 1.

    Returns:
        x0, of x's shape.

    Raises:
        GenaugError: BAD_PARAMETER, when `eta` lies outside [0, 1].
    """
    if not 0 <= eta <= 1:
        raise GenaugError(
            Reason.BAD_PARAMETER, "eta", f"{eta:g}", "0 (no noise) to 1 (ancestral)", "Choose eta in this range."
        )
    for t, s in stepping(sigmas, callback):
        fresh = eta * s * math.sqrt(1 - (s / t) ** 2)
        x = torch.lerp(denoise(x, t), x, math.sqrt(s**2 - fresh**2) / t)
        if fresh > 0:
            x = x + fresh * noise()
    return x
