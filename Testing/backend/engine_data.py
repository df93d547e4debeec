"""Small cohorts and packages for the engine's tests: blobs whose size and place vary, cheap enough to train on."""

from pathlib import Path
from typing import Any

import numpy as np
from genaug.case import write_case
from genaug.cohort import Cohort
from genaug.parameters import TrainingOptions
from genaug.progress import Silent
from genaug.recipe import load_recipe
from genaug.volume import LABEL, Volume

TINY_NETWORKS = {
    "vector_autoencoder": {"latent": 4, "start": 8, "channels": [8, 8], "haar_levels": 1, "encoder_channels": [8, 8]},
    "latent_generator": {"latent": 4, "start": 8, "channels": [8, 8], "haar_levels": 1},
    "spatial_autoencoder": {"latent_channels": 2, "channels": [8, 8], "haar_levels": 1},
    "introspective_autoencoder": {"latent": 4, "start": 8, "channels": [8, 8], "encoder_channels": [8, 8]},
    "independent_autoencoder": {"latent": 2, "told": 2, "start": 8, "channels": [8, 8], "encoder_channels": [8, 8]},
    "flow_autoencoder": {
        "latent": 4,
        "steps": 2,
        "hidden": 8,
        "context": 4,
        "start": 8,
        "channels": [8, 8],
        "encoder_channels": [8, 8],
    },
    "hamiltonian_autoencoder": {
        "latent": 4,
        "likelihood": 10.0,
        "start": 8,
        "channels": [8, 8],
        "encoder_channels": [8, 8],
    },
    "riemannian_autoencoder": {
        "latent": 2,
        "likelihood": 10.0,
        "walks": 2,
        "leaps": 2,
        "start": 8,
        "channels": [8, 8],
        "encoder_channels": [8, 8],
    },
    "slice_autoencoder": {"latent": 2, "start": 8, "channels": [8, 8], "encoder_channels": [8, 8]},
    "quantised_autoencoder": {"entries": 8, "width": 4, "channels": [8, 8], "haar_levels": 1},
    "gaussian_prior": {},
    "mixture_prior": {"components": 2, "cases_each": 2},
    "flow_prior": {"steps": 2, "hidden": 8},
    "autoregressive_prior": {"entries": 8, "width": 8, "depth": 1, "heads": 2},
    "denoiser": {"channels": [8, 8], "groups": 4, "head_channels": 4},
    "spade": {"style": 4, "channels": [8, 8], "spade_channels": 4},
    "translator": {"features": [4, 4, 4, 4, 4, 4]},
    "critic": {"channels": [8, 8], "haar_levels": 1},
    "patch_critic": {"channels": 8, "layers": 1},
    "deconvolution_generator": {"latent": 4, "channels": [8, 8], "haar_levels": 1},
    "dense_generator": {"latent": 4, "hidden": 8, "features": 4},
    "attention_generator": {"latent": 4, "start": 8, "channels": [8, 8], "haar_levels": 1},
    "progressive_generator": {"latent": 4, "start": 8, "channels": [8, 8], "haar_levels": 1},
    "style_generator": {"latent": 4, "mapping": 2, "channels": [8, 8], "haar_levels": 1},
    "generator_mixture": {"latent": 4, "start": 8, "channels": [8, 8], "haar_levels": 1},
    "adversarial_autoencoder": {"latent": 4, "start": 8, "channels": [8, 8], "encoder_channels": [8, 8]},
    "hole_filler": {"features": [4, 4, 4, 4, 4, 4]},
    "counterfactual_warper": {"channels": [8, 8, 8]},
    "normed_critic": {"channels": [8, 8], "haar_levels": 1},
    "dense_critic": {"hidden": 8},
    "attention_critic": {"channels": [8, 8], "haar_levels": 1},
    "auxiliary_critic": {"channels": [8, 8], "haar_levels": 1},
    "projection_critic": {"channels": [8, 8], "haar_levels": 1},
    "progressive_critic": {"channels": [8, 8], "haar_levels": 1},
    "growing_patch_critic": {"levels": 2, "channels": 8, "layers": 1, "haar_levels": 1},
    "origin_critic": {"channels": [8, 8], "haar_levels": 1},
    "code_critic": {"latent": 4, "hidden": 8},
    "hole_critic": {"channels": 8, "layers": 1},
    "segmenter": {"channels": [8, 8]},
    "cycle_pair": {"features": [4, 4, 4, 4, 4, 4]},
    "cascade_translator": {"blocks": 2, "features": [4, 4, 4, 4, 4, 4]},
    "fusion_translator": {"features": [4, 4, 4, 4, 4, 4]},
    "global_local_translator": {"features": [4, 4, 4, 4, 4, 4], "local_channels": 4, "local_blocks": 1},
    "code_translator": {"channels": [4, 8]},
    "contrast_draws": {},
    "multiscale_critic": {"channels": 8, "layers": 1, "scales": 2},
    "pool_critic": {"channels": 8, "layers": 1, "pool": 2},
    "wavelet_denoiser": {"channels": [8, 8], "groups": 4, "head_channels": 4},
    "controlled_denoiser": {"channels": [8, 8], "groups": 4, "head_channels": 4, "control_channels": 4},
    "deformable_denoiser": {"channels": [8, 8], "groups": 4, "head_channels": 4, "field_channels": [4, 4]},
    "diffusion_gan": {"channels": [8, 8], "groups": 4, "head_channels": 4, "latent": 2},
    "step_critic": {"channels": [8, 8], "haar_levels": 1},
    "syndiff": {
        "features": [4, 4, 4, 4, 4, 4],
        "diffusion": {"channels": [8, 8], "groups": 4, "head_channels": 4, "latent": 2, "attention": [False, True]},
    },
}
"""Options that make each kind of network small enough for a test."""


def tiny(recipe: str) -> dict[str, Any]:
    """Overrides under which a recipe trains in seconds: small networks, few steps, every term from the start."""
    stages = {}
    loaded = load_recipe(recipe)
    for name, stage in loaded.stages.items():
        critics = {key: {"options": TINY_NETWORKS[one.kind]} for key, one in stage.critics.items()}
        late = {key: {"start": 0} for key, term in stage.loss.items() if term.start}
        late_critics = {
            key: {term: {"start": 0} for term, one in terms.items() if one.start}
            for key, terms in stage.critic_loss.items()
        }
        stages[name] = {"network": {"options": dict(TINY_NETWORKS[stage.network.kind])}}
        if isinstance(stage.network.options.get("attention"), list):
            stages[name]["network"]["options"]["attention"] = [False, True]
        stages[name] |= {"critics": critics, "loss": late, "critic_loss": late_critics}
    # A model of few noise levels is drawn at those.
    options = [stage.network.options for stage in loaded.stages.values()]
    free = not any("levels" in {**one, **one.get("diffusion", {})} for one in options)
    sampler = {"steps": 3} if loaded.sampler.steps > 3 and free else {}
    return {"stages": stages, "sampler": sampler}


class Told(Silent):
    """A reporter that remembers what was logged."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def log(self, message: str) -> None:
        self.lines.append(message)


def blob_cohort(
    folder: Path, count: int = 6, size: int = 16, flat: bool = False, seed: int = 0, long: bool = False
) -> Cohort:
    """Spheres of random centre and radius, both known: channel A bright inside, B its negative, C the radius inside.

    Label 1 inside. A `long` one has twice the size along the first axis, which is the least that a deep U-Net takes.
    """
    rng = np.random.default_rng(seed)
    shape = (2 * size if long else size, size, 1 if flat else size)
    affine = np.diag([1.5, 1.0, 2.0, 1.0])
    cases = []
    for index in range(count):
        centre = np.array(shape) / 2 + rng.uniform(-1, 1, 3) * (np.array(shape) > 1)
        distance = np.linalg.norm((np.indices(shape).T - centre + 0.5 * (np.array(shape) == 1)).T, axis=0)
        radius = rng.uniform(3, 5)
        inside = distance < radius
        noise = rng.normal(0, 5, shape)
        images = {
            "A": Volume((100 * inside + 50 + noise).astype(np.float32), affine, "MR"),
            "B": Volume((150 - 100 * inside + noise).astype(np.float32), affine, "MR"),
            "C": Volume((20 * radius * inside + 20 + noise).astype(np.float32), affine, "MR"),
        }
        known: dict[str, float | str] = {"radius": radius, "kind": "large" if radius > 4 else "small"}
        label = Volume(inside.astype(np.uint8), affine, LABEL)
        cases.append(write_case(folder, f"case{index}", f"patient{index}", images, label, covariates=known))
    cohort = Cohort(
        name="blobs", root=folder, channels=dict.fromkeys("ABC", "MR"), label_names={1: "sphere"}, cases=cases
    )
    cohort.write(folder)
    return cohort


class Words:
    """Stands in for a sentence encoder: the numbers of a text are those of its first letters."""

    def get_sentence_embedding_dimension(self) -> int:
        """Length of what `encode` gives."""
        return 4

    def encode(self, text: str, **options: object) -> np.ndarray:
        """(4,) of length one."""
        numbers = np.array([ord(letter) for letter in text.ljust(4)[:4]], dtype=np.float32)
        return numbers / np.linalg.norm(numbers)


def words_folder(folder: Path) -> Path:
    """A folder that looks like an encoder's; what is in it is not read once `genaug.text._open` gives `Words`."""
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(b"words")
    return folder


def tiny_options(recipe: str, steps: int = 4, **changes: object) -> TrainingOptions:
    """A training of seconds."""
    loaded = load_recipe(recipe)
    values: dict[str, object] = {
        "recipe": recipe,
        "channels": ["A"],
        "overrides": tiny(recipe),
        "iterations": dict.fromkeys(loaded.stages, steps),
        "batch_size": 2,
        "threads": 1,
        "preview_every": 1000,
        "checkpoint_every": 1000,
    }
    if loaded.task == "translation":
        values |= {"channels": ["B"], "source_channels": ["A"], "window": (32, 32, 32)}
    if "images" in loaded.conditions:
        values |= {"source_channels": ["A", "C"]}
    if "text" in loaded.conditions:
        values |= {"text": "kind"}
    return TrainingOptions.model_validate(values | changes)
