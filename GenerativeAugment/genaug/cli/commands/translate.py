"""The command `genaug translate`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from genaug.cli.foreground import run_new, show_result
from genaug.cli.options import PATH, given, job_options, model_options, random_options
from genaug.parameters import TranslationParameters


@click.command("translate")
@click.argument("package", type=PATH)
@click.argument("images", nargs=-1, required=True, type=PATH)
@click.argument("output", type=PATH)
@model_options(TranslationParameters)
@random_options
@job_options
def command(
    package: Path,
    images: tuple[Path, ...],
    output: Path,
    seed: int,
    device: str,
    as_json: bool,
    job_folder: Path | None,
    **options: Any,
) -> None:
    """Translate IMAGES (image files, or one cohort) with the model PACKAGE into OUTPUT, in the inputs' geometry."""
    result = run_new(
        "translate",
        given(options),
        {"package": package, **_sources(images)},
        output=output,
        job_folder=job_folder,
        seed=seed,
        device=device,
    )
    show_result(result, as_json)


def _sources(images: tuple[Path, ...]) -> dict[str, Path | tuple[Path, ...]]:
    """A folder or a JSON or CSV file is a cohort; anything else is an image."""
    if len(images) == 1 and (images[0].is_dir() or images[0].suffix in (".json", ".csv")):
        return {"cohort": images[0]}
    return {"image": images}
