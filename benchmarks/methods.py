"""Every method under one budget on the same real data; one JSON a row, and the tables of docs/METHODS_RESULTS.md.

    python -m benchmarks.methods                    every row that has no result yet
    python -m benchmarks.methods --only stylegan    one row, again
    python -m benchmarks.methods --minutes 4        another budget; rows of other budgets are measured again
    python -m benchmarks.methods --only syndiff --longer 4      four times the iterations of the row that is there
    python -m benchmarks.methods --flat             what images of one intensity score, beside every translation

The budget is what two cores do in five minutes, in minutes of one core, so that rows measured on one thread, two at a
time, stand beside rows measured on two threads. The iterations that fill it are found by a short training first and
kept, so a run that was stopped goes on where it was; other seeds are given as many. Recipes that differ in their
sampler alone share one training. A method that asks for what this machine does not have says so in its row.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Container
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from genaug.case import Case, write_case
from genaug.cohort import Cohort
from genaug.errors import GenaugError
from genaug.evaluation.cohorts import evaluate_cohorts
from genaug.evaluation.masks import body_mask
from genaug.evaluation.scores import Evaluation
from genaug.files import write_json
from genaug.package import load_package, read_info
from genaug.parameters import EvaluationParameters, SynthesisParameters, TrainingOptions, TranslationParameters
from genaug.progress import Silent
from genaug.recipe import Recipe, Sampler, list_recipes, load_recipe
from genaug.samplers import find_sampler
from genaug.synthesis import synthesize
from genaug.training import training_folder
from genaug.translation import translate
from genaug.volume import Volume
from scipy.ndimage import distance_transform_edt

from benchmarks.data import ROOT
from benchmarks.main import within_field_of_view
from benchmarks.methods_table import GENERATED, LONGER, write_tables
from benchmarks.packages import trained
from benchmarks.strip import write_strip, write_translation
from benchmarks.suites import Suite, suite_of
from benchmarks.table import read_kept
from demo.console import Console

WORK = ROOT / "build" / "bench-methods"
RESULTS = ROOT / "benchmarks" / "results" / "methods"
CASES = 64
MINUTES = 8.0
"""Five minutes on two cores: a second thread made the training of ldm, lsgan, ddpm and vae 1.4 to 1.7 times faster."""
TRAINED_AS = {"ddim": "ddpm", "fastdpm": "ddpm"}
"""Recipes that are another one but for the sampler."""
AROUND = 10.0
"""Millimetres around a finding that count as its surroundings."""
FEW_STEPS = 50
"""Of the untrained network's samplers: a thousand steps of it take twenty minutes and are noise all the same."""
PROBE = 8
"""Iterations of the training that finds out what an iteration costs."""


def measure(recipe: Recipe, seed: int, minutes: float, console: Console) -> None:
    """Train one method for `minutes` of a core, make cases, score them and the untrained network's, write the row."""
    suite = suite_of(recipe, WORK / "data")
    name = row_name(recipe.name, seed)
    taught = load_recipe(TRAINED_AS.get(recipe.name, recipe.name))
    plan = plan_for(taught.name, taught, suite, minutes, console) if seed == 1 else plan_of(taught.name, minutes)
    iterations, base = plan.iterations, row_name(taught.name, seed)
    package = train_row(base, taught, suite, iterations, seed, console)
    untrained = train_row(f"{base}-untrained", taught, suite, dict.fromkeys(iterations, 1), seed, Silent(), rate=1e-12)
    found = _outcome(RESULTS / name, package, recipe, suite, seed, console)
    nothing, _, _ = _make(untrained, f"{name}-untrained", recipe, suite, seed, Silent(), FEW_STEPS)
    write_json(
        RESULTS / f"{name}.json",
        {
            "row": name,
            "recipe": recipe.name,
            "title": recipe.title,
            "family": recipe.family,
            "suite": suite.name,
            "seed": seed,
            "budget_minutes": minutes,
            "iterations": iterations,
            "core_minutes": plan.core_minutes,
            **found,
            "untrained": _score_untrained(suite, nothing, seed),
            "flat": _score_flat(suite, found["refused"], seed),
        },
    )


def prolong(recipe: Recipe, seed: int, times: int, console: Console) -> None:
    """Train a method whose row is there for so many times its iterations, and write a row beside the table's.

    Raises:
        click.ClickException: the row is not there.
    """
    name = row_name(recipe.name, seed)
    short = read_kept(RESULTS / f"{name}.json")
    if short is None or "failed" in short:
        raise click.ClickException(f"{RESULTS / f'{name}.json'}: no measured row; measure it without --longer first")
    suite = suite_of(recipe, WORK / "data")
    taught = load_recipe(TRAINED_AS.get(recipe.name, recipe.name))
    # What learns a few averages has done so at once.
    iterations = {stage: times * count if count > 1 else count for stage, count in short["iterations"].items()}
    package = train_row(f"{row_name(taught.name, seed)}-{times}x", taught, suite, iterations, seed, console)
    name = f"{name}-{times}x"
    told = {"row": name, "times": times, "iterations": iterations, "core_minutes": times * short["core_minutes"]}
    found = _outcome(RESULTS / LONGER / name, package, recipe, suite, seed, console)
    write_json(RESULTS / LONGER / f"{name}.json", short | told | found)


def _outcome(path: Path, package: Path, recipe: Recipe, suite: Suite, seed: int, console: Console) -> dict[str, Any]:
    """What the trained method is measured to be, for its row; a picture of its cases is written to `path`.jpg."""
    cases, seconds, refused = _make(package, path.name, recipe, suite, seed, console)
    return {
        "parameters": sum(p.numel() for s in load_package(package).systems.values() for p in s.parameters()),
        "seconds_per_case": seconds,
        "network_calls": _network_calls(recipe.sampler),
        "cases": len(cases.cases),
        "refused": refused,
        "picture": _draw(path.with_suffix(".jpg"), suite, cases).name,
        "threads": torch.get_num_threads(),
        "evaluation": _score(suite, cases, seed).model_dump(mode="json"),
        "contrast": contrast(suite, cases) if suite.name == "findings" else None,
    }


def row_name(recipe: str, seed: int) -> str:
    """What a row is called."""
    return recipe if seed == 1 else f"{recipe}-seed{seed}"


@dataclass(frozen=True)
class Plan:
    """Iterations of every stage, and the minutes of one core that they cost."""

    iterations: dict[str, int]
    core_minutes: float


def plan_for(name: str, recipe: Recipe, suite: Suite, minutes: float, console: Console) -> Plan:
    """How many iterations of each stage fill the budget, shared as the recipe shares them; measured once and kept."""
    path, asked = WORK / "plans" / f"{name}-{minutes:g}.json", recipe.model_dump(mode="json")
    kept = read_kept(path)
    # What was probed with another recipe of this name tells nothing.
    if kept is None or kept.get("recipe") != asked:
        console.log(f"{recipe.name}: what an iteration costs")
        probed = WORK / "packages" / f"{name}-probe"
        for folder in (probed, training_folder(probed)):
            shutil.rmtree(folder, ignore_errors=True)
        wall, processor = time.perf_counter(), time.process_time()
        probe = train_row(f"{name}-probe", recipe, suite, dict.fromkeys(recipe.stages, PROBE), 1, Silent())
        # The clock on the wall also counts what others did meanwhile.
        cores = (time.process_time() - processor) / (time.perf_counter() - wall)
        stages = read_info(probe).stages
        costs = {name: cores * stage.seconds / max(1, stage.iterations) for name, stage in stages.items()}
        wanted = {name: stage.training.iterations for name, stage in recipe.stages.items()}
        whole = sum(wanted[name] * costs[name] for name in wanted)
        # What learns a few averages costs too little to be timed, and needs no more than its recipe asks for.
        share = 60 * minutes / whole if whole else 1.0
        planned = {name: max(1, round(count * share)) if count > 1 else count for name, count in wanted.items()}
        kept = {"recipe": asked, "iterations": planned, "core_seconds": costs}
        write_json(path, kept)
    seconds = sum(kept["core_seconds"][name] * count for name, count in kept["iterations"].items())
    return Plan(kept["iterations"], seconds / 60)


def plan_of(name: str, minutes: float) -> Plan:
    """What the first seed was given: another machine or hour would hold other iterations, and seeds are to compare.

    Raises:
        click.ClickException: the first seed was not measured for this budget.
    """
    path = RESULTS / f"{name}.json"
    row = read_kept(path)
    if row is None or "failed" in row or row["budget_minutes"] != minutes:
        raise click.ClickException(f"{path}: no row of {minutes:g} minutes; measure seed 1 first")
    return Plan(row["iterations"], row["core_minutes"])


def train_row(
    name: str,
    recipe: Recipe,
    suite: Suite,
    iterations: dict[str, int],
    seed: int,
    reporter: Any,
    rate: float | None = None,
) -> Path:
    """The package of that name, trained for these iterations."""
    options = TrainingOptions(
        recipe=recipe.name,
        iterations=iterations,
        seed=seed,
        checkpoint_every=200,
        preview_every=100_000,
        learning_rate=rate,
        **suite.options,
    )
    return trained(WORK / "packages" / name, suite.cohort, options, reporter)


def _make(
    package: Path, name: str, recipe: Recipe, suite: Suite, seed: int, reporter: Any, most_steps: int | None = None
) -> tuple[Cohort, float, dict[str, str]]:
    """Cases of the package as the recipe samples them, seconds for each, and which inputs it refused."""
    choice = _own_sampler(recipe)
    if most_steps is not None and recipe.sampler.steps > most_steps:
        choice["steps"] = most_steps
    output = WORK / "cases" / name
    shutil.rmtree(output, ignore_errors=True)
    load_package(package)
    started = time.monotonic()
    refused: dict[str, str] = {}
    if recipe.task == "translation":
        tests: list[Case]
        asked = suite.cohort.part("test") if suite.sources is None else list(suite.sources[:CASES])
        tests, refused = within_field_of_view(package, asked)
        given = suite.cohort.with_cases(tests)
        made = translate(package, given, output, TranslationParameters(prefix=name, **choice), seed, "cpu", reporter)
    else:
        follows = suite.cohort.with_cases(suite.cohort.part(suite.follows)) if suite.follows else None
        parameters = SynthesisParameters(
            count=CASES, prefix=name, text_encoder=suite.options.get("text_encoder"), **choice
        )
        made = synthesize(package, output, parameters, seed, "cpu", reporter, follows)
    return made, (time.monotonic() - started) / len(made.cases), refused


def _draw(path: Path, suite: Suite, cases: Cohort) -> Path:
    """The first cases; of a translation the first one, beside what it was made from and what it should be."""
    sources = suite.options.get("source_channels")
    if suite.name in GENERATED or not sources:
        return write_strip(path, cases)
    made = cases.cases[0]
    given = _given(suite, made)
    return write_translation(path, made, given, sources[0], suite.channel)


def _given(suite: Suite, made: Case) -> Case:
    """The case that a translation was made from, whose id is the end of its own."""
    return next(case for case in suite.cohort.cases if made.id.endswith(case.id))


def _own_sampler(recipe: Recipe) -> dict[str, Any]:
    """The sampler of a recipe that was trained as another one, as parameters; else the package's is the recipe's."""
    if recipe.name not in TRAINED_AS:
        return {}
    sampler = recipe.sampler
    return {"sampler": sampler.name, "steps": sampler.steps, "sampler_options": sampler.options}


def _score(suite: Suite, made: Cohort, seed: int) -> Evaluation:
    translated = suite.name not in GENERATED
    asked = EvaluationParameters(
        task="translation" if translated else "synthesis",
        channel=suite.channel,
        spacing=None if translated else suite.options["spacing"],
        reference_part="train" if translated else "test",
        held_out_part="test",
    )
    return evaluate_cohorts(suite.cohort, made, asked, seed, Silent())


def contrast(suite: Suite, made: Cohort) -> dict[str, tuple[float, float]]:
    """By patient, how much the findings differ from what surrounds them, before they were taken away and after.

    The difference of the medians inside and within 10 mm around, in the units of the image.
    """
    found = {}
    for case in made.cases:
        given = _given(suite, case)
        label = given.label_map()
        assert label is not None  # every case of this suite has a finding
        marked = label.array > 0
        near = distance_transform_edt(~marked, sampling=np.linalg.norm(label.affine[:3, :3], axis=0)) <= AROUND
        before, after = (of.volume(suite.channel).array for of in (given, case))
        around = near & ~marked & body_mask(before, given.modalities[suite.channel])
        inside, outside = ([float(np.median(image[where])) for image in (before, after)] for where in (marked, around))
        found[given.id] = (abs(inside[0] - outside[0]), abs(inside[1] - outside[1]))
    return found


def _score_untrained(suite: Suite, made: Cohort, seed: int) -> dict[str, Any] | None:
    """None where the untrained network makes images of one intensity, which no synthesis score takes."""
    if suite.name in GENERATED and any(np.ptp(case.volume(suite.channel).array) == 0 for case in made.cases):
        return None
    return _score(suite, made, seed).model_dump(mode="json")


def _score_flat(suite: Suite, refused: Container[str], seed: int) -> dict[str, Any] | None:
    """What images of one intensity score: an error says little without it.

    The intensity is the median of the training cases' bodies, for which the error is least. None for new cases, and
    where nobody has the truth.
    """
    if suite.name in (*GENERATED, "findings"):
        return None
    training = [case for case in suite.cohort.part("train") if suite.channel in case.images]
    intensity = float(np.median([_median(case.volume(suite.channel)) for case in training]))
    folder = WORK / "cases" / f"flat-{suite.name}"
    shutil.rmtree(folder, ignore_errors=True)
    cases = []
    for case in suite.cohort.part("test"):
        if case.id not in refused:
            truth = case.volume(suite.channel)
            flat = replace(truth, array=np.full(truth.array.shape, intensity, dtype=np.float32))
            cases.append(write_case(folder, case.id, case.patient, {suite.channel: flat}))
    made = suite.cohort.with_cases(cases).model_copy(update={"root": folder})
    return _score(suite, made, seed).model_dump(mode="json")


def _median(image: Volume) -> float:
    array = image.array.astype(np.float32)
    return float(np.median(array[body_mask(array, image.modality)]))


def add_flat(console: Console) -> None:
    """Score the flat images of every translation that was measured, again; once for all rows of the same cases."""
    scored: dict[tuple[Any, ...], dict[str, Any] | None] = {}
    for path in sorted(RESULTS.glob("*.json")):
        row = read_kept(path)
        assert row is not None
        if "failed" in row or row["suite"] in GENERATED:
            continue
        console.log(row["row"])
        suite = suite_of(load_recipe(row["recipe"]), WORK / "data")
        cases = (suite.name, row["seed"], *(case.id for case in suite.cohort.cases), *sorted(row["refused"]))
        if cases not in scored:
            scored[cases] = _score_flat(suite, row["refused"], row["seed"])
        write_json(path, row | {"flat": scored[cases]})


def _network_calls(sampler: Sampler) -> int:
    """Calls of the denoiser for a case, or the one call of any other network."""
    return 1 if sampler.name == "one_pass" else find_sampler(sampler.name).network_calls(sampler.steps)


def _measured(name: str, minutes: float) -> bool:
    """Whether there is a result of this row for this budget."""
    return (read_kept(RESULTS / f"{name}.json") or {}).get("budget_minutes") == minutes


@click.command()
@click.option("--only", multiple=True, help="Measure these recipes, again if need be.")
@click.option("--minutes", default=MINUTES, show_default=True, help="Training of each method, in minutes of one core.")
@click.option("--seed", "seeds", multiple=True, type=int, default=(1,), show_default=True)
@click.option("--longer", type=click.IntRange(min=2), help="So many times the iterations of the rows that are there.")
@click.option("--flat", is_flag=True, help="Only score flat images beside the translations that are there.")
@click.option("--table", is_flag=True, help="Only write the tables from the results that are there.")
def main(
    only: tuple[str, ...], minutes: float, seeds: tuple[int, ...], longer: int | None, flat: bool, table: bool
) -> None:
    """Measure every method and write the tables."""
    if longer is not None and not only:
        raise click.UsageError("--longer needs the methods: --only NAME")
    console = Console()
    recipes = () if table or flat else list_recipes()
    if flat:
        add_flat(console)
    for seed in seeds:
        for recipe in recipes:
            name = row_name(recipe.name, seed)
            if (only and recipe.name not in only) or (not only and _measured(name, minutes)):
                continue
            console.log(name)
            if longer is not None:
                prolong(recipe, seed, longer, console)
            else:
                _measure_or_say_why_not(recipe, seed, minutes, console)
            write_tables(RESULTS)
    write_tables(RESULTS)


def _measure_or_say_why_not(recipe: Recipe, seed: int, minutes: float, console: Console) -> None:
    """Write the row of a method, which tells what stopped it where something did."""
    try:
        measure(recipe, seed, minutes, console)
    except (GenaugError, ModuleNotFoundError) as error:
        name = row_name(recipe.name, seed)
        failed = {
            "row": name,
            "recipe": recipe.name,
            "title": recipe.title,
            "family": recipe.family,
            "seed": seed,
            "budget_minutes": minutes,
            "failed": str(error),
        }
        write_json(RESULTS / f"{name}.json", failed)


if __name__ == "__main__":
    main()
