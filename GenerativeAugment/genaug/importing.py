"""Imports of large libraries without the garbage collector.

torch and MONAI make about a million objects while they are imported, none of which is garbage. The collector looks at
them again and again as their number grows, which takes a quarter of the time that the imports take.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def collector_off() -> Iterator[None]:
    """Leave the garbage collector off meanwhile; it is as it was afterwards."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
