"""Pictures while a training runs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import matplotlib.image
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from genaug.files import writing
from genaug.generation import CodeScale, generate
from genaug.networks import Autoencoder, Batch, System
from genaug.recipe import Recipe, Sampler
from genaug.stages import stage_view, with_part
from genaug.tensors import Roles

PREVIEW_STEPS = 20


def write_preview(
    path: Path,
    stage: str,
    systems: Mapping[str, System],
    recipe: Recipe,
    roles: Roles,
    scale: CodeScale | None,
    batch: Batch,
) -> None:
    """Middle slices of real cases above what the network makes now.

    An autoencoder that is followed by others is shown by what it reconstructs, any other stage by cases from noise
    (always the same noise, so that previews can be compared), with few sampling steps.
    """
    system = systems[stage]
    batch = batch.to(next(system.parameters()).device)
    real = batch.target
    if isinstance(system, Autoencoder) and stage != list(recipe.stages)[-1]:
        seen = stage_view(batch, recipe.stages[stage], roles)
        with torch.no_grad():
            made = with_part(
                real, system(seen, torch.Generator().manual_seed(0))["generated"], recipe.stages[stage], roles
            )
    else:
        generators = [torch.Generator().manual_seed(seed) for seed in range(len(real))]
        short = recipe.sampler.steps <= PREVIEW_STEPS
        sampler = recipe.sampler if short else Sampler(name="dpmpp_2m", steps=PREVIEW_STEPS)
        made = generate(recipe, systems, scale, generators, batch, roles, sampler)
    picture = np.concatenate([_row(real), _row(made)])
    with writing(path) as temporary:
        matplotlib.image.imsave(temporary, picture, cmap="gray", vmin=-1, vmax=1, format="png")


def _row(x: Tensor) -> npt.NDArray[np.float32]:
    """Every case's first image in its middle planes, side by side, anterior or superior up."""
    planes = []
    for case in x[:, 0].float().cpu().numpy():
        views = [case] if case.ndim == 2 else [case.take(n // 2, axis) for axis, n in enumerate(case.shape)][::-1]
        planes += [view.T[::-1] for view in views]
    height = max(plane.shape[0] for plane in planes)
    padded = [np.pad(p, ((height - p.shape[0], 0), (0, 2)), constant_values=-1) for p in planes]
    return np.concatenate(padded, axis=1)
