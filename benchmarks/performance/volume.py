"""One volume of 64^3 by latent diffusion: ours in the fewest steps of equal KID, beside MONAI's inferer.

Both sample the same seeds, and the bootstrap redraws seeds and real cases alike for both. So the interval of the
difference is far narrower than those of the two distances: it tells differences that no one could see. Few steps are as
good where their distance lies in the peer's interval and is at most `EXCESS` above the peer's own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from genaug.convolution import sampling
from genaug.denoiser import Denoiser, guided
from genaug.evaluation.arrays import CaseArrays
from genaug.evaluation.features import Standardisation, default_features, make_extractor
from genaug.evaluation.floors import real_splits
from genaug.evaluation.kid import kid_bootstrap
from genaug.evaluation.realism import Features, kid_score
from genaug.evaluation.resampling import percentile_interval
from genaug.files import writing
from genaug.generation import generate
from genaug.networks.autoencoders import SpatialAutoencoder
from genaug.networks.base import activate
from genaug.networks.denoising import DenoisingSystem
from genaug.package import Package, load_package
from genaug.recipe import Sampler
from genaug.record import case_seed
from genaug.samplers import CaseNoise, ddim, draw_initial, find_sampler
from genaug.volume import FloatArray, Volume
from monai.networks.schedulers import DDIMScheduler, DDPMScheduler
from torch import Tensor

from benchmarks.data import hippocampus
from benchmarks.performance import latent
from benchmarks.performance.inferer import Peer, ToOwnTimesteps, empty_batch
from benchmarks.performance.row import Result, Spec, timed
from benchmarks.performance.timing import interleaved

SEED = 1
SAMPLER = "dpmpp_2m"
STEPS = (3, 4, 5, 6, 8, 10, 12, 15, 20)
"""Tried in this order; the first that is as good as DDIM 50 is timed, also beside DDPM."""

EXCESS = 0.05
"""How much larger a distance may be to count as equal, as a share."""

USUAL = 20
"""Steps that the recipe takes, whatever a model of some minutes can do with."""

TOLERANCE = 1e-4
"""Largest difference of the two ways of the same arithmetic, in model space, where images lie in [-1, 1]."""

REFERENCE = 250
"""Steps of DDIM that stand for the exact solution."""

BATCH = 8
"""Cases a call while volumes are made for their KID, by either; one at a time while they are timed."""


@dataclass(frozen=True)
class Kid:
    """Kernel distance of some volumes to real ones.

    Attributes:
        value: unbiased.
        interval: 95 %, by the bootstrap.
        draws: of the bootstrap; draw i redraws the same real cases and seeds for every way of sampling.
        floor: of real cases to other real ones.
    """

    value: float
    interval: tuple[float, float]
    draws: FloatArray
    floor: float | None

    def above(self, other: Kid) -> tuple[float, float]:
        """95 % interval of how much larger this distance is than that of the same seeds sampled in another way."""
        return percentile_interval(self.draws - other.draws)


@dataclass(frozen=True)
class Against:
    """A peer's way of sampling.

    Attributes:
        steps: of its scheduler, one network call each.
        cases: made for its KID.
        repetitions: of its timing.
    """

    row: str
    title: str
    scheduler: type[DDIMScheduler | DDPMScheduler]
    steps: int
    goal: float
    cases: int
    repetitions: int
    warm_ups: int


ROWS = (
    Against("volume-64-ddim50", "LatentDiffusionInferer, DDIM 50", DDIMScheduler, 50, 8, 48, 7, 3),
    Against("volume-64-ddpm1000", "LatentDiffusionInferer, DDPM 1000", DDPMScheduler, 1000, 60, 16, 2, 0),
)


def ours(package: Package, seeds: Sequence[int], steps: int, sampler: str = SAMPLER) -> Tensor:
    """Cases (B, C, *window) in model space, as `genaug synthesize` makes them."""
    info = package.info
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    chosen = Sampler(name=sampler, steps=steps)
    batch = empty_batch(package, len(generators))
    return generate(info.recipe, package.systems, info.code_scale, generators, batch, info.roles, chosen)


@torch.no_grad()
def agreement(package: Package, peer: Peer, steps: int = 50) -> float:
    """How far DDIM of ours is from MONAI's once both walk the same timesteps; AssertionError above TOLERANCE.

    Those of MONAI are rounded to whole numbers and ours are not, so our loop is given MONAI's here.
    """
    seed = case_seed(SEED, 0)
    scheduler = peer.scheduler(ToOwnTimesteps, steps)
    autoencoder, system = package.systems.values()
    assert isinstance(system, DenoisingSystem) and isinstance(autoencoder, SpatialAutoencoder)
    assert package.info.code_scale is not None
    noise = CaseNoise.from_seeds([seed], system.noise_shape())
    sigmas = torch.cat([system.schedule.sigma_of(scheduler.timesteps.double()), torch.zeros(1, dtype=torch.float64)])
    denoiser = Denoiser(system.predict, system.schedule, system.prediction, system.held)
    with sampling():
        codes = ddim(guided(denoiser), draw_initial(noise, float(sigmas[0])), sigmas, noise=noise)
        made = activate(autoencoder.decode(package.info.code_scale.unscale(codes)), 1)
    found = float((made - peer(peer.noise([seed]), scheduler)).abs().max())
    assert found <= TOLERANCE, f"the two ways differ by {found:.1e}"
    return found


def measure(against: Against) -> list[Result]:
    """The row of one peer."""
    package = load_package(latent.package())
    peer = Peer(package)
    apart = agreement(package, peer)
    return [_row(package, peer, Judge(package), against, apart)]


def _by(peer: Peer, against: Against, seeds: Sequence[int]) -> Tensor:
    """Volumes as the peer makes them."""
    torch.manual_seed(seeds[0])
    return peer(peer.noise(list(seeds)), peer.scheduler(against.scheduler, against.steps))


def _row(package: Package, peer: Peer, judge: Judge, against: Against, apart: float) -> Result:
    by_peer = partial(_by, peer, against)
    first = ROWS[0]
    steps, tried = fewest_steps(
        judge, judge.kid(f"peer-{first.steps}", first.cases, partial(_by, peer, first)), first.cases
    )
    theirs = judge.kid(f"peer-{against.steps}", against.cases, by_peer)
    found = judge.kid(f"ours-{steps}", against.cases, partial(_few, package, steps))
    seed = case_seed(SEED, 0)
    times = interleaved(
        lambda: ours(package, [seed], steps), lambda: by_peer([seed]), against.repetitions, against.warm_ups
    )
    seeds = [case_seed(SEED, index) for index in range(4)]
    reference = ours(package, seeds, REFERENCE, "ddim")
    # What of the ratio is the same arithmetic done faster, the rest being fewer network calls.
    few = interleaved(
        lambda: ours(package, [seed], USUAL, "ddim"),
        lambda: peer(peer.noise([seed]), peer.scheduler(DDIMScheduler, USUAL)),
        3,
        1,
    )
    return timed(
        against.row,
        "one volume 64³ by latent diffusion, batch 1",
        f"MONAI {against.title}",
        "approximate",
        times,
        against.goal,
        error={
            "KID": found.value,
            "KID of the peer": theirs.value,
            "95 % interval of the difference": [round(value, 3) for value in found.above(theirs)],
            "same timesteps, largest difference": apart,
            f"ratio at {USUAL} steps": round(times[1].median / few[0].median, 1),
        },
        detail={
            "network calls": find_sampler(SAMPLER).network_calls(steps),
            "network calls of the peer": against.steps,
            "sampler": SAMPLER,
            "KID by steps": {count: {"kid": kid.value, "interval": kid.interval} for count, kid in tried.items()},
            "interval of the peer's KID": theirs.interval,
            "KID of real cases": theirs.floor,
            "cases for the KID": against.cases,
            f"ratio at {USUAL} network calls each": few[1].median / few[0].median,
            f"PSNR against DDIM of {REFERENCE} steps, dB": {
                "ours": psnr(ours(package, seeds, steps), reference),
                "DDIM 50": psnr(ours(package, seeds, 50, "ddim"), reference),
            },
            "model": _model(package),
        },
        note=f"KID against {judge.count} held-out cases, {against.cases} volumes each, made {BATCH} at a time; "
        f"{against.repetitions} timings, of one volume each. How many steps are enough depends on the model, which was"
        " trained for minutes here: see its iterations and its KID beside that of real cases.",
    )


def psnr(found: Tensor, reference: Tensor) -> float:
    """Mean over cases of the peak signal-to-noise ratio in dB, of images in [-1, 1]."""
    errors = (found - reference).square().flatten(1).mean(1)
    return float((10 * torch.log10(4 / errors)).mean())


def _model(package: Package) -> dict[str, Any]:
    stages = package.info.stages.items()
    return {name: {"iterations": stage.iterations, "seconds": stage.seconds} for name, stage in stages}


class Judge:
    """Kernel distance of volumes to the real cases held out, all in model space and cut to what a scan shows."""

    def __init__(self, package: Package) -> None:
        self.package = package
        self.name = next(iter(package.info.roles.target))
        self._extract = make_extractor(default_features(3)[0], 3)
        real = [self._features(case.volume(self.name)) for case in hippocampus().part("test")]
        self._standardise = Standardisation(np.stack(real))
        self._real = self._standardise(np.stack(real))
        self.count = len(real)

    def kid(self, name: str, count: int, make: Callable[[Sequence[int]], Tensor]) -> Kid:
        """Of the first `count` cases, which are made unless an earlier run has kept them."""
        folder = latent.WORK / f"volumes-{self.package.sha256[:12]}" / name
        arrays = [made for first in range(0, count, BATCH) for made in _kept(folder, range(first, first + BATCH), make)]
        made = self._standardise(np.stack([self._made(index, array) for index, array in enumerate(arrays[:count])]))
        rng = np.random.Generator(np.random.PCG64(SEED))
        patients = [str(index) for index in range(len(self._real))]
        score = kid_score(Features(name, self._real, made, patients, real_splits(len(patients), count, rng)), rng)
        assert score.interval is not None
        draws = kid_bootstrap(self._real, made, np.random.Generator(np.random.PCG64(SEED)), patients)
        return Kid(score.value, score.interval, draws, score.floor)

    def _made(self, index: int, array: npt.NDArray[np.float32]) -> FloatArray:
        """Of a case as `genaug synthesize` would write it: with the field of view of one of the training cases."""
        grid = self.package.info.grid
        rng = np.random.Generator(np.random.PCG64(case_seed(SEED, index)))
        field = grid.fields[int(rng.integers(len(grid.fields)))] if grid.fields else None
        return self._features(grid.new_volume(array[0], self.name, field))

    def _features(self, volume: Volume) -> FloatArray:
        grid = self.package.info.grid
        image = grid.map_in(volume, grid.place(volume), self.name)[np.newaxis].astype(np.float32)
        return self._extract(CaseArrays("", "", image))


def as_good(found: Kid, theirs: Kid) -> bool:
    """Whether a distance counts as equal to the peer's, or is smaller."""
    return found.value <= min(theirs.interval[1], (1 + EXCESS) * theirs.value)


def fewest_steps(judge: Judge, theirs: Kid, count: int) -> tuple[int, dict[int, Kid]]:
    """The fewest steps whose KID is as good as the peer's, and the KID of all tried."""
    tried: dict[int, Kid] = {}
    for steps in STEPS:
        tried[steps] = judge.kid(f"ours-{steps}", count, partial(_few, judge.package, steps))
        if as_good(tried[steps], theirs):
            return steps, tried
    raise AssertionError(f"no number of steps reaches the peer's KID: {tried}")


def _few(package: Package, steps: int, seeds: Sequence[int]) -> Tensor:
    return ours(package, seeds, steps)


def _kept(folder: Path, indices: range, make: Callable[[Sequence[int]], Tensor]) -> npt.NDArray[np.float32]:
    """The cases of these indices, (n, C, *window), from disk or made now."""
    path = folder / f"{indices.start:03d}.npy"
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        array = make([case_seed(SEED, index) for index in indices]).numpy()
        with writing(path) as working, working.open("wb") as stream:
            np.save(stream, array)
    kept: npt.NDArray[np.float32] = np.load(path)
    return kept


SPECS = tuple(Spec(against.row, (against.row,), partial(measure, against)) for against in ROWS)
