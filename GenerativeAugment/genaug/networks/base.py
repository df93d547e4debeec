"""What the trainer and the samplers need of a network, whatever its method."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import type_before_parametrizations

from genaug.recipe import Sampler
from genaug.samplers import Callback, Noise


@dataclass
class Batch:
    """What a network sees of some cases. Spatial axes (I, J, K), or (I, J) in 2D.

    Attributes:
        target: what is to be generated: images in [-1, 1], then one-hot labels as ±1; (B, C, *S). In the latent space
            the scaled codes.
        source: condition images in [-1, 1], (B, Cs, *S).
        label_map: condition labels, one-hot 0/1, (B, L, *S).
        vector: what is known of the case as numbers, see `covariates`, and which sources it has; (B, V).
        inside: 1 where something was scanned, 0 where its edge was carried on, (B, 1, *S); None without padding.
        source_inside: the same of the source, where source and target are of different cases; `inside` is the target's
            alone then. Both are None without padding.
        found: 1 in the findings that the source shows and the target does not, (B, 1, *S), where the method is to take
            them away; see `tensors.Roles.findings`.
    """

    target: Tensor
    source: Tensor | None = None
    label_map: Tensor | None = None
    vector: Tensor | None = None
    inside: Tensor | None = None
    source_inside: Tensor | None = None
    found: Tensor | None = None

    @property
    def condition(self) -> Tensor | None:
        """Everything the output is conditioned on as channels (B, condition_channels, *S): the vector is spread out.

        None for an unconditional network.
        """
        parts = [part for part in (self.source, self.label_map) if part is not None]
        if self.vector is not None and self.vector.shape[1]:
            parts.append(spread(self.vector, self.target.shape[2:]))
        return torch.cat(parts, dim=1) if parts else None

    def known_where(self, known: Tensor) -> Batch:
        """The batch with nothing known, every condition zero, of the cases where `known` (B,) is False.

        Zeros mean "not known" everywhere: no level of a class, no flag of a number, no label, a grey image.
        """
        kept = {
            name: value * known.to(value).view(-1, *[1] * (value.ndim - 1))
            for name, value in vars(self).items()
            if name in CONDITIONS and value is not None
        }
        return replace(self, **kept)

    def to(self, device: torch.device | str, pinned: bool = False) -> Batch:
        """The batch on another device; `pinned`, from page-locked memory, while a GPU computes."""
        given = {name: value for name, value in vars(self).items() if isinstance(value, Tensor)}
        if pinned:
            given = {name: value.pin_memory() for name, value in given.items()}
        # Coming back, the numbers would be read before they are there.
        ahead = torch.device(device).type != "cpu"
        return replace(self, **{name: value.to(device, non_blocking=ahead) for name, value in given.items()})


def join(batches: Sequence[Batch]) -> Batch:
    """Batches with the same fields as one."""
    fields = [name for name, value in vars(batches[0]).items() if value is not None]
    return Batch(**{name: torch.cat([getattr(batch, name) for batch in batches]) for name in fields})


CONDITIONS = ("source", "label_map", "vector")
"""The fields of a Batch that a network is conditioned on."""


def spread(vector: Tensor, size: Sequence[int]) -> Tensor:
    """Numbers (B, V) as constant channels (B, V, *size)."""
    return vector.view(*vector.shape, *[1] * len(size)).expand(*vector.shape, *size)


Outputs = dict[str, Tensor]
"""What a forward pass leaves for the objective terms, by name:

raw: network output before activation, (B, C, *S); generated: the same as images in [-1, 1] and labels in [-1, 1];
mean, log_variance: the posterior; prediction, truth: of a denoiser, in its parameterisation.
"""


@dataclass(frozen=True)
class Signature:
    """The shapes a network is built for. It is stored in the package.

    Attributes:
        dimension: 2 or 3.
        window: voxels along each axis; of codes in the latent space, empty for codes without a place.
        image_channels, label_channels: of the target.
        condition_channels: of `Batch.condition`.
        vector: the parts of `Batch.vector`, each with its kind ("class", "number", "text", "source") and length.
    """

    dimension: int
    window: tuple[int, ...]
    image_channels: int
    label_channels: int
    condition_channels: int
    vector: tuple[tuple[str, int], ...] = ()

    @property
    def vector_length(self) -> int:
        """Numbers in `Batch.vector`."""
        return sum(length for _, length in self.vector)

    @property
    def channels(self) -> int:
        """Channels of the generated tensor."""
        return self.image_channels + self.label_channels

    def reduced(self, factor: int) -> tuple[int, ...]:
        """The window at 1 / `factor` of the resolution; raises ValueError where it is not divisible."""
        if any(n % factor for n in self.window):
            raise ValueError(f"window {self.window} is not divisible by {factor}")
        return tuple(n // factor for n in self.window)

    def to_dict(self) -> dict[str, Any]:
        """Plain form for JSON."""
        return {**vars(self), "window": list(self.window), "vector": [list(part) for part in self.vector]}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Signature:
        """Inverse of `to_dict`."""
        vector = tuple((str(kind), int(length)) for kind, length in data.get("vector", ()))
        return cls(**{**data, "window": tuple(data["window"]), "vector": vector})


def activate(raw: Tensor, image_channels: int) -> Tensor:
    """Bound a network's raw output: tanh for images, softmax scaled to [-1, 1] for label channels."""
    images, labels = raw[:, :image_channels], raw[:, image_channels:]
    parts = [torch.tanh(images)] if image_channels else []
    if labels.shape[1]:
        parts.append(2 * torch.softmax(labels, dim=1) - 1)
    return torch.cat(parts, dim=1)


def raw_mean(mean: Tensor, image_channels: int) -> Tensor:
    """The raw output that `activate` turns into the mean target (C, *S): inverse tanh, and log probabilities."""
    images = torch.atanh(mean[:image_channels].clamp(-0.98, 0.98))
    labels = ((mean[image_channels:] + 1) / 2).clamp(min=0.01).log()
    return torch.cat([images, labels])


class System(nn.Module, ABC):
    """A network as the rest of the code sees it: a training pass, and cases from noise."""

    stepped: ClassVar[bool] = False
    """Whether `sample` goes step by step as a sampler of `samplers` says; any other network has "one_pass"."""
    sampler_options: ClassVar[tuple[str, ...]] = ()
    """Numbers among the sampler's options that are the network's own."""

    def __init__(self, signature: Signature) -> None:
        super().__init__()
        self.signature = signature

    def start_at(self, mean: Tensor) -> None:
        """Told the mean target (C, *window) before training; a network that keeps it learns deviations from it only."""

    def fit(self, codes: Batch) -> None:
        """Told all codes (N, C, *window) before training on them: where a prior is fitted."""

    def follow(self, teacher: System) -> None:
        """Start from the weights of the stage that this one follows.

        Raises:
            ValueError: when one of them has no place here: a network that starts anew has nothing of its teacher.
        """
        take_whole(self, teacher)

    def suits(self, sampler: Sampler) -> bool:
        """Whether the network was trained for the steps of this sampler."""
        return True

    @abstractmethod
    def forward(self, batch: Batch, generator: torch.Generator) -> Outputs:
        """The training pass; every random number comes from `generator`."""

    @abstractmethod
    def noise_shape(self) -> tuple[int, ...]:
        """Shape of one case's noise, without the batch axis."""

    def code_length(self) -> int:
        """How many of the first numbers of a draw are a point of a normal code, which truncation moves to its middle.

        0 for a network that is no generator of such a code.
        """
        return 0

    @abstractmethod
    def sample(self, noise: Noise, batch: Batch, sampler: Sampler, callback: Callback | None = None) -> Tensor:
        """Cases (B, C, *S) in model space, from noise and the conditions of `batch` (its target is not read)."""


def take_alike(module: nn.Module, given: nn.Module) -> list[str]:
    """Copy every tensor of `given` that `module` has too, by name and shape; the names of the others are returned.

    Raises:
        ValueError: where the two have a layer of the same weights that does not do the same with them.
    """
    own, others = module.state_dict(), given.state_dict()
    alike = {key: others[key] for key, value in own.items() if key in others and others[key].shape == value.shape}
    for layer, there, here in unlike_layers(given, module, alike):
        raise ValueError(f"{layer} is {here}, where the stage that it follows has {there}")
    module.load_state_dict({**own, **alike})
    return [key for key in others if key not in alike]


def take_whole(module: nn.Module, given: nn.Module) -> None:
    """Copy every tensor of `given`.

    Raises:
        ValueError: when one of them has no place in `module`, and as `take_alike` does.
    """
    lost = take_alike(module, given)
    if lost:
        raise ValueError(f"{len(lost)} tensors of the stage that it follows have no place in it, such as {lost[0]}")


def unlike_layers(there: nn.Module, here: nn.Module, keys: Iterable[str]) -> Iterator[tuple[str, str, str]]:
    """Layers with tensors of these names that do not do the same with the same weights, and what they are.

    As norms of instances and of groups, or of other numbers of groups, do not.
    """
    for layer in dict.fromkeys(key.rpartition(".")[0] for key in keys if "." in key):
        one, other = there.get_submodule(layer), here.get_submodule(layer)
        if not _mean_the_same(one, other):
            yield layer, _kind(one), _kind(other)


def _mean_the_same(one: nn.Module, other: nn.Module) -> bool:
    """Whether two layers are of one kind.

    A loaded layer may compute in a way of its own, as a subclass of what it is; one whose spectrum is normalised has a
    class that no other layer has.
    """
    a, b = type_before_parametrizations(one), type_before_parametrizations(other)
    related = issubclass(a, b) or issubclass(b, a)
    return related and getattr(one, "num_groups", None) == getattr(other, "num_groups", None)


def _kind(layer: nn.Module) -> str:
    """What a layer is, for a message."""
    groups = getattr(layer, "num_groups", None)
    name = type_before_parametrizations(layer).__name__
    return name if groups is None else f"{name} with {groups} groups"


class OnePass(System):
    """A system whose cases are one call of `generate` away from the noise."""

    @abstractmethod
    def generate(self, noise: Tensor, batch: Batch) -> Tensor:
        """Raw output for given noise."""

    def sample(self, noise: Noise, batch: Batch, sampler: Sampler, callback: Callback | None = None) -> Tensor:
        """One call, for noise as far from the middle of the code as the sampler's truncation says."""
        made = self.generate(self.truncated(noise(), sampler.truncation), batch)
        result = activate(made, self.signature.image_channels)
        if callback is not None:
            callback(1, 1)
        return result

    def made_from(self, noise: Tensor, batch: Batch) -> Outputs:
        """What a training pass leaves of cases that are made from noise."""
        raw = self.generate(noise, batch)
        return {"raw": raw, "generated": activate(raw, self.signature.image_channels)}

    def truncated(self, noise: Tensor, scale: float) -> Tensor:
        """The noise with its code times `scale`: cases near the middle are the likeliest and the most alike.

        The truncation trick of Brock 2019 (arXiv:1809.11096), who draws anew what lies far away. What a case is asked
        to be keeps its full say, so against a smaller code it decides more.
        """
        if scale == 1:
            return noise
        code = self.code_length()
        return torch.cat([scale * noise[:, :code], noise[:, code:]], dim=1)


class FromNoise(OnePass):
    """A generator: what it learns from are cases that it makes from noise, never the batch's own."""

    latent: int

    def code_length(self) -> int:
        """All but grain and choices, which come last."""
        return self.latent

    def forward(self, batch: Batch, generator: torch.Generator) -> Outputs:
        """As many fakes as the batch has cases."""
        return self.made_from(draw((len(batch.target), *self.noise_shape()), batch.target, generator), batch)


@runtime_checkable
class Growing(Protocol):
    """A network that is not whole from the start of its training."""

    def grow(self, progress: float) -> None:
        """Told before every iteration which share of the training is over; a network that was never told is whole.

        What it was told last is kept with the weights.
        """


@runtime_checkable
class Remembering(Protocol):
    """A network that keeps something of the training cases when its training is over."""

    def remember(self, batches: Iterable[Batch]) -> None:
        """Told all cases once, the averaged network; what it keeps of them belongs to its weights."""


class Autoencoder(OnePass):
    """A system that also goes from cases to the noise they would come from: what a stage in the latent space learns."""

    @abstractmethod
    def codes(self, batch: Batch) -> Tensor:
        """The codes (B, ...) of the batch's cases, of `noise_shape` each; integers where the code is discrete."""

    centered = False
    """Whether codes are measured from their mean, voxel by voxel, see `center`."""

    def center(self, mean: Tensor) -> None:
        """From now on measure codes from `mean`, the mean of what `codes` gives now."""
        raise NotImplementedError(f"{type(self).__name__} keeps no mean of its codes")


def posterior_draw(mean: Tensor, log_variance: Tensor, generator: torch.Generator) -> Tensor:
    """One code from a Gaussian posterior (Kingma and Welling 2014, the reparameterisation)."""
    return mean + (0.5 * log_variance).exp() * draw(tuple(mean.shape), mean, generator)


def single_precision(like: Tensor) -> torch.autocast:
    """Within it what is single stays so, on the device of `like`, whatever autocast says."""
    # Shapes alone, on the meta device, are computed as on the CPU.
    return torch.autocast("cpu" if like.is_meta else like.device.type, enabled=False)


def draw(shape: tuple[int, ...], like: Tensor, generator: torch.Generator) -> Tensor:
    """Standard normal numbers drawn on the generator's device, then moved to `like`'s.

    Training draws on the CPU, so that a run has the same numbers on every device.
    """
    return torch.randn(shape, generator=generator, device=generator.device).to(like.device, like.dtype)
