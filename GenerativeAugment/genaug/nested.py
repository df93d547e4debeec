"""Tables within tables, named by keys with points: `sampler.steps` is the key `steps` of the table `sampler`."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator


def unfolded(table: Any) -> Any:
    """A table whose keys with points became tables, at every depth; anything else as it is, for parsing to refuse.

    Raises:
        ValueError: for what is given twice, since one of the two would be lost.
    """
    if not isinstance(table, dict):
        return table
    whole: dict[str, Any] = {}
    for key, value in table.items():
        join(whole, within(str(key), unfolded(value)))
    return whole


def within(key: str, value: Any) -> dict[str, Any]:
    """The table that holds `value` at a key with points."""
    first, *inner = key.split(".")
    for part in reversed(inner):
        value = {part: value}
    return {first: value}


def join(table: dict[str, Any], added: dict[str, Any]) -> None:
    """Add to a table, and to the tables within it.

    Raises:
        ValueError: for what is given twice.
    """
    for key, value in added.items():
        if key not in table:
            table[key] = value
        elif isinstance(table[key], dict) and isinstance(value, dict):
            join(table[key], value)
        else:
            raise ValueError(f"{key!r} is given twice")


Nested = Annotated[dict[str, Any], BeforeValidator(unfolded)]
"""A table that may be given with points in its keys."""
