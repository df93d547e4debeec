"""Every method there is, whether it is trained or not, with what has been measured of it: for people and catalogues."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

from pydantic import TypeAdapter

from genaug.errors import GenaugError, Reason
from genaug.recipe import FOLDER, UNTRAINED, Recipe, list_recipes, listed, recipe_names
from genaug.strict import Strict

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

MEASURED = FOLDER / "measured.json"
"""Written by `make bench-methods`."""


class Measured(Strict):
    """What one training under the benchmark's budget gave.

    Attributes:
        suite: the data it was measured on.
        score: "kid" for new cases, "mae" for translations.
        value: of the score, on cases held out.
        seconds_per_case: of making one, on the benchmark's machine.
        budget_minutes: of training, on one core.
    """

    suite: str
    score: str
    value: float
    seconds_per_case: float
    budget_minutes: float


class Method(Strict):
    """A method for people; a recipe's axes are in the recipe.

    `command` is what to run for a method that needs no training, and None for a recipe, which is trained first.
    """

    name: str
    title: str
    family: str
    task: str
    citation: str
    distinct: str
    suits: str
    unsuited: str
    conditions: tuple[str, ...] = ()
    dimensions: tuple[int, ...] = (2, 3)
    command: str | None = None
    measured: Measured | None = None

    @classmethod
    def of(cls, recipe: Recipe) -> Method:
        """The recipe as a method."""
        known = recipe.model_dump(include=set(cls.model_fields))
        return cls(**known, measured=measured().get(recipe.name))

    @property
    def cost(self) -> str:
        """Score and seconds per case, or that there are none."""
        if self.measured is None:
            return "no training" if self.command else "not measured"
        return f"{self.measured.score} {self.measured.value:.3g}, {self.measured.seconds_per_case:.3g} s"

    @property
    def sizes(self) -> str:
        """The dimensions it is offered in."""
        return " ".join(f"{dimension}D" for dimension in self.dimensions)


@lru_cache(maxsize=1)
def list_methods() -> tuple[Method, ...]:
    """Every recipe, and what needs no training, by name."""
    found = [*(Method.of(recipe) for recipe in list_recipes()), *_untrained()]
    return tuple(sorted(found, key=lambda method: method.name))


def find_method(name: str) -> Method:
    """The method of that name.

    Raises:
        GenaugError: BAD_RECIPE with the known names.
    """
    for method in list_methods():
        if method.name == name:
            return method
    known = listed(name, (method.name for method in list_methods()))
    raise GenaugError(Reason.BAD_RECIPE, name, "no such method", f"one of {known}", "`genaug methods` lists them.")


def measured(path: Path = MEASURED) -> dict[str, Measured]:
    """By recipe, what was measured; empty where nothing has been."""
    if not path.is_file():
        return {}
    return TypeAdapter(dict[str, Measured]).validate_python(json.loads(path.read_text(encoding="utf-8")))


def markdown(methods: Iterable[Method]) -> str:
    """The table of docs/METHODS.md; without what was measured, which changes with every benchmark."""
    lines = ["| method | what it is | family | task | conditions | for | distinct |", "|---|---|---|---|---|---|---|"]
    for method in methods:
        conditions = ", ".join(method.conditions) or "none"
        cells = (
            f"`{method.name}`",
            method.title,
            method.family,
            method.task,
            conditions,
            method.sizes,
            method.distinct,
        )
        lines.append(f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |")
    return "\n".join(lines)


def _untrained() -> list[Method]:
    names = set(recipe_names())
    found = [
        Method.model_validate(tomllib.loads(path.read_text(encoding="utf-8"))) for path in UNTRAINED.glob("*.toml")
    ]
    assert not names & {method.name for method in found}, "a recipe and a method without training share a name"
    return found
