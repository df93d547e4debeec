"""Limits of the system, real ones, for the tests of what happens at them."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest


@contextmanager
def limited_file_size(size: int) -> Iterator[None]:
    """No file of this process can grow beyond `size` bytes, as on a disk with no more room than that."""
    resource = pytest.importorskip("resource", reason="this system has no limit of the file size")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
