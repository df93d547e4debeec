"""Whether ant-gan takes lesions away: heads with drawn ones, of which the truth is known.

    python -m benchmarks.removal                  trained for eight minutes of a core, as every method of the table
    python -m benchmarks.removal --minutes 32     for longer

The errors are against the head as it was before the lesions were drawn.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import click
import numpy as np
from genaug.case import Case
from genaug.cohort import Cohort
from genaug.evaluation.masks import body_mask
from genaug.files import write_json
from genaug.parameters import TranslationParameters
from genaug.progress import Silent
from genaug.recipe import load_recipe
from genaug.translation import translate

from benchmarks.data import ROOT
from benchmarks.methods import MINUTES, WORK, plan_for, train_row
from benchmarks.methods_table import write_tables
from benchmarks.strip import WIDTH, save_picture
from benchmarks.suites import Suite, drawn_heads
from demo.console import Console
from demo.pictures import translation_panel

RESULTS = ROOT / "benchmarks" / "results" / "removal"
METHOD = "ant-gan"
SOURCE, TRUTH = "T1", "healthy"


@click.command()
@click.option("--minutes", default=MINUTES, show_default=True, help="Training, in minutes of one core.")
def main(minutes: float) -> None:
    """Train, take the lesions of the test heads away, and print how much of them is gone."""
    console = Console()
    cohort = drawn_heads(WORK / "data")
    options = {"channels": [SOURCE], "source_channels": [SOURCE], "dimension": 2}
    suite = Suite("drawn lesions", cohort, options, SOURCE)
    recipe, row = load_recipe(METHOD), f"{METHOD}-{minutes:g}"
    iterations = plan_for(f"{METHOD}-removal", recipe, suite, minutes, console).iterations
    package = train_row(f"{METHOD}-removal-{minutes:g}", recipe, suite, iterations, 1, console)
    given = cohort.with_cases(cohort.part("test"))
    output = WORK / "cases" / f"{METHOD}-removal"
    shutil.rmtree(output, ignore_errors=True)
    made = translate(package, given, output, TranslationParameters(prefix=row), 1, "cpu", Silent())
    found = errors(given, made)
    draw(RESULTS / f"{row}.jpg", given.cases[0], made.cases[0])
    told = {"row": row, "recipe": METHOD, "budget_minutes": minutes, "iterations": iterations, "errors": found}
    write_json(RESULTS / f"{row}.json", told)
    for case, (before, after, elsewhere) in found.items():
        console.log(f"{case}: error in the lesions {before:.0f} before, {after:.0f} after; elsewhere {elsewhere:.0f}")
    write_tables(RESULTS.parent / "methods")


def errors(given: Cohort, made: Cohort) -> dict[str, tuple[float, float, float]]:
    """By case, the mean absolute error in the lesions before and after, and after in the rest of the head.

    Against the head without its lesions, in the units of the image, whose brightest tissue is 1000.
    """
    found = {}
    for ill, healed in zip(given.cases, made.cases, strict=True):
        label = ill.label_map()
        assert label is not None  # the lesions are drawn by it
        lesion, truth = label.array > 0, ill.volume(TRUTH).array.astype(float)
        rest = body_mask(ill.volume(TRUTH).array, "MR") & ~lesion
        before, after = (np.abs(case.volume(SOURCE).array - truth) for case in (ill, healed))
        found[ill.id] = (float(before[lesion].mean()), float(after[lesion].mean()), float(after[rest].mean()))
    return found


def draw(path: Path, ill: Case, healed: Case) -> None:
    """The axial plane that shows most of the lesions: with them, without, and as it was before they were drawn."""
    label = ill.label_map()
    assert label is not None  # the lesions are drawn by it
    # The second axis of these heads runs upwards.
    across, _, deep = np.array(label.shape) // 2
    voxel = [across, int(label.array.sum(axis=(0, 2)).argmax()), deep, 1]
    figure = translation_panel(
        ill.volume(SOURCE),
        healed.volume(SOURCE),
        ill.volume(TRUTH),
        planes=("axial",),
        titles=("lesions drawn", "taken away", "before"),
        # What was drawn into a real image is no real image.
        origins=("SYNTHETIC", "SYNTHETIC", "REAL"),
        position=tuple((label.affine @ voxel)[:3]),
        width=WIDTH,
    )
    save_picture(figure, path)


if __name__ == "__main__":
    main()
