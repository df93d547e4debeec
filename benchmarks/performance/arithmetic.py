"""What an H100 should need for latent diffusion, from the work there is and the numbers NVIDIA publishes.

What one really took is measured by `gpu_work`.

Counted on tensors without memory: multiplications and additions of convolutions and matrix products, the numbers that
each operation reads and writes when none are fused, and the operations.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from genaug.networks import SpatialAutoencoder, build_system
from genaug.networks.denoising import DenoisingSystem
from genaug.recipe import Recipe, load_recipe
from genaug.stages import stage_signature
from genaug.strict import Strict
from genaug.tensors import Roles
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

PEAKS = {"bf16": 989e12, "tf32": 495e12, "fp32": 67e12}
"""Operations a second of an H100 SXM without sparsity, from its data sheet."""

BYTES = {"bf16": 2, "tf32": 4, "fp32": 4}
BANDWIDTH = 3.35e12
EFFICIENCY = (0.2, 0.4)
"""Of the peak, that convolutions of 32 to 160 channels are assumed to reach."""

BANDWIDTH_REACHED = 0.6
LAUNCH_S = 5e-6
"""Assumed for starting an operation from Python, where no CUDA graph is used."""

SIZES = ((64, 64, 64), (128, 128, 128), (160, 192, 160))
TRAINED = (64, 64, 64)
ROLES = Roles(target=["image"])


class Work(Strict):
    """What one step of the computation consists of.

    Attributes:
        what: for the table.
        flops: multiplications and additions.
        numbers: read and written by all operations.
        operations: started one after another.
    """

    what: str
    flops: int
    numbers: int
    operations: int

    def seconds(self, precision: str) -> tuple[float, float]:
        """The quickest and the slowest that is assumed to be possible."""
        moved = self.numbers * BYTES[precision] / BANDWIDTH
        slow, quick = (self.flops / (PEAKS[precision] * share) for share in EFFICIENCY)
        return max(quick, moved), slow + moved / BANDWIDTH_REACHED + self.operations * LAUNCH_S


class _Moved(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts operations that compute, and the numbers they read and write."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.numbers = self.operations = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        # Views neither read nor write.
        if not func.is_view:
            given = [one for one in _flat((args, result)) if isinstance(one, torch.Tensor)]
            self.numbers += sum(one.numel() for one in given)
            self.operations += 1
        return result


def _flat(values: Any) -> list[Any]:
    if isinstance(values, list | tuple):
        return [one for value in values for one in _flat(value)]
    return [values]


def ldm_systems(size: Sequence[int], device: str = "cpu") -> tuple[Recipe, SpatialAutoencoder, DenoisingSystem]:
    """The networks of the recipe `ldm` as it is in 3D, untrained, for volumes of a size."""
    recipe = load_recipe("ldm").resolve(3)
    first, second = recipe.stages.items()
    autoencoder = build_system(first[1].network, stage_signature(first[1], 3, size, ROLES))
    assert isinstance(autoencoder, SpatialAutoencoder)
    channels, *code = autoencoder.noise_shape()
    signature = replace(stage_signature(second[1], 3, code, ROLES), image_channels=channels)
    denoiser = build_system(second[1].network, signature)
    assert isinstance(denoiser, DenoisingSystem)
    return recipe, autoencoder.eval().to(device), denoiser.eval().to(device)


def counted(what: str, work: Callable[[], object]) -> Work:
    """Count what a piece of work does."""
    with FlopCounterMode(display=False) as flops, _Moved() as moved:
        work()
    return Work(what=what, flops=flops.get_total_flops(), numbers=moved.numbers, operations=moved.operations)


def expected(sizes: Sequence[tuple[int, int, int]] = SIZES, trained: tuple[int, int, int] = TRAINED) -> list[Work]:
    """One call, one decode and the whole case at each size; one training step of the denoiser."""
    found = []
    for size in sizes:
        recipe, autoencoder, denoiser = ldm_systems(size, "meta")
        code = torch.zeros(1, *denoiser.noise_shape(), device="meta")
        name = " × ".join(map(str, size))
        with torch.no_grad():
            call = counted(f"denoiser, one call, {name}", partial(one_call, denoiser, code))
            decode = counted(f"decoder, {name}", partial(autoencoder.decode, code))
        steps = recipe.sampler.steps if recipe.sampler is not None else 1
        whole = {key: steps * getattr(call, key) + getattr(decode, key) for key in ("flops", "numbers", "operations")}
        found += [call, decode, Work(what=f"a case of {name}, {steps} steps", **whole)]
    recipe, _, denoiser = ldm_systems(trained, "meta")
    denoiser.train()
    size_of_batch = list(recipe.stages.values())[-1].training.batch_size
    codes = torch.zeros(size_of_batch, *denoiser.noise_shape(), device="meta")
    name = " × ".join(map(str, trained))
    found.append(counted(f"denoiser, one training step, batch {size_of_batch}, {name}", denoiser_step(denoiser, codes)))
    return found


def one_call(denoiser: DenoisingSystem, codes: torch.Tensor) -> torch.Tensor:
    """What the network says of noisy codes."""
    timesteps = torch.zeros(len(codes), dtype=torch.long, device=codes.device)
    return denoiser.predict(codes, timesteps, {})


def denoiser_step(denoiser: DenoisingSystem, codes: torch.Tensor) -> Callable[[], None]:
    """What takes one step of training."""
    optimizer = torch.optim.AdamW(denoiser.parameters())

    def step() -> None:
        optimizer.zero_grad()
        loss = (one_call(denoiser, codes).float() - codes).square().mean()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return step


def table(
    works: Sequence[Work], measured: Mapping[str, Mapping[str, float]] | None = None
) -> tuple[tuple[str, ...], list[list[str]]]:
    """Header and rows: work, then the range of seconds in each precision, and what a GPU took where it was measured.

    Args:
        works: that were counted.
        measured: seconds by `Work.what` and precision; all but PEAKS come last.
    """
    measured = measured or {}
    others = list(dict.fromkeys(name for seconds in measured.values() for name in seconds if name not in PEAKS))
    rows = []
    for work in works:
        taken = measured.get(work.what, {})
        expectations = {precision: _range(work.seconds(precision)) for precision in PEAKS}
        rows.append(
            [
                work.what,
                f"{work.flops / 1e9:,.0f}",
                f"{work.numbers * BYTES['bf16'] / 1e9:.3g}",
                f"{work.operations:,}",
                *(_beside(taken.get(precision), words) for precision, words in expectations.items()),
                *(_milliseconds(taken[name]) if name in taken else "" for name in others),
            ]
        )
    return ("what", "GFLOP", "GB moved in bf16", "operations", *PEAKS, *others), rows


def _range(seconds: tuple[float, float]) -> str:
    low, high = (1e3 * value for value in seconds)
    digits = max(0, 1 - math.floor(math.log10(low)))
    return f"{low:.{digits}f} to {high:.{digits}f} ms"


def _beside(taken: float | None, expectation: str) -> str:
    return expectation if taken is None else f"{_milliseconds(taken)} (expected {expectation})"


def _milliseconds(seconds: float) -> str:
    return f"**{1e3 * seconds:.3g} ms**"
