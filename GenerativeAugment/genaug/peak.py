"""How much memory a computation will take, known before it is done.

The very code that will run is run on torch's "meta" device, where tensors have shapes and no values, while every
storage that it makes is counted as long as it lives. What the processor's convolutions need beside their result, which
torch does not show, is added where they run.
"""

from __future__ import annotations

import copy
import weakref
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from genaug import convolution

Module = TypeVar("Module", bound=nn.Module)

SLOW_CONVOLUTION = 20480
"""Channels times planes times lines up to which torch convolves one volume by a matrix of all that its kernel sees."""

FRAGMENTS = 1.1
"""Memory of a process over what its tensors hold: freed pieces that are too small for what comes next."""

LIBRARIES = 60 << 20
"""What is loaded only once a job runs: kernels, image writers, code."""

GPU_LIBRARIES = 64 << 20
"""What cuBLAS and cuDNN take of a GPU's memory for themselves once they compute; seen on an H100, as the next two."""

LAYOUT_TRIAL = 700 << 20
"""What the trial of both layouts, see `channels_last`, holds of it while it runs, once a process."""

GRAPHED = 2
"""What sampling holds over its tensors where a GPU plays graphs: a graph keeps the memory of its call."""


def gpu_bytes(device: torch.device, working: float, tries_layouts: bool) -> int:
    """The most that a job holds of a GPU's memory: what is held already, libraries, and what the work takes.

    Args:
        device: a GPU.
        working: bytes of the tensors that the job makes.
        tries_layouts: whether the job may be the first of its process to try layouts.
    """
    own = device_held(device) + GPU_LIBRARIES + FRAGMENTS * working
    return round(max(own, LAYOUT_TRIAL if tries_layouts else 0))


def device_held(device: torch.device) -> int:
    """Bytes that tensors of this process hold on a GPU now."""
    return int(torch.cuda.memory_allocated(device))


def on_meta(module: Module) -> Module:
    """A copy of a network on the meta device, without copying its weights."""
    memo: dict[int, Any] = {}
    for parameter in module.parameters():
        shape = torch.empty_like(parameter, device="meta")
        memo[id(parameter)] = nn.Parameter(shape, requires_grad=parameter.requires_grad)
    memo.update({id(buffer): torch.empty_like(buffer, device="meta") for buffer in module.buffers()})
    return copy.deepcopy(module, memo)


def peak_bytes(function: Callable[[], object]) -> int:
    """The most bytes alive at once in meta tensors that `function` makes.

    Raises:
        RuntimeError, NotImplementedError: where the function needs values, which there are none of.
    """
    counting = _Counting()
    with counting:
        function()
    return counting.peak


class _Counting(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the storages that operations make, as long as they live."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.peak: int = 0
        self._alive: int = 0
        self._sizes: dict[int, int] = {}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        made = _answered(func, args, kwargs or {})
        if made is None:
            made = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(made):
            if isinstance(tensor, Tensor) and tensor.device.type == "meta":
                self._track(tensor)
        if func is torch.ops.aten.convolution.default:
            self.peak = max(self.peak, self._alive + _convolution_workspace(args, made))
        elif func is torch.ops.aten.convolution_backward.default:
            # Copies in blocks again, of both gradients and of what was seen.
            self.peak = max(self.peak, self._alive + 4 * sum(2 * tensor.numel() for tensor in args[:3]))
        return made

    def _track(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self._sizes:
            return
        self._sizes[key] = storage.nbytes()
        self._alive += storage.nbytes()
        self.peak = max(self.peak, self._alive)
        weakref.finalize(storage, self._forget, key)

    def _forget(self, key: int) -> None:
        self._alive -= self._sizes.pop(key, 0)


def _answered(func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """What a question for a few values is answered with: numbers decide how a voxel looks, not how many there are."""
    if func is torch.ops.aten._to_copy.default and args[0].is_meta and kwargs.get("device") == torch.device("cpu"):
        return torch.zeros(args[0].shape, dtype=kwargs.get("dtype") or args[0].dtype)
    if func is torch.ops.aten._local_scalar_dense.default and args[0].is_meta:
        return 1.0 if args[0].is_floating_point() else 1
    if func is torch.ops.aten.index.Tensor and args[0].is_meta and len(args[1]) == 1:
        (mask,) = args[1]
        if mask.dtype is torch.bool:
            # All that may be chosen, which is the most there can be.
            return args[0].new_empty(mask.numel(), *args[0].shape[mask.ndim :])
    return None


def _convolution_workspace(args: tuple[Any, ...], made: Tensor) -> int:
    """Bytes that a convolution on a CPU holds beside input and result while it runs."""
    seen, weight = args[0], args[1]
    slow = convolution.current_route() == "native"
    if slow and weight.ndim == 5 and seen.shape[0] == 1 and seen.shape[:4].numel() <= SLOW_CONVOLUTION:
        return int(made.shape[2:].numel() * weight[0].numel() * 4)
    # oneDNN keeps channels in blocks, and copies what does not come in them, to and fro.
    return int(4 * (seen.numel() + made.numel() + weight.numel()))
