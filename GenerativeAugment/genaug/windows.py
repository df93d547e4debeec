"""Whole volumes through a network made for smaller ones: overlapping windows, blended by Gaussian weights.

The windows stand on a lattice and the weight of a voxel in its window is a product over the axes, so the sum of all
weights at a voxel is a product as well. Each axis is normalised by itself, in float64 and before anything runs;
what is accumulated is then the result, and no second volume of weights is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product
from typing import Literal, TypeAlias

import numpy as np
import torch
from torch import Tensor

from genaug.errors import GenaugError, Reason
from genaug.volume import AnyArray, FloatArray

Window: TypeAlias = tuple[slice, ...]
Kind: TypeAlias = Literal["gaussian", "constant"]

GAUSSIAN_WIDTH = 0.125
"""Standard deviation of the weights as a share of the window, as nnU-Net and MONAI have it."""


def plan_windows(size: Sequence[int], window: Sequence[int], overlap: float) -> list[Window]:
    """Windows that cover the whole volume, evenly spread, the first and last flush with its borders.

    Args:
        size: voxels of the volume along each axis.
        window: voxels of a window along each axis.
        overlap: least share of a window that it has in common with its neighbour, in [0, 1).

    Returns:
        One tuple of slices a window, in C order.

    Raises:
        GenaugError: BAD_PARAMETER, when a window does not fit into the volume or the overlap is out of range.
    """
    starts = _starts(size, window, overlap)
    return [tuple(slice(a, a + w) for a, w in zip(corner, window, strict=True)) for corner in product(*starts)]


def importance(window: Sequence[int], kind: Kind = "gaussian") -> list[FloatArray]:
    """Weight of each voxel of a window before normalisation, as one vector an axis whose outer product it is.

    The border is where a convolutional network knows least of the surroundings, hence Gaussian.

    Args:
        window: voxels along each axis.
        kind: "gaussian", of standard deviation GAUSSIAN_WIDTH times the window, or "constant".

    Returns:
        For each axis (window,) float64, symmetric and positive.
    """
    return [np.ones(n) if kind == "constant" else _bell(n) for n in window]


def apply_windows(
    function: Callable[[Tensor], Tensor],
    volume: Tensor | AnyArray,
    window: Sequence[int],
    overlap: float = 0.25,
    batch: int = 2,
    callback: Callable[[int, int], None] | None = None,
    *,
    kind: Kind = "gaussian",
    device: torch.device | str = "cpu",
) -> Tensor:
    """Run a network over a whole volume.

    Beside the input and one batch, memory holds the result alone. A memory-mapped input is read window by window.

    Args:
        function: (B, C, *window) float32 to (B, C2, *window); B is `batch`, less for the last call.
        volume: (C, *size), tensor or array, 2D or 3D. Not written to.
        window: voxels along each axis.
        overlap: see plan_windows.
        batch: windows a call; on a CPU two together take less time than one alone.
        callback: told (windows done, windows in all) before the first call and after each; stops it by raising.
        kind: see importance.
        device: where `function` runs; the result is put together on the CPU.

    Returns:
        (C2, *size) float32 on the CPU.

    Raises:
        GenaugError: BAD_PARAMETER, as plan_windows.
        ValueError: `function` answers in another shape, or batch is below 1.
    """
    if batch < 1:
        raise ValueError(f"batch must be at least 1, got {batch}")
    size = tuple(volume.shape[1:])
    plan = plan_windows(size, window, overlap)
    weights = _blending(size, window, overlap, kind)
    result: Tensor | None = None
    if callback is not None:
        callback(0, len(plan))
    with torch.no_grad():
        for first in range(0, len(plan), batch):
            chunk = plan[first : first + batch]
            output = function(_crops(volume, chunk).to(device)).float().cpu()
            if output.ndim != len(window) + 2 or output.shape[0] != len(chunk) or output.shape[2:] != tuple(window):
                raise ValueError(
                    f"the network answered {len(chunk)} windows of {tuple(window)} in shape {tuple(output.shape)}"
                )
            if result is None:
                result = torch.zeros((output.shape[1], *size))
            for at, axes, values in zip(chunk, weights[first : first + batch], output, strict=True):
                result[(slice(None), *at)] += values * _outer(axes)
            if callback is not None:
                callback(first + len(chunk), len(plan))
    assert result is not None  # a plan has at least one window
    return result


def _blending(size: Sequence[int], window: Sequence[int], overlap: float, kind: Kind) -> list[tuple[FloatArray, ...]]:
    """For each window of the plan, the vectors whose outer product weighs it; they sum to 1 at every voxel."""
    axes = zip(importance(window, kind), _starts(size, window, overlap), size, strict=True)
    return list(product(*[_normalised(profile, starts, n) for profile, starts, n in axes]))


def _starts(size: Sequence[int], window: Sequence[int], overlap: float) -> list[list[int]]:
    """First voxel of the windows along each axis."""
    if len(size) != len(window) or any(not 1 <= w <= n for w, n in zip(window, size, strict=False)):
        raise GenaugError(
            Reason.BAD_PARAMETER,
            "window",
            f"a window of {_cross(window)} voxels for a volume of {_cross(size)}",
            "a window that fits into the volume along every axis",
            "Pad the volume to the window, or choose a smaller window.",
        )
    if not 0 <= overlap < 1:
        raise GenaugError(
            Reason.BAD_PARAMETER, "overlap", f"{overlap:g}", "0 or more and less than 1", "0.25 to 0.5 hide the seams."
        )
    starts = []
    for n, w in zip(size, window, strict=True):
        stride = max(1, int(w * (1 - overlap)))
        gaps = -(-(n - w) // stride)
        starts.append([i * (n - w) // gaps for i in range(gaps + 1)] if gaps else [0])
    return starts


def _bell(n: int) -> FloatArray:
    distance = (np.arange(n) - (n - 1) / 2) / (GAUSSIAN_WIDTH * n)
    bell: FloatArray = np.exp(-0.5 * distance**2)
    return bell


def _normalised(profile: FloatArray, starts: list[int], size: int) -> list[FloatArray]:
    """The profile at each start, divided by what all windows of the axis sum to there."""
    total = np.zeros(size)
    for start in starts:
        total[start : start + len(profile)] += profile
    return [profile / total[start : start + len(profile)] for start in starts]


def _outer(axes: Sequence[FloatArray]) -> Tensor:
    """Product over the axes of one vector each, float32."""
    weight = axes[0]
    for axis in axes[1:]:
        weight = np.multiply.outer(weight, axis)
    return torch.from_numpy(weight.astype(np.float32))


def _crops(volume: Tensor | AnyArray, windows: Sequence[Window]) -> Tensor:
    """Copies of the windows, (B, C, *window) float32."""
    if isinstance(volume, Tensor):
        return torch.stack([volume[(slice(None), *at)] for at in windows]).float()
    return torch.from_numpy(np.stack([volume[(slice(None), *at)] for at in windows]).astype(np.float32, copy=False))


def _cross(values: Sequence[int]) -> str:
    return " x ".join(str(value) for value in values)
