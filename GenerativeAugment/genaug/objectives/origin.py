"""Terms of generators that share the work, and of who tells them apart, see networks.mixture."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from genaug.objectives.base import Batch, Outputs, Play, judged, named


def origin(
    outputs: Outputs, batch: Batch, play: Play, critic: str = "origin", fake: str = "generated", of: str = "origin"
) -> Tensor:
    """What the generators minimise: which of them made a case should be seen in it (Hoang 2018, MGAN, equation 4).

    So no two of them make the same cases.

    Args:
        outputs: with what `fake` names, and the numbers of the generators, (B,) integers, in what `of` names.
        batch: shown to the critic as to any other.
        play: holds the critics.
        critic: an OriginCritic.
        fake: which output it looks at.
        of: which output tells the truth.
    """
    answer = play.critics[critic](judged(named(fake, outputs, batch), batch, fake))
    return F.cross_entropy(answer.float(), outputs[of])


def critic_origin(
    critic: nn.Module, outputs: Outputs, batch: Batch, play: Play, fake: str = "generated", of: str = "origin"
) -> Tensor:
    """What the critic minimises: it should tell which generator made each fake. Real cases have no answer."""
    answer: Tensor = critic(judged(named(fake, outputs, batch).detach(), batch, fake))
    return F.cross_entropy(answer.float(), outputs[of])
