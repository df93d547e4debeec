"""The players of a recipe's stages on shapes alone: what can be known of a training before it is begun."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import nn

from genaug.generation import at_codes
from genaug.generation_memory import shapes_batch
from genaug.networks import Autoencoder, Batch, System, build_critic, build_system, follow
from genaug.objectives import Play
from genaug.peak import on_meta
from genaug.recipe import Recipe, Stage
from genaug.stages import chains, stage_signature, stage_view
from genaug.tensors import Roles


@dataclass(frozen=True)
class StageShapes:
    """A stage's network and critics on the meta device, in training, with a batch as they see it."""

    name: str
    stage: Stage
    system: System
    critics: Mapping[str, nn.Module]
    batch: Batch
    teacher: System | None

    def play(self) -> Play:
        """What the terms of the last iteration may look at."""
        iteration = self.stage.training.iterations
        return Play(self.system.signature, self.critics, torch.Generator(), iteration, self.teacher)


def stages_on_shapes(recipe: Recipe, dimension: int, window: Sequence[int], roles: Roles) -> Iterator[StageShapes]:
    """Every stage for windows of that many voxels, in the order of training.

    Raises:
        GenaugError: BAD_RECIPE, as building the networks does, and for a student that is not like its teacher.
    """
    systems: dict[str, System] = {}
    for chain in chains(recipe):
        for name in chain:
            stage = recipe.stages[name]
            signature = stage_signature(stage, dimension, window, roles)
            if stage.space == "latent":
                channels, *size = systems[chain[0]].noise_shape()
                signature = stage_signature(stage, dimension, size, roles)
                signature = replace(signature, image_channels=channels, label_channels=0)
            systems[name] = on_meta(build_system(stage.network, signature)).train()
            critics = {key: on_meta(build_critic(one, signature)).train() for key, one in stage.critics.items()}
            teacher = None if stage.follows is None else systems[stage.follows]
            if teacher is not None:
                # On shapes alone, so that what would fail after the teacher's training fails before it.
                follow(systems[name], teacher, name)
            batch = _seen(recipe, chain[0], stage, systems[chain[0]], window, roles)
            yield StageShapes(name, stage, systems[name], critics, batch, teacher)


def _seen(recipe: Recipe, first: str, stage: Stage, autoencoder: System, window: Sequence[int], roles: Roles) -> Batch:
    """What a stage sees of a batch: its part of the cases, or their codes, which may be integers."""
    batch = shapes_batch(roles, window, stage.training.batch_size)
    seen = stage_view(batch, stage, roles)
    if stage.space == "voxel" or not isinstance(autoencoder, Autoencoder):
        inside = torch.zeros(len(batch.target), 1, *window, device="meta")
        return replace(seen, inside=inside, source_inside=inside if roles.unpaired else None)
    with torch.no_grad():
        return at_codes(seen, autoencoder.codes(stage_view(batch, recipe.stages[first], roles)))
