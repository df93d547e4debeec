"""Which of torch's two CPU convolutions a network samples with: the one torch picks by itself, or always oneDNN's.

For a single small volume torch picks an implementation of its own that is several times slower than oneDNN's, which it
takes for two volumes and more. The operator below is the one that torch itself calls then; but it is internal, so it is
used only where a comparison on this machine found it equal and faster, and only to sample: CPU, float32, no gradients.

The last bits of a result depend on the route, so a Record names it and a replay follows it.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genaug.context import held
from genaug.progress import Reporter

Route = Literal["native", "onednn"]

TOLERANCE = 1e-4
"""Largest difference from torch's own way, as a share of the largest value."""

MARGIN = 0.8
"""The share of the native time that oneDNN may take, or it is not used: so clear a gain that the choice never flips."""

TRIALS = 7

_CHECKED = (
    # (dimension, channels in, out, size, kernel, stride, padding, dilation, groups, bias)
    (3, 5, 8, 7, 3, 1, 1, 1, 1, True),
    (3, 16, 32, 8, 3, 1, 1, 1, 1, True),
    (3, 8, 8, 9, 3, 2, 1, 1, 1, False),
    (3, 8, 12, 6, 1, 1, 0, 1, 1, True),
    (3, 8, 8, 9, 3, 1, 2, 2, 4, True),
    (2, 16, 32, 16, 3, 1, 1, 1, 1, True),
    (2, 6, 8, 9, 4, 2, 1, 1, 1, True),
)
_TIMED = ((3, 32, 16), (3, 64, 8), (3, 128, 4), (2, 64, 16))
"""(dimension, channels, size): what a denoiser does at its levels."""

_sampling: ContextVar[bool] = ContextVar("sampling", default=False)
_recorded: ContextVar[Route | None] = ContextVar("recorded route", default=None)


class RoutedConv2d(nn.Conv2d):
    """nn.Conv2d that takes the route while cases are sampled."""

    def forward(self, input: Tensor) -> Tensor:
        """(B, C, I, J) to (B, C', I', J')."""
        return _routed(self, input) if _takes_route(self, input) else super().forward(input)


class RoutedConv3d(nn.Conv3d):
    """nn.Conv3d that takes the route while cases are sampled."""

    def forward(self, input: Tensor) -> Tensor:
        """(B, C, I, J, K) to (B, C', I', J', K')."""
        return _routed(self, input) if _takes_route(self, input) else super().forward(input)


_ROUTED: dict[type[nn.Module], type[nn.Module]] = {nn.Conv2d: RoutedConv2d, nn.Conv3d: RoutedConv3d}


def route_convolutions(network: nn.Module) -> None:
    """Make every plain convolution of a loaded network one that can take the route; its weights stay where they are.

    Convolutions of other classes, spectrally normed ones for instance, are left alone.
    """
    for module in network.modules():
        routed = _ROUTED.get(type(module))
        if routed is not None:
            module.__class__ = routed


@contextmanager
def sampling() -> Iterator[None]:
    """Inside, convolutions made by `route_convolutions` take the route of this process, or the recorded one."""
    with held(_sampling, True):
        yield


@contextmanager
def following(route: Route) -> Iterator[None]:
    """Inside, `current_route` is what a Record says, if this machine has it."""
    with held(_recorded, route):
        yield


def current_route() -> Route:
    """The route that CPU sampling takes now: the recorded one, else the faster one. Native where the check failed."""
    recorded = _recorded.get()
    if recorded == "native" or problem():
        return "native"
    return recorded or _faster()


def tell_of_problem(device: torch.device, reporter: Reporter) -> None:
    """Say in the job's log that its CPU sampling is slower than it could be, and why, where that is so."""
    if device.type == "cpu" and problem():
        reporter.log(_warning(problem()))


@cache
def problem() -> str:
    """Why oneDNN's convolution is not used here, found out once a process and warned of; empty where it is sound."""
    found = _compare()
    if found:
        warnings.warn(_warning(found), RuntimeWarning, stacklevel=2)
    return found


def _warning(found: str) -> str:
    return f"Sampling on the CPU is slower than it could be: {found}."


def _onednn(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    padding: tuple[int, ...],
    stride: tuple[int, ...],
    dilation: tuple[int, ...],
    groups: int,
) -> Tensor:
    return torch.as_tensor(torch.ops.aten.mkldnn_convolution(x, weight, bias, padding, stride, dilation, groups))


def _native(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    padding: tuple[int, ...],
    stride: tuple[int, ...],
    dilation: tuple[int, ...],
    groups: int,
) -> Tensor:
    convolve = F.conv3d if weight.ndim == 5 else F.conv2d
    return convolve(x, weight, bias, stride, padding, dilation, groups)


def _routed(module: nn.Conv2d | nn.Conv3d, x: Tensor) -> Tensor:
    assert not isinstance(module.padding, str)
    return _onednn(x, module.weight, module.bias, module.padding, module.stride, module.dilation, module.groups)


def _takes_route(module: nn.Conv2d | nn.Conv3d, x: Tensor) -> bool:
    """Whether cases are being sampled, the operator takes what `module` is given, and the route is oneDNN's."""
    return (
        _sampling.get()
        and x.device.type == "cpu"
        and x.dtype == module.weight.dtype == torch.float32
        and x.ndim == module.weight.ndim
        and x.numel() > 0
        and module.padding_mode == "zeros"
        and not isinstance(module.padding, str)
        and not torch.is_grad_enabled()
        and not torch.is_autocast_enabled("cpu")
        and current_route() == "onednn"
    )


@torch.no_grad()
def _compare() -> str:
    """What is wrong with oneDNN's convolution on this machine; empty when it gives what torch's own way gives."""
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return "this build of torch has no oneDNN"
    generator = torch.Generator().manual_seed(0)
    for dimension, into, out, size, kernel, stride, padding, dilation, groups, with_bias in _CHECKED:
        x = torch.randn(1, into, *[size] * dimension, generator=generator)
        weight = torch.randn(out, into // groups, *[kernel] * dimension, generator=generator)
        bias = torch.randn(out, generator=generator) if with_bias else None
        steps = (padding,) * dimension, (stride,) * dimension, (dilation,) * dimension
        expected = _native(x, weight, bias, *steps, groups)
        try:
            found = _onednn(x, weight, bias, *steps, groups)
        except (AttributeError, RuntimeError, TypeError) as error:
            return f"oneDNN's convolution cannot be called ({str(error).splitlines()[0]})"
        if found.shape != expected.shape or not (found - expected).abs().max() <= TOLERANCE * expected.abs().max():
            return "oneDNN's convolution differs from torch's own on this machine"
    return ""


@cache
@torch.no_grad()
def _faster() -> Route:
    """The faster route, measured once a process in about a tenth of a second.

    On one thread, and the smallest of several times: on a busy machine threads wait for one another for longer
    than the work takes. Which implementation is better does not depend on their number.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        native, onednn = _seconds()
    finally:
        torch.set_num_threads(threads)
    return "onednn" if onednn < MARGIN * native else "native"


def _seconds() -> tuple[float, float]:
    """Of torch's own way and of oneDNN's, in turn: the smallest of several times for each size, summed."""
    native = onednn = 0.0
    for dimension, channels, size in _TIMED:
        x = torch.ones(1, channels, *[size] * dimension)
        weight = torch.ones(channels, channels, *[3] * dimension)
        once = (1,) * dimension
        times: list[list[float]] = [[], []]
        for _ in range(TRIALS):
            for way, taken in zip((_native, _onednn), times, strict=True):
                started = time.perf_counter()
                way(x, weight, None, once, once, once, 1)
                taken.append(time.perf_counter() - started)
        native, onednn = native + min(times[0]), onednn + min(times[1])
    return native, onednn
