"""Whether a method does what its covariates say: requested against measured volume, on the hippocampus in 3D.

    python -m benchmarks.covariates        cvae, cgan and cldm, each trained for some minutes

Every case is asked for a volume drawn evenly from the range of the training cases; what counts is the volume of the
label map that comes with it.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import click
import numpy as np
from genaug.files import write_json
from genaug.package import read_info
from genaug.parameters import SynthesisParameters
from genaug.recipe import Sampler, load_recipe
from genaug.synthesis import synthesize
from genaug.volume import label_volumes
from matplotlib.figure import Figure

from benchmarks.data import ROOT, hippocampus
from benchmarks.methods import MINUTES, WORK, plan_for, train_row
from benchmarks.suites import Suite, with_sizes
from benchmarks.table import read_rows
from demo.console import Console

RESULTS = ROOT / "benchmarks" / "results" / "covariates"
METHODS = ("cvae", "cgan", "cldm")
CASES = 64
GOAL = 0.8


@click.command()
@click.option("--only", multiple=True, type=click.Choice(METHODS))
@click.option("--minutes", default=MINUTES, show_default=True)
def main(only: tuple[str, ...], minutes: float) -> None:
    """Train, ask for 64 volumes, and print how well the answers follow."""
    console = Console()
    cohort = with_sizes(hippocampus())
    channel = next(iter(cohort.channels))
    options = {"channels": [channel], "spacing": (1.5,) * 3, "covariates": ["anterior", "posterior"]}
    suite = Suite("hippocampus volumes", cohort, options, channel)
    for name in only or METHODS:
        recipe = load_recipe(name)
        iterations = plan_for(f"{name}-volumes", recipe, suite, minutes, console).iterations
        package = train_row(f"{name}-volumes", recipe, suite, iterations, 1, console)
        rows = ask(package, WORK / "cases" / f"{name}-volumes", recipe.sampler)
        found = {region: float(np.corrcoef(np.array(pairs).T)[0, 1]) for region, pairs in rows.items()}
        write_json(
            RESULTS / f"{name}.json",
            {
                "row": name,
                "budget_minutes": minutes,
                "iterations": iterations,
                "r": found,
                "guidance": recipe.sampler.guidance,
                "truncation": recipe.sampler.truncation,
                "goal": GOAL,
                "pairs": rows,
            },
        )
        console.log(f"{name}: " + ", ".join(f"{region} r = {r:.3f}" for region, r in found.items()))
    draw(RESULTS, RESULTS.with_suffix(".png"))


def draw(results: Path, path: Path) -> None:
    """Requested against measured volumes, a plot for every method and label."""
    rows = read_rows(results)
    regions = list(rows[0]["pairs"])
    figure = Figure(figsize=(3.2 * len(rows), 3 * len(regions)), layout="constrained")
    plots = figure.subplots(len(regions), len(rows), squeeze=False)
    for column, row in enumerate(rows):
        for axes, region in zip(plots[:, column], regions, strict=True):
            wanted, found = np.array(row["pairs"][region]).T
            axes.plot(wanted, wanted, color="grey", linewidth=1)
            axes.scatter(wanted, found, s=9)
            axes.set(title=f"{row['row']}, {region}", xlabel="mm³ asked for", ylabel="mm³ made", ylim=(0, None))
    figure.savefig(path, dpi=90)


def ask(package: Path, output: Path, sampler: Sampler) -> dict[str, list[tuple[float, float]]]:
    """For every label, (requested, measured) volumes in mm3 of 64 cases; the other label is left open."""
    known = read_info(package).trained_on.labels
    rows: dict[str, list[tuple[float, float]]] = {}
    shutil.rmtree(output, ignore_errors=True)
    for label in known:
        wanted = np.linspace(label.smallest, label.largest, CASES)
        pairs = []
        for index, volume in enumerate(wanted):
            made = synthesize(
                package,
                output / f"{label.name}-{index}",
                SynthesisParameters(
                    count=1,
                    start=index,
                    conditions={label.name: float(volume)},
                    # A package that was trained earlier keeps the sampler that the recipe had then.
                    guidance=sampler.guidance,
                    truncation=sampler.truncation,
                ),
                1,
                "cpu",
            )
            found = made.cases[0].label_map()
            assert found is not None  # the method makes label maps
            pairs.append((float(volume), float(label_volumes(found, [label.value])[0])))
        rows[label.name] = pairs
    return rows


if __name__ == "__main__":
    main()
