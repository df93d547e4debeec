"""Pictures while a training runs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from matplotlib.figure import Figure
from torch import Tensor

from genaug.files import writing
from genaug.generation import CodeScale, generate
from genaug.networks import Autoencoder, Batch, System
from genaug.recipe import Recipe, Sampler
from genaug.stages import stage_view, with_part
from genaug.tensors import Roles

PREVIEW_STEPS = 20
DPI = 100
NARROWEST = 400
"""Pixels: planes of fewer are enlarged by a whole number, so that what is written above them can be read."""
HEADING = 16
"""Pixels above a row."""


def write_preview(
    path: Path,
    stage: str,
    systems: Mapping[str, System],
    recipe: Recipe,
    roles: Roles,
    scale: CodeScale | None,
    batch: Batch,
) -> None:
    """Middle slices of real cases above what the network makes now, either row with its name: such pictures are shown.

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
    figure = drawn({"REAL": _row(real), "SYNTHETIC": _row(made)})
    with writing(path) as temporary:
        figure.savefig(temporary, format="png", facecolor="black")


def drawn(rows: Mapping[str, npt.NDArray[np.float32]]) -> Figure:
    """The rows one above the other, each (height, width) in [-1, 1] below its name."""
    columns = max(row.shape[1] for row in rows.values())
    enlarged = -(-NARROWEST // columns)
    heights = [HEADING + enlarged * row.shape[0] for row in rows.values()]
    width, height = enlarged * columns, sum(heights)
    figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI)
    top = height
    for (name, row), extent in zip(rows.items(), heights, strict=True):
        image = (0.0, (top - extent) / height, enlarged * row.shape[1] / width, (extent - HEADING) / height)
        axes = figure.add_axes(image)
        axes.set_axis_off()
        axes.imshow(row, cmap="gray", vmin=-1, vmax=1, interpolation="nearest", aspect="auto")
        figure.text(4 / width, (top - HEADING / 2) / height, name, color="white", fontsize=7, va="center")
        top -= extent
    return figure


def _row(x: Tensor) -> npt.NDArray[np.float32]:
    """Every case's first image in its middle planes, side by side, anterior or superior up."""
    planes = []
    for case in x[:, 0].float().cpu().numpy():
        views = [case] if case.ndim == 2 else [case.take(n // 2, axis) for axis, n in enumerate(case.shape)][::-1]
        planes += [view.T[::-1] for view in views]
    height = max(plane.shape[0] for plane in planes)
    padded = [np.pad(p, ((height - p.shape[0], 0), (0, 2)), constant_values=-1) for p in planes]
    return np.concatenate(padded, axis=1)
