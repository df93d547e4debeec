"""The form of an objective term."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from genaug.networks.base import Batch, Outputs, Signature, System


@dataclass(frozen=True)
class Play:
    """What a term may look at besides outputs and batch."""

    signature: Signature
    critics: Mapping[str, nn.Module]
    generator: torch.Generator
    iteration: int
    teacher: System | None = None
    judgements: dict[tuple[str, str], list[Tensor]] = field(default_factory=dict)
    """What critics have made of the network's fakes in this update, by critic and fake: several terms ask for it."""

    def judgement(self, critic: str, fake: str, outputs: Outputs, batch: Batch) -> list[Tensor]:
        """What every layer of a critic makes of a fake, its scores last; the scores alone where it shows no layers."""
        if (critic, fake) not in self.judgements:
            judge, seen = self.critics[critic], judged(named(fake, outputs, batch), batch)
            shows = callable(getattr(type(judge), "layers", None))
            self.judgements[critic, fake] = judge.layers(seen) if shows else [judge(seen)]  # type: ignore[operator]
        return self.judgements[critic, fake]

    def images(self, x: Tensor) -> Tensor:
        """The image channels of a generated or target tensor."""
        return x[:, : self.signature.image_channels]

    def labels(self, x: Tensor) -> Tensor:
        """The label channels of a generated or target tensor; none of them for a recipe without labels."""
        return x[:, self.signature.image_channels :]


LossTerm = Callable[..., Tensor]
"""(outputs, batch, play, **options) -> scalar, minimised by the network."""

CriticTerm = Callable[..., Tensor]
"""(critic, outputs, batch, play, **options) -> scalar, minimised by the critic."""


def judged(x: Tensor, batch: Batch) -> Tensor:
    """What a critic sees: a real or generated tensor, joined with its condition where there is one.

    Real and generated are blanked outside the same fields of view, so nobody can be told by what no scanner saw.
    """
    if x.shape[2:] != batch.target.shape[2:]:
        # A code has no place in the field of view, nor the conditions' maps.
        return x
    seen = x if batch.inside is None else x * batch.inside
    return seen if batch.condition is None else torch.cat([seen, batch.condition], dim=1)


def named(name: str, outputs: Outputs, batch: Batch) -> Tensor:
    """What a term is to look at: something the network has put out, else a field of the batch."""
    value = outputs[name] if name in outputs else getattr(batch, name)
    if not isinstance(value, Tensor):
        raise ValueError(f"there is no {name!r} among the outputs {', '.join(outputs)}, nor in the batch")
    return value


def mean_inside(values: Tensor, batch: Batch, inside: Tensor | None = None) -> Tensor:
    """Mean of values (B, C, *S) over what was scanned; `inside` replaces the batch's for values between voxels."""
    mask = batch.inside if inside is None else inside
    if mask is None:
        return values.mean()
    return (values * mask).sum() / (mask.sum() * values.shape[1]).clamp(min=1)


__all__ = ["Batch", "CriticTerm", "LossTerm", "Outputs", "Play", "judged", "mean_inside", "named"]
