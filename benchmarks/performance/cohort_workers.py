"""A cohort of 32 cases by two workers, beside a loop of MONAI's that makes one case after another; files in both."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import torch
from genaug.package import Package, load_package
from genaug.parameters import SynthesisParameters
from genaug.record import case_seed
from genaug.synthesis import synthesize
from monai.data import MetaTensor
from monai.networks.schedulers import DDIMScheduler
from monai.transforms import SaveImage

from benchmarks.performance import latent
from benchmarks.performance.inferer import Peer
from benchmarks.performance.row import Result, Spec, timed
from benchmarks.performance.timing import interleaved
from benchmarks.performance.volume import TOLERANCE, agreement

COUNT = 32
WORKERS = 2
STEPS = 20
SEED = 1
GOAL = 2.5
REPETITIONS = 2


def ours(package: Path, folder: Path, count: int, workers: int) -> None:
    """Cases by DDIM, as `genaug synthesize --workers` makes them; the models are loaded by every worker."""
    shutil.rmtree(folder, ignore_errors=True)
    asked = SynthesisParameters(count=count, workers=workers, sampler="ddim", steps=STEPS)
    synthesize(package, folder, asked, SEED, "cpu")


def by_monai(package: Package, peer: Peer, folder: Path, count: int) -> None:
    """The same cases, one after another, by a model that is loaded already."""
    shutil.rmtree(folder, ignore_errors=True)
    save = SaveImage(output_dir=folder, output_postfix="", output_ext=".nii.gz", separate_folder=False, print_log=False)
    grid, (name,) = package.info.grid, package.info.roles.target
    for index in range(count):
        made = peer(peer.noise([case_seed(SEED, index)]), peer.scheduler(DDIMScheduler, STEPS))
        volume = grid.new_volume(made[0, 0].numpy(), name)
        affine = torch.from_numpy(volume.affine)
        save(MetaTensor(volume.array[None], affine=affine, meta={"filename_or_obj": f"case-{index:04d}"}))


def measure() -> list[Result]:
    """The row, with what one process of ours takes."""
    folder = latent.package()
    package = load_package(folder)
    peer = Peer(package)
    apart = agreement(package, peer, STEPS)
    work = latent.WORK / "cohort"
    times = interleaved(
        lambda: ours(folder, work / "ours", COUNT, WORKERS),
        lambda: by_monai(package, peer, work / "peer", COUNT),
        REPETITIONS,
        0,
    )
    started = time.perf_counter()
    ours(folder, work / "one", COUNT, 1)
    alone = time.perf_counter() - started
    return [
        timed(
            f"cohort-{COUNT}-workers-{WORKERS}",
            f"{COUNT} cases of 64³ by latent diffusion, {STEPS} network calls each, {WORKERS} workers, files written",
            f"MONAI LatentDiffusionInferer and SaveImage, DDIM {STEPS}, one case at a time",
            "exact",
            times,
            GOAL,
            error={"same timesteps, largest difference": apart, "allowed": TOLERANCE},
            detail={
                "seconds per case": times[0].median / COUNT,
                "seconds per case of the peer": times[1].median / COUNT,
                "seconds per case of one process with all threads": alone / COUNT,
                "network calls": STEPS,
                "threads": torch.get_num_threads(),
            },
            note="Both have the model loaded. The time of ours holds the start of the other worker, which imports torch"
            " and loads the model while the first one makes cases.",
        )
    ]


SPEC = Spec("cohort", (f"cohort-{COUNT}-workers-{WORKERS}",), measure)
