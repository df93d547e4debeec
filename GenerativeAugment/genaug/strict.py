"""The base of everything that is written to disk or read from it: a key nobody knows is an error, not ignored."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Strict(BaseModel):
    """A model that refuses unknown keys."""

    model_config = ConfigDict(extra="forbid")


class Frozen(Strict):
    """A strict model whose fields cannot be set again."""

    model_config = ConfigDict(frozen=True)
