"""Which device computes, and what of a machine can change the last bit of a result."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

from genaug import acceleration, convolution, slabs
from genaug.errors import GenaugError, Reason


def resolve_device(device: str) -> str:
    """Resolve "auto" to "cuda" or "cpu"; pass "cpu", "cuda", "cuda:1" and "mps" on where they exist.

    Raises:
        GenaugError: BAD_PARAMETER when torch does not see the device; nothing falls back silently.
    """
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    kind = device.partition(":")[0]
    present = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not present.get(kind, False):
        raise GenaugError(
            Reason.BAD_PARAMETER,
            "device",
            f"{device!r}, but torch sees no GPU of this kind",
            f"one of {', '.join(name for name, there in present.items() if there)}, or auto",
            "Choose the device cpu or auto, or install a torch built for the GPU.",
        )
    return device


def require_devices(device: str, count: int) -> None:
    """Raise BAD_PARAMETER unless a training can use `count` devices: GPUs of this kind, or processes on the CPU."""
    kind, _, index = resolve_device(device).partition(":")
    present = {"cpu": count, "cuda": torch.cuda.device_count()}.get(kind, 1)
    if count > 1 and (index or count > present):
        raise GenaugError(
            Reason.BAD_PARAMETER,
            "devices",
            f"{count} devices of {device}, of which there is one" if index else f"{count}, but {present} of {kind}",
            f"1 with the device {device}" if index else f"1 to {present}",
            "Name the kind of the device alone, without a number, or lower devices.",
        )


def machine(device: torch.device) -> dict[str, Any]:
    """What a Record says of the machine: device, system, instructions, threads, and the arithmetic that was chosen."""
    route: dict[str, Any] = {"convolution": convolution.current_route()} if device.type == "cpu" else {}
    if route and convolution.problem():
        route["convolution_problem"] = convolution.problem()
    if device.type == "cuda":
        route = {"acceleration": acceleration.for_sampling(device).model_dump()}
    plan = slabs.asked_plan()
    if plan is not None:
        route["slabs"] = plan.model_dump()
    return {
        "device": device.type,
        "device_name": torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor(),
        "platform": platform.platform(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        **route,
    }


@contextmanager
def computing_threads(count: int | None) -> Iterator[None]:
    """Compute on so many CPU threads inside, and on as many as before afterwards; None changes nothing.

    The number is the process's own, so without the way back one job of a warm worker would set it for all that follow.
    It matters to more than speed: how a sum is divided among threads decides its last bit.
    """
    before = torch.get_num_threads()
    if count is not None:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        if count is not None:
            torch.set_num_threads(before)


@contextmanager
def as_recorded(recorded: Mapping[str, Any]) -> Iterator[str]:
    """Compute as a case was computed: yields the device, and keeps to threads, route and slabs that `machine` noted.

    A Record that names no route is older than the choice and was made torch's own way.

    Raises:
        GenaugError: BAD_PARAMETER when torch does not see a device of this kind.
    """
    device = resolve_device(str(recorded.get("device", "cpu")))
    with (
        computing_threads(recorded.get("threads")),
        convolution.following(recorded.get("convolution", "native")),
        acceleration.following(recorded.get("acceleration")),
        slabs.in_slabs(None if "slabs" not in recorded else slabs.SlabPlan.model_validate(recorded["slabs"])),
    ):
        yield device


@contextmanager
def reproducible_kernels() -> Iterator[None]:
    """Let cuDNN use only kernels that give the same bits every time, chosen without trial runs; as before afterwards.

    By default cuDNN may sum in an order that changes from call to call, and with `benchmark` the kernel itself depends
    on which one happened to be faster. Either would break the promise that a case can be made again voxel for voxel.
    """
    cudnn = torch.backends.cudnn
    before = cudnn.deterministic, cudnn.benchmark
    cudnn.deterministic, cudnn.benchmark = True, False
    try:
        yield
    finally:
        cudnn.deterministic, cudnn.benchmark = before
