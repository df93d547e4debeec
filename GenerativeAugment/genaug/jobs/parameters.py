"""Parameters of the kinds whose rooms have none of their own."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from genaug.strict import Strict


class NoParameters(Strict):
    """For kinds that have none."""


class FingerprintParameters(Strict):
    """What to recommend a method for."""

    task: Literal["synthesis", "translation", "lesions", "conditioned"] | None = Field(
        default=None, description="what the cohort is for; by the cohort when null"
    )
