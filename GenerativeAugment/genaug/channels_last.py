"""Networks of 3D convolutions with the channels of a voxel beside one another in memory.

In this order oneDNN's convolutions, and a GPU's tensor cores, need no reordering of what they read and write. What
spoils it is torch's instance norm, which copies every map to the usual order and back; on a CPU one that keeps the
order stands in for it where nothing learns. Sums are taken in another order, so results differ in rounding: a Record
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

Layout = Literal["contiguous", "channels_last"]

TOLERANCE = 1e-3
"""Largest difference from torch's usual layout that is put up with, of values normalised to a deviation of one."""

MARGIN = 0.85
"""The share of the usual layout's time that channels last may take, or it is not used: a gain that does not flip."""

CPU = torch.device("cpu")
TRIALS = 5
PROBE = (2, 32, 40, 40, 40)
"""What is tried: (cases, channels, *voxels), as a U-Net has them at full resolution."""


class OrderedInstanceNorm3d(nn.InstanceNorm3d):
    """Instance norm that reads and writes maps as they lie, channels last; where something learns, torch's own.

    The variance is that of the centred map. As a mean of squares less a square, which is how torch's group norm sums
    this order up, it drowns in rounding where a map is nearly constant, and outside a body it is.
    """

    def forward(self, input: Tensor) -> Tensor:
        """(B, C, I, J, K), each channel of each case with mean 0 and deviation 1, then scaled and shifted."""
        ordered = input.shape[1] > 1 and input.is_contiguous(memory_format=torch.channels_last_3d)
        if torch.is_grad_enabled() or self.track_running_stats or input.is_cuda or not ordered:
            return super().forward(input)
        result = torch.empty_like(input)
        for case in range(len(input)):
            self._normalise(input[case : case + 1], result[case : case + 1])
        return result

    def _normalise(self, case: Tensor, made: Tensor) -> None:
        """One case, into `made`; means and squares are matrix products, which oneDNN does fast and sums in blocks."""
        voxels = made.permute(0, 2, 3, 4, 1).view(-1, made.shape[1])
        average = voxels.new_full((1, len(voxels)), 1 / len(voxels))
        mean = (average @ case.permute(0, 2, 3, 4, 1).view(voxels.shape))[0]
        _affine(case, None, None, mean, torch.ones_like(mean), 0.0, made)
        # What is left of the mean after rounding counts where the deviation is tiny.
        rest = (average @ voxels)[0]
        variance = ((voxels.t() @ voxels).diagonal() / len(voxels) - rest**2).clamp(min=0)
        _affine(made, self.weight, self.bias, rest, variance, self.eps, made)


def _affine(
    x: Tensor, weight: Tensor | None, bias: Tensor | None, mean: Tensor, variance: Tensor, eps: float, out: Tensor
) -> None:
    """(x - mean) / sqrt(variance + eps) * weight + bias for each channel, into `out`, which may be x."""
    unused = (x.new_empty(0), x.new_empty(0))
    torch.ops.aten.native_batch_norm.out(
        x, weight, bias, mean, variance, False, 0.0, eps, out=out, save_mean=unused[0], save_invstd=unused[1]
    )


def to_layout(network: nn.Module, layout: Layout) -> None:
    """Bring the weights of a network into a layout, in place; what flows through it follows. 2D is left alone."""
    last = layout == "channels_last"
    for parameter in network.parameters():
        if parameter.ndim == 5:
            order = torch.channels_last_3d if last else torch.contiguous_format
            parameter.data = parameter.data.contiguous(memory_format=order)
    replaced, by = (nn.InstanceNorm3d, OrderedInstanceNorm3d) if last else (OrderedInstanceNorm3d, nn.InstanceNorm3d)
    for module in network.modules():
        if type(module) is replaced:
            module.__class__ = by


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
    text = f"channels-last convolutions differ by {difference:.2g} from the usual ones, {TOLERANCE:g} is allowed"
    warnings.warn(f"Volumes on {device.type} are slower than they could be: {text}.", RuntimeWarning, stacklevel=2)
    return text


@cache
def faster_layout(device: torch.device = CPU) -> Layout:
    """The layout that takes clearly less time on a device, found out once a process; the usual one where not sound."""
    if problem(device):
        return "contiguous"
    x = _probe_input(device)
    seconds = []
    for network in _probes(device):
        with torch.no_grad():
            network(x)
            seconds.append(min(_seconds(network, x) for _ in range(TRIALS)))
    return choose(*seconds)


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
