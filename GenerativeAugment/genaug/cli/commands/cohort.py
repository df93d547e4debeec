"""The command `genaug cohort`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

from genaug.cli.options import PATH

PARTS = ("train", "validation", "test")


@click.command("cohort")
@click.argument("source", type=PATH)
@click.argument("manifest", type=PATH)
@click.option("--layout", help="nnunet, datalist, csv, dicom or folder; found out when left out.")
@click.option("--name", help="Of the cohort; the folder's when left out.")
@click.option("--pattern", help='Where images lie in a plain folder, for instance "{id}/{channel}.nii.gz".')
@click.option("--label-pattern", help='Where label maps lie, for instance "labels/{id}.nii.gz".')
@click.option("--patient-pattern", help="Regular expression whose group in the case id is the patient.")
@click.option("--modality", help="Of all images, for instance CT; by the channel's name when left out.")
@click.option("--label", "labels", multiple=True, metavar="VALUE=NAME", help="Name of a label value; repeatable.")
@click.option("--split", nargs=3, type=float, metavar="TRAIN VALIDATION TEST", help="Shares of the patients.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the split.")
@click.option("--check/--no-check", default=True, show_default=True, help="Look at every voxel before writing.")
@click.option("--json", "as_json", is_flag=True, help="Print the manifest as JSON.")
def command(
    source: Path,
    manifest: Path,
    layout: str | None,
    labels: tuple[str, ...],
    split: tuple[float, float, float] | None,
    seed: int,
    check: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Read the cases in SOURCE, split them by patient, check them and write the MANIFEST (cohort.json).

    SOURCE is an nnU-Net dataset, a MONAI datalist, a CSV table, a folder of DICOM series or of image files. No image
    is copied or changed: the manifest points to the files.
    """
    from genaug.cli.bar import Bar
    from genaug.jobs.events import EventReporter
    from genaug.readers import read_cohort
    from genaug.split import split_by_patient

    names = dict(map(_label, labels))
    cohort = read_cohort(source, layout, label_names=names or None, **options)
    if split is not None:
        shares = {part: share for part, share in zip(PARTS, split, strict=True) if share > 0}
        cohort = split_by_patient(cohort, shares, seed)
    if check:
        with Bar(sys.stderr) as bar:
            cohort.check(reporter=EventReporter(bar))
    cohort.write(manifest)
    if as_json:
        click.echo(json.dumps(cohort.manifest(manifest.parent), indent=2, ensure_ascii=False))
        return
    counts = ", ".join(f"{len(cohort.part(part))} {part}" for part in PARTS)  # type: ignore[arg-type]
    click.echo(f"{manifest}: {len(cohort.cases)} cases of {len(cohort.patients)} patients ({counts})")
    for note in cohort.notes:
        click.echo(f"note: {note}")


def _label(text: str) -> tuple[int, str]:
    """Value and name of a label."""
    value, _, name = text.partition("=")
    if not value.strip().isdigit() or not name.strip():
        raise click.BadParameter(f"'{text}' is not VALUE=NAME with a whole number first, such as 1=liver.")
    return int(value), name.strip()
