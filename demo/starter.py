"""Train the starter models: what a fresh installation needs to show something within a minute.

All of them learn from deformations of one template, the ICBM152 brain. They are for trying things out; their model
cards say so. Training resumes where it was stopped: every model has its checkpoints in build/starter.

    python -m demo.starter             all models that are not finished, one after another
    python -m demo.starter --only brain-t1-vae
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
from genaug.cohort import Cohort
from genaug.errors import GenaugError
from genaug.parameters import TrainingOptions
from genaug.progress import Reporter
from genaug.templates.brain import brain_template
from genaug.templates.cohort import SubjectRanges, template_cohort
from genaug.templates.deformation import AffineRanges
from genaug.training import make_plan, run_training, training_folder

from demo.console import Console
from demo.lesion_patches import lesion_patch_cohort

ROOT = Path(__file__).resolve().parents[1]
MODELS = ROOT / "Resources" / "Models"
WORK = ROOT / "build" / "starter"

SPACING_MM = 3.8
"""The finest spacing at which the whole brain fits the 48 x 64 x 48 voxels that two cores can train on."""

MARGIN_MM = 10.0
RANGES = SubjectRanges(affine=AffineRanges(rotation_deg=4.0, scaling=0.04, shear=0.015, translation_mm=1.0))
"""Of the subjects: narrow enough that no brain reaches the border."""

SUBJECTS = 480
SEED = 2024

NOTE = (
    "**For trying out: trained on deformations of one template** (ICBM152 2009a nonlinear symmetric, from the nilearn "
    "package). It has seen one anatomy, bent and re-coloured; nothing it makes can improve a model for patients. "
    "Train your own on your own cases."
)


@dataclass(frozen=True)
class Starter:
    """One starter model: what it is called, what it learns from, and what is different from its recipe.

    `start_from` names another starter whose weights it starts from, where their networks agree.
    """

    name: str
    title: str
    cohort: str
    options: dict[str, Any]
    overrides: dict[str, Any] = field(default_factory=dict)
    start_from: str | None = None


VECTOR = {"latent": 32, "start": 24, "channels": [64, 48], "haar_levels": 2, "deform": True}
"""Decoder of the VAE and generator of the GAN: the same network, so that one can start from the other. They bend a
template, see `genaug.networks.template`: all subjects are deformations of one brain."""

STARTERS = (
    Starter(
        "brain-t1-ldm",
        "T1 brain with tissue labels, latent diffusion",
        "brains",
        {"recipe": "ldm", "channels": ["T1"], "iterations": {"autoencoder": 1800, "denoiser": 2500}},
        {
            "stages": {
                "autoencoder": {
                    "network": {
                        "options": {
                            "latent_channels": 8,
                            "channels": [64, 64],
                            "res_blocks": 1,
                            "haar_levels": 2,
                            "deform": True,
                        }
                    },
                    "loss": {
                        "kl": 1e-4,
                        "adversarial": {"weight": 0.05, "start": 900},
                        "feature_matching": {"weight": 0.5, "start": 900},
                    },
                    "critic_loss": {"critic": {"adversarial": {"start": 900}}},
                    "training": {"learning_rate": 2e-3, "ema": 0.98, "shift": 0},
                },
                "denoiser": {
                    "network": {"options": {"channels": [48, 64], "haar_levels": 0}},
                    "training": {"batch_size": 16, "learning_rate": 1e-3, "ema": 0.99},
                },
            }
        },
    ),
    Starter(
        "brain-t1-vae",
        "T1 brain with tissue labels, variational autoencoder",
        "brains",
        {"recipe": "vae", "channels": ["T1"], "iterations": {"vae": 1000}},
        {
            "stages": {
                "vae": {
                    "network": {"options": {**VECTOR, "encoder_channels": [48, 64, 64]}},
                    "training": {"shift": 0, "learning_rate": 2e-3, "ema": 0.98},
                }
            }
        },
    ),
    Starter(
        "brain-t1-gan",
        "T1 brain with tissue labels, Wasserstein GAN",
        "brains",
        {"recipe": "wgan-gp", "channels": ["T1"], "iterations": {"gan": 400}},
        {
            "stages": {
                "gan": {
                    "network": {"options": VECTOR},
                    "critics": {"critic": {"options": {"channels": [64, 96], "haar_levels": 2}}},
                    "training": {"ema": 0.99, "shift": 0},
                }
            }
        },
        start_from="brain-t1-vae",
    ),
    Starter(
        "brain-t1-to-t2",
        "T1 to T2 contrast of the brain, pix2pix",
        "brains",
        {
            "recipe": "pix2pix",
            "channels": ["T2"],
            "source_channels": ["T1"],
            # The whole brain: a window that shows mostly air leaves the network guessing where it is.
            "window": (48, 64, 48),
            "batch_size": 2,
            "iterations": {"translator": 700},
        },
        {
            "stages": {
                "translator": {
                    # Its weights were learnt with norms of instances, which the recipe had then.
                    "network": {
                        "options": {"features": [16, 16, 32, 64, 64, 16], "from_source": True, "norm": "instance"}
                    },
                    "training": {"learning_rate": 0.0006},
                }
            }
        },
    ),
    Starter(
        "lesion-t1-vae",
        "Dark white-matter lesions in T1 with their masks, variational autoencoder",
        "lesions",
        {"recipe": "vae", "channels": ["T1"], "iterations": {"vae": 600}},
        {"stages": {"vae": {"network": {"options": {"channels": [64, 32], "haar_levels": 1, "latent": 12}}}}},
    ),
)


def starter_cohort(kind: str, reporter: Reporter) -> Cohort:
    """The embedded brain's deformations, or lesions drawn into it; made once and kept in build/starter."""
    folder = WORK / "cohorts" / kind
    if not (folder / "cohort.json").is_file():
        if kind == "brains":
            template_cohort(
                brain_template(SPACING_MM, MARGIN_MM), folder, SUBJECTS, SEED, ranges=RANGES, reporter=reporter
            )
        else:
            lesion_patch_cohort(folder, 256, SEED, reporter)
    return Cohort.read(folder)


def train_starter(starter: Starter, reporter: Reporter) -> Path:
    """Train one model, or go on training it, and write its package to Resources/Models."""
    package = MODELS / starter.name
    folder = training_folder(WORK / starter.name)
    folder.mkdir(parents=True, exist_ok=True)
    options = TrainingOptions(
        **starter.options,
        overrides=starter.overrides,
        initial=None if starter.start_from is None else MODELS / starter.start_from,
        seed=SEED,
        checkpoint_every=100,
        preview_every=100,
    )
    make_plan(starter_cohort(starter.cohort, reporter), options, folder, reporter)
    run_training(folder, package, options, "cpu", reporter, half=True, title=starter.title, note=NOTE)
    return package


@click.command()
@click.option("--only", multiple=True, type=click.Choice([s.name for s in STARTERS]), help="Train these only.")
@click.option("--again", is_flag=True, help="Train models that are finished, too.")
def main(only: tuple[str, ...], again: bool) -> None:
    """Train the starter models into Resources/Models, resuming what was interrupted."""
    console = Console()
    for starter in STARTERS:
        if only and starter.name not in only:
            continue
        if (MODELS / starter.name).is_dir() and not again:
            console.log(f"{starter.name}: finished before")
            continue
        console.log(f"{starter.name}: {starter.title}")
        try:
            package = train_starter(starter, console)
        except GenaugError as error:
            raise click.ClickException(str(error)) from error
        console.log(f"{starter.name}: written to {package.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
