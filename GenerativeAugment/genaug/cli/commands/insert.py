"""The command `genaug insert`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from genaug.cli.foreground import run_new, show_result
from genaug.cli.options import PATH, given, job_options, model_options
from genaug.insertion import InsertionParameters


@click.command("insert")
@click.argument("host", type=PATH)
@click.argument("output", type=PATH)
@click.option("--tissue", type=PATH, help="Label map of the tissue the lesions must lie in.")
@click.option("--bank", type=PATH, help="Cohort of annotated cases to carve lesions from.")
@model_options(InsertionParameters, skip=("seed",))
@click.option("--seed", type=int, default=0, show_default=True, help="The same seed gives the same voxels.")
@job_options
def command(
    host: Path,
    output: Path,
    tissue: Path | None,
    bank: Path | None,
    seed: int,
    as_json: bool,
    job_folder: Path | None,
    **options: Any,
) -> None:
    """Insert lesions into HOST (an image file or a cohort); OUTPUT becomes a cohort with images, masks and records."""
    inputs = {"host": host}
    inputs |= {role: path for role, path in (("tissue", tissue), ("bank", bank)) if path is not None}
    result = run_new("insert", given(options), inputs, output=output, job_folder=job_folder, seed=seed)
    show_result(result, as_json)
