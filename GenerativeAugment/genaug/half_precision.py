"""Whether a CPU may train in bfloat16: where it has the instructions, and a trial is sound; it says where it is slower.

On a CPU without them torch emulates the format, sixty times slower. With them steps of convolutional networks took two
thirds of the time, but a gradient penalty, which needs second derivatives, has no use for it, and nothing was proven to
learn as well. So it is never chosen, only granted to those who ask for it.
"""

from __future__ import annotations

import time
import warnings
from functools import cache

import torch
from torch import Tensor, nn

INSTRUCTIONS = ("avx512_bf16", "amx_bf16")

TOLERANCE = 0.05
"""Largest difference of loss and gradients from single precision, as a share of the largest value."""

TRIALS = 3


@cache
def problem() -> str:
    """Why this CPU does not train in bfloat16, found out once a process; empty where it does."""
    if not instructions():
        return f"has none of the instructions {', '.join(INSTRUCTIONS)}"
    network, x = _probe()
    single, half = (_trial(network, x, on) for on in (False, True))
    if half[0] > single[0]:
        told = f"{1e3 * half[0]:.3g} ms instead of {1e3 * single[0]:.3g} ms"
        warnings.warn(f"Half precision is slower on this CPU: {told}.", RuntimeWarning, stacklevel=2)
    return compare(single[1], half[1])


def instructions() -> list[str]:
    """Those for bfloat16 that the CPU has; none where torch does not say."""
    told: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()
    return [name for name in INSTRUCTIONS if told.get(name)]


def compare(single: Tensor, half: Tensor) -> str:
    """What speaks against half precision, for loss and gradients (flat) of the same in both; empty for nothing."""
    scale = float(single.abs().max())
    difference = float((half - single).abs().max())
    # Written so that a NaN fails.
    if not difference <= TOLERANCE * scale:
        return f"differs in it by {difference:.2g} from single precision, {TOLERANCE * scale:.2g} is allowed"
    return ""


def _probe() -> tuple[nn.Module, Tensor]:
    """A piece of a network at the size of a latent."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = nn.Sequential(
            nn.Conv3d(64, 64, 3, padding=1), nn.GroupNorm(8, 64), nn.SiLU(), nn.Conv3d(64, 64, 3, padding=1)
        )
        return network, torch.randn(4, 64, 12, 12, 12)


def _trial(network: nn.Module, x: Tensor, half: bool) -> tuple[float, Tensor]:
    """Shortest time of a step, and its loss with all gradients."""
    shortest = float("inf")
    for _ in range(1 + TRIALS):
        network.zero_grad(set_to_none=True)
        started = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            loss = network(x).float().square().mean()
        loss.backward()
        shortest = min(shortest, time.perf_counter() - started)
    gradients = [parameter.grad.flatten() for parameter in network.parameters() if parameter.grad is not None]
    return shortest, torch.cat([loss.detach()[None], *gradients])
