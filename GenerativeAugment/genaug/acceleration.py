"""The faster arithmetic of a GPU: which of it is on, for whom, and that a replay has the same.

A job asks for "auto" or "off". What "auto" means is decided here for the device that is there, written into the Record
of every case and into the training folder of every stage, and followed from there: a replay and a resumed training
compute as the first run did, whatever would be chosen now. CPUs have their own two choices, see `convolution` and
`channels_last`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch

from genaug.channels_last import faster_layout
from genaug.context import held
from genaug.graphs import graphs
from genaug.parameters import Acceleration as Wanted
from genaug.strict import Frozen

TF32_CAPABILITY = 8
"""NVIDIA's compute capability from which tensor cores take TF32 (Ampere)."""


class Acceleration(Frozen):
    """What is on.

    Attributes:
        tf32: products of float32 numbers with 10 bits of mantissa; about 1e-3 of a value is lost.
        channels_last: networks of 3D convolutions lie in memory with the channels of a voxel together.
        graphs: a denoiser's call is recorded once as a CUDA graph and played at every step; the same kernels, so the
            same bits.
        pinned: batches go to the GPU from page-locked memory while it computes; the same bits.
    """

    tf32: bool = False
    channels_last: bool = False
    graphs: bool = False
    pinned: bool = False


PLAIN = Acceleration()

_wanted: ContextVar[Wanted] = ContextVar("wanted acceleration", default="auto")
_recorded: ContextVar[Acceleration | None] = ContextVar("recorded acceleration", default=None)


@contextmanager
def wanted(asked: Wanted) -> Iterator[None]:
    """Inside, sampling is accelerated as a job has asked."""
    with held(_wanted, asked):
        yield


@contextmanager
def following(recorded: Mapping[str, Any] | None) -> Iterator[None]:
    """Inside, sampling is accelerated as a Record says; one that says nothing was made plainly."""
    with held(_recorded, PLAIN if recorded is None else Acceleration.model_validate(recorded)):
        yield


def for_sampling(device: torch.device) -> Acceleration:
    """What is on while cases are made on a device: as recorded, else as wanted."""
    recorded = _recorded.get()
    if recorded is not None:
        return recorded
    if _wanted.get() == "off" or device.type != "cuda":
        return PLAIN
    return Acceleration(tf32=has_tf32(device), graphs=True)


def is_wanted() -> bool:
    """Whether what differs in rounding may be chosen; a Record's own choices are not asked for here."""
    return _wanted.get() == "auto"


def for_training(asked: Wanted, device: torch.device, dimension: int) -> Acceleration:
    """What is on while a stage is trained.

    On a CPU nothing is measured, so that the same seed gives the same weights there; on a GPU, whose kernels do not
    promise that anyway, channels last is on where it was measured to pay.
    """
    if asked == "off":
        return PLAIN
    if device.type != "cuda":
        # Up to 1.5 times faster, and nowhere slower.
        return Acceleration(channels_last=device.type == "cpu" and dimension == 3)
    return Acceleration(
        tf32=has_tf32(device),
        channels_last=dimension == 3 and faster_layout(device) == "channels_last",
        pinned=True,
    )


def has_tf32(device: torch.device) -> bool:
    """Whether the GPU has it."""
    return torch.cuda.get_device_capability(device)[0] >= TF32_CAPABILITY


@contextmanager
def accelerated(device: torch.device) -> Iterator[None]:
    """Inside, cases are made on the device with what is on for that."""
    chosen = for_sampling(device)
    with arithmetic(chosen), graphs(chosen.graphs):
        yield


@contextmanager
def arithmetic(acceleration: Acceleration) -> Iterator[None]:
    """Inside, matrix products and convolutions on a GPU take TF32 or do not; afterwards as before.

    torch itself leaves it on for convolutions and off for products.
    """
    products, convolutions = torch.backends.cuda.matmul, torch.backends.cudnn
    before = products.allow_tf32, convolutions.allow_tf32
    products.allow_tf32 = convolutions.allow_tf32 = acceleration.tf32
    try:
        yield
    finally:
        products.allow_tf32, convolutions.allow_tf32 = before
