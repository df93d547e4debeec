"""The work that `arithmetic` counts, done on a GPU in each precision and timed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from genaug.acceleration import Acceleration, arithmetic, following
from genaug.channels_last import faster_layout, to_layout
from genaug.convolution import route_convolutions
from genaug.generation import generate
from genaug.graphs import graph_denoisers
from genaug.networks import Batch
from genaug.recipe import Recipe
from genaug.strict import Strict
from pydantic import Field

from benchmarks.performance.arithmetic import PEAKS, ROLES, SIZES, TRAINED, denoiser_step, ldm_systems, one_call
from benchmarks.performance.timing import REPETITIONS, machine, repeated

GRAPHS = "tf32, graphs"
"""What a synthesis has on such a GPU, see `genaug.acceleration`."""

FEW = 3
"""Repetitions of a whole case, which are many calls by themselves."""


class Measured(Strict):
    """What a piece of work took.

    Attributes:
        seconds: median by precision; by GRAPHS for whole cases, as a synthesis makes them.
        peak_bytes: of the GPU's memory, in single precision.
    """

    seconds: dict[str, float]
    peak_bytes: int


class GpuWork(Strict):
    """All of it.

    Attributes:
        work: by the words of `arithmetic.Work.what`.
        machine: it was measured on.
    """

    work: dict[str, Measured]
    machine: dict[str, Any] = Field(default_factory=machine)


def measure(
    device: str = "cuda",
    sizes: Sequence[tuple[int, int, int]] = SIZES,
    trained: tuple[int, int, int] = TRAINED,
    steps: int | None = None,
) -> GpuWork:
    """Time one call, one decode and a whole case at each size, and one training step of the denoiser.

    Args:
        device: that computes.
        sizes: of cases, in voxels.
        trained: size of the cases that the step sees.
        steps: of a case; those of the recipe where None.
    """
    found: dict[str, Measured] = {}
    for size in sizes:
        recipe, autoencoder, denoiser = ldm_systems(size, device)
        systems = dict(zip(recipe.stages, (autoencoder, denoiser), strict=True))
        for system in systems.values():
            route_convolutions(system)
            graph_denoisers(system)
        code = torch.randn(1, *denoiser.noise_shape(), device=device)
        name = " × ".join(map(str, size))
        found[f"denoiser, one call, {name}"] = timed(partial(one_call, denoiser, code), device)
        found[f"decoder, {name}"] = timed(partial(autoencoder.decode, code), device)
        assert recipe.sampler is not None
        sampler = recipe.sampler if steps is None else recipe.sampler.model_copy(update={"steps": steps})
        whole = partial(a_case, recipe.model_copy(update={"sampler": sampler}), systems, size, device)
        found[f"a case of {name}, {sampler.steps} steps"] = timed(whole, device, FEW, graphs=device != "cpu")
    recipe, _, denoiser = ldm_systems(trained, device)
    denoiser.train()
    if device != "cpu":
        to_layout(denoiser, faster_layout(torch.device(device)))
    size_of_batch = list(recipe.stages.values())[-1].training.batch_size
    codes = torch.randn(size_of_batch, *denoiser.noise_shape(), device=device)
    name = " × ".join(map(str, trained))
    step = denoiser_step(denoiser, codes)
    found[f"denoiser, one training step, batch {size_of_batch}, {name}"] = timed(step, device, learning=True)
    return GpuWork(work=found)


def a_case(recipe: Recipe, systems: Mapping[str, Any], size: Sequence[int], device: str) -> torch.Tensor:
    """One case as `genaug synthesize` makes it, in model space."""
    batch = Batch(torch.zeros(1, 1, *size, device=device))
    generators = [torch.Generator().manual_seed(0)]
    return generate(recipe, systems, None, generators, batch, ROLES, recipe.sampler)


def timed(
    work: Callable[[], object],
    device: str,
    repetitions: int = REPETITIONS,
    graphs: bool = False,
    learning: bool = False,
) -> Measured:
    """Seconds in every precision, until the device is done."""
    on_gpu = torch.device(device).type == "cuda"

    def whole() -> None:
        work()
        if on_gpu:
            torch.cuda.synchronize()

    seconds = {}
    for precision in (*PEAKS, *((GRAPHS,) if graphs else ())):
        if on_gpu and precision == "fp32":
            torch.cuda.reset_peak_memory_stats()
        with torch.set_grad_enabled(learning), computing(precision, device):
            seconds[precision] = repeated(whole, repetitions).median
        if precision == "fp32":
            peak = torch.cuda.max_memory_allocated() if on_gpu else 0
    return Measured(seconds=seconds, peak_bytes=peak)


@contextmanager
def computing(precision: str, device: str) -> Iterator[None]:
    """Inside, networks compute so."""
    chosen = Acceleration(tf32=precision in ("tf32", GRAPHS), graphs=precision == GRAPHS)
    half = torch.autocast(torch.device(device).type, torch.bfloat16, enabled=precision == "bf16")
    with half, following(chosen.model_dump()), arithmetic(chosen):
        yield
