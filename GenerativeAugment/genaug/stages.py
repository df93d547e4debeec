"""What a stage of a recipe sees of a case, and how stages follow one another.

Consecutive stages that make the same part of a case are a chain: its last stage makes the part, through the decoder of
the chain's autoencoder where it works on codes. A recipe of one chain makes image and label map together; with two, the
second makes the image for the label map that the first has made.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from genaug.networks.base import Batch, Signature
from genaug.recipe import Recipe, Stage
from genaug.tensors import Roles, TensorStore


def chains(recipe: Recipe, among: Collection[str] | None = None) -> list[list[str]]:
    """Names of the stages, those that make the same part together; of those `among` only, where it is given."""
    found: list[list[str]] = []
    for name, stage in recipe.stages.items():
        if among is not None and name not in among:
            continue
        if found and recipe.stages[found[-1][-1]].makes == stage.makes:
            found[-1].append(name)
        else:
            found.append([name])
    return found


def built_on(recipe: Recipe, name: str) -> list[str]:
    """The later stages that start from what a stage has learnt: those on its codes, and those that follow it."""
    (chain,) = [chain for chain in chains(recipe) if name in chain]
    on_codes = [later for later in chain[1:] if recipe.stages[later].space == "latent"] if name == chain[0] else []
    return on_codes + [later for later, stage in recipe.stages.items() if stage.follows == name]


def stage_signature(stage: Stage, dimension: int, window: Sequence[int], roles: Roles) -> Signature:
    """Shapes of a stage's network on voxels, or, with a code's `window`, of everything but its channels."""
    images, labels, conditions, vector = len(roles.target), roles.label_channels, roles.condition_channels, roles.vector
    if stage.blind:
        conditions, vector = 0, ()
    if stage.makes == "labels":
        images = 0
    elif stage.makes == "images":
        conditions, labels = conditions + labels, 0
    return Signature(dimension, tuple(window), images, labels, conditions, vector)


def stage_view(batch: Batch, stage: Stage, roles: Roles) -> Batch:
    """The batch as the stage sees it: its part of the target, and what it is made for unless it is blind."""
    return part_view(blindfolded(batch) if stage.blind else batch, stage, roles)


def blindfolded(batch: Batch) -> Batch:
    """The batch without what the cases are made for."""
    return replace(batch, source=None, label_map=None, vector=None)


def part_view(batch: Batch, stage: Stage, roles: Roles) -> Batch:
    """The batch with the stage's part of the target; to images the label map is something they are made for."""
    images = len(roles.target)
    if stage.makes == "labels":
        return replace(batch, target=batch.target[:, images:])
    if stage.makes == "images":
        own = (batch.target[:, images:] + 1) / 2
        label_map = own if batch.label_map is None else torch.cat([batch.label_map, own], dim=1)
        return replace(batch, target=batch.target[:, :images], label_map=label_map)
    return batch


def with_part(target: Tensor, made: Tensor, stage: Stage, roles: Roles) -> Tensor:
    """`target` (B, C, *S) with the part that the stage has made; labels become one of them at every voxel."""
    images = len(roles.target)
    if stage.makes == "labels":
        chosen = torch.nn.functional.one_hot(made.argmax(dim=1), made.shape[1]).movedim(-1, 1).to(made)
        return torch.cat([target[:, :images], 2 * chosen - 1], dim=1)
    return torch.cat([made, target[:, images:]], dim=1) if stage.makes == "images" else made


class StageData:
    """Prepared cases as a stage sees them."""

    def __init__(self, store: TensorStore, stage: Stage) -> None:
        self._store, self._stage, self._roles = store, stage, store.roles

    def __len__(self) -> int:
        """As many items as the store has."""
        return len(self._store)

    def batch(self, items: Sequence[int], rng: np.random.Generator) -> Batch:
        """The items as the stage sees them."""
        return stage_view(self._store.batch(items, rng), self._stage, self._roles)

    def mean(self) -> Tensor | None:
        """Mean of the stage's target, (C, *window); None for windows, which have no fixed place in the anatomy."""
        if self._store.windowed:
            return None
        return stage_view(Batch(self._store.mean()[None]), self._stage, self._roles).target[0]
