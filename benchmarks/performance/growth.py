"""How what things cost grows with their size: time over voxels, steps, cases, processes, host and cohort."""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from genaug.evaluation.coverage import coverage
from genaug.evaluation.diversity import pairwise_ms_ssim
from genaug.evaluation.frechet import frechet_distance
from genaug.evaluation.kid import kid
from genaug.generation import generate
from genaug.networks import Batch, SpatialAutoencoder
from genaug.networks.denoising import DenoisingSystem
from genaug.parameters import SynthesisParameters
from genaug.recipe import Recipe
from genaug.strict import Strict
from genaug.synthesis import micro_batch, synthesize

from benchmarks.data import ROOT
from benchmarks.performance import lesion, metrics
from benchmarks.performance.arithmetic import ROLES, Work, expected, ldm_systems

MODEL = ROOT / "Resources" / "Models" / "brain-t1-ldm"
REPEATS = 3


class Curve(Strict):
    """One measured dependence.

    Attributes:
        what: costs time.
        grows: what is made larger.
        sizes: how large.
        seconds: for each, the least of several runs, since what else the machine does only adds to it.
    """

    what: str
    grows: str
    sizes: list[float]
    seconds: list[float]

    @property
    def exponent(self) -> float:
        """Of the power of the size that time grows with: the slope between logarithms; 1 is proportional."""
        slope, _ = np.polyfit(np.log(self.sizes), np.log(self.seconds), 1)
        return float(slope)


class Growth(Strict):
    """All of it.

    Attributes:
        curves: measured.
        expected: counted, for a GPU that was not there.
    """

    curves: list[Curve]
    expected: list[Work]


def curve(
    what: str, grows: str, sizes: Sequence[float], run: Callable[[float], object], repeats: int = REPEATS
) -> Curve:
    """Time `run` at every size in turn, after a round that does not count."""
    least = [math.inf] * len(sizes)
    for repeat in range(-1, repeats):
        for number, size in enumerate(sizes):
            started = time.perf_counter()
            run(size)
            if repeat >= 0:
                least[number] = min(least[number], time.perf_counter() - started)
    return Curve(what=what, grows=grows, sizes=[float(size) for size in sizes], seconds=least)


def make_cases(edge: int, steps: int, cases: int = 1) -> None:
    """Cases of `edge`³ by the untrained networks of latent diffusion, which take as long as trained ones."""
    recipe, autoencoder, denoiser = _systems(edge)
    assert recipe.sampler is not None
    sampler = recipe.sampler.model_copy(update={"steps": steps})
    systems = dict(zip(recipe.stages, (autoencoder, denoiser)))
    together = micro_batch(torch.device("cpu"))
    for first in range(0, cases, together):
        generators = [torch.Generator().manual_seed(first + number) for number in range(together)]
        batch = Batch(torch.zeros(together, 1, edge, edge, edge))
        generate(recipe, systems, None, generators, batch, ROLES, sampler)


def synthesis_curves() -> list[Curve]:
    """Voxels, steps and cases."""
    edges = {float(edge**3): edge for edge in (32, 48, 64, 96)}
    return [
        curve("a case by latent diffusion, 4 steps", "voxels", list(edges), lambda n: make_cases(edges[n], 4)),
        curve("a case of 48³ by latent diffusion", "steps", (2, 4, 8, 16), lambda n: make_cases(48, int(n))),
        curve("cases of 32³, 4 steps", "cases", (2, 4, 8, 16), lambda n: make_cases(32, 4, int(n))),
    ]


def workers_curve(cases: int = 16, steps: int = 60) -> Curve:
    """Processes that share the work of one job, with their start."""

    def run(workers: float) -> None:
        parameters = SynthesisParameters(count=cases, steps=steps, workers=int(workers), file_format="nrrd")
        with tempfile.TemporaryDirectory() as folder:
            synthesize(MODEL, Path(folder) / "made", parameters, seed=0, device="cpu")

    return curve(f"{cases} cases of {MODEL.name}, {steps} steps, with the processes' start", "workers", (1, 2), run, 1)


def other_curves() -> list[Curve]:
    """Lesions, distances and similarity."""
    grounds = {float(edge**3): lesion.ground(edge) for edge in (64, 128, 256, 512)}
    real, synthetic = metrics.features(4000)
    images = metrics.volumes(64)

    def distances(n: float) -> None:
        few = real[: int(n)], synthetic[: int(n)]
        kid(*few), frechet_distance(*few), coverage(*few)

    return [
        curve("a lesion of 20 mm", "voxels of the host", list(grounds), lambda n: lesion.ours(grounds[n])),
        curve("KID, Fréchet and PRDC, 512 features", "cases of each cohort", (500, 1000, 2000, 4000), distances),
        curve("MS-SSIM of every pair of 32³", "cases", (8, 16, 32, 64), lambda n: pairwise_ms_ssim(images[: int(n)])),
    ]


def measure() -> Growth:
    """All curves, and the arithmetic for the GPU."""
    return Growth(curves=[*synthesis_curves(), workers_curve(), *other_curves()], expected=expected())


def table(curves: Sequence[Curve]) -> tuple[tuple[str, ...], list[list[str]]]:
    """Header and rows."""
    rows = [
        [
            one.what,
            one.grows,
            f"**{one.exponent:.2f}**",
            "; ".join(f"{size:,.0f}: {_time(seconds)}" for size, seconds in zip(one.sizes, one.seconds)),
        ]
        for one in curves
    ]
    return ("what", "grows with", "exponent", "measured"), rows


def _time(seconds: float) -> str:
    return f"{seconds:.3g} s" if seconds >= 1 else f"{1e3 * seconds:.3g} ms"


@lru_cache(maxsize=8)
def _systems(edge: int) -> tuple[Recipe, SpatialAutoencoder, DenoisingSystem]:
    """Kept, because making them is not what is timed."""
    return ldm_systems((edge,) * 3)
