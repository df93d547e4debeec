"""The command `genaug train`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from genaug.cli.foreground import run_new, show_result
from genaug.cli.options import PATH, given, job_options, model_options, random_options
from genaug.parameters import TrainingOptions


@click.command("train")
@click.argument("cohort", type=PATH)
@click.argument("recipe")
@click.argument("output", type=PATH)
@click.option("--initial", type=PATH, help="Package whose weights to start from.")
@model_options(TrainingOptions, skip=("recipe", "seed", "initial"))
@random_options
@job_options
def command(
    cohort: Path,
    recipe: str,
    output: Path,
    initial: Path | None,
    seed: int,
    device: str,
    as_json: bool,
    job_folder: Path | None,
    **options: Any,
) -> None:
    """Train RECIPE (a name from `genaug methods`, or a .toml file) on COHORT into OUTPUT.

    Ctrl-C stops at the next step; the same command again goes on from there, and so does `genaug run` on the job
    folder. Checkpoints, curves and previews lie in OUTPUT.training.
    """
    parameters = {"recipe": _recipe(recipe), **given(options)}
    inputs = {"cohort": cohort, **({"initial": initial} if initial else {})}
    result = run_new(
        "train",
        parameters,
        inputs,
        output=output,
        job_folder=job_folder,
        seed=seed,
        device=device,
    )
    show_result(result, as_json)


def _recipe(name: str) -> str:
    """A file's path made absolute, because the job may run from another folder."""
    return str(Path(name).resolve()) if name.endswith(".toml") else name
