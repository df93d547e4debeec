"""Measure the engine beside its peers; one JSON a row, and the table of docs/PERFORMANCE.md.

python -m benchmarks.performance                    every row that has no result yet
python -m benchmarks.performance --only denoiser    these rows, again
python -m benchmarks.performance --growth           how costs grow, again
python -m benchmarks.performance --table            only the table, from the results that are there
"""

from __future__ import annotations

import click
import psutil
import torch
from genaug.files import write_json

from benchmarks.performance.document import GROWTH, RESULTS, write_document
from benchmarks.performance.growth import measure as measure_growth
from benchmarks.performance.row import Result, Spec
from benchmarks.performance.suite import SPECS

BUSY = 0.5
"""Load per core above which a timing is doubtful."""


def measure(spec: Spec) -> None:
    """Measure, print and keep the rows of one specification."""
    load = psutil.getloadavg()[0] / (psutil.cpu_count() or 1)
    if load > BUSY:
        click.echo(f"  the machine is busy: {load:.1f} processes a core in the last minute", err=True)
    for result in spec.measure():
        click.echo(line(result))
        write_json(RESULTS / f"{result.row}.json", result.model_dump(mode="json"))


def line(result: Result) -> str:
    """A row for the terminal."""
    ours, peer = (("-" if v is None else f"{v:.4g} {result.unit}") for v in (result.ours, result.peer))
    ratio = "-" if result.ratio is None else f"{result.ratio:.2f}"
    goal = "" if result.goal is None else f", goal {result.goal:g}: {'reached' if result.reached else 'NOT REACHED'}"
    return f"{result.row}: ours {ours}, peer {peer}, ratio {ratio}{goal}"


def _wanted(spec: Spec, only: tuple[str, ...]) -> bool:
    if only:
        return spec.name in only
    return not all((RESULTS / f"{row}.json").is_file() for row in spec.rows)


@click.command()
@click.option("--only", multiple=True, type=click.Choice([spec.name for spec in SPECS]), help="Measure these, again.")
@click.option("--growth", is_flag=True, help="Only measure how costs grow, again.")
@click.option("--table", is_flag=True, help="Only write the table from the results that are there.")
def main(only: tuple[str, ...], growth: bool, table: bool) -> None:
    """Measure the engine beside its peers."""
    if growth:
        write_json(RESULTS / f"{GROWTH}.json", measure_growth().model_dump(mode="json"))
    for spec in () if table or growth else SPECS:
        if not _wanted(spec, only):
            continue
        click.echo(spec.name)
        if spec.gpu and not torch.cuda.is_available():
            click.echo("  no GPU")
            continue
        measure(spec)
        write_document()
    write_document()


if __name__ == "__main__":
    main()
