"""The base of everything that is written to disk or read from it: a key nobody knows is an error, not ignored."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, StringConstraints

PathText = Annotated[str, StringConstraints(pattern=r"^[^\x00]+$")]
"""A path; no system has one with a NUL in it, or an empty one."""


class Strict(BaseModel):
    """A model that refuses unknown keys."""

    model_config = ConfigDict(extra="forbid")


class Frozen(Strict):
    """A strict model whose fields cannot be set again."""

    model_config = ConfigDict(frozen=True)
