"""What the rows and the other measurements of methods say together, as the sections of docs/METHODS_RESULTS.md."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import bootstrap, wilcoxon

from benchmarks.table import markdown, read_rows, value

NOTHING = "Not measured yet."
LEVEL = 0.05
"""Of a corrected p-value below which a method is said to help or to harm."""
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
    """Dice with the cases of each method beside the real ones alone, compared patient by patient."""
    rows = {row["row"]: row for row in read_rows(folder, "low-data-*.json")}
    alone = rows.pop("real alone", None)
    if alone is None or not rows:
        return NOTHING
    gains = {name: _by_patient(row) - _by_patient(alone) for name, row in rows.items()}
    chances = dict(zip(gains, _holm([float(wilcoxon(gain).pvalue) for gain in gains.values()]), strict=True))
    cells = [["real alone", f"{alone['dice']:.3f}", "", "", ""]]
    for name, row in sorted(rows.items(), key=lambda item: -float(item[1]["dice"])):
        gain = gains[name]
        low, high = bootstrap((gain,), np.mean, rng=np.random.default_rng(0)).confidence_interval
        verdict = "undecided" if chances[name] >= LEVEL else "helps" if gain.mean() > 0 else "harms"
        told = f"{gain.mean():+.3f} [{low:+.3f}, {high:+.3f}]"
        cells.append([name, f"{row['dice']:.3f}", told, f"{chances[name]:.2g}", verdict])
    return markdown(("training cases of the segmenter", "Dice", "gain", "p, Holm", "verdict"), cells)


def contrast(rows: Sequence[Row]) -> str:
    """How much findings that were to be taken away differ from what surrounds them, before and after."""
    cells = []
    for row in rows:
        pairs = list((row.get("contrast") or {}).values())
        if pairs:
            before, after = ([pair[place] for pair in pairs] for place in (0, 1))
            told = (f"{np.median(of):.0f} ({min(of):.0f} to {max(of):.0f})" for of in (before, after))
            cells.append([row["row"], str(len(pairs)), *told])
    return markdown(("method", "patients", "contrast before, median (range)", "contrast after"), cells)


def removal(folder: Path) -> str:
    """How much of the lesions that were drawn is gone, and what became of the rest of the head."""
    rows = read_rows(folder)
    if not rows:
        return NOTHING
    cells = []
    for row in sorted(rows, key=lambda row: row["budget_minutes"]):
        before, after, elsewhere = np.array(list(row["errors"].values())).T
        gone = 1 - after / before
        cells.append(
            [
                f"{row['budget_minutes']:g}",
                f"{sum(row['iterations'].values()):,}",
                str(len(before)),
                f"{before.mean():.0f}",
                f"{after.mean():.0f}",
                f"{100 * gone.mean():.0f} ({100 * gone.min():.0f} to {100 * gone.max():.0f})",
                f"{elsewhere.mean():.0f}",
            ]
        )
    columns = ("core min", "iterations", "patients", "error before", "error after", "% gone (range)", "error elsewhere")
    longest = max(rows, key=lambda row: row["budget_minutes"])
    picture = f"../benchmarks/results/{folder.name}/{longest['row']}.jpg"
    return f"![Drawn lesions that ant-gan was to take away]({picture})\n\n{markdown(columns, cells)}"


def _by_patient(row: Row) -> npt.NDArray[np.float64]:
    """Dice of every patient, mean over the seeds, by patient."""
    seeds = [row["seeds"][seed]["by_patient"] for seed in sorted(row["seeds"])]
    mean: npt.NDArray[np.float64] = np.mean([[of[patient] for patient in sorted(of)] for of in seeds], axis=0)
    return mean


def _holm(chances: Sequence[float]) -> list[float]:
    """The p-values corrected for being several (Holm 1979)."""
    order = np.argsort(chances)
    factors = np.arange(len(chances), 0, -1)
    corrected = np.minimum(1, np.maximum.accumulate(factors * np.array(chances)[order]))
    return [float(value) for value in corrected[np.argsort(order)]]


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
