"""What an evaluation says: scores with their floor, interval and extractor, as JSON and as lines for a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import ConfigDict, Field

from genaug.files import read_json, write_json
from genaug.strict import Frozen

Interval = tuple[float, float]

NAMED = 5
"""Cases, patients or labels that a note names of many."""

FEW_HELD_OUT = 20
"""Held-out cases below which their 95th percentile is the largest of them."""


def first_names(names: Sequence[str]) -> str:
    """The first few of them, and that there are more."""
    return ", ".join([*names[:NAMED], *(["…"] if len(names) > NAMED else [])])


class _Finite(Frozen):
    model_config = ConfigDict(allow_inf_nan=False)


class Score(_Finite):
    """One number, and what is needed to judge it.

    `floor` is what real cases score against other real cases; `floor_description` says how that was found out. Against
    few real cases even unseen real ones can score above it: `note` says so, and `p_value` is what decides there. Some
    scores depend on the number of cases, and halves of the real cases are smaller than the whole: `matched` is then the
    score at the floor's size, on the same halves, and it is `matched` that compares with `floor`.
    """

    name: str
    value: float
    interval: Interval | None = Field(default=None, description="95 % bootstrap interval over patients")
    floor: float | None = Field(default=None, description="real against real, the level below which nothing is said")
    floor_interval: Interval | None = Field(
        default=None, description="95 % interval, over the splits of the real cases or their patients"
    )
    floor_description: str = Field(
        default="", description="what was compared; the mean over seeded splits of the real cases when empty"
    )
    matched: float | None = Field(default=None, description="the score at the floor's number of cases")
    p_value: float | None = Field(default=None, description="permutation test of real against synthetic")
    better: Literal["lower", "higher", "match", "zero"] = Field(
        description="match: the nearer to the floor, the better; zero: the nearer to 0, of either sign"
    )
    unit: str = ""
    extractor: str | None = Field(default=None, description="the named features it was computed on")
    region: str | None = Field(default=None, description="label or tissue it is restricted to")
    n_real: int
    n_synthetic: int
    note: str = ""


class CopyPair(_Finite):
    """A synthetic case and the training case nearest to it."""

    synthetic: str
    training: str
    similarity: float
    above: bool | None = Field(description="above the held-out threshold; None without held-out cases")


class CopyCheck(_Finite):
    """Whether synthetic cases lie nearer to training cases than unseen real cases do.

    Independent new cases give a `share` of about `expected`, because the threshold is the 95th percentile of the
    held-out cases, of few the largest; `interval` takes in that they are few. Without held-out cases, and of images
    with less than two different ones to be copied, `threshold` and `share` are None: nothing is claimed.
    """

    space: str = Field(description='"image" or the name of a feature extractor')
    threshold: float | None
    share: float | None
    interval: Interval | None
    pairs: list[CopyPair] = Field(description="the most similar pairs, most similar first")
    n_training: int
    n_held_out: int
    n_synthetic: int
    note: str = ""

    @property
    def expected(self) -> float:
        """The share of independent new cases: 5 %, or the least that so few held-out cases can tell."""
        return max(0.05, 1 / (self.n_held_out + 1))

    @property
    def exceeded(self) -> str:
        """How many of the held-out cases the threshold stands for, in words: "95 % of the 40", "any of the 12"."""
        return f"{'95 %' if self.n_held_out >= FEW_HELD_OUT else 'any'} of the {self.n_held_out}"


class Evaluation(_Finite):
    """Everything one evaluation found."""

    schema_version: Literal[1] = 1
    kind: Literal["synthesis", "translation"]
    seed: int
    scores: list[Score]
    copies: list[CopyCheck] = Field(default_factory=list)
    notes: list[str] = Field(default_factory=list, description="what was left out and why")

    def find(self, name: str, extractor: str | None = None, region: str | None = None) -> Score:
        """The first score of that name (and extractor and region, where given). Raises KeyError."""
        for score in self.scores:
            if score.name == name and extractor in (None, score.extractor) and region in (None, score.region):
                return score
        raise KeyError(f"no score {name!r} (extractor {extractor!r}, region {region!r})")

    def write(self, path: Path) -> None:
        """Write as JSON, atomically."""
        write_json(path, self.model_dump(mode="json"))

    @classmethod
    def read(cls, path: Path) -> Evaluation:
        """Read and validate; raises GenaugError naming the file and the key at fault."""
        return read_json(path, cls)

    def summary_lines(self) -> list[str]:
        """A table for the terminal: one line a score, then the copy checks and notes."""
        rows = [("score", "value", "95 % interval", "at floor size", "real floor", "better")]
        rows += [_row(score) for score in self.scores]
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]
        return lines + [_copy_line(check) for check in self.copies] + [f"note: {note}" for note in self.notes]


def _row(score: Score) -> tuple[str, str, str, str, str, str]:
    where = ", ".join(part for part in (score.extractor, score.region) if part)
    unit = f" {score.unit}" if score.unit else ""
    p_value = "" if score.p_value is None else f" (p {score.p_value:.3f})"
    return (
        f"{score.name} ({where})" if where else score.name,
        f"{score.value:.4g}{unit}{p_value}",
        _span(score.interval),
        "" if score.matched is None else f"{score.matched:.4g}",
        "" if score.floor is None else f"{score.floor:.4g}",
        score.better,
    )


def _copy_line(check: CopyCheck) -> str:
    if check.share is None:
        return f"copies ({check.space}): {check.note}"
    return (
        f"copies ({check.space}): {check.share:.1%} {_span(check.interval)} of {check.n_synthetic} synthetic cases lie"
        f" nearer to a training case than {check.exceeded} held-out cases ({check.expected:.0%} expected)"
    )


def _span(interval: Interval | None) -> str:
    return "" if interval is None else f"[{interval[0]:.4g}, {interval[1]:.4g}]"
