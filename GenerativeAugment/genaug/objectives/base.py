"""The form of an objective term."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genaug.networks.base import Batch, Outputs, Signature, System


class Lacking(ValueError):
    """A term asks for what its stage does not have.

    Args:
        message: what is missing, and where.
        name: of an output or a field of the batch that there is not; empty where it is something else.
        known: the outputs that there are.
    """

    def __init__(self, message: str, name: str = "", known: Iterable[str] = ()) -> None:
        super().__init__(message)
        self.name, self.known = name, tuple(known)


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
            judge, seen = self.critics[critic], judged(named(fake, outputs, batch), batch, fake)
            self.judgements[critic, fake] = layers_of(judge, seen) if _shows_layers(judge) else [judge(seen)]
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


OF_THE_SOURCE = frozenset({"source", "cycle_source", "identity_source"})
"""What shows as much as the source does, where source and target are of different cases."""

ACROSS = frozenset({"generated", "reversed"})
"""What was made of the one side, there, and is judged beside the other."""


def field_of(name: str, batch: Batch) -> Tensor | None:
    """Where something was scanned of what `name` names, (B, 1, *S); None without padding.

    What crosses from one side to the other is looked at where both were scanned.
    """
    if batch.inside is None or batch.source_inside is None:
        return batch.inside
    if name in ACROSS:
        return batch.inside * batch.source_inside
    return batch.source_inside if name in OF_THE_SOURCE else batch.inside


def judged(x: Tensor, batch: Batch, beside: str) -> Tensor:
    """What a critic sees: a real or generated tensor, joined with its condition where there is one.

    Real and generated are blanked outside the same fields of view, so nobody can be told by what no scanner saw.

    Args:
        x: (B, C, *S).
        batch: with the conditions and the fields of view.
        beside: the name of the fake that `x` is, or that it is judged beside; of a real case judged alone its own.
    """
    if x.shape[2:] != batch.target.shape[2:]:
        # A code has no place in the field of view, nor the conditions' maps.
        return x
    inside = field_of(beside, batch)
    seen = x if inside is None else x * inside
    return seen if batch.condition is None else torch.cat([seen, batch.condition], dim=1)


def named(name: str, outputs: Outputs, batch: Batch) -> Tensor:
    """What a term is to look at: something the network has put out, else a field of the batch."""
    value = outputs[name] if name in outputs else getattr(batch, name, None)
    if not isinstance(value, Tensor):
        raise Lacking(f"there is no {name!r} among the outputs {', '.join(outputs)}, nor in the batch", name, outputs)
    return value


def layers_of(critic: nn.Module, seen: Tensor) -> list[Tensor]:
    """What every layer of a critic makes of what it sees, the scores last.

    Raises:
        Lacking: for a critic that does not show its layers.
    """
    if not _shows_layers(critic):
        raise Lacking(f"a {type(critic).__name__} does not show what its layers see; use a critic of patches")
    return list(critic.layers(seen))  # type: ignore[operator]


def _shows_layers(critic: nn.Module) -> bool:
    return callable(getattr(type(critic), "layers", None))


def mean_inside(values: Tensor, batch: Batch, inside: Tensor | None = None) -> Tensor:
    """Mean of values (B, C, *S) over what was scanned; `inside` replaces the batch's for values between voxels."""
    mask = batch.inside if inside is None else inside
    if mask is None:
        return values.mean()
    return (values * mask).sum() / (mask.sum() * values.shape[1]).clamp(min=1)


def found_in(batch: Batch) -> Tensor:
    """Where the source shows what is to be taken away, (B, 1, *S).

    Raises:
        Lacking: the batch does not say.
    """
    if batch.found is None:
        raise Lacking("only a method that takes findings away knows where they are; its source is its target's channel")
    return batch.found


def mean_at(values: Tensor, place: Tensor) -> Tensor:
    """Mean of a critic's patch values (B, 1, *patches), each weighed by how much of `place` (B, 1, *S) lies in it.

    Raises:
        Lacking: for a critic that gives a case one value.
    """
    if values.ndim != place.ndim:
        raise Lacking("a critic of one value a case cannot tell findings from the rest; use one of patches")
    shares = F.interpolate(place, size=values.shape[2:], mode="area")
    return (values * shares).sum() / shares.sum().clamp(min=1e-3)


__all__ = [
    "Batch",
    "CriticTerm",
    "Lacking",
    "LossTerm",
    "Outputs",
    "Play",
    "field_of",
    "found_in",
    "judged",
    "layers_of",
    "mean_at",
    "mean_inside",
    "named",
]
