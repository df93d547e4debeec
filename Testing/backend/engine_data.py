"""Small cohorts and packages for the engine's tests: blobs whose size and place vary, cheap enough to train on."""

from pathlib import Path

import numpy as np
from genaug.case import write_case
from genaug.cohort import Cohort
from genaug.parameters import TrainingOptions
from genaug.volume import LABEL, Volume

TINY = {
    "vae": {
        "stages": {
            "vae": {
                "network": {
                    "options": {
                        "latent": 4,
                        "start": 8,
                        "channels": [8, 8],
                        "haar_levels": 1,
                        "encoder_channels": [8, 8],
                    }
                }
            }
        }
    },
    "wgan-gp": {
        "stages": {
            "gan": {
                "network": {"options": {"latent": 4, "start": 8, "channels": [8, 8], "haar_levels": 1}},
                "critics": {"critic": {"options": {"channels": [8, 8], "haar_levels": 1}}},
            }
        }
    },
    "ldm": {
        "sampler": {"steps": 3},
        "stages": {
            "autoencoder": {
                "network": {"options": {"latent_channels": 2, "channels": [8, 8], "haar_levels": 1}},
                "critics": {"critic": {"options": {"channels": 8, "layers": 1}}},
                "loss": {"adversarial": {"start": 0}},
                "critic_loss": {"critic": {"adversarial": {"start": 0}}},
            },
            "denoiser": {"network": {"options": {"channels": [8, 8], "groups": 4, "head_channels": 4}}},
        },
    },
    "ddpm": {
        "sampler": {"steps": 3},
        "stages": {
            "denoiser": {
                "network": {
                    "options": {"channels": [8, 8], "attention": [False, True], "groups": 4, "head_channels": 4}
                }
            }
        },
    },
    "spade": {
        "stages": {
            "spade": {
                "network": {"options": {"style": 4, "channels": [8, 8], "spade_channels": 4}},
                "critics": {"critic": {"options": {"channels": 8, "layers": 1}}},
            }
        }
    },
    "pix2pix": {
        "stages": {
            "translator": {
                "network": {"options": {"features": [4, 4, 4, 4, 4, 4]}},
                "critics": {"critic": {"options": {"channels": 4, "layers": 1}}},
            }
        }
    },
}


def blob_cohort(folder: Path, count: int = 6, size: int = 16, flat: bool = False, seed: int = 0) -> Cohort:
    """Spheres of random centre and radius: channel A bright inside, channel B its negative, label 1 inside."""
    rng = np.random.default_rng(seed)
    shape = (size, size, 1 if flat else size)
    affine = np.diag([1.5, 1.0, 2.0, 1.0])
    cases = []
    for index in range(count):
        centre = np.array(shape) / 2 + rng.uniform(-1, 1, 3) * (np.array(shape) > 1)
        distance = np.linalg.norm((np.indices(shape).T - centre + 0.5 * (np.array(shape) == 1)).T, axis=0)
        inside = distance < rng.uniform(3, 5)
        noise = rng.normal(0, 5, shape)
        images = {
            "A": Volume((100 * inside + 50 + noise).astype(np.float32), affine, "MR"),
            "B": Volume((150 - 100 * inside + noise).astype(np.float32), affine, "MR"),
        }
        label = Volume(inside.astype(np.uint8), affine, LABEL)
        cases.append(write_case(folder, f"case{index}", f"patient{index}", images, label))
    cohort = Cohort(name="blobs", root=folder, channels={"A": "MR", "B": "MR"}, label_names={1: "sphere"}, cases=cases)
    cohort.write(folder)
    return cohort


def tiny_options(recipe: str, steps: int = 4, **changes: object) -> TrainingOptions:
    """A training of seconds."""
    stages = {"ldm": ("autoencoder", "denoiser"), "vae": ("vae",), "wgan-gp": ("gan",), "ddpm": ("denoiser",)}
    names = stages.get(recipe, ("spade",) if recipe == "spade" else ("translator",))
    values: dict[str, object] = {
        "recipe": recipe,
        "channels": ["A"],
        "overrides": TINY[recipe],
        "iterations": dict.fromkeys(names, steps),
        "batch_size": 2,
        "threads": 1,
        "preview_every": 1000,
        "checkpoint_every": 1000,
    }
    if recipe == "pix2pix":
        values |= {"channels": ["B"], "source_channels": ["A"], "window": (32, 32, 32)}
    return TrainingOptions.model_validate(values | changes)
