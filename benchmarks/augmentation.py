"""Whether synthetic cases help: a U-Net trained with and without them, tested on real patients.

    python -m benchmarks.augmentation brainspade      trained on synthetic cases alone, beside as many real ones alone
    python -m benchmarks.augmentation low-data        20 real cases, with and without 64 cases of each method

The generators are trained on the same real cases that the segmenter is given, and on no other.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import click
from genaug.cohort import Cohort
from genaug.files import write_json
from genaug.parameters import SynthesisParameters
from genaug.recipe import load_recipe
from genaug.synthesis import synthesize

from benchmarks.data import ROOT
from benchmarks.methods import MINUTES, WORK, plan_for, train_row
from benchmarks.segmentation import Outcome, segment
from benchmarks.suites import Suite, slices
from demo.console import Console

RESULTS = ROOT / "benchmarks" / "results" / "augmentation"
LABELS = (1, 2)
FEW = 20
CASES = 64
SEEDS = (1, 2, 3)
METHODS = ("vae", "rhvae", "vq-vae", "wgan-gp", "lsgan", "vae-gan", "ldm", "ddpm", "spade")


@click.group()
def main() -> None:
    """Measure the benefit for a segmentation."""


@main.command("brainspade")
@click.option("--minutes", default=MINUTES, show_default=True)
def brainspade(minutes: float) -> None:
    """Train a segmenter on the output of brainSPADE alone."""
    console = Console()
    cohort = slices(WORK / "data")
    made = _made("brainspade", cohort, "brainspade-segmentation", len(cohort.part("train")), minutes, console)
    tests = cohort.part("test")
    channel = next(iter(cohort.channels))
    real = segment(cohort.part("train"), tests, channel, LABELS)
    synthetic = segment(made.cases, tests, channel, LABELS)
    found = {"real_only": vars(real), "synthetic_only": vars(synthetic), "cases": len(made.cases)}
    write_json(RESULTS / "brainspade.json", {"budget_minutes": minutes} | found)
    console.log(f"real alone {_told(real)}; brainSPADE alone {_told(synthetic)}")


@main.command("low-data")
@click.option("--minutes", default=MINUTES, show_default=True)
@click.option("--only", multiple=True, type=click.Choice(METHODS))
def low_data(minutes: float, only: tuple[str, ...]) -> None:
    """Which methods still help when there are 20 cases."""
    console = Console()
    whole = slices(WORK / "data")
    patients = sorted({case.patient for case in whole.part("train")})[:FEW]
    # One plane a patient, so that 20 cases are 20 people.
    few = [case for case in whole.part("train") if case.patient in patients and case.id.endswith("-1")]
    cohort = whole.with_cases([*few, *whole.part("test")])
    channel = next(iter(cohort.channels))
    tests = cohort.part("test")
    real = RESULTS / "low-data-real.json"
    # What a row of it alone stands beside is the same from run to run.
    if not only or not real.is_file():
        alone = [segment(few, tests, channel, LABELS, seed) for seed in SEEDS]
        write_json(real, _row("real alone", minutes, alone))
        console.log(f"real alone {_told(alone[0])}")
    for name in only or METHODS:
        made = _made(name, cohort, f"{name}-low-data", CASES, minutes, console)
        outcomes = [segment([*few, *made.cases], tests, channel, LABELS, seed) for seed in SEEDS]
        write_json(RESULTS / f"low-data-{name}.json", _row(name, minutes, outcomes))
        console.log(f"{name}: {_told(outcomes[0])}")


def _row(name: str, minutes: float, outcomes: list[Outcome]) -> dict[str, Any]:
    dice = sum(outcome.dice for outcome in outcomes) / len(outcomes)
    return {
        "row": name,
        "budget_minutes": minutes,
        "dice": dice,
        "seeds": {str(seed): vars(outcome) for seed, outcome in zip(SEEDS, outcomes, strict=True)},
    }


def _made(name: str, cohort: Cohort, row: str, count: int, minutes: float, console: Console) -> Cohort:
    """`count` cases of a method trained on the training part, whose label maps it is given where it needs some."""
    recipe = load_recipe(name)
    channel = next(iter(cohort.channels))
    suite = Suite("slices", cohort, {"channels": [channel], "spacing": (1.0, 1.0, 1.0)}, channel)
    package = train_row(row, recipe, suite, plan_for(row, recipe, suite, minutes, console).iterations, 1, console)
    given = cohort.with_cases(cohort.part("train")) if recipe.task == "label_to_image" else None
    output: Path = WORK / "cases" / row
    shutil.rmtree(output, ignore_errors=True)
    return synthesize(package, output, SynthesisParameters(count=count, prefix=row), 1, "cpu", console, given)


def _told(outcome: Outcome) -> str:
    return f"Dice {outcome.dice:.3f} [{outcome.interval[0]:.3f}, {outcome.interval[1]:.3f}]"


if __name__ == "__main__":
    main()
