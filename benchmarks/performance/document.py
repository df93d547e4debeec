"""docs/PERFORMANCE.md from the JSON of the rows: the text around the tables is kept, the tables are made anew."""

from __future__ import annotations

import json
from pathlib import Path

from genaug.files import write_text

from benchmarks.data import ROOT
from benchmarks.performance.arithmetic import table as expected_table
from benchmarks.performance.gpu_work import GpuWork
from benchmarks.performance.growth import Growth
from benchmarks.performance.growth import table as growth_table
from benchmarks.performance.row import Result
from benchmarks.performance.suite import SPECS
from benchmarks.table import between, markdown

RESULTS = ROOT / "benchmarks" / "results" / "performance"
DOCUMENT = ROOT / "docs" / "PERFORMANCE.md"
GROWTH = "growth"
"""Name of the JSON with how costs grow."""
GPU_WORK = "gpu-work"
"""Name of the JSON with what a GPU took for the work that is counted."""

ON_GPU = [name for spec in SPECS if spec.gpu for name in spec.rows]
"""Rows in a table of their own: another machine than that of the others measured them."""
COLUMNS = ("row", "what is done", "peer", "ours", "peer's", "ratio", "goal", "difference of the results")


def write_document(results: Path = RESULTS, document: Path = DOCUMENT) -> None:
    """Replace what stands between the markers."""
    rows = read_results(results)
    here = [row for row in rows if row.row not in ON_GPU]
    text = document.read_text(encoding="utf-8")
    for kind in ("exact", "approximate", "memory"):
        text = between(text, kind, markdown(COLUMNS, [_cells(row) for row in here if row.kind == kind]))
    text = between(text, "short", _short(rows))
    text = between(text, "gpu", _gpu([row for row in rows if row.row in ON_GPU]))
    path = results / f"{GROWTH}.json"
    if path.is_file():
        growth = Growth.model_validate_json(path.read_text(encoding="utf-8"))
        text = between(text, "growth", markdown(*growth_table(growth.curves)))
        text = between(text, "h100", markdown(*expected_table(growth.expected, _taken(results))))
    write_text(document, text)


def _taken(results: Path) -> dict[str, dict[str, float]]:
    """Seconds by work and precision; empty where no GPU was there."""
    path = results / f"{GPU_WORK}.json"
    if not path.is_file():
        return {}
    measured = GpuWork.model_validate_json(path.read_text(encoding="utf-8"))
    return {what: one.seconds for what, one in measured.work.items()}


def read_results(results: Path) -> list[Result]:
    """The rows that were measured, in the order of the suite."""
    found = []
    for spec in SPECS:
        for name in spec.rows:
            path = results / f"{name}.json"
            if path.is_file():
                found.append(Result.model_validate(json.loads(path.read_text(encoding="utf-8"))))
    return found


def _cells(row: Result) -> list[str]:
    ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
    return [
        f"`{row.row}`",
        row.title,
        row.peer_title,
        _amount(row.ours, row.ours_spread, row.unit),
        _amount(row.peer, row.peer_spread, row.unit),
        f"**{ratio}**" if row.reached else ratio,
        "" if row.goal is None else f"{row.goal:g}",
        "; ".join(f"{name} {_number(value)}" for name, value in row.error.items()),
    ]


def _amount(value: float | None, spread: tuple[float, float] | None, unit: str) -> str:
    """Median with quartiles in one unit that reads well."""
    if value is None:
        return "not possible"
    factor, name = (1e3, "ms") if unit == "s" and value < 1 else (1.0, unit)
    text = f"{factor * value:.3g} {name}"
    return text if spread is None else f"{text} [{factor * spread[0]:.3g}, {factor * spread[1]:.3g}]"


def _number(value: object) -> str:
    return f"{value:.2g}" if isinstance(value, float) else str(value)


def _short(rows: list[Result]) -> str:
    lines = [f"- `{row.row}`: {row.note or 'no reason was looked for'}" for row in rows if row.reached is False]
    return "\n".join(lines) or "None of the rows measured."


def _gpu(rows: list[Result]) -> str:
    """A table that names the machine of each row, and what is missing."""
    columns = (*COLUMNS[:-2], "GPU", "CPU threads", COLUMNS[-1])
    lines = [[*_cells(row)[:-2], *_machine(row), _cells(row)[-1]] for row in rows]
    missing = [name for name in ON_GPU if name not in {row.row for row in rows}]
    parts = [markdown(columns, lines)] if lines else []
    if missing:
        parts.append(f"No GPU: {', '.join(f'`{name}`' for name in missing)}.")
    return "\n\n".join(parts)


def _machine(row: Result) -> tuple[str, str]:
    return f"{row.machine['gpu']}, torch {row.machine['torch']}", str(row.machine["threads"])
