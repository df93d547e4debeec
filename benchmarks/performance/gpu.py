"""What each of a GPU's accelerations is worth: the same work with it and without."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from genaug.acceleration import Acceleration, arithmetic
from genaug.channels_last import to_layout
from genaug.graphs import GraphedCall, Record, graphs
from genaug.networks import Batch
from genaug.training import TrainingPlan
from genaug.training.loop import StageRun
from monai.networks.nets import DiffusionModelUNet
from torch import Tensor, nn

from benchmarks.data import hippocampus
from benchmarks.performance.row import Result, Spec, timed
from benchmarks.performance.timing import Times, interleaved
from benchmarks.performance.training_step import CASES, planned, stage_of
from benchmarks.performance.translation import translator

GPU = "cuda"
STEPS = 10
"""Training steps, or network calls, of a repetition: a single one would be over before it could be timed."""


def both(ours: Callable[[], object], peer: Callable[[], object]) -> tuple[Times, Times]:
    """Interleaved times of `STEPS` each, until the GPU is done."""

    def whole(one: Callable[[], object]) -> Callable[[], None]:
        def run() -> None:
            for _ in range(STEPS):
                one()
            if torch.cuda.is_available():
                torch.cuda.synchronize()

        return run

    return interleaved(whole(ours), whole(peer))


def training_row(row: str, title: str, precisions: tuple[str, str], tf32: tuple[bool, bool]) -> Result:
    """Steps of WGAN-GP with two kinds of arithmetic, ours first."""
    cohort = hippocampus()
    cohort = cohort.with_cases(cohort.part("train")[:CASES])
    with planned(cohort, "wgan-gp", {}) as (plan, folder):
        runs = [step_with(plan, folder, precision, on) for precision, on in zip(precisions, tf32, strict=True)]
        times = both(*(step for _, step in runs))
        return timed(row, title, "the same without", "approximate", times, None, detail={"steps": STEPS})


def step_with(
    plan: TrainingPlan, folder: Path, precision: str, tf32: bool, device: str = GPU
) -> tuple[StageRun, Callable[[], object]]:
    """A run and what does one of its steps in the given arithmetic."""
    options = plan.options.model_copy(update={"precision": precision})
    accelerated = Acceleration(tf32=tf32)
    run = stage_of(plan.model_copy(update={"options": options}), folder, "gan", None, device, accelerated)

    def step() -> None:
        with arithmetic(accelerated):
            run.step()
        run.iteration += 1

    return run, step


def amp() -> list[Result]:
    """Half precision as `auto` chooses it, and none."""
    title = "training of WGAN-GP in the half precision of auto"
    return [training_row("gpu-amp-training", title, ("auto", "32-true"), (False, False))]


def tf32() -> list[Result]:
    """TF32 in single precision."""
    title = "training of WGAN-GP in single precision with TF32"
    return [training_row("gpu-tf32-training", title, ("32-true", "32-true"), (True, False))]


def in_both_layouts(network: nn.Module, x: Tensor) -> tuple[Callable[[], Tensor], Callable[[], Tensor]]:
    """A network's answer with channels last and in the usual layout."""
    last = copy.deepcopy(network)
    to_layout(last, "channels_last")
    return _call(last, x), _call(network, x)


def layout() -> list[Result]:
    """The U-Net of a translation."""
    window = (64, 64, 64)
    system = translator(window).to(GPU)
    x = torch.randn(2, 1, *window, device=GPU)
    ours, peer = in_both_layouts(_Translating(system), x)
    with arithmetic(Acceleration()):
        error = largest(ours(), peer())
    return [
        timed(
            "gpu-channels-last",
            "two windows of 64×64×64 through the U-Net of unet-l1, channels last",
            "the usual layout",
            "approximate",
            both(ours, peer),
            None,
            error=error,
            detail={"calls": STEPS},
        )
    ]


def with_graph(
    network: DiffusionModelUNet, x: Tensor, record: Record | None = None
) -> tuple[Callable[[], Tensor], Callable[[], Tensor]]:
    """A denoiser's call played from a graph, and launched kernel by kernel."""
    graphed = copy.deepcopy(network)
    graphed.forward = GraphedCall(graphed.forward, record)
    timesteps = torch.full((len(x),), 500.0, device=x.device)

    def ours() -> Tensor:
        with torch.no_grad(), graphs(True):
            return torch.as_tensor(graphed(x, timesteps))

    def peer() -> Tensor:
        with torch.no_grad():
            return torch.as_tensor(network(x, timesteps))

    return ours, peer


def sampling() -> list[Result]:
    """The latent denoiser of `ldm`, one case."""
    torch.manual_seed(0)
    network = DiffusionModelUNet(
        3, 32, 32, (1, 1), (96, 160), (False, True), norm_num_groups=16, num_head_channels=(0, 32)
    )
    # Untrained, its last layer is zero, and every answer would be.
    nn.init.normal_(network.out[-1].conv.weight)
    ours, peer = with_graph(network.eval().to(GPU), torch.randn(1, 32, 12, 16, 12, device=GPU))
    return [
        timed(
            "gpu-graphs-sampling",
            "calls of the latent denoiser, batch 1, played from a CUDA graph",
            "launched kernel by kernel",
            "exact",
            both(ours, peer),
            None,
            error=largest(ours(), peer()),
            detail={"calls": STEPS},
        )
    ]


def moving(device: str, pinned: bool) -> Callable[[], object]:
    """A batch brought to the device while that is busy with the one before."""
    batch = Batch(torch.randn(8, 4, 48, 64, 48))
    layer = nn.Conv3d(4, 16, 3, padding=1).to(device)

    def move() -> Tensor:
        with torch.no_grad():
            return torch.as_tensor(layer(batch.to(device, pinned).target))

    return move


def transfers() -> list[Result]:
    """Batches of 19 MB."""
    times = both(moving(GPU, True), moving(GPU, False))
    return [
        timed(
            "gpu-pinned-transfers",
            "batches of 8 × 4×48×64×48 to the GPU from pinned memory while it computes",
            "from pageable memory",
            "exact",
            times,
            None,
            detail={"batches": STEPS},
        )
    ]


def largest(one: Tensor, other: Tensor) -> dict[str, float]:
    """Difference and the largest value."""
    return {"largest": float((one - other).abs().max()), "of": float(other.abs().max())}


class _Translating(nn.Module):
    """A translator as a plain network."""

    def __init__(self, system: Any) -> None:
        super().__init__()
        self.system = system

    def forward(self, x: Tensor) -> Tensor:
        return torch.as_tensor(self.system.translated(replace(Batch(x), source=x)))


def _call(network: nn.Module, x: Tensor) -> Callable[[], Tensor]:
    def call() -> Tensor:
        with torch.no_grad():
            return torch.as_tensor(network(x))

    return call


SPECS = (
    Spec("gpu-amp", ("gpu-amp-training",), amp, gpu=True),
    Spec("gpu-tf32", ("gpu-tf32-training",), tf32, gpu=True),
    Spec("gpu-layout", ("gpu-channels-last",), layout, gpu=True),
    Spec("gpu-graphs", ("gpu-graphs-sampling",), sampling, gpu=True),
    Spec("gpu-transfers", ("gpu-pinned-transfers",), transfers, gpu=True),
)
