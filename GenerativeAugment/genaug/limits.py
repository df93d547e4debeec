"""Refusing a job that would not keep to the memory it was given."""

from __future__ import annotations

import math

from genaug.errors import GenaugError, Reason
from genaug.package import Package
from genaug.stated import Peak


def refused(package: Package, limit: int, least: Peak | None) -> GenaugError:
    """The error for a limit that cannot be kept, or not be promised when `least` is None."""
    title = package.info.title
    if least is None:
        return GenaugError(
            Reason.BAD_PARAMETER,
            "max_memory",
            f"{limit / 1e6:.0f} MB for {title}",
            "no limit: what this model takes depends on what it draws, so nothing can be promised",
            "Leave max_memory out.",
        )
    return GenaugError(
        Reason.BAD_PARAMETER,
        "max_memory",
        f"{limit / 1e6:.0f} MB",
        f"{least.bytes / 1e6:.0f} MB or more, which {title} takes at least: {least.of}",
        f"Raise max_memory to {math.ceil(least.bytes / 1e8) / 10:g}GB, or leave it out.",
    )
