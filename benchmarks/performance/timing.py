"""Two ways of doing the same, timed side by side: in turn, several times, in one process or each in its own."""

from __future__ import annotations

import gc
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import torch
from genaug.strict import Strict

WARM_UPS = 3
REPETITIONS = 7


class Times(Strict):
    """Seconds of each repetition of one way.

    Attributes:
        seconds: in the order they were taken.
    """

    seconds: list[float]

    @property
    def median(self) -> float:
        """In seconds."""
        return statistics.median(self.seconds)

    @property
    def spread(self) -> tuple[float, float]:
        """First and third quartile, in seconds; the only value there is, twice, of a single repetition."""
        if len(self.seconds) == 1:
            return self.seconds[0], self.seconds[0]
        first, _, third = statistics.quantiles(self.seconds, n=4, method="inclusive")
        return first, third


def interleaved(
    ours: Callable[[], object],
    peer: Callable[[], object],
    repetitions: int = REPETITIONS,
    warm_ups: int = WARM_UPS,
) -> tuple[Times, Times]:
    """Time two functions in turn, so that what else the machine does falls on both.

    Args:
        ours: does the work our way.
        peer: does it the peer's way.
        repetitions: that are counted, of each; which of the two goes first changes every time.
        warm_ups: that are not.
    """
    ways = (ours, peer)
    seconds: tuple[list[float], list[float]] = ([], [])
    for repetition in range(-warm_ups, repetitions):
        for which in (0, 1) if repetition % 2 else (1, 0):
            gc.collect()
            started = time.perf_counter()
            ways[which]()
            taken = time.perf_counter() - started
            if repetition >= 0:
                seconds[which].append(taken)
    return Times(seconds=seconds[0]), Times(seconds=seconds[1])


def repeated(work: Callable[[], object], repetitions: int = REPETITIONS, warm_ups: int = WARM_UPS) -> Times:
    """Time one function alone, where what is compared is another machine's."""
    seconds = []
    for repetition in range(-warm_ups, repetitions):
        started = time.perf_counter()
        work()
        if repetition >= 0:
            seconds.append(time.perf_counter() - started)
    return Times(seconds=seconds)


def machine() -> dict[str, Any]:
    """What the figures were taken on, and how loaded it was just then."""
    return {
        "platform": platform.platform(),
        "processor": _processor(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "cores": psutil.cpu_count(logical=False) or os.cpu_count(),
        "threads": torch.get_num_threads(),
        "memory_bytes": psutil.virtual_memory().total,
        "load": list(psutil.getloadavg()),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def _processor() -> str:
    """The processor's name, which `platform` does not know on Linux."""
    try:
        with Path("/proc/cpuinfo").open(encoding="utf-8") as lines:
            return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()
