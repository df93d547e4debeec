"""What a job says of its memory before it starts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import psutil

from genaug.context import held
from genaug.progress import Reporter
from genaug.strict import Strict


class Peak(Strict):
    """The most memory that a job will hold.

    Attributes:
        bytes: of the process, its libraries included; on a GPU of the GPU's memory.
        of: what takes most, in words.
    """

    bytes: int
    of: str

    def __str__(self) -> str:
        return f"at most {self.bytes / 1e6:.0f} MB expected, {self.of}"


_stated: ContextVar[list[Peak] | None] = ContextVar("stated peaks", default=None)


@contextmanager
def hearing() -> Iterator[list[Peak]]:
    """Collects what `state` is told inside."""
    heard: list[Peak] = []
    with held(_stated, heard):
        yield heard


def resident() -> int:
    """Bytes this process holds now."""
    return int(psutil.Process().memory_info().rss)


def state(peak: Peak, reporter: Reporter) -> None:
    """Say in the job's log what it will take, before it starts; its result shows it beside what was measured."""
    heard = _stated.get()
    if heard is not None:
        heard.append(peak)
    reporter.log(f"memory: {peak}")
