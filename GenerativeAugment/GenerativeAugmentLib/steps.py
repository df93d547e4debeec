"""Work in portions, so that the thread that draws the windows can do it between two events.

Such work is a generator: it yields the bytes done since it last did, and returns its result. Closing it undoes it.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, TypeVar

Result = TypeVar("Result")

Steps = Generator[int, None, Result]

PORTION = 1 << 18
"""Bytes; a portion takes a few milliseconds, also where it is compressed."""


@dataclass(frozen=True)
class Preparation:
    """What has to be written before a job can run, decided at Apply.

    Attributes:
        steps: the writing.
        total: bytes that they yield together.
    """

    steps: Steps[Any]
    total: int


def finish(steps: Steps[Result]) -> Result:
    """Do all that is left, at once; its result."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value
