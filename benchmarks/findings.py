"""What the rows and the other measurements of methods say together, as the sections of docs/METHODS_RESULTS.md."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.table import markdown, read_rows, value

NOTHING = "Not measured yet."
ORDERED = ("ldm", "vae-gan", "lsgan")
"""By growing Fréchet distance, as the review orders them."""

Row = dict[str, Any]


def ordering(rows: Sequence[Row]) -> str:
    """Fréchet distance of ORDERED, by seed, and whether the review's order holds in each."""
    found = {name: _frechet(rows, name) for name in ORDERED}
    seeds = sorted(set.intersection(*(set(values) for values in found.values())))
    if not seeds:
        return NOTHING
    cells = [[name, *(f"{found[name][seed]:.0f}" for seed in seeds)] for name in ORDERED]
    table = markdown(("method", *(f"Fréchet, seed {seed}" for seed in seeds)), cells)
    said = []
    first, *others = ORDERED
    for other in others:
        held = sum(found[first][seed] < found[other][seed] for seed in seeds)
        said.append(f"`{first}` is below `{other}` with {held} of {len(seeds)} seeds")
    return f"{table}\n\n{'; '.join(said)}."


def _frechet(rows: Sequence[Row], recipe: str) -> dict[int, float]:
    return {int(row["seed"]): value(row, "frechet") for row in rows if row["recipe"] == recipe}


def covariates(folder: Path) -> str:
    """How the volumes that came follow those that were asked for: their plot, correlation and slope."""
    rows = read_rows(folder)
    if not rows:
        return NOTHING
    regions = list(rows[0]["r"])
    table = markdown(
        (
            "method",
            "core min",
            "drawn with",
            *(f"r, {region}" for region in regions),
            "goal",
            *(f"slope, {region}" for region in regions),
        ),
        [
            [
                row["row"],
                f"{row['budget_minutes']:g}",
                ", ".join(f"{name} {row[name]:g}" for name in ("guidance", "truncation") if row.get(name, 1) != 1),
                *(f"{row['r'][region]:.3f}" for region in regions),
                f"{row['goal']:.1f}",
                *(f"{_slope(row['pairs'][region]):.2f}" for region in regions),
            ]
            for row in rows
        ],
    )
    return f"![Volumes made against volumes asked for](../benchmarks/results/{folder.name}.png)\n\n{table}"


def _slope(pairs: Sequence[tuple[float, float]]) -> float:
    """Of the line through what was made against what was asked for."""
    wanted, made = np.array(pairs).T
    return float(np.polyfit(wanted, made, 1)[0])


def sampling(results: Path) -> str:
    """The curves of KID against network calls, and their points."""
    path = results / "sampling.json"
    if not path.is_file():
        return NOTHING
    points = json.loads(path.read_text(encoding="utf-8"))
    cells = [
        [p["curve"], p["package"], str(p["calls"]), *_kid(p)]
        for p in sorted(points, key=lambda p: (p["package"], p["curve"], p["calls"]))
    ]
    table = markdown(("sampler", "model", "calls", "KID", "95 % interval"), cells)
    return f"![KID against network calls](../benchmarks/results/sampling.png)\n\n{table}"


def _kid(point: Row) -> tuple[str, str]:
    if "kid" not in point:
        return "refused", ""
    low, high = point["interval"]
    return f"{point['kid']:.3g}", f"{low:.3g} to {high:.3g}"


def low_data(folder: Path) -> str:
    """Dice with the cases of each method beside the real ones alone, seed by seed."""
    rows = {row["row"]: row for row in read_rows(folder, "low-data-*.json")}
    alone = rows.pop("real alone", None)
    if alone is None or not rows:
        return NOTHING
    cells = [["real alone", f"{alone['dice']:.3f}", "", ""]]
    for row in sorted(rows.values(), key=lambda row: -float(row["dice"])):
        gains = [row["seeds"][seed]["dice"] - alone["seeds"][seed]["dice"] for seed in alone["seeds"]]
        verdict = "helps" if min(gains) > 0 else "harms" if max(gains) < 0 else "undecided"
        cells.append(
            [
                row["row"],
                f"{row['dice']:.3f}",
                f"{np.mean(gains):+.3f} ({min(gains):+.3f} to {max(gains):+.3f})",
                verdict,
            ]
        )
    return markdown(("training cases of the segmenter", "Dice", "gain (worst to best seed)", "verdict"), cells)


def brainspade(folder: Path) -> str:
    """A segmenter that saw synthetic cases alone, beside one that saw the real ones."""
    path = folder / "brainspade.json"
    if not path.is_file():
        return NOTHING
    found = json.loads(path.read_text(encoding="utf-8"))
    names = {"real_only": "the real cases alone", "synthetic_only": f"{found['cases']} cases of brainSPADE alone"}
    return markdown(
        ("trained on", "Dice on real patients", "95 % interval"),
        [
            [name, f"{found[key]['dice']:.3f}", "{:.3f} to {:.3f}".format(*found[key]["interval"])]
            for key, name in names.items()
        ],
    )
