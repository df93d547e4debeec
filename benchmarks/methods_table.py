"""docs/METHODS_RESULTS.md from the JSON of the rows, and the measured costs that `genaug methods` shows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from genaug.files import write_json, write_text
from genaug.recipe import FOLDER, list_recipes

from benchmarks import findings
from benchmarks.table import between, copies, markdown, read_rows, relative, score, value

DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "METHODS_RESULTS.md"
MEASURED = FOLDER / "measured.json"

GENERATED = ("slices", "volumes")
"""Suites of new cases; the others are translations."""

SYNTHESIS_COLUMNS = (
    "method",
    "family",
    "parameters",
    "core min",
    "s per case",
    "calls",
    "KID",
    "KID untrained",
    "Fréchet",
    "coverage",
    "MS-SSIM synthetic (real)",
    "copies",
)
SCORED = ("kid", "frechet", "coverage", "ms_ssim")
"""What the real cases themselves reach, as floors of the scores."""
TRANSLATION_COLUMNS = (
    "method",
    "suite",
    "parameters",
    "core min",
    "s per case",
    "MAE",
    "MAE untrained",
    "MAE flat",
    "SSIM",
    "SSIM flat",
    "bone Dice",
)

LONGER = "longer"
"""Folder of the rows of trainings of several times the budget."""
LONGER_COLUMNS = (
    "method",
    "core min",
    "iterations",
    "score",
    "untrained",
    "flat",
    "bone Dice",
)


def write_tables(results: Path, document: Path = DOCUMENT) -> None:
    """Replace what stands between the markers, and write the costs that ship with the recipes."""
    rows = read_rows(results)
    good = [row for row in rows if "failed" not in row]
    made = sorted((r for r in good if r["suite"] in GENERATED), key=lambda r: (r["suite"], value(r, "kid")))
    translated = sorted((r for r in good if r["suite"] not in GENERATED), key=lambda r: (r["suite"], value(r, "mae")))
    text = document.read_text(encoding="utf-8")
    for suite in GENERATED:
        text = between(
            text, suite, markdown(SYNTHESIS_COLUMNS, _with_floor([row for row in made if row["suite"] == suite]))
        )
    text = between(text, "translation", markdown(TRANSLATION_COLUMNS, [_translation(row) for row in translated]))
    text = between(text, "failed", _not_measured(rows))
    longer = read_rows(results / LONGER)
    sections = {
        "longer": _longer(good, longer),
        "contrast": findings.contrast(good),
        "ordering": findings.ordering(good),
        "removal": findings.removal(results.parent / "removal"),
        "covariates": findings.covariates(results.parent / "covariates"),
        "sampling": findings.sampling(results.parent),
        "low-data": findings.low_data(results.parent / "augmentation"),
        "brainspade": findings.brainspade(results.parent / "augmentation"),
    }
    for name, content in sections.items():
        text = between(text, name, content)
    pictures = [_picture(results, row) for row in good] + [_picture(results / LONGER, row) for row in longer]
    text = between(text, "pictures", "\n\n".join(pictures) or "No row has been measured yet.")
    write_text(document, text)
    write_json(MEASURED, {row["recipe"]: _measured(row) for row in good if row["seed"] == 1})


def _picture(folder: Path, row: dict[str, Any]) -> str:
    return f"**{row['row']}**\n\n![{row['row']}]({relative(folder, row)})"


def _longer(rows: list[dict[str, Any]], longer: list[dict[str, Any]]) -> str:
    """The rows of trainings of several times the budget, each below that of its method in the tables above."""
    told = []
    for row in longer:
        short = next(of for of in rows if (of["recipe"], of["seed"]) == (row["recipe"], row["seed"]))
        told += [_trained(short), _trained(row)]
    return markdown(LONGER_COLUMNS, told)


def _trained(row: dict[str, Any]) -> list[str]:
    scores = row["evaluation"]["scores"]
    name = "kid" if row["suite"] in GENERATED else "mae"
    return [
        row["row"],
        f"{row['core_minutes']:.0f}",
        ", ".join(f"{count:,}" for count in row["iterations"].values()),
        f"{name.upper()} {score(scores, name)}",
        _untrained(row, name),
        _flat(row, name),
        score(scores, "bone_dice"),
    ]


def _not_measured(rows: list[dict[str, Any]]) -> str:
    """The rows that failed, with what stopped each, and the recipes nobody has run yet."""
    lines = [f"- **{row['row']}**: {row['failed']}" for row in rows if "failed" in row]
    run = {row["recipe"] for row in rows}
    waiting = [f"`{recipe.name}`" for recipe in list_recipes() if recipe.name not in run]
    if waiting:
        lines.append(f"- Not run yet: {', '.join(waiting)}.")
    return "\n".join(lines) or "None."


def _measured(row: dict[str, Any]) -> dict[str, Any]:
    """What a list of methods says of one: how far its cases are from real ones, and what one costs."""
    name = "kid" if row["suite"] in GENERATED else "mae"
    return {
        "suite": row["suite"],
        "score": name,
        "value": value(row, name),
        "seconds_per_case": row["seconds_per_case"],
        "budget_minutes": row["budget_minutes"],
    }


def _with_floor(rows: list[dict[str, Any]]) -> list[list[str]]:
    """The cells of the rows below those of real cases, which every row is scored against.

    Rows that were measured with another draw of the real cases' halves stand beside theirs: then the range of both.
    """
    if not rows:
        return []
    told = []
    for name in SCORED:
        found = [next((s for s in row["evaluation"]["scores"] if s["name"] == name), None) for row in rows]
        floors = sorted({score["floor"] for score in found if score is not None and score["floor"] is not None})
        told.append(" to ".join(dict.fromkeys(f"{floor:.3g}" for floor in floors[:1] + floors[-1:])))
    real = ["real cases", "", "", "", "", "", told[0], "", *told[1:], ""]
    return [real, *(_synthesis(row) for row in rows)]


def _untrained(row: dict[str, Any], name: str) -> str:
    """Its score before the training; some networks make images of a single intensity then, which have none."""
    return "flat" if row["untrained"] is None else f"{value(row, name, 'untrained'):.3g}"


def _flat(row: dict[str, Any], name: str) -> str:
    """The score of images of one intensity, where there is a truth that they can be compared with."""
    return "" if row.get("flat") is None else f"{value(row, name, 'flat'):.3g}"


def _synthesis(row: dict[str, Any]) -> list[str]:
    scores = row["evaluation"]["scores"]
    return [
        row["row"],
        row["family"],
        f"{row['parameters'] / 1e6:.1f} M",
        f"{row['core_minutes']:.1f}",
        f"{row['seconds_per_case']:.3f}",
        str(row["network_calls"]),
        score(scores, "kid"),
        _untrained(row, "kid"),
        score(scores, "frechet"),
        score(scores, "coverage"),
        score(scores, "ms_ssim"),
        copies(row),
    ]


def _translation(row: dict[str, Any]) -> list[str]:
    scores = row["evaluation"]["scores"]
    return [
        row["row"],
        row["suite"],
        f"{row['parameters'] / 1e6:.1f} M",
        f"{row['core_minutes']:.1f}",
        f"{row['seconds_per_case']:.1f}",
        score(scores, "mae"),
        _untrained(row, "mae"),
        _flat(row, "mae"),
        score(scores, "ssim"),
        _flat(row, "ssim"),
        score(scores, "bone_dice"),
    ]
