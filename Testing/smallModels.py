"""Train small models of the sample cohort, half a minute each, for a checkout without the starter models.

    python Testing/smallModels.py FOLDER [NAME ...]

Run it in a process of its own, so that the one with Slicer's side stays without torch. What exists already is kept.
"""

import sys
import tempfile
import zipfile
from pathlib import Path

SAMPLE = Path(__file__).resolve().parents[1] / "GenerativeAugment" / "Resources" / "SampleData" / "SampleCohort.zip"

COMMON = {"batch_size": 2, "threads": 1, "seed": 1, "preview_every": 1000, "checkpoint_every": 1000}

VAE = {
    "latent": 8,
    "start": 16,
    "channels": [16, 16],
    "haar_levels": 2,
    "deform": True,
    "encoder_channels": [8, 16, 16],
}

# By name: the task, and the options of the training.
MODELS = {
    "small-brain-vae": (
        "synthesis",
        {
            "recipe": "vae",
            "channels": ["T1"],
            "iterations": {"vae": 40},
            "overrides": {
                "stages": {
                    "vae": {
                        "network": {"options": VAE},
                        "training": {"shift": 0, "learning_rate": 2e-3, "ema": 0.9},
                    }
                }
            },
        },
    ),
    "small-brain-t1-to-t2": (
        "translation",
        {
            "recipe": "unet-l1",
            "channels": ["T2"],
            "source_channels": ["T1"],
            "window": (32, 32, 32),
            "iterations": {"translator": 100},
            "overrides": {
                "stages": {
                    "translator": {
                        "network": {"options": {"features": [8, 8, 16, 16, 32, 8]}},
                        "training": {"learning_rate": 2e-3, "ema": 0.9},
                    }
                }
            },
        },
    ),
}


def main(folder: Path, names: list[str]) -> None:
    """Train those of the models that a folder lacks."""
    from genaug.cohort import Cohort
    from genaug.parameters import TrainingOptions
    from genaug.progress import Silent
    from genaug.training import train

    with tempfile.TemporaryDirectory() as work:
        with zipfile.ZipFile(SAMPLE) as archive:
            archive.extractall(work)
        cohort = Cohort.read(next(Path(work).rglob("cohort.json")).parent)
        for name in names or MODELS:
            if not (folder / name).is_dir():
                options = TrainingOptions.model_validate({**COMMON, **MODELS[name][1]})
                train(cohort, options, folder / name, "cpu", Silent())


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
