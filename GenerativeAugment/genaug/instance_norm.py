"""Instance norm of volumes whose channels lie side by side in memory, without bringing them into another order.

torch's own copies such a map to the usual order and back, which costs more than the norm. In this order a case is a
table with a row for every voxel, and its norm is the batch norm of that table, which torch computes where it lies. Only
the sums are taken otherwise: torch adds up the rows in single precision one after another, which is 1e-3 off after
half a million of them in a nearly constant map; here it adds up a few thousand, and double precision does the rest.

The function that gives the sums is internal to torch, so all this is used only where a comparison on this machine found
it equal to torch's own norm.
"""

from __future__ import annotations

import warnings
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

ROWS = 2048
"""Voxels that are summed in single precision. Measured: as exact as torch's own norm, of which the most is 1e-4."""

TOLERANCE = 5e-4
"""Largest difference from torch's own way that is put up with, of values of deviation one."""


class ChannelsLastNorm3d(nn.InstanceNorm3d):
    """nn.InstanceNorm3d that leaves channels-last volumes in their order, on a CPU and without gradients."""

    def forward(self, input: Tensor) -> Tensor:
        """(B, C, I, J, K), every channel of every case with mean 0 and deviation 1 before weight and bias."""
        taken = _in_order(input) and not torch.is_grad_enabled() and not self.track_running_stats
        if not taken or problem():
            return super().forward(input)
        return normalised(input, self.weight, self.bias, self.eps)


def keep_order(network: nn.Module) -> None:
    """Make every plain instance norm of a network one that keeps channels last; its weights stay where they are."""
    for module in network.modules():
        if type(module) is nn.InstanceNorm3d:
            module.__class__ = ChannelsLastNorm3d


@cache
def problem() -> str:
    """Why it is not used here, found out once a process and warned of; empty where it is sound."""
    found = _compare()
    if found:
        warnings.warn(f"Volumes are slower to translate than they could be: {found}.", RuntimeWarning, stacklevel=2)
    return found


def normalised(x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float) -> Tensor:
    """The instance norm of float32 volumes (B, C, I, J, K) in channels-last order, in that order."""
    result = torch.empty_like(x)
    unused = x.new_empty(0)
    for case, filled in zip(x, result, strict=True):
        rows = _rows(case)
        mean, variance = _moments(rows)
        torch.native_batch_norm(
            rows, weight, bias, mean, variance, False, 0.0, eps, out=(_rows(filled), unused, unused)
        )
    return result


def _in_order(x: Tensor) -> bool:
    """Whether these are single-precision volumes on a CPU with channels last, and more than one channel."""
    last = x.ndim == 5 and x.is_contiguous(memory_format=torch.channels_last_3d) and not x.is_contiguous()
    return last and x.device.type == "cpu" and x.dtype == torch.float32 and not torch.is_autocast_enabled("cpu")


def _rows(case: Tensor) -> Tensor:
    """The same numbers of a case (C, I, J, K) as (I * J * K, C)."""
    return case.permute(1, 2, 3, 0).view(-1, case.shape[0])


def _moments(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance (C,) of the columns of rows (N, C), from those of a few rows at a time (Chan 1979)."""
    parts = torch.split(rows, ROWS)
    means, variances = zip(*(torch.batch_norm_update_stats(part, None, None, 0.0) for part in parts), strict=True)
    own, spread = torch.stack(means).double(), torch.stack(variances).double()
    share = torch.tensor([len(part) / len(rows) for part in parts], dtype=torch.float64)
    mean = share @ own
    return mean.float(), (share @ (spread + (own - mean) ** 2)).float()


@torch.no_grad()
def _compare() -> str:
    """What is wrong with it on this machine; empty when it gives what torch's own way gives."""
    x = torch.randn(2, 6, 24, 16, 16, generator=torch.Generator().manual_seed(0))
    # Texture in one case; the other is nearly constant, which puts a norm to the test.
    x[1] = 1 + 1e-3 * x[1]
    weight, bias = torch.linspace(0.5, 2, 6), torch.linspace(-1, 1, 6)
    expected = F.instance_norm(x, weight=weight, bias=bias)
    try:
        found = normalised(x.contiguous(memory_format=torch.channels_last_3d), weight, bias, 1e-5)
    except (AttributeError, RuntimeError, TypeError) as error:
        return f"an instance norm of channels last cannot be called ({str(error).splitlines()[0]})"
    difference = float((found - expected).abs().max())
    return "" if difference <= TOLERANCE else f"an instance norm of channels last differs by {difference:.2g}"
