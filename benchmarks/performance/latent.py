"""The latent diffusion model that single volumes are timed with: trained once, on real cases, in volumes of 64^3.

python -m benchmarks.performance.latent [MINUTES]    trains it, if it is not there yet, or goes on where it was stopped
"""

from __future__ import annotations

import sys
from pathlib import Path

from genaug.cohort import Cohort
from genaug.parameters import TrainingOptions
from genaug.progress import Reporter
from genaug.training import train

from benchmarks.data import ROOT, hippocampus
from demo.console import Console

WORK = ROOT / "build" / "bench-performance"
SEED = 1

SPACING = (0.7, 0.95, 0.75)
"""In mm: what makes 64^3 voxels of the largest training case, 43 x 59 x 47 mm."""

SIZE = (64, 64, 64)

ITERATIONS = {"autoencoder": 700, "denoiser": 1500}
"""With half the recipe's batch for the denoiser, and so few that the critic hardly sets in."""

MINUTES = 15.0
"""What a training may take."""

NETWORKS = {
    "stages": {
        # Four times coarser along each axis, as latent diffusion is usually set up: what the decoder does stays small.
        "autoencoder": {
            "network": {"options": {"latent_channels": 8, "channels": [64], "res_blocks": 1, "haar_levels": 2}}
        },
        # MONAI's network with nothing in front of it, the one that the rows of one call are measured with.
        "denoiser": {
            "network": {"options": {"haar_levels": 0, "channels": [32, 64, 128], "attention": [False, False, True]}},
            "training": {"batch_size": 4},
        },
    }
}


def package(reporter: Reporter | None = None, minutes: float = MINUTES) -> Path:
    """The model package, trained first where there is none, for so many minutes at most; it says how far it got."""
    folder = WORK / "ldm-64"
    if not folder.is_dir():
        cohort = images_of(hippocampus())
        options = TrainingOptions(
            recipe="ldm",
            spacing=SPACING,
            with_labels=False,
            iterations=ITERATIONS,
            minutes=minutes,
            overrides=NETWORKS,
            seed=SEED,
            checkpoint_every=100,
            preview_every=10_000,
        )
        train(cohort, options, folder, "cpu", reporter or Console())
    return folder


def images_of(cohort: Cohort) -> Cohort:
    """The cohort without its label maps, which this model has no use for."""
    cases = [case.model_copy(update={"label": None}) for case in cohort.cases]
    return cohort.model_copy(update={"label_names": {}, "cases": cases})


if __name__ == "__main__":
    print(package(minutes=float(sys.argv[1]) if len(sys.argv) > 1 else MINUTES))
