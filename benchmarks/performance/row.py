"""A row of the performance table: what is measured, and what came out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from genaug.strict import Strict
from pydantic import Field

from benchmarks.performance.timing import Times, machine

Kind = Literal["exact", "approximate", "memory"]


class Result(Strict):
    """One measured row.

    Attributes:
        row: its name, which is also the name of its JSON.
        title: what is done, for the table.
        peer_title: who does it otherwise.
        kind: "exact" where both give the same within rounding, "approximate" where `error` says how far they differ,
            "memory" where bytes are compared.
        unit: of `ours` and `peer`: "s" or "MB".
        ours: median; None where it could not be done, which `note` explains.
        peer: median of the peer; None where the peer cannot do it.
        ratio: the peer's over ours, above 1 where ours is better; None without both.
        goal: least ratio wanted; None in a row that only informs.
        ours_spread: first and third quartile.
        peer_spread: first and third quartile.
        repetitions: of each.
        error: how far the results are apart, by name, with what was allowed.
        detail: whatever else a reader may want: sizes, steps, network calls, peak memory.
        note: for people: why a goal was missed, with its profile; what was not equal about the two.
        machine: what it was measured on.
    """

    row: str
    title: str
    peer_title: str
    kind: Kind
    unit: Literal["s", "MB"] = "s"
    ours: float | None
    peer: float | None
    ratio: float | None
    goal: float | None
    ours_spread: tuple[float, float] | None = None
    peer_spread: tuple[float, float] | None = None
    repetitions: int = 1
    error: dict[str, Any] = Field(default_factory=dict)
    detail: dict[str, Any] = Field(default_factory=dict)
    note: str = ""
    machine: dict[str, Any] = Field(default_factory=machine)

    @property
    def reached(self) -> bool | None:
        """Whether the goal was; None in a row without one."""
        return None if self.goal is None else self.ratio is not None and self.ratio >= self.goal


def timed(
    row: str,
    title: str,
    peer_title: str,
    kind: Kind,
    times: tuple[Times, Times],
    goal: float | None,
    **more: Any,
) -> Result:
    """The row of two interleaved timings, ours first."""
    ours, peer = times
    return Result(
        row=row,
        title=title,
        peer_title=peer_title,
        kind=kind,
        ours=ours.median,
        peer=peer.median,
        ratio=peer.median / ours.median,
        goal=goal,
        ours_spread=ours.spread,
        peer_spread=peer.spread,
        repetitions=len(ours.seconds),
        **more,
    )


@dataclass(frozen=True)
class Spec:
    """How to measure one or several rows.

    Attributes:
        name: what `--only` asks for.
        rows: names of the results it gives, in the order of the table.
        measure: does it.
        gpu: whether it needs a GPU; without one the row says so.
    """

    name: str
    rows: tuple[str, ...]
    measure: Callable[[], list[Result]]
    gpu: bool = False
