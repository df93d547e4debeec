"""Terms of a critic that says what a case was made for, see networks.auxiliary."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genaug.networks.base import Signature
from genaug.objectives.base import Batch, Outputs, Play, judged, named


def auxiliary(
    outputs: Outputs,
    batch: Batch,
    play: Play,
    critic: str = "critic",
    fake: str = "generated",
    vector: str = "vector",
) -> Tensor:
    """What the network minimises: the critic should see in its fakes what they were made for (Odena 2017).

    Args:
        outputs: with what `fake` names.
        batch: its vector is what was asked for.
        play: holds the critics.
        critic: which of them tells.
        fake: which output it looks at.
        vector: an output, where something else than the batch's own vector was asked for.
    """
    answer = play.critics[critic](judged(named(fake, outputs, batch), batch, fake), answer="vector")
    return vector_errors(answer, named(vector, outputs, batch), play.signature)


def critic_auxiliary(
    critic: nn.Module,
    outputs: Outputs,
    batch: Batch,
    play: Play,
    fake: str = "generated",
    real: str = "target",
    fakes: bool = True,
) -> Tensor:
    """What the critic minimises: it should tell the vector of real cases and, with `fakes`, of the fakes as well.

    Without them nobody can agree with the network on a sign that stands for a class and is no part of real cases.
    """
    wanted = named("vector", outputs, batch)
    seen = judged(named(real, outputs, batch), batch, fake)
    errors = vector_errors(critic(seen, answer="vector"), wanted, play.signature)
    if not fakes:
        return errors
    shown = judged(named(fake, outputs, batch).detach(), batch, fake)
    return errors + vector_errors(critic(shown, answer="vector"), wanted, play.signature)


def vector_errors(answer: Tensor, wanted: Tensor, signature: Signature) -> Tensor:
    """How far an answer (B, V) is from the vector: cross-entropy of classes, squared error of numbers and texts.

    The mean over the parts that are known; what is not known of a case cannot be told wrongly. Which sources a case has
    shows in none of them and is left out.
    """
    total, first = answer.new_zeros(()), 0
    for kind, length in signature.vector:
        part, truth = (x[:, first : first + length].float() for x in (answer, wanted))
        first += length
        if kind == "class":
            total = total + _mean_known(F.cross_entropy(part, truth, reduction="none"), truth.sum(dim=1))
        elif kind == "number":
            total = total + _mean_known((part[:, 1] - truth[:, 1]) ** 2, truth[:, 0])
        elif kind == "text":
            total = total + _mean_known(((part - truth) ** 2).mean(dim=1), truth.ne(0).any(dim=1).to(part))
    return total / max(sum(kind != "source" for kind, _ in signature.vector), 1)


def _mean_known(errors: Tensor, known: Tensor) -> Tensor:
    return torch.dot(errors, known) / known.sum().clamp(min=1)
