"""The command `genaug replay`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from genaug.cli.foreground import run_new
from genaug.cli.options import PATH, job_options

SOURCES = {
    "package": "The model package",
    "given": "The cohort with the source images or label maps",
    "host": "The host image",
    "tissue": "The tissue map",
    "label": "The host's label map",
    "bank": "The lesion bank",
}

DIFFERENT = 3
"""Exit code when the case could be made again but is not the same."""


def source_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """One option for each input a case can have been made from."""
    for role, what in SOURCES.items():
        option = click.option(f"--{role}", type=PATH, help=f"{what}, if it lies elsewhere now.")
        function = option(function)
    return function


@click.command("replay")
@click.argument("case", type=PATH)
@click.argument("output", required=False, type=PATH)
@source_options
@job_options
def command(case: Path, output: Path | None, as_json: bool, job_folder: Path | None, **sources: Path | None) -> None:
    """Make CASE (its folder or its .record.json) again and compare voxel by voxel; ends with 3 when it differs."""
    inputs = {"case": case, **{role: path for role, path in sources.items() if path is not None}}
    result = run_new("replay", {}, inputs, output=output, job_folder=job_folder)
    click.echo(result.model_dump_json(indent=2) if as_json else result.summary["text"])
    if not result.summary["same"]:
        sys.exit(DIFFERENT)
