"""Every first recipe on real data: train, synthesise or translate, score; one JSON a row, and the table of RESULTS.md.

    python -m benchmarks.main                 all rows that have no result yet
    python -m benchmarks.main --only ldm      one row, again
    python -m benchmarks.main --table         the table from the results that are there

Training resumes where it was stopped (checkpoints in build/bench-main), so the benchmark can run in the background.
"""

from __future__ import annotations

import os
import platform
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import click
import torch
from genaug.case import Case
from genaug.cohort import Cohort
from genaug.errors import GenaugError
from genaug.evaluation.cohorts import evaluate_cohorts
from genaug.evaluation.scores import Evaluation
from genaug.files import write_json
from genaug.package import load_package, read_info
from genaug.parameters import EvaluationParameters, SynthesisParameters, TrainingOptions, TranslationParameters
from genaug.progress import Silent
from genaug.synthesis import synthesize
from genaug.translation import translate

from benchmarks.data import ROOT, hippocampus, sarcoma
from benchmarks.packages import trained
from benchmarks.strip import write_strip
from benchmarks.table import write_table
from benchmarks.tissue_constant import translate_by_constants
from demo.console import Console

WORK = ROOT / "build" / "bench-main"
RESULTS = ROOT / "benchmarks" / "results" / "main"
SEED = 1
CASES = 64
SPACING = (1.5, 1.5, 1.5)
"""Of the hippocampus models, in mm: at 1 mm two cores would train for a day."""


@dataclass(frozen=True)
class Row:
    """One row: a recipe with its budget."""

    name: str
    recipe: str
    iterations: dict[str, int]
    options: dict[str, Any] = field(default_factory=dict)
    sampler: str | None = None
    steps: int | None = None


SYNTHESIS = (
    Row("vae", "vae", {"vae": 1000}),
    Row("wgan-gp", "wgan-gp", {"gan": 400}),
    Row("ldm", "ldm", {"autoencoder": 2000, "denoiser": 6000}),
    Row("ldm, untrained", "ldm", {"autoencoder": 1, "denoiser": 1}, {"learning_rate": 1e-12}),
    Row("ddpm", "ddpm", {"denoiser": 300}, {"batch_size": 4}, "dpmpp_2m", 30),
    Row("spade", "spade", {"spade": 300}),
)

SARCOMA = {"channels": ["ct"], "source_channels": ["mr_t1"], "dimension": 2, "window": (128, 128, 1)}

TRANSLATION = (
    Row("pix2pix", "pix2pix", {"translator": 1200}, SARCOMA),
    Row("unet-l1", "unet-l1", {"translator": 1200}, SARCOMA),
)


def run_synthesis(row: Row, console: Console) -> None:
    """Train on the 150 hippocampi, make 64 cases, score them against the 50 test patients."""
    cohort = hippocampus()
    options = {"channels": list(cohort.channels), "spacing": SPACING, **row.options}
    package = _train(row, cohort, options, console)
    parameters = SynthesisParameters(count=CASES, prefix=_slug(row.name), sampler=row.sampler, steps=row.steps)
    output = WORK / "cases" / _slug(row.name)
    _empty(output)
    given = cohort.with_cases(cohort.part("train")) if "label_map" in read_info(package).recipe.conditions else None
    load_package(package)
    started = time.monotonic()
    made = synthesize(package, output, parameters, SEED, "cpu", console, given)
    seconds = (time.monotonic() - started) / CASES
    asked = EvaluationParameters(
        channel=next(iter(cohort.channels)), spacing=SPACING, reference_part="test", held_out_part="test"
    )
    evaluation = evaluate_cohorts(cohort, made, asked, SEED, console)
    strip = write_strip(RESULTS / f"{_slug(row.name)}.jpg", made)
    _write(row, package, evaluation, {"seconds_per_case": seconds, "cases": CASES, "picture": strip.name})


def run_translation(row: Row, console: Console) -> None:
    """Train MR to CT on 26 patients, translate the others whole, score inside the body."""
    cohort = sarcoma()
    package = _train(row, cohort, row.options, console)
    tests = cohort.part("test")
    output = WORK / "cases" / row.name
    _empty(output)
    started = time.monotonic()
    inputs, refused = within_field_of_view(package, tests)
    given = cohort.with_cases(inputs)
    made = translate(package, given, output, TranslationParameters(prefix=row.name), SEED, "cpu", console)
    seconds = (time.monotonic() - started) / len(inputs)
    measured = {"seconds_per_case": seconds, "cases": len(inputs), "refused": refused}
    _write(row, package, _judge(cohort, made), measured)


def within_field_of_view(package: Path, cases: list[Case]) -> tuple[list[Case], dict[str, str]]:
    """The cases a model takes, and why it refuses the others: a row says whom it leaves out."""
    info = read_info(package)
    taken, refused = [], {}
    for case in cases:
        try:
            info.grid.require_field_of_view(case.volume(info.roles.source[0]), whole=True)
        except GenaugError as error:
            refused[case.id] = f"{error.found}; {error.expected}"
        else:
            taken.append(case)
    return taken, refused


def run_constants(console: Console) -> None:
    """The floor of effort: every tissue of the MR gets the mean HU that it has in training."""
    cohort = sarcoma()
    output = WORK / "cases" / "tissue-constant"
    _empty(output)
    made = translate_by_constants(cohort, "mr_t1", "ct", output, console)
    row = Row("constant per tissue", "none", {})
    _write(row, None, _judge(cohort, made), {"cases": len(made.cases)})


def _judge(cohort: Cohort, made: Cohort) -> Evaluation:
    return evaluate_cohorts(cohort, made, EvaluationParameters(task="translation", channel="ct"), SEED, Silent())


def _train(row: Row, cohort: Cohort, options: dict[str, Any], console: Console) -> Path:
    settings = TrainingOptions(
        recipe=row.recipe, iterations=row.iterations, seed=SEED, checkpoint_every=100, preview_every=500, **options
    )
    return trained(WORK / "packages" / _slug(row.name), cohort, settings, console)


def _write(row: Row, package: Path | None, evaluation: Evaluation, measured: dict[str, Any]) -> None:
    """One row's JSON, complete or not at all."""
    content: dict[str, Any] = {"row": row.name, "recipe": row.recipe, **measured}
    if package is not None:
        info = read_info(package)
        content["parameters"] = sum(p.numel() for s in load_package(package).systems.values() for p in s.parameters())
        content["training_seconds"] = sum(stage.seconds for stage in info.stages.values())
        content["iterations"] = {name: stage.iterations for name, stage in info.stages.items()}
        content["trained_on"] = next(iter(info.stages.values())).device
        content["grid"] = {"size": info.grid.size, "spacing": info.grid.spacing}
        content["sampler"] = {"name": row.sampler or info.recipe.sampler.name, "steps": row.steps}
        if row.sampler is None:
            content["sampler"]["steps"] = info.recipe.sampler.steps
    content["machine"] = {
        "platform": platform.platform(),
        "threads": torch.get_num_threads(),
        "load": os.getloadavg() if hasattr(os, "getloadavg") else None,
        "torch": torch.__version__,
    }
    content["evaluation"] = evaluation.model_dump(mode="json")
    write_json(RESULTS / f"{_slug(row.name)}.json", content)


def _slug(name: str) -> str:
    return name.replace(", ", "-").replace(" ", "-")


def _empty(folder: Path) -> None:
    """Cases of an earlier, interrupted run are made again."""
    shutil.rmtree(folder, ignore_errors=True)


ROWS: dict[str, Callable[[Console], None]] = {
    **{row.name: partial(run_synthesis, row) for row in SYNTHESIS},
    **{row.name: partial(run_translation, row) for row in TRANSLATION},
    "constant per tissue": run_constants,
}


@click.command()
@click.option("--only", multiple=True, type=click.Choice(list(ROWS)), help="Measure these rows, again if need be.")
@click.option("--table", is_flag=True, help="Only write the table from the results that are there.")
def main(only: tuple[str, ...], table: bool) -> None:
    """Measure the first recipes on real data and write docs/RESULTS.md."""
    console = Console()
    for name, measure in ROWS.items():
        if table or (only and name not in only) or (not only and (RESULTS / f"{_slug(name)}.json").is_file()):
            continue
        console.log(name)
        measure(console)
        write_table(RESULTS)
    write_table(RESULTS)


if __name__ == "__main__":
    main()
