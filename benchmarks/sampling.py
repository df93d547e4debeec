"""KID against network calls: every sampler on one trained model, and the models that were trained for few steps.

    python -m benchmarks.sampling

Uses the packages of `python -m benchmarks.methods` (ddpm, progressive-distillation, ddgan on slices of the
hippocampus); run those rows first. Writes benchmarks/results/sampling.json and .png.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import click
from genaug.errors import GenaugError
from genaug.evaluation.cohorts import evaluate_cohorts
from genaug.files import write_json
from genaug.package import read_info, weights_sha256
from genaug.parameters import EvaluationParameters, SynthesisParameters
from genaug.progress import Silent
from genaug.samplers import find_sampler
from genaug.synthesis import synthesize
from matplotlib.figure import Figure

from benchmarks.data import ROOT
from benchmarks.methods import WORK
from benchmarks.suites import slices
from demo.console import Console

RESULT = ROOT / "benchmarks" / "results" / "sampling.json"
CASES = 64
BASE = "ddpm"
"""The model that every sampler draws from."""

SWEEP: tuple[tuple[str, str, dict[str, Any], tuple[int, ...]], ...] = (
    ("DDIM", "ddim", {}, (5, 10, 20, 50, 100)),
    ("FastDPM STEP", "fastdpm_step", {}, (5, 10, 20, 50, 100)),
    ("FastDPM VAR", "fastdpm_var", {}, (5, 10, 20, 50, 100)),
    ("DPM-Solver++ 2M", "dpmpp_2m", {}, (5, 10, 20, 50)),
    ("Heun", "heun", {}, (10, 18, 25)),
    ("ancestral", "ancestral", {}, (50, 200)),
)
"""Curve, sampler, its options, numbers of steps."""

FEW_STEPS = (("distilled", "progressive-distillation", (1, 2, 4, 8)), ("DDGAN", "ddgan", (4,)))
"""Curve and package of a model that was trained for few steps, and those numbers of steps."""


@click.command()
def main() -> None:
    """Measure every point that has no result of these models yet and draw the curves."""
    console = Console()
    kept: list[dict[str, Any]] = json.loads(RESULT.read_text(encoding="utf-8")) if RESULT.is_file() else []
    asked = [(curve, BASE, name, count, options) for curve, name, options, steps in SWEEP for count in steps]
    for curve, package, steps in FEW_STEPS:
        sampler = read_info(WORK / "packages" / package).recipe.sampler
        asked += [(curve, package, sampler.name, count, {}) for count in steps]
    points: list[dict[str, Any]] = []
    for curve, package, name, count, options in asked:
        model = {"package": package, "weights": weights_sha256(read_info(WORK / "packages" / package))}
        point = model | {"curve": curve, "steps": count}
        # A curve through points of a model and of a later training of it would show nothing.
        known = next((old for old in kept if point.items() <= old.items()), None)
        if known is None:
            console.log(f"{curve}, {count} steps")
            known = point | _measured(package, name, count, options)
        points.append(known)
        write_json(RESULT, [*points, *(old for old in kept if old not in points)])
    write_json(RESULT, points)
    draw(points, RESULT.with_suffix(".png"))


def _measured(package: str, sampler: str, steps: int, options: dict[str, Any]) -> dict[str, Any]:
    """KID of 64 cases, or why there is none."""
    cohort = slices(WORK / "data")
    channel = next(iter(cohort.channels))
    output = WORK / "cases" / "sampling"
    shutil.rmtree(output, ignore_errors=True)
    entry = find_sampler(sampler)
    point: dict[str, Any] = {"calls": entry.network_calls(steps)}
    asked = SynthesisParameters(count=CASES, sampler=sampler, steps=steps, sampler_options=options)
    try:
        made = synthesize(WORK / "packages" / package, output, asked, 1, "cpu")
    except GenaugError as error:
        return point | {"refused": str(error)}
    scored = EvaluationParameters(channel=channel, spacing=(1.0, 1.0, 1.0), reference_part="test", held_out_part="test")
    kid = evaluate_cohorts(cohort, made, scored, 1, Silent()).find("kid")
    return point | {"kid": kid.value, "interval": kid.interval, "floor": kid.floor}


def draw(points: list[dict[str, Any]], path: Path) -> None:
    """KID with its interval against network calls, both on logarithmic axes."""
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    measured = [point for point in points if "kid" in point]
    for curve in dict.fromkeys(point["curve"] for point in measured):
        own = sorted((p for p in measured if p["curve"] == curve), key=lambda p: int(p["calls"]))
        values = [max(p["kid"], 1e-2) for p in own]
        below = [max(0.0, v - max(p["interval"][0], 1e-2)) for v, p in zip(values, own)]
        above = [p["interval"][1] - p["kid"] for p in own]
        axes.errorbar(
            [p["calls"] for p in own], values, yerr=[below, above], marker="o", capsize=3, label=curve, linewidth=1.2
        )
    axes.set(xscale="log", yscale="log", xlabel="network calls (NFE)", ylabel="KID, 95 % interval")
    axes.grid(alpha=0.3, which="both")
    axes.legend()
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
