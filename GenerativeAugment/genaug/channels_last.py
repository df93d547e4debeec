"""Networks of 3D convolutions with the channels of a voxel beside one another in memory.

In this order oneDNN's convolutions, and a GPU's tensor cores, need no reordering of what they read and write; nor do
instance norms, see `instance_norm`. The layout is chosen by a trial with both. Results differ in rounding: a Record
names the layout that a case was translated in, and a replay follows it.
"""

from __future__ import annotations

import copy
import time
import warnings
from functools import cache
from typing import Literal

import torch
from torch import Tensor, nn

from genaug.instance_norm import keep_order

Layout = Literal["contiguous", "channels_last"]

TOLERANCE = 1e-3
"""Largest difference from torch's usual layout that is put up with, of values normalised to a deviation of one."""

MARGIN = 0.9
"""The share of the usual layout's time that channels last may take, or it is not used: a gain that does not flip."""

CPU = torch.device("cpu")
TRIALS = 2
PROBE = (2, 32, 48, 48, 64)
"""What is tried: (cases, channels, *voxels), as a U-Net has them at full resolution. At half the size the ratio of the
times scattered from 0.5 to 1; at this one it is the same within 0.02."""


def to_layout(network: nn.Module, layout: Layout) -> None:
    """Bring a network into a layout, in place; what flows through it follows its weights. 2D is left alone."""
    order = torch.channels_last_3d if layout == "channels_last" else torch.contiguous_format
    for parameter in network.parameters():
        if parameter.ndim == 5:
            parameter.data = parameter.data.contiguous(memory_format=order)
    keep_order(network)


@cache
def problem(device: torch.device = CPU) -> str:
    """Why channels last is not used on a device, found out once a process and warned of; empty where it is sound."""
    usual, last = _probes(device)
    x = _probe_input(device)
    with torch.no_grad(), torch.backends.cudnn.flags(allow_tf32=False):
        expected, found = usual(x), last(x)
    difference = float((expected - found).abs().max())
    if difference <= TOLERANCE:
        return ""
    text = f"channels-last networks differ by {difference:.2g} from the usual ones, {TOLERANCE:g} is allowed"
    warnings.warn(f"Volumes on {device.type} are slower than they could be: {text}.", RuntimeWarning, stacklevel=2)
    return text


@cache
def faster_layout(device: torch.device = CPU) -> Layout:
    """The layout that takes clearly less time on a device, found out once a process; the usual one where not sound."""
    if problem(device):
        return "contiguous"
    x, networks = _probe_input(device), _probes(device)
    with torch.no_grad():
        # In turn, after a first call that only warms up: what disturbs the machine meanwhile disturbs both.
        rounds = [[_seconds(network, x) for network in networks] for _ in range(1 + TRIALS)]
    return choose(*(min(taken) for taken in zip(*rounds[1:], strict=True)))


def choose(usual: float, last: float) -> Layout:
    """The layout for the seconds that the same took in both."""
    return "channels_last" if last <= MARGIN * usual else "contiguous"


def _probes(device: torch.device) -> tuple[nn.Module, nn.Module]:
    """Two convolutions with their norms, in the usual layout and in channels last."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        channels = PROBE[1]
        usual = nn.Sequential(
            *(
                layer
                for _ in range(2)
                for layer in (
                    nn.Conv3d(channels, channels, 3, padding=1),
                    nn.InstanceNorm3d(channels, affine=True),
                    nn.LeakyReLU(0.1),
                )
            )
        ).to(device)
    last = copy.deepcopy(usual)
    to_layout(last, "channels_last")
    return usual, last


def _probe_input(device: torch.device) -> Tensor:
    """Texture in one case; the others are nearly constant, which puts a norm to the test."""
    x = torch.randn(PROBE, generator=torch.Generator().manual_seed(0))
    x[1:] = 1 + 1e-3 * x[1:]
    return x.to(device)


def _seconds(network: nn.Module, x: Tensor) -> float:
    started = time.perf_counter()
    network(x)
    if x.is_cuda:
        torch.cuda.synchronize(x.device)
    return time.perf_counter() - started
