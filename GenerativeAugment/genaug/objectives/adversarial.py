"""The games a network and its critics play. Written out, because MONAI's adversarial loss saturates the hinge with a
tanh and puts a leaky ReLU before the least squares unless told otherwise.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Literal, cast

import torch
import torch.nn.functional as F
from lightning_fabric import is_wrapped
from torch import Tensor, nn

from genaug.objectives.base import Batch, Outputs, Play, found_in, judged, layers_of, mean_at, named

Cost = Callable[[Tensor], Tensor]

Game = Literal["wasserstein", "least_squares", "hinge", "bce"]

_COSTS: dict[str, tuple[Cost, Cost]] = {
    "wasserstein": (lambda scores: -scores, lambda scores: scores),
    "least_squares": (lambda scores: 0.5 * (scores - 1) ** 2, lambda scores: 0.5 * scores**2),
    "hinge": (lambda scores: F.relu(1 - scores), lambda scores: F.relu(1 + scores)),
    "bce": (lambda scores: F.softplus(-scores), F.softplus),
}
"""By game, what a critic pays for the scores of what is real, and of what is not."""


def adversarial(
    outputs: Outputs,
    batch: Batch,
    play: Play,
    critic: str = "critic",
    game: Game = "wasserstein",
    fake: str = "generated",
    at_findings: bool = False,
) -> Tensor:
    """What the network minimises: the critic's scores of its fakes should look real.

    Args:
        outputs: with what `fake` names.
        batch: its condition is shown to the critic.
        play: holds the critics.
        critic: which of them judges.
        game: "wasserstein" (Arjovsky 2017), "least_squares" (Mao 2017), "hinge" (Lim 2017) or "bce" (Goodfellow 2014,
            the non-saturating form).
        fake: which output is judged.
        at_findings: only where the finding is that is to go. Most patches of a window show none of it and look real
            from the start; their mean outweighs the few that do not.
    """
    scores = play.judgement(critic, fake, outputs, batch)[-1]
    if game in ("wasserstein", "hinge"):
        costs = -scores
    elif game == "least_squares":
        costs = (scores - 1) ** 2
    elif game == "bce":
        costs = F.softplus(-scores)
    else:
        raise ValueError(f"unknown game {game!r}")
    return _over(costs, batch, at_findings)


def critic_adversarial(
    critic: nn.Module,
    outputs: Outputs,
    batch: Batch,
    play: Play,
    game: Game = "wasserstein",
    fake: str = "generated",
    real: str = "target",
    at_findings: bool = False,
) -> Tensor:
    """What the critic minimises in the same game; its fakes carry no gradient to the network.

    With `at_findings`, see `adversarial`, a real case counts at the same place: it is cut where its source has one.
    """
    true: Tensor = critic(judged(named(real, outputs, batch), batch, fake))
    false: Tensor = critic(judged(named(fake, outputs, batch).detach(), batch, fake))
    of_real, of_fake = _costs(game)
    return _over(of_real(true), batch, at_findings) + _over(of_fake(false), batch, at_findings)


def _over(costs: Tensor, batch: Batch, at_findings: bool) -> Tensor:
    """Mean of what the scores cost: over all of them, or where the findings are."""
    return mean_at(costs, found_in(batch)) if at_findings else costs.mean()


def mismatched(
    critic: nn.Module, outputs: Outputs, batch: Batch, play: Play, game: Game = "bce", real: str = "target"
) -> Tensor:
    """Real cases told with another case's vector are fakes to the critic (Reed 2016, arXiv:1605.05396, GAN-CLS).

    Without them a critic may judge whether a case is real and never whether it is what was asked for, because a fake
    shows both at once. 0 for a batch whose cases all have the same vector.
    """
    vector = named("vector", outputs, batch)
    others = vector.roll(1, dims=0)
    other = (others != vector).any(dim=1).float()
    scores: Tensor = critic(judged(named(real, outputs, batch), replace(batch, vector=others), real))
    _, of_fake = _costs(game)
    costs = of_fake(scores).reshape(len(vector), -1).mean(dim=1)
    return torch.dot(costs, other) / other.sum().clamp(min=1)


def _costs(game: Game) -> tuple[Cost, Cost]:
    """Those of a game; raises ValueError for one that there is not."""
    if game not in _COSTS:
        raise ValueError(f"unknown game {game!r}")
    return _COSTS[game]


def gradient_penalty(
    critic: nn.Module, outputs: Outputs, batch: Batch, play: Play, fake: str = "generated", real: str = "target"
) -> Tensor:
    """(|gradient| - 1)^2 of the critic between real and fake (Gulrajani 2017); 0 for a critic of slope one.

    Of a critic of patches it is the slope of their mean, which is what the game is played for.
    """
    true, false = named(real, outputs, batch), named(fake, outputs, batch).detach()
    mix = torch.rand(len(true), generator=play.generator).to(true).view(-1, *[1] * (true.ndim - 1))
    between = (mix * true + (1 - mix) * false).requires_grad_(True)
    scores = _scores(critic, between, batch, fake)
    return ((_gradient_norm(scores.reshape(len(between), -1).mean(1), between) - 1) ** 2).mean()


def r1(critic: nn.Module, outputs: Outputs, batch: Batch, play: Play, real: str = "target") -> Tensor:
    """Half the squared gradient of the critic at the real cases (Mescheder 2018), of patches that of their sum."""
    true = named(real, outputs, batch).detach().requires_grad_(True)
    return 0.5 * (_gradient_norm(_scores(critic, true, batch, real), true) ** 2).mean()


def feature_matching(outputs: Outputs, batch: Batch, play: Play, critic: str = "critic") -> Tensor:
    """L1 between the patch critic's inner features of real and fake (Wang 2018)."""
    judge = play.critics[critic]
    with torch.no_grad():
        # Without the scores.
        real = layers_of(judge, judged(batch.target, batch, "generated"))[:-1]
    fake = play.judgement(critic, "generated", outputs, batch)[:-1]
    return torch.stack([F.l1_loss(f, r) for f, r in zip(fake, real, strict=True)]).mean()


def _scores(critic: nn.Module, at: Tensor, batch: Batch, beside: str) -> Tensor:
    # Fabric's wrapper forbids every backward pass but its own, and this inner one is not the training's.
    judge = cast(nn.Module, critic.module) if is_wrapped(critic) else critic
    return torch.as_tensor(judge(judged(at, batch, beside)))


def _gradient_norm(scores: Tensor, at: Tensor) -> Tensor:
    """How steeply the scores rise at every case, (B,)."""
    gradient: Tensor
    (gradient,) = torch.autograd.grad(scores.sum(), at, create_graph=True)
    norm: Tensor = torch.linalg.vector_norm(gradient.flatten(1), dim=1)
    return norm
