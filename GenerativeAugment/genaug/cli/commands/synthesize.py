"""The command `genaug synthesize`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from genaug.cli.foreground import run_new, show_result
from genaug.cli.options import PATH, given, job_options, model_options, random_options
from genaug.parameters import SynthesisParameters


@click.command("synthesize")
@click.argument("package", type=PATH)
@click.argument("output", type=PATH)
@click.option("--labels", type=PATH, help="Cohort whose label maps a conditioned model follows.")
@model_options(SynthesisParameters)
@random_options
@job_options
def command(
    package: Path,
    output: Path,
    labels: Path | None,
    seed: int,
    device: str,
    as_json: bool,
    job_folder: Path | None,
    **options: Any,
) -> None:
    """Make new cases with the model PACKAGE; OUTPUT becomes a cohort with a record beside every case."""
    inputs = {"package": package, **({"labels": labels} if labels else {})}
    result = run_new(
        "synthesize",
        given(options),
        inputs,
        output=output,
        job_folder=job_folder,
        seed=seed,
        device=device,
    )
    show_result(result, as_json)
