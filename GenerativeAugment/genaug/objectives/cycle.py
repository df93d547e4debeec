"""Terms of two translators that undo each other, see networks.cycle."""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from lightning_fabric import is_wrapped
from torch import Tensor, nn

from genaug.networks.pool import PoolCritic
from genaug.objectives.adversarial import Game, critic_adversarial
from genaug.objectives.base import Batch, Lacking, Outputs, Play, field_of, found_in, mean_inside, named


def cycle(outputs: Outputs, batch: Batch, play: Play) -> Tensor:
    """Mean absolute error after there and back again, of source and target together (Zhu 2017, arXiv:1703.10593).

    Each side counts where it was scanned.
    """
    return _errors("cycle", outputs, batch)


def identity(outputs: Outputs, batch: Batch, play: Play) -> Tensor:
    """Mean absolute error of translating what is already as it should become, of both directions (Zhu 2017)."""
    return _errors("identity", outputs, batch)


def kept(outputs: Outputs, batch: Batch, play: Play, margin: int = 0) -> Tensor:
    """Mean absolute change outside the findings that are to be taken away (the abnormality mask of Sun 2020).

    A critic alone says what has to go, and nothing else need stay: planes with findings come from other heights than
    those without, and a network that changes the whole image fools it first.

    Args:
        outputs: with "generated".
        batch: with the source and its findings.
        play: not used.
        margin: voxels around a finding that are as free as it is. A finding fades beyond the border that was drawn
            around it, and what of it has to stay is left as a rim.

    Raises:
        Lacking: the batch does not say where the findings are.
    """
    found = found_in(batch)
    if margin:
        grow = F.max_pool2d if found.ndim == 4 else F.max_pool3d
        found = grow(found, 2 * margin + 1, stride=1, padding=margin)
    errors = F.l1_loss(outputs["generated"], named("source", {}, batch), reduction="none") * (1 - found)
    return mean_inside(errors, batch, field_of("source", batch))


def _errors(name: str, outputs: Outputs, batch: Batch) -> Tensor:
    sides = []
    for side in ("source", "target"):
        errors = F.l1_loss(outputs[f"{name}_{side}"], named(side, {}, batch), reduction="none")
        sides.append(mean_inside(errors, batch, field_of(side, batch)))
    return torch.stack(sides).sum()


def critic_remembering(
    critic: nn.Module,
    outputs: Outputs,
    batch: Batch,
    play: Play,
    game: Game = "least_squares",
    fake: str = "generated",
    real: str = "target",
) -> Tensor:
    """The adversarial term of a critic that is also shown fakes of earlier iterations (Shrivastava 2017).

    A critic that sees the newest fakes only forgets the older ones, and the players run in circles.
    """
    judge = cast(nn.Module, critic.module) if is_wrapped(critic) else critic
    if not isinstance(judge, PoolCritic):
        raise Lacking(f"a {type(judge).__name__} remembers no fakes; use a pool_critic")
    made, inside = named(fake, outputs, batch).detach(), field_of(fake, batch)
    # Blanked before it is kept: the batch that it is shown beside later has other fields of view.
    shown = judge.recall(made if inside is None else made * inside, play.generator)
    return critic_adversarial(critic, {**outputs, fake: shown}, batch, play, game, fake, real)
