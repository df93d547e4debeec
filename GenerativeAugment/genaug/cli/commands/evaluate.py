"""The command `genaug evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from genaug.cli.foreground import run_new
from genaug.cli.options import given, job_options, model_options
from genaug.parameters import EvaluationParameters


@click.command("evaluate")
@click.argument("real", type=click.Path(path_type=Path))
@click.argument("synthetic", type=click.Path(path_type=Path))
@click.option("--output", type=click.Path(path_type=Path), help="Folder for the scores and pictures, new or empty.")
@model_options(EvaluationParameters, skip=("seed",))
@click.option("--seed", type=int, default=0, show_default=True, help="For bootstrap and splits.")
@job_options
def command(
    real: Path,
    synthetic: Path,
    output: Path | None,
    seed: int,
    as_json: bool,
    job_folder: Path | None,
    **options: Any,
) -> None:
    """Score the cohort SYNTHETIC against the cohort REAL, each score beside its real-versus-real floor."""
    inputs = {"real": real, "synthetic": synthetic}
    result = run_new(
        "evaluate", given(options), inputs, output=output, job_folder=job_folder, seed=seed, as_json=as_json
    )
    click.echo(result.model_dump_json(indent=2) if as_json else result.summary["text"])
