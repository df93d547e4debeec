"""The same work on many items by several threads, told in the order of the items.

For work that leaves Python alone most of the time: zlib and ITK, which read and pack images, let other threads run.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import psutil

Item = TypeVar("Item")
Result = TypeVar("Result")

MOST_THREADS = 8
"""Above this a disk, not the processor, is what a thread waits for."""


def threads_for(items: int, bytes_each: int) -> int:
    """How many items to work on at a time: one a core, and no more than half of the free memory holds.

    Args:
        items: there are.
        bytes_each: that the work on one of them takes.
    """
    fitting = psutil.virtual_memory().available // 2 // max(bytes_each, 1)
    return max(1, min(_cores(), MOST_THREADS, items, fitting))


def each_in_order(
    work: Callable[[Item], Result], items: Sequence[Item], threads: int, told: Callable[[int, Item, Result], None]
) -> None:
    """Do the work on every item; `told` of each, with its number and result, on the calling thread and in order.

    An error of the work, of the first item in order that has one, or of `told` (as where the user cancels) is raised
    when the items in work are done; the others are not begun. What is then left half done is the caller's to remove.

    Args:
        work: on one item; called by several threads.
        items: what there is to do.
        threads: how many items are in work at a time.
        told: may raise.
    """
    pool = ThreadPoolExecutor(threads, thread_name_prefix="work")
    try:
        for number, (item, future) in enumerate([(item, pool.submit(work, item)) for item in items]):
            told(number, item, future.result())
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _cores() -> int:
    """Those this process may use, where the system says so."""
    allowed = getattr(os, "sched_getaffinity", None)
    return len(allowed(0)) if allowed is not None else os.cpu_count() or 1
