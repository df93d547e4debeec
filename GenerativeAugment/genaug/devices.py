"""Which device computes, and what of a machine can change the last bit of a result."""

from __future__ import annotations

import platform
from typing import Any

import torch

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


def machine(device: torch.device) -> dict[str, Any]:
    """What a Record says of the machine: device, system and number of threads."""
    return {
        "device": device.type,
        "device_name": torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor(),
        "platform": platform.platform(),
        "threads": torch.get_num_threads(),
    }
