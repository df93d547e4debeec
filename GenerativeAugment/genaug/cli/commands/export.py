"""The command `genaug export`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from genaug.cli.foreground import run_new
from genaug.cli.options import PATH, given, job_options, model_options
from genaug.parameters import ExportParameters


@click.command("export")
@click.argument("output", type=PATH)
@click.option("--real", type=PATH, help="The real cohort.")
@click.option("--synthetic", multiple=True, type=PATH, help="A synthetic cohort; repeatable.")
@click.option("--reviews", multiple=True, type=PATH, help="A reviews.jsonl; repeatable.")
@model_options(ExportParameters)
@click.option("--seed", type=int, default=0, show_default=True, help="For the folds of cross-validation.")
@job_options
def command(
    output: Path,
    real: Path | None,
    synthetic: tuple[Path, ...],
    reviews: tuple[Path, ...],
    seed: int,
    as_json: bool,
    job_folder: Path | None,
    **options: Any,
) -> None:
    """Lay out real and synthetic cases in OUTPUT for training a segmentation; says what is left out and why."""
    inputs: dict[str, Any] = {"real": real} if real else {}
    inputs |= {role: paths for role, paths in (("synthetic", synthetic), ("reviews", reviews)) if paths}
    result = run_new("export", given(options), inputs, output=output, job_folder=job_folder, seed=seed)
    click.echo(result.model_dump_json(indent=2) if as_json else result.summary["text"])
