"""CUDA graphs: the hundreds of small kernels of a denoiser's call are launched as one.

At the sizes of latents the GPU is done with a kernel before the CPU has launched the next, so the launches are what a
step costs. A call is recorded the first time its shapes are seen and played from then on: the same kernels on the
same addresses, with the same result.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor, nn

from genaug.context import held

Play = Callable[[], None]
Record = Callable[[Callable[[], Tensor]], tuple[Tensor, Play]]
"""Runs a function once under recording; gives its result, whose values every play renews in place."""

LARGEST_COUNT = 4
"""Graphs kept of one network, each with its memory: shapes change with the conditions, not with the steps."""

_on: ContextVar[bool] = ContextVar("graphs", default=False)


@contextmanager
def graphs(on: bool) -> Iterator[None]:
    """Inside, networks that `graph_denoisers` has seen play graphs where `on`."""
    with held(_on, on):
        yield


class GraphedCall:
    """A network's forward that is played from a graph while `graphs` are on.

    Args:
        forward: of the network; takes and gives tensors, or None for what it does without.
        record: see Record.
    """

    def __init__(self, forward: Callable[..., Tensor], record: Record | None = None) -> None:
        self._forward = forward
        self._record = record or record_cuda
        self._known: dict[tuple[Any, ...], tuple[dict[str, Tensor], Tensor, Play]] = {}

    def __call__(self, x: Tensor, timesteps: Tensor, context: Tensor | None = None, **more: Any) -> Tensor:
        """The network's answer, in memory of its own."""
        named = {"x": x, "timesteps": timesteps, "context": context, **more}
        given = {name: value for name, value in named.items() if value is not None}
        if not _on.get() or torch.is_grad_enabled() or not all(isinstance(v, Tensor) for v in given.values()):
            return self._forward(**named)
        # A graph keeps the kernels it was recorded with, those of its arithmetic among them.
        arithmetic = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
        key = (*arithmetic, *((name, value.shape, value.dtype, value.device) for name, value in given.items()))
        if key not in self._known:
            if len(self._known) >= LARGEST_COUNT:
                self._known.clear()
            held = {name: value.clone() for name, value in given.items()}
            self._known[key] = (held, *self._record(lambda: self._forward(**held)))
        held, result, play = self._known[key]
        for name, value in given.items():
            held[name].copy_(value)
        play()
        return result.clone()


def plays_graphs(network: nn.Module) -> bool:
    """Whether a part of the network is one of those that `graph_denoisers` has seen."""
    return any(isinstance(module.forward, GraphedCall) for module in network.modules())


def graph_denoisers(network: nn.Module) -> None:
    """Let every diffusion U-Net of a loaded network play graphs."""
    # Here, because what imports this file for its context alone does without MONAI.
    from monai.networks.nets import DiffusionModelUNet

    for module in network.modules():
        if isinstance(module, DiffusionModelUNet):
            module.forward = GraphedCall(module.forward)


def record_cuda(function: Callable[[], Tensor]) -> tuple[Tensor, Play]:
    """Record a CUDA graph, after warm-up calls on a stream aside, which choose kernels and take memory."""
    aside: torch.cuda.Stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        for _ in range(3):
            function()
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = function()
    return result, graph.replay
