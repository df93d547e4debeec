"""What a training will hold at most: one step of every stage, on shapes alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from genaug.objectives import CRITIC_LOSSES, LOSSES
from genaug.peak import LIBRARIES, gpu_bytes, peak_bytes
from genaug.progress import Reporter
from genaug.stage_shapes import StageShapes, stages_on_shapes
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
        tries = plan.grid.dimension == 3 and plan.options.acceleration == "auto"
        held = gpu_bytes(device, most, tries)
        state(Peak(bytes=held, of=f"of the GPU's memory, most in the stage {stage}"), reporter)
        return
    stored = sum(path.stat().st_size for path in (folder / TENSORS).rglob("*") if path.is_file())
    present = resident()
    words = f"{stored / 1e6:.0f} MB of them for the prepared cases, most in the stage {stage}"
    state(Peak(bytes=round(present + LIBRARIES + stored + TRAINING_FRAGMENTS * most), of=words), reporter)


def _stages(plan: TrainingPlan) -> dict[str, int]:
    """Bytes of one step of each stage, weights and the optimiser's memory included."""
    stages = stages_on_shapes(plan.recipe, plan.grid.dimension, plan.grid.size, plan.roles)
    return {shapes.name: _step_bytes(shapes) for shapes in stages}


def _step_bytes(shapes: StageShapes) -> int:
    play, system, critics, batch = shapes.play(), shapes.system, shapes.critics, shapes.batch

    def run() -> None:
        outputs = system(batch, play.generator)
        detached = {name: value.detach() for name, value in outputs.items()}
        for name, terms in shapes.stage.critic_loss.items():
            _descend(
                [
                    CRITIC_LOSSES[term.kind or key](critics[name], detached, batch, play, **term.options)
                    for key, term in terms.items()
                ]
            )
        fresh = replace(play, judgements={})
        losses = shapes.stage.loss
        _descend([LOSSES[term.kind or key](outputs, batch, fresh, **term.options) for key, term in losses.items()])

    modules: list[nn.Module] = [system, *critics.values()]
    weights = sum(one.numel() for module in modules for one in module.state_dict().values())
    return peak_bytes(run) + 4 * (1 + KEPT) * int(weights)


def _descend(values: list[Tensor]) -> None:
    total = torch.stack([value.float() for value in values]).sum() if values else None
    if total is not None and total.requires_grad:
        total.backward()  # type: ignore[no-untyped-call]
