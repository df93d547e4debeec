"""A setting that holds for everything that is called inside, in this thread and task alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

Value = TypeVar("Value")


@contextmanager
def held(variable: ContextVar[Value], value: Value) -> Iterator[Value]:
    """Inside, the variable has the value; afterwards the one that it had before."""
    token = variable.set(value)
    try:
        yield value
    finally:
        variable.reset(token)
