"""The denoiser: any trained network as a function from a noisy image and its noise level to the clean image.

Samplers see only this function, `denoise(x, sigma) -> x0`, in variance-exploding coordinates (x = x0 + sigma * noise),
so none of them asks what the network predicts, on which schedule it was trained, or what it is conditioned on.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias, Union

import torch
from torch import Tensor

from genaug.errors import GenaugError, Reason
from genaug.schedule import Prediction, Schedule

Conditions: TypeAlias = Mapping[str, Union[Tensor, "Conditions"]]
"""What a network is conditioned on, by name; every tensor starts with the batch axis."""

Network: TypeAlias = Callable[[Tensor, Tensor, Conditions], Tensor]
"""(x in VP coordinates (B, C, ...), timesteps (B,) fractional, conditions) -> output of x's shape."""

Hold: TypeAlias = Callable[[Tensor], Tensor]
"""An estimate (B, C, ...) -> the nearest that a clean image can be."""

Denoise: TypeAlias = Callable[[Tensor, float], Tensor]
"""(x in VE coordinates (B, C, ...), sigma) -> estimate of the clean image, of x's shape."""

NO_CONDITIONS: Conditions = {}


class Preconditioning(NamedTuple):
    """x0 = skip * x + out * network(scale_in * x), with x in VE coordinates (eq. 7 of arXiv:2206.00364)."""

    skip: float
    out: float
    scale_in: float


def preconditioning(prediction: Prediction, sigma: float) -> Preconditioning:
    """The coefficients for a network trained in VP coordinates, where scale_in = sqrt(alpha_bar).

    A rectified flow is one of them: its x_t = (1 - t) x0 + t noise is x / (1 + sigma) with sigma = t / (1 - t), and its
    network may as well be shown the same point at unit variance.
    """
    scale_in = 1 / math.sqrt(1 + sigma**2)
    if prediction == "epsilon":
        return Preconditioning(1.0, -sigma, scale_in)
    if prediction == "v":
        return Preconditioning(scale_in**2, -sigma * scale_in, scale_in)
    if prediction == "flow":
        return Preconditioning(1 / (1 + sigma), -sigma / (1 + sigma), scale_in)
    return Preconditioning(0.0, 1.0, scale_in)


@dataclass(frozen=True)
class Denoiser:
    """A network with its schedule and what its output means, as a function of noise level.

    Attributes:
        network: see Network. Timesteps are float32 at least, never rounded: a sampler's noise levels lie between those
            of training, and the sinusoidal embedding is continuous.
        schedule: the one the network was trained on.
        prediction: what the network's output means.
        hold: brings an estimate into the range of clean images; None for latents, which have no bounds.
    """

    network: Network
    schedule: Schedule
    prediction: Prediction
    hold: Hold | None = None

    def __call__(self, x: Tensor, sigma: float, conditions: Conditions = NO_CONDITIONS) -> Tensor:
        """Estimate of the clean image, held to its range.

        Args:
            x: (B, C, ...), VE coordinates.
            sigma: noise level, within the schedule's.
            conditions: tensors of batch B.
        """
        return self.held(self.free(x, sigma, conditions))

    def free(self, x: Tensor, sigma: float, conditions: Conditions = NO_CONDITIONS) -> Tensor:
        """The network's own estimate, whatever its range."""
        skip, out, scale_in = preconditioning(self.prediction, sigma)
        dtype = torch.promote_types(x.dtype, torch.float32)
        timesteps = torch.full((x.shape[0],), self.schedule.timestep_of(sigma), dtype=dtype, device=x.device)
        # Under autocast the output is half precision, in which sigma * noise would lose the image.
        output = self.network(x * scale_in, timesteps, conditions).to(x.dtype)
        return skip * x + out * output if skip else out * output

    def held(self, x0: Tensor) -> Tensor:
        """`x0` in the range of clean images."""
        return x0 if self.hold is None else self.hold(x0)


def guided(
    denoiser: Denoiser,
    conditions: Conditions = NO_CONDITIONS,
    null_conditions: Conditions | None = None,
    scale: float = 1.0,
) -> Denoise:
    """A denoiser with its conditions bound, under classifier-free guidance (Ho and Salimans 2022, arXiv:2207.12598).

    The estimate is null + scale * (conditional - null). Both come from one call of batch 2B, null first, in which every
    condition is doubled. Scale 1 is the conditional estimate alone and makes one plain call of batch B. The combination
    is held to its range, not its parts: extrapolation leaves the range that both lie in.

    Args:
        denoiser: the model.
        conditions: tensors of batch B.
        null_conditions: what stood for "no condition" in training, same names and shapes; needed unless `scale` is 1.
        scale: guidance scale; above 1 follows the conditions more closely at the cost of diversity.

    Raises:
        GenaugError: BAD_PARAMETER, when guidance is asked of a model that has no conditions or learnt no null.
        ValueError: conditions and null conditions do not match, or x has another batch size.
    """
    if scale == 1.0:
        return lambda x, sigma: denoiser(x, sigma, conditions)
    if not math.isfinite(scale):
        raise _bad_guidance(scale, "a finite number", "Choose a guidance scale between 1 and 8.")
    if null_conditions is None or not conditions:
        raise _bad_guidance(
            scale,
            "1, because the model has no conditions or was trained without leaving them out",
            "Set the guidance scale to 1, or train with condition dropout.",
        )
    doubled = _doubled(null_conditions, conditions)

    def denoise(x: Tensor, sigma: float) -> Tensor:
        for name, tensor in _leaves(doubled):
            if tensor.shape[0] != 2 * x.shape[0]:
                raise ValueError(f"condition {name} is of batch {tensor.shape[0] // 2}, x of batch {x.shape[0]}")
        null, conditional = denoiser.free(torch.cat([x, x]), sigma, doubled).chunk(2)
        return denoiser.held(null + scale * (conditional - null))

    return denoise


def _bad_guidance(scale: float, expected: str, remedy: str) -> GenaugError:
    return GenaugError(Reason.BAD_PARAMETER, "guidance scale", f"{scale:g}", expected, remedy)


def _doubled(null: Conditions, conditions: Conditions) -> dict[str, Tensor | Conditions]:
    """Both mappings, concatenated along the batch axis at every leaf."""
    if null.keys() != conditions.keys():
        raise ValueError(f"conditions {sorted(conditions)} against null conditions {sorted(null)}")
    joined: dict[str, Tensor | Conditions] = {}
    for name, value in conditions.items():
        other = null[name]
        if isinstance(value, Tensor) and isinstance(other, Tensor):
            if value.shape != other.shape:
                raise ValueError(f"condition {name} has shape {tuple(value.shape)}, its null {tuple(other.shape)}")
            joined[name] = torch.cat([other, value])
        elif isinstance(value, Mapping) and isinstance(other, Mapping):
            joined[name] = _doubled(other, value)
        else:
            raise ValueError(f"condition {name} is a {type(value).__name__}, its null a {type(other).__name__}")
    return joined


def _leaves(conditions: Conditions) -> Iterator[tuple[str, Tensor]]:
    for name, value in conditions.items():
        if isinstance(value, Tensor):
            yield name, value
        else:
            yield from _leaves(value)
