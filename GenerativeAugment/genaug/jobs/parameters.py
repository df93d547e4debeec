"""Parameters of the kinds whose rooms have none of their own."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class NoParameters(BaseModel):
    """For kinds that have none."""

    model_config = ConfigDict(extra="forbid")


class FingerprintParameters(BaseModel):
    """What to recommend a method for."""

    model_config = ConfigDict(extra="forbid")

    task: Literal["synthesis", "translation", "lesions", "conditioned"] | None = Field(
        default=None, description="what the cohort is for; by the cohort when null"
    )
