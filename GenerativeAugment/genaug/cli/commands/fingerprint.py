"""The command `genaug fingerprint`."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from genaug.cli.options import PATH

if TYPE_CHECKING:
    from genaug.fingerprint import Fingerprint

KEPT = "fingerprint.json"


@click.command("fingerprint")
@click.argument("cohort", type=PATH)
@click.option(
    "--task",
    type=click.Choice(["synthesis", "translation", "lesions", "conditioned"]),
    help="What the cohort is for; by the cohort when left out.",
)
@click.option("--device", default="auto", show_default=True, help="What training would run on: auto, cpu, cuda or mps.")
@click.option(
    "--keep",
    is_flag=True,
    help=f"Keep it as {KEPT} beside the cohort's manifest; while no file changes, the next call reads that.",
)
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
@click.option("--job-folder", type=PATH, help="Where to keep the job; new or empty.")
def command(cohort: Path, task: str | None, device: str, keep: bool, as_json: bool, job_folder: Path | None) -> None:
    """Report spacing, size, intensity and label statistics of COHORT, and recommend a method with its reason."""
    if keep:
        _require_manifest(cohort)
    summary = _kept(cohort, task, device) or _computed(cohort, task, device, job_folder)
    if keep:
        _keep(cohort, summary["fingerprint"])
    click.echo(json.dumps(summary, indent=2, ensure_ascii=False) if as_json else "\n".join(_lines(summary)))


def _kept(path: Path, task: str | None, device: str) -> dict[str, Any] | None:
    """From fingerprint.json, if it belongs to the manifest and the files as they are now; reads no image."""
    from genaug.cohort import MANIFEST, Cohort

    kept = _folder(path) / KEPT
    manifest = path / MANIFEST if path.is_dir() else path
    if not os.access(kept, os.R_OK) or not manifest.is_file() or manifest.name != MANIFEST:
        return None
    from genaug.fingerprint import files_state
    from genaug.jobs.handlers.fingerprint import likely_device
    from genaug.recommend import recommend

    found, cohort = _readable(kept), Cohort.read(manifest)
    if found is None or (found.manifest_sha256, found.files_state) != (cohort.sha256(), files_state(cohort)):
        return None
    recommendation = recommend(found, likely_device(device), task)  # type: ignore[arg-type]  # a Choice of its values
    return {"fingerprint": found.model_dump(mode="json"), "recommendation": recommendation.model_dump(mode="json")}


def _readable(kept: Path) -> Fingerprint | None:
    """What was kept, if it is as this version writes it; what is not is measured anew."""
    from genaug.errors import GenaugError
    from genaug.files import read_json
    from genaug.fingerprint import Fingerprint

    try:
        return read_json(kept, Fingerprint)
    except GenaugError:
        return None


def _computed(path: Path, task: str | None, device: str, job_folder: Path | None) -> dict[str, Any]:
    from genaug.cli.foreground import run_new

    result = run_new("fingerprint", {"task": task}, {"cohort": path}, output=None, job_folder=job_folder, device=device)
    return result.summary


def _require_manifest(path: Path) -> None:
    from genaug.cohort import MANIFEST
    from genaug.errors import GenaugError, Reason

    if path.exists() and not (_folder(path) / MANIFEST).is_file():
        raise GenaugError(
            Reason.BAD_PARAMETER,
            path,
            f"a cohort without {MANIFEST}",
            "a cohort written by genaug, whose manifest the fingerprint can belong to",
            "Leave --keep out.",
        )


def _keep(path: Path, fingerprint: dict[str, Any]) -> None:
    from genaug.files import write_json

    write_json(_folder(path) / KEPT, fingerprint)


def _folder(path: Path) -> Path:
    return path if path.is_dir() else path.parent


def _lines(summary: dict[str, Any]) -> list[str]:
    found, advice = summary["fingerprint"], summary["recommendation"]
    lines = [
        f"{found['name']}: {found['cases']} cases of {found['patients']} patients "
        f"({found['real']} real, {found['synthetic']} synthetic), {found['labelled']} annotated, "
        f"{found['dimension']}D, {found['pairing']}",
        "parts: "
        + ", ".join(
            f"{part} {count} ({found['labelled_parts'][part]} annotated)" for part, count in found["parts"].items()
        ),
    ]
    for name, channel in found["channels"].items():
        lines += [
            f"{name} ({channel['modality']}, {channel['cases']} cases)",
            f"  spacing   {_triple(channel['spacing_mm'])} mm",
            f"  size      {_triple(channel['size'])} voxels",
            f"  extent    {_triple(channel['extent_mm'])} mm",
            f"  intensity 0.5 % to 99.5 %: {_spread(channel['intensity']['0.5'])} to "
            f"{_spread(channel['intensity']['99.5'])}",
        ]
    for value, label in found["labels"].items():
        lines.append(f"label {value} {label['name']}: {label['cases']} cases, {_spread(label['volume_mm3'])} mm3")
    lines += ["", f"recommended: {advice['recipe']}. {advice['reason']}"]
    lines += [f"or {name}: {reason}" for name, reason in advice["alternatives"].items()]
    return lines + [f"beware: {warning}" for warning in advice["warnings"]]


def _spread(spread: dict[str, float]) -> str:
    low, middle, high = spread["minimum"], spread["median"], spread["maximum"]
    return f"{middle:g}" if low == high else f"{middle:g} ({low:g} to {high:g})"


def _triple(spreads: list[dict[str, float]]) -> str:
    return " x ".join(_spread(spread) for spread in spreads)
