"""What a training will hold at most: one step of every stage, on shapes alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from genaug.generation import at_codes
from genaug.generation_memory import shapes_batch
from genaug.networks import Autoencoder, Batch, System, build_critic, build_system, follow
from genaug.objectives import CRITIC_LOSSES, LOSSES
from genaug.objectives.base import Play
from genaug.peak import FRAGMENTS, LIBRARIES, on_meta, peak_bytes
from genaug.progress import Reporter
from genaug.recipe import Stage
from genaug.stages import chains, stage_signature, stage_view
from genaug.stated import Peak, resident, state
from genaug.training.plan import TENSORS, TrainingPlan

KEPT = 4
"""Copies of the weights beside themselves: their average, two of the optimiser, one in a checkpoint that is written."""

TRAINING_FRAGMENTS = 1.65
"""Memory of the process over what the tensors of a step hold: of those measured, WGAN-GP's, which has many sizes of
middling pieces and gradients of gradients, took most, 1.6; the others took less than their tensors and a tenth."""


def state_training_peak(plan: TrainingPlan, folder: Path, device: torch.device, reporter: Reporter) -> None:
    """Say what the training will hold, or that it is not known because a term of the recipe asks for values."""
    try:
        most, stage = max(_stages(plan).items(), key=lambda item: item[1])[::-1]
    except (RuntimeError, NotImplementedError, ValueError, TypeError) as error:
        reporter.log(f"memory: not known beforehand, {type(error).__name__} where shapes alone were computed")
        return
    if device.type == "cuda":
        state(Peak(bytes=round(FRAGMENTS * most), of=f"of the GPU's memory, most in the stage {stage}"), reporter)
        return
    stored = sum(path.stat().st_size for path in (folder / TENSORS).rglob("*") if path.is_file())
    present = resident()
    words = f"{stored / 1e6:.0f} MB of them for the prepared cases, most in the stage {stage}"
    state(Peak(bytes=round(present + LIBRARIES + stored + TRAINING_FRAGMENTS * most), of=words), reporter)


def _stages(plan: TrainingPlan) -> dict[str, int]:
    """Bytes of one step of each stage, weights and the optimiser's memory included."""
    systems: dict[str, System] = {}
    found = {}
    for chain in chains(plan.recipe):
        for name in chain:
            stage = plan.recipe.stages[name]
            signature = stage_signature(stage, plan.grid.dimension, plan.grid.size, plan.roles)
            if stage.space == "latent":
                channels, *window = systems[chain[0]].noise_shape()
                signature = stage_signature(stage, plan.grid.dimension, window, plan.roles)
                signature = replace(signature, image_channels=channels, label_channels=0)
            systems[name] = on_meta(build_system(stage.network, signature)).train()
            critics = {key: on_meta(build_critic(one, signature)).train() for key, one in stage.critics.items()}
            teacher = None if stage.follows is None else systems[stage.follows]
            if teacher is not None:
                # On shapes alone, so that what would fail after the teacher's training fails before it.
                follow(systems[name], teacher, name)
            first = systems[chain[0]]
            found[name] = _step_bytes(stage, systems[name], critics, _seen(plan, chain[0], stage, first), teacher)
    return found


def _seen(plan: TrainingPlan, first: str, stage: Stage, autoencoder: System) -> Batch:
    """What a stage sees of a batch: its part of the cases, or their codes, which may be integers."""
    batch = shapes_batch(plan.roles, plan.grid.size, stage.training.batch_size)
    seen = stage_view(batch, stage, plan.roles)
    if stage.space == "voxel" or not isinstance(autoencoder, Autoencoder):
        inside = torch.zeros(len(batch.target), 1, *plan.grid.size, device="meta")
        return replace(seen, inside=inside)
    with torch.no_grad():
        return at_codes(seen, autoencoder.codes(stage_view(batch, plan.recipe.stages[first], plan.roles)))


def _step_bytes(
    stage: Stage, system: System, critics: Mapping[str, nn.Module], batch: Batch, teacher: System | None
) -> int:
    play = Play(system.signature, dict(critics), torch.Generator(), stage.training.iterations, teacher)

    def run() -> None:
        outputs = system(batch, play.generator)
        detached = {name: value.detach() for name, value in outputs.items()}
        for name, terms in stage.critic_loss.items():
            _descend(
                [
                    CRITIC_LOSSES[term.kind or key](critics[name], detached, batch, play, **term.options)
                    for key, term in terms.items()
                ]
            )
        fresh = replace(play, judgements={})
        _descend([LOSSES[term.kind or key](outputs, batch, fresh, **term.options) for key, term in stage.loss.items()])

    modules: list[nn.Module] = [system, *critics.values()]
    weights = sum(one.numel() for module in modules for one in module.state_dict().values())
    return peak_bytes(run) + 4 * (1 + KEPT) * int(weights)


def _descend(values: list[Tensor]) -> None:
    total = torch.stack([value.float() for value in values]).sum() if values else None
    if total is not None and total.requires_grad:
        total.backward()  # type: ignore[no-untyped-call]
