"""The command `genaug evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from genaug.cli.foreground import run_new
from genaug.cli.options import PATH, given, job_options, model_options
from genaug.parameters import EvaluationParameters


@click.command("evaluate")
@click.argument("real", type=PATH)
@click.argument("synthetic", type=PATH)
@click.option("--output", type=PATH, help="Folder for evaluation.json, new or empty.")
@click.option(
    "--repeats",
    type=PATH,
    help="Cohort of second scans of the same patients: the floor of a translation's scores.",
)
@model_options(EvaluationParameters, skip=("seed",))
@click.option("--seed", type=int, default=0, show_default=True, help="For bootstrap and splits.")
@job_options
def command(
    real: Path,
    synthetic: Path,
    output: Path | None,
    repeats: Path | None,
    seed: int,
    as_json: bool,
    job_folder: Path | None,
    **options: Any,
) -> None:
    """Score the cohort SYNTHETIC against the cohort REAL, each score beside its real-versus-real floor.

    The floor of a translation is what second scans of the same patients score; without any, what the real images score
    against themselves moved by half a voxel.
    """
    inputs = {"real": real, "synthetic": synthetic, **({"repeats": repeats} if repeats else {})}
    result = run_new("evaluate", given(options), inputs, output=output, job_folder=job_folder, seed=seed)
    click.echo(result.model_dump_json(indent=2) if as_json else result.summary["text"])
