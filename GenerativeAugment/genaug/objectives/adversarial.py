"""The games a network and its critics play. Written out, because MONAI's adversarial loss saturates the hinge with a
tanh and puts a leaky ReLU before the least squares unless told otherwise.
"""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from lightning_fabric import is_wrapped
from torch import Tensor, nn

from genaug.objectives.base import Batch, Outputs, Play, judged


def adversarial(
    outputs: Outputs, batch: Batch, play: Play, critic: str = "critic", game: str = "wasserstein"
) -> Tensor:
    """What the network minimises: the critic's scores of its fakes should look real.

    Args:
        outputs: with "generated".
        batch: its condition is shown to the critic.
        play: holds the critics.
        critic: which of them judges.
        game: "wasserstein" (Arjovsky 2017), "least_squares" (Mao 2017), "hinge" (Lim 2017) or "bce" (Goodfellow 2014,
            the non-saturating form).
    """
    scores: Tensor = play.critics[critic](judged(outputs["generated"], batch))
    if game in ("wasserstein", "hinge"):
        return -scores.mean()
    if game == "least_squares":
        return ((scores - 1) ** 2).mean()
    if game == "bce":
        return F.softplus(-scores).mean()
    raise ValueError(f"unknown game {game!r}")


def critic_adversarial(
    critic: nn.Module, outputs: Outputs, batch: Batch, play: Play, game: str = "wasserstein"
) -> Tensor:
    """What the critic minimises in the same game; its fakes carry no gradient to the network."""
    real: Tensor = critic(judged(batch.target, batch))
    fake: Tensor = critic(judged(outputs["generated"].detach(), batch))
    if game == "wasserstein":
        return fake.mean() - real.mean()
    if game == "least_squares":
        return 0.5 * ((real - 1) ** 2).mean() + 0.5 * (fake**2).mean()
    if game == "hinge":
        return F.relu(1 - real).mean() + F.relu(1 + fake).mean()
    if game == "bce":
        return F.softplus(-real).mean() + F.softplus(fake).mean()
    raise ValueError(f"unknown game {game!r}")


def gradient_penalty(critic: nn.Module, outputs: Outputs, batch: Batch, play: Play) -> Tensor:
    """(|gradient| - 1)^2 of the critic between real and fake (Gulrajani 2017); 0 for a critic of slope one."""
    real, fake = batch.target, outputs["generated"].detach()
    mix = torch.rand(len(real), generator=play.generator).to(real).view(-1, *[1] * (real.ndim - 1))
    between = (mix * real + (1 - mix) * fake).requires_grad_(True)
    return ((_gradient_norm(critic, between, batch) - 1) ** 2).mean()


def r1(critic: nn.Module, outputs: Outputs, batch: Batch, play: Play) -> Tensor:
    """Half the squared gradient of the critic at the real cases (Mescheder 2018)."""
    real = batch.target.detach().requires_grad_(True)
    return 0.5 * (_gradient_norm(critic, real, batch) ** 2).mean()


def feature_matching(outputs: Outputs, batch: Batch, play: Play, critic: str = "critic") -> Tensor:
    """L1 between the patch critic's inner features of real and fake (Wang 2018)."""
    judge = play.critics[critic]
    with torch.no_grad():
        real = _features(judge, judged(batch.target, batch))
    fake = _features(judge, judged(outputs["generated"], batch))
    return torch.stack([F.l1_loss(f, r) for f, r in zip(fake, real)]).mean()


def _features(critic: nn.Module, x: Tensor) -> list[Tensor]:
    # MONAI's patch discriminator returns every layer's output, the scores last.
    return list(critic.network(critic.front(x))[:-1])  # type: ignore[operator]


def _gradient_norm(critic: nn.Module, at: Tensor, batch: Batch) -> Tensor:
    # Fabric's wrapper forbids every backward pass but its own, and this inner one is not the training's.
    judge = cast(nn.Module, critic.module) if is_wrapped(critic) else critic
    scores: Tensor = judge(judged(at, batch))
    gradient: Tensor
    (gradient,) = torch.autograd.grad(scores.sum(), at, create_graph=True)
    norm: Tensor = torch.linalg.vector_norm(gradient.flatten(1), dim=1)
    return norm
