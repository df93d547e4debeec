"""How much memory the sampling of cases takes, before it starts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from genaug.acceleration import for_sampling
from genaug.convolution import current_route
from genaug.generation import CodeScale, generate, maker
from genaug.graphs import plays_graphs
from genaug.networks.base import Batch, System
from genaug.package import Package
from genaug.peak import GRAPHED, on_meta, peak_bytes
from genaug.recipe import Recipe, Sampler
from genaug.samplers import Noise
from genaug.slabs import SlabPlan, in_slabs
from genaug.stages import chains
from genaug.tensors import Roles

Asked: TypeAlias = tuple[str, int, str | None, str]
"""Sampler, cases, plan, and the route of convolutions, some of which need room of their own."""

_known: WeakKeyDictionary[Package, dict[Asked, int]] = WeakKeyDictionary()

FEW_STEPS = 6
"""Of a sampler, instead of all: what it holds does not grow with them."""


def sampling_bytes(
    recipe: Recipe,
    systems: Mapping[str, System],
    code_scale: CodeScale | None,
    roles: Roles,
    sampler: Sampler,
    size: Sequence[int],
    cases: int,
    plan: SlabPlan | None = None,
) -> int:
    """The most bytes that `generate` holds for a batch of `cases` of `size` voxels, weights and results included.

    Raises:
        RuntimeError, NotImplementedError: the networks ask for values, so their memory is not known beforehand.
    """
    small = _fewer_steps(recipe, systems, sampler)
    shapes = {name: on_meta(system) for name, system in systems.items()}

    def run() -> Tensor:
        with in_slabs(plan):
            return generate(recipe, shapes, code_scale, _noise(cases), shapes_batch(roles, size, cases), roles, small)

    return peak_bytes(run)


def package_bytes(package: Package, sampler: Sampler, cases: int, plan: SlabPlan | None = None) -> int:
    """`sampling_bytes` of a loaded package, found out once: a warm worker has many jobs for one model.

    Raises:
        RuntimeError, NotImplementedError: as `sampling_bytes`.
    """
    known = _known.setdefault(package, {})
    asked = (sampler.model_dump_json(), cases, None if plan is None else plan.model_dump_json(), current_route())
    if asked not in known:
        info = package.info
        known[asked] = sampling_bytes(
            info.recipe, package.systems, info.code_scale, info.roles, sampler, info.grid.size, cases, plan
        )
    return known[asked]


def sampling_on_gpu(package: Package, sampled: int) -> int:
    """What `package_bytes` becomes on a GPU, as sampling is accelerated there now."""
    graphed = for_sampling(package.device).graphs and any(map(plays_graphs, package.systems.values()))
    return GRAPHED * sampled if graphed else sampled


def shapes_batch(roles: Roles, size: Sequence[int], cases: int) -> Batch:
    """A batch of that many cases on the meta device: shapes and no values."""

    def maps(channels: int) -> Tensor | None:
        return torch.zeros(cases, channels, *size, device="meta") if channels else None

    sources = len(roles.target) if roles.hole else roles.source_channels
    target = maps(len(roles.target) + roles.label_channels)
    assert target is not None
    length = sum(length for _, length in roles.vector)
    return Batch(
        target,
        source=maps(sources),
        label_map=maps(len(roles.label_values) if roles.given_labels else 0),
        vector=torch.zeros(cases, length, device="meta") if length else None,
        found=maps(int(roles.findings)),
    )


def _noise(cases: int) -> Callable[[Sequence[int], torch.device], Noise]:
    def of(shape: Sequence[int], device: torch.device) -> Noise:
        # Stacked, as `samplers.CaseNoise` does it.
        def drawn(other: Sequence[int] | None = None) -> Tensor:
            asked = tuple(shape if other is None else other)
            return torch.stack([torch.empty(asked, device=device) for _ in range(cases)])

        return drawn

    return of


def _fewer_steps(recipe: Recipe, systems: Mapping[str, System], sampler: Sampler) -> Sampler:
    """The sampler with few steps, unless another network would then make the case."""
    fewer = sampler.model_copy(update={"steps": min(sampler.steps, FEW_STEPS)})
    for chain in chains(recipe, systems):
        if maker(recipe, chain, systems, fewer) != maker(recipe, chain, systems, sampler):
            return sampler
    return fewer
