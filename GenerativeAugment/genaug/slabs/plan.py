"""How a decoder keeps to less memory, and telling the autoencoders of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

import torch
from pydantic import Field

from genaug.context import held
from genaug.strict import Strict

SLAB_BYTES = 16 << 20
"""Of one slab: more would be no faster, and below the 32 MiB from which the C library returns memory at once."""


class SlabPlan(Strict):
    """How a decoder keeps to less memory. Part of a Record, because the height of the slabs may change a last bit.

    Attributes:
        slab_bytes: size of one slab of the widest field of a step.
        keep_enlarged: keep enlarged fields that are read several times, instead of making them again.
        spill: keep fields in a temporary file instead of memory.
    """

    slab_bytes: int = Field(default=SLAB_BYTES, ge=1)
    keep_enlarged: bool = False
    spill: bool = False


PLANS: tuple[SlabPlan, ...] = (SlabPlan(keep_enlarged=True), SlabPlan(), SlabPlan(spill=True))
"""From the fastest to the leanest."""

_plan: ContextVar[tuple[SlabPlan, Path | None] | None] = ContextVar("slab plan", default=None)


@contextmanager
def in_slabs(plan: SlabPlan | None, folder: Path | None = None) -> Iterator[None]:
    """Let autoencoders decode by this plan inside; None decodes at once.

    Args:
        plan: how.
        folder: where a temporary file may lie; the system's place for those when None.
    """
    with held(_plan, None if plan is None else (plan, folder)):
        yield


def disk_of(output: Path) -> Path | None:
    """Where temporary files of what goes to `output` may lie: on its disk, once there is something of it."""
    return next((folder for folder in (output, output.parent) if folder.is_dir()), None)


def asked_plan() -> SlabPlan | None:
    """What `in_slabs` says here, for a Record."""
    asked = _plan.get()
    return None if asked is None else asked[0]


def slab_plan() -> tuple[SlabPlan, Path | None] | None:
    """What `in_slabs` says here; None in training, where gradients need everything."""
    return None if torch.is_grad_enabled() else _plan.get()
