"""docs/RESULTS.md from the JSON of the rows: the text around the tables is kept, the tables are made anew."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from genaug.files import write_text

DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "RESULTS.md"

SYNTHESIS_COLUMNS = (
    "recipe",
    "parameters",
    "training",
    "s per case",
    "KID",
    "Fréchet",
    "coverage",
    "MS-SSIM synthetic (real)",
    "copies",
    "label volumes",
)
TRANSLATION_COLUMNS = ("method", "parameters", "training", "cases", "s per case", "body MAE, HU", "bone Dice", "SSIM")


def write_table(results: Path, document: Path = DOCUMENT) -> None:
    """Replace what stands between the markers of each table."""
    rows = read_rows(results)
    text = document.read_text(encoding="utf-8")
    synthesis = [row for row in rows if row["evaluation"]["kind"] == "synthesis"]
    translation = [row for row in rows if row["evaluation"]["kind"] == "translation"]
    text = between(text, "synthesis", markdown(SYNTHESIS_COLUMNS, [_synthesis_cells(row) for row in synthesis]))
    text = between(text, "translation", markdown(TRANSLATION_COLUMNS, [_translation_cells(row) for row in translation]))
    pictures = [
        f"**{row['row']}**\n\n![{row['row']}]({relative(results, row)})" for row in synthesis if "picture" in row
    ]
    text = between(text, "pictures", "\n\n".join(pictures) or "No row has been measured yet.")
    write_text(document, text)


def read_rows(folder: Path, pattern: str = "*.json") -> list[dict[str, Any]]:
    """The results of that name that are there."""
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob(pattern))]


def read_kept(path: Path) -> dict[str, Any] | None:
    """What an earlier run wrote there, None before the first one."""
    kept: dict[str, Any] | None = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
    return kept


def value(row: dict[str, Any], name: str, of: str = "evaluation") -> float:
    """The score of that name over all regions."""
    return next(float(s["value"]) for s in row[of]["scores"] if s["name"] == name and s.get("region") is None)


def relative(results: Path, row: dict[str, Any]) -> str:
    """The row's picture in that folder of results, as the documents name it."""
    return f"../{(results / row['picture']).relative_to(DOCUMENT.parents[1]).as_posix()}"


def between(text: str, name: str, content: str) -> str:
    """`text` with `content` between the markers of that name."""
    begin, end = f"<!-- {name}: made by benchmarks -->", f"<!-- end of {name} -->"
    before, rest = text.split(begin)
    _, after = rest.split(end)
    return f"{before}{begin}\n{content}\n{end}{after}"


def markdown(columns: tuple[str, ...], rows: list[list[str]]) -> str:
    """A table."""
    if not rows:
        return "No row has been measured yet."
    lines = [f"| {' | '.join(columns)} |", f"|{'---|' * len(columns)}"]
    return "\n".join(lines + [f"| {' | '.join(cells)} |" for cells in rows])


def _synthesis_cells(row: dict[str, Any]) -> list[str]:
    scores = row["evaluation"]["scores"]
    volumes = [s for s in scores if s["name"] == "label_volume_difference"]
    return [
        row["row"],
        f"{row['parameters'] / 1e6:.1f} M",
        f"{row['training_seconds'] / 60:.0f} min",
        f"{row['seconds_per_case']:.2f}",
        score(scores, "kid"),
        score(scores, "frechet"),
        score(scores, "coverage"),
        score(scores, "ms_ssim"),
        copies(row),
        ", ".join(f"{s['region']} {s['value']:+.0%}" for s in volumes),
    ]


def _translation_cells(row: dict[str, Any]) -> list[str]:
    scores = row["evaluation"]["scores"]
    return [
        row["row"],
        f"{row['parameters'] / 1e6:.1f} M" if "parameters" in row else "",
        f"{row['training_seconds'] / 60:.0f} min" if "training_seconds" in row else "",
        str(row["cases"]),
        f"{row['seconds_per_case']:.1f}" if "seconds_per_case" in row else "",
        score(scores, "mae"),
        score(scores, "bone_dice"),
        score(scores, "ssim"),
    ]


def score(scores: list[dict[str, Any]], name: str) -> str:
    """Value and 95 % interval of the first score of that name; in brackets what real cases reach.

    Where the number of cases matters, real cases can only be compared in halves: then the score of equally many
    synthetic cases stands before theirs.
    """
    found = next((s for s in scores if s["name"] == name and s.get("region") is None), None)
    if found is None:
        return ""
    text = f"{found['value']:.3g}"
    if found["interval"] is not None:
        text += f" [{found['interval'][0]:.3g}, {found['interval'][1]:.3g}]"
    if found["floor"] is not None:
        alike = "" if found.get("matched") is None else f"{found['matched']:.3g} : "
        text += f" ({alike}{found['floor']:.3g})"
    return text


def copies(row: dict[str, Any]) -> str:
    """Share of the cases that lie nearer to a training case than 95 % of the held-out cases do."""
    checks = [check for check in row["evaluation"]["copies"] if check["space"] == "image"]
    return f"{100 * checks[0]['share']:.0f} %" if checks and checks[0]["share"] is not None else ""
