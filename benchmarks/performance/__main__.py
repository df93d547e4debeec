"""Measure the engine beside its peers; one JSON a row, and the table of docs/PERFORMANCE.md.

python -m benchmarks.performance                    every row and how costs grow; goes on where it was stopped
python -m benchmarks.performance --only denoiser    these rows, again
python -m benchmarks.performance --growth           how costs grow, again
python -m benchmarks.performance --gpu-work         what a GPU takes for the work that is counted for it
python -m benchmarks.performance --table            only the table, from the results that are there

Timings of another machine, or of another day, do not belong beside one another. So what counts as measured is what the
run that was stopped has measured, not that there is a result.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence

import click
import psutil
import torch
from genaug.files import write_json

from benchmarks.performance.document import GPU_WORK, GROWTH, RESULTS, write_document
from benchmarks.performance.gpu_work import measure as measure_gpu_work
from benchmarks.performance.growth import measure as measure_growth
from benchmarks.performance.latent import WORK
from benchmarks.performance.row import Result, Spec
from benchmarks.performance.suite import SPECS

BUSY = 20.0
"""Percent of all cores that others take, above which a timing is doubtful."""
MEASURED = WORK / "measured.json"
"""What a run that is not finished has measured."""


def measure(spec: Spec) -> None:
    """Measure, print and keep the rows of one specification, unless it needs a GPU and there is none."""
    click.echo(spec.name)
    if spec.gpu and not torch.cuda.is_available():
        click.echo("  no GPU")
        return
    # While this process waits, what is busy is others; the load of the last minute would be the row before.
    taken = psutil.cpu_percent(interval=1.0)
    if taken > BUSY:
        click.echo(f"  the machine is busy: others take {taken:.0f} % of its cores", err=True)
    for result in spec.measure():
        click.echo(line(result))
        write_json(RESULTS / f"{result.row}.json", result.model_dump(mode="json"))


def line(result: Result) -> str:
    """A row for the terminal."""
    ours, peer = (("-" if v is None else f"{v:.4g} {result.unit}") for v in (result.ours, result.peer))
    ratio = "-" if result.ratio is None else f"{result.ratio:.2f}"
    goal = "" if result.goal is None else f", goal {result.goal:g}: {'reached' if result.reached else 'NOT REACHED'}"
    return f"{result.row}: ours {ours}, peer {peer}, ratio {ratio}{goal}"


@click.command()
@click.option("--only", multiple=True, type=click.Choice([spec.name for spec in SPECS]), help="Measure these, again.")
@click.option("--growth", is_flag=True, help="Only measure how costs grow, again.")
@click.option("--gpu-work", is_flag=True, help="Only time the work that is counted for a GPU, on the one that is here.")
@click.option("--table", is_flag=True, help="Only write the table from the results that are there.")
def main(only: tuple[str, ...], growth: bool, gpu_work: bool, table: bool) -> None:
    """Measure the engine beside its peers."""
    whole = not (only or growth or gpu_work or table)
    if whole:
        measure_all(SPECS)
    for spec in SPECS:
        if spec.name in only:
            measure(spec)
    if growth:
        measure_costs()
    if gpu_work:
        measure_work()
    write_document()


def measure_all(specs: Sequence[Spec]) -> None:
    """Every row and the growth of costs, without what a run that was stopped has measured."""
    measured: list[str] = json.loads(MEASURED.read_text(encoding="utf-8")) if MEASURED.is_file() else []
    for spec in specs:
        if spec.name not in measured:
            measure_apart(spec)
            measured.append(spec.name)
            write_json(MEASURED, measured)
    measure_costs()
    measure_work()
    MEASURED.unlink()


def measure_apart(spec: Spec) -> None:
    """As `--only` does, in a process of its own: what other rows had left in memory made some a fifth slower."""
    subprocess.run([sys.executable, "-m", "benchmarks.performance", "--only", spec.name], check=True)


def measure_costs() -> None:
    """How costs grow."""
    click.echo(GROWTH)
    write_json(RESULTS / f"{GROWTH}.json", measure_growth().model_dump(mode="json"))


def measure_work() -> None:
    """What is counted for a GPU, where there is one."""
    click.echo(GPU_WORK)
    if not torch.cuda.is_available():
        click.echo("  no GPU")
        return
    write_json(RESULTS / f"{GPU_WORK}.json", measure_gpu_work().model_dump(mode="json"))


if __name__ == "__main__":
    main()
