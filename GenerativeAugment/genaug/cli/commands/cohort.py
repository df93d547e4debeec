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
@click.option(
    "--patient-pattern",
    help="Regular expression whose group in the case id is the patient; by default the id, of BIDS names sub-NAME.",
)
@click.option("--covariates", metavar="FILE", help="CSV table of a folder's cases: id or patient, then age, class, ...")
@click.option(
    "--modality",
    "modalities",
    multiple=True,
    metavar="[CHANNEL=]MODALITY",
    help="Of all images, for instance CT, or of one channel, for instance planning=CT; repeatable; by the channel's"
    " name when left out.",
)
@click.option("--label", "labels", multiple=True, metavar="VALUE=NAME", help="Name of a label value; repeatable.")
@click.option("--split", nargs=3, type=float, metavar="TRAIN VALIDATION TEST", help="Shares of the patients.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the split.")
@click.option("--check/--no-check", default=True, show_default=True, help="Look at every voxel before writing.")
@click.option("--json", "as_json", is_flag=True, help="Print the manifest as JSON.")
def command(
    source: Path,
    manifest: Path,
    layout: str | None,
    covariates: str | None,
    modalities: tuple[str, ...],
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
    from genaug.cohort_check import require_told_channels
    from genaug.jobs.events import EventReporter
    from genaug.readers import read_cohort, says_modalities
    from genaug.split import split_by_patient

    names = dict(map(_label, labels))
    target = _target(manifest)
    table = str(Path(covariates).resolve()) if covariates is not None else None
    modality = _modality(modalities)
    told = {"label_names": names or None, "modality": modality, "covariates": table}
    cohort = read_cohort(source, layout, **told, **options)
    if split is not None:
        shares = {part: share for part, share in zip(PARTS, split, strict=True) if share > 0}
        cohort = split_by_patient(cohort, shares, seed)
    if check:
        with Bar(sys.stderr) as bar:
            cohort.check(reporter=EventReporter(bar))
        if not says_modalities(source, layout):
            known = cohort.channels if isinstance(modality, str) else modality or {}
            remedy = "Say what it is: --modality {channel}=CT, or --modality {channel}=MR if it is no CT."
            require_told_channels(cohort, known, remedy)
    cohort.write(target)
    if as_json:
        click.echo(json.dumps(cohort.manifest(target.parent), indent=2, ensure_ascii=False))
        return
    counts = ", ".join(f"{len(cohort.part(part))} {part}" for part in PARTS)  # type: ignore[arg-type]
    click.echo(f"{target}: {len(cohort.cases)} cases of {len(cohort.patients)} patients ({counts})")
    for note in cohort.notes:
        click.echo(f"note: {note}")


def _target(path: Path) -> Path:
    """The file to write, in a folder its cohort.json; no other file than a manifest is ever replaced."""
    from genaug.cohort import MANIFEST, Cohort
    from genaug.errors import GenaugError, Reason

    target = path / MANIFEST if path.is_dir() else path
    if target.suffix.lower() != ".json":
        raise GenaugError(
            Reason.BAD_PARAMETER,
            target,
            f"the name '{target.name}' for a manifest",
            "a name that ends with .json, or a folder that is there",
            f"Write it as {target / MANIFEST}, for instance.",
        )
    if target.exists():
        try:
            Cohort.read(target)
        except GenaugError as error:
            raise GenaugError(
                Reason.BAD_PARAMETER,
                target,
                "a file that is no manifest of a cohort",
                "a new file, or a manifest to write anew",
                "Choose another name for the manifest.",
            ) from error
    return target


def _modality(texts: tuple[str, ...]) -> str | dict[str, str] | None:
    """That of all channels, or of each that is named."""
    named = dict(text.split("=", 1) for text in texts if "=" in text)
    if len(texts) > 1 and len(named) < len(texts):
        raise click.BadParameter(f"{' and '.join(texts)} are not one modality, or one for each channel.")
    return named or next(iter(texts), None)


def _label(text: str) -> tuple[int, str]:
    """Value and name of a label."""
    value, _, name = text.partition("=")
    if not value.strip().isdigit() or not name.strip():
        raise click.BadParameter(f"'{text}' is not VALUE=NAME with a whole number first, such as 1=liver.")
    return int(value), name.strip()
