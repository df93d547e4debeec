"""The command `genaug run`."""

from __future__ import annotations

from pathlib import Path

import click

from genaug.cli.foreground import run_existing, show_result
from genaug.cli.options import PATH


@click.command("run")
@click.argument("folder", type=PATH)
@click.option("--json", "as_json", is_flag=True, help="Print result.json.")
@click.option("--events", is_flag=True, help="Print the events as JSON lines instead of a bar.")
def command(folder: Path, as_json: bool, events: bool) -> None:
    """Run the job in FOLDER, which holds a job.json; log.txt and result.json are written into it."""
    if as_json and events:
        raise click.UsageError("--json and --events exclude each other: the events end with the result or the failure.")
    result = run_existing(folder, events=events)
    if not events:
        show_result(result, as_json)
