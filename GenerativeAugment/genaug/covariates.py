"""Covariates as a network is given them: class, numbers and text of a case, as one vector.

Every covariate says in its own numbers whether it is known: a class that is not given has no level set, a number has a
flag beside its value, a text that is not given is zero. So the vector of zeros means "nothing is known", which is also
what a network trained with condition dropout has learnt of it (Ho and Salimans 2022, arXiv:2207.12598).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from genaug.errors import GenaugError, Reason
from genaug.strict import Strict

Value = float | str
"""Of one covariate of one case."""

MARGIN = 0.1
"""Share of its training range by which a number may leave it."""

MOST_LEVELS = 64
"""Classes of one covariate; with more it is more likely an identifier."""


class Covariate(Strict):
    """One covariate a model is conditioned on, as its training cases had it.

    Attributes:
        name: as in the cohort.
        kind: "class" for a few words, "number", or "text" for sentences that a text encoder reads.
        levels: of a class.
        mean, deviation, low, high: of a number, over the training cases.
        encoder: SHA-256 of the encoder that read the texts.
        width: numbers that a text becomes.
    """

    name: str
    kind: Literal["class", "number", "text"]
    levels: tuple[str, ...] = ()
    mean: float = 0.0
    deviation: float = 1.0
    low: float = 0.0
    high: float = 0.0
    encoder: str = ""
    width: int = 0

    @classmethod
    def of(cls, name: str, values: Sequence[Value]) -> Covariate:
        """What these values of the training cases make of it: numbers where all are, else classes.

        Raises:
            GenaugError: BAD_PARAMETER when no case has it, or when there are too many classes.
        """
        if not values:
            raise _bad(name, "no training case that has it", "a covariate of the cohort", "Name another one.")
        if all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values):
            numbers = np.asarray(values, dtype=np.float64)
            return cls(
                name=name,
                kind="number",
                mean=float(numbers.mean()),
                deviation=float(numbers.std()) or 1.0,
                low=float(numbers.min()),
                high=float(numbers.max()),
            )
        levels = tuple(sorted({str(value) for value in values}))
        if len(levels) > MOST_LEVELS:
            raise _bad(
                name,
                f"{len(levels)} different words in {len(values)} cases",
                f"at most {MOST_LEVELS} classes",
                "Leave it out, group its values, or name it as the text of a recipe that reads text.",
            )
        return cls(name=name, kind="class", levels=levels)

    @property
    def length(self) -> int:
        """Numbers in the vector."""
        return {"class": len(self.levels), "number": 2, "text": self.width}[self.kind]

    def encode(self, value: Value | None) -> npt.NDArray[np.float32]:
        """(length,) for a class or a number; zeros for None.

        Raises:
            GenaugError: BAD_PARAMETER for a level that no training case had, or a number far from theirs.
        """
        vector = np.zeros(self.length, dtype=np.float32)
        if value is None:
            return vector
        if self.kind == "class":
            if str(value) not in self.levels:
                raise _bad(self.name, repr(value), f"one of {', '.join(self.levels)}", "Name a level that was trained.")
            vector[self.levels.index(str(value))] = 1
        elif self.kind == "number":
            vector[:] = 1, (self._number(value) - self.mean) / self.deviation
        else:
            raise ValueError(f"{self.name} is a text, which only its encoder can read")
        return vector

    def _number(self, value: Value) -> float:
        margin = MARGIN * (self.high - self.low)
        allowed = f"a number from {self.low - margin:g} to {self.high + margin:g}, near what training cases had"
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not self.low - margin <= number <= self.high + margin:
            raise _bad(self.name, repr(value), allowed, "Ask for what the model has seen.")
        return number


def vector_length(covariates: Sequence[Covariate]) -> int:
    """Length of the vector of these covariates."""
    return sum(covariate.length for covariate in covariates)


def encode(
    covariates: Sequence[Covariate],
    values: Mapping[str, Value],
    texts: Mapping[str, npt.NDArray[np.float32]] | None = None,
) -> npt.NDArray[np.float32]:
    """The vector of a case; what `values` does not have counts as not known, and what else it has is not looked at.

    Args:
        covariates: those of the model, in its order.
        values: covariate name to value.
        texts: covariate name to what the encoder made of its text.
    """
    parts = [
        (texts or {}).get(one.name, one.encode(None)) if one.kind == "text" else one.encode(values.get(one.name))
        for one in covariates
    ]
    return np.concatenate([np.zeros(0, dtype=np.float32), *parts]).astype(np.float32)


def require_known(covariates: Sequence[Covariate], names: Sequence[str]) -> None:
    """Raise BAD_PARAMETER for a name that the model is not conditioned on."""
    known = [covariate.name for covariate in covariates]
    for name in names:
        if name not in known:
            raise _bad(
                name,
                "a condition this model does not have",
                f"one of {', '.join(known)}" if known else "no covariates: this model is not conditioned on any",
                "Name conditions of the model; its card lists them.",
            )


def _bad(name: str, found: str, expected: str, remedy: str) -> GenaugError:
    return GenaugError(Reason.BAD_PARAMETER, f"covariate {name}", found, expected, remedy)
