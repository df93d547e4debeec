"""One training step: the engine's, whole, beside the loop of MONAI's tutorials on the same networks and weights.

Ours reads its batch from the prepared cases, steps, clips and keeps the averaged weights; the tutorial's loop has its
cases in memory, as CacheDataset does, and neither clips nor averages.
"""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias, cast

import numpy as np
import torch
import torch.nn.functional as F
from genaug import half_precision
from genaug.acceleration import Acceleration, for_training
from genaug.cohort import Cohort
from genaug.networks import Batch, SpatialAutoencoder
from genaug.networks.denoising import DenoisingSystem
from genaug.progress import Silent
from genaug.stages import StageData, stage_signature
from genaug.tensors import CodeStore, Source, TensorStore
from genaug.training import TrainingOptions, TrainingPlan, make_plan
from genaug.training.loop import Setting, StageRun, derive
from genaug.training.plan import TENSORS
from genaug.training.run import encode_all, make_fabric, stage_run
from monai.inferers import LatentDiffusionInferer
from monai.losses import PatchAdversarialLoss
from monai.networks.schedulers import DDPMScheduler
from torch import Tensor, nn
from torch.utils.data import DataLoader

from benchmarks.data import hippocampus
from benchmarks.performance.row import Result, Spec, timed
from benchmarks.performance.timing import interleaved

CASES = 32
GOAL = 1.3
BOUND = (
    "Of a step in single precision 70 to 85 % are oneDNN's convolutions and their two gradients (profiled), which both "
    "ways have to work out. With channels last, which ours has, they run at 480 to 560 GFLOP/s, where a product of "
    "large matrices gets 440 from oneDNN and 210 from MKL. Tried besides: torch's fused AdamW (no faster on a CPU, and "
    "wrong where a gradient has another memory order than its weight), its foreach AdamW (slower), memory kept instead "
    "of given back between steps (no page fault is left, and nothing gained), half precision (its own row)."
)
"""Why a ratio stays below the goal."""

ALLOWED = 1e-4
"""Largest difference of the results, as a share of the largest value."""

Step = Callable[[], object]

TUTORIAL_TERMS: dict[str, Any] = {
    "loss": {
        "gradient_difference": False,
        "cross_entropy": False,
        "feature_matching": False,
        "adversarial": {"start": 0},
    },
    "critic_loss": {"critic": {"adversarial": {"start": 0}}},
}
"""What the tutorial's autoencoder is trained with, of the terms of the recipe."""

EPSILON: dict[str, Any] = {"network": {"options": {"prediction": "epsilon"}}}
"""What the tutorial's denoiser predicts."""


@contextmanager
def planned(cohort: Cohort, recipe: str, overrides: dict[str, Any]) -> Iterator[tuple[TrainingPlan, Path]]:
    """A plan with its prepared cases, as `genaug train` makes them."""
    options = TrainingOptions(
        recipe=recipe, with_labels=False, overrides=overrides, checkpoint_every=10**9, preview_every=10**9
    )
    with tempfile.TemporaryDirectory() as folder:
        yield make_plan(cohort, options, Path(folder), Silent()), Path(folder)


def stage_of(
    plan: TrainingPlan,
    folder: Path,
    name: str,
    autoencoder: SpatialAutoencoder | None = None,
    device: str = "cpu",
    accelerated: Acceleration | None = None,
) -> StageRun:
    """A stage of the plan about to be trained, as the device is chosen to do it unless `accelerated` says otherwise.

    One in the latent space is trained on the codes of `autoencoder`.
    """
    stage = plan.recipe.stages[name]
    fabric = make_fabric(plan.options, device)
    chosen = accelerated or for_training("auto", fabric.device, plan.grid.dimension)
    setting = Setting(fabric, folder, plan.options.seed, Silent(), acceleration=chosen)
    signature = stage_signature(stage, plan.grid.dimension, plan.grid.size, plan.roles)
    data: StageData | CodeStore = StageData(
        TensorStore(folder / TENSORS, plan.grid.size, stage.training.shift, stage.training.flip), stage
    )
    if autoencoder is not None:
        codes, _ = encode_all(plan, folder, list(plan.recipe.stages), autoencoder, setting.fabric)
        window = tuple(codes.target.shape[2:])
        signature = replace(stage_signature(stage, 3, window, plan.roles), image_channels=codes.target.shape[1])
        data = CodeStore(codes)
    return stage_run(name, stage, signature, data, setting, plan.options)


def in_memory(plan: TrainingPlan, folder: Path, size: int) -> Iterator[Tensor]:
    """Endless shuffled batches of the whole cases, which lie in memory."""
    store = TensorStore(folder / TENSORS, plan.grid.size)
    rng = torch.Generator().manual_seed(0)
    cases = [store.batch([item], np.random.default_rng(0)).target[0] for item in range(len(store))]
    loader: DataLoader[Tensor] = DataLoader(cases, size, shuffle=True, drop_last=True, generator=rng)  # type: ignore[arg-type]
    while True:
        yield from loader


def plain(network: nn.Module) -> nn.Module:
    """A copy in torch's own memory format, as the tutorial has it."""
    copied = copy.deepcopy(network)
    for parameter in copied.parameters():
        parameter.data = parameter.data.contiguous()
    return copied


class AutoencoderLoop:
    """Stage 1 of MONAI's latent diffusion tutorial: L1, KL and a patch critic, without the perceptual term."""

    def __init__(self, run: StageRun) -> None:
        t = run.stage.training
        self.autoencoder = cast(SpatialAutoencoder, plain(run.system))
        self.critic = plain(run.critics["critic"])
        self.adversarial = PatchAdversarialLoss(criterion="least_squares", no_activation_leastsq=True)
        self.optimizers = [
            torch.optim.Adam(network.parameters(), t.learning_rate) for network in (self.autoencoder, self.critic)
        ]

    def step(self, images: Tensor, noise: torch.Generator | None = None) -> dict[str, float]:
        """The autoencoder's update, then the critic's."""
        generator, discriminator = self.optimizers
        generator.zero_grad(set_to_none=True)
        mean, deviation = self.autoencoder.encode(images)
        drawn = torch.randn(mean.shape, generator=noise)
        reconstruction = torch.tanh(self.autoencoder.decode(mean + deviation * drawn))
        l1 = F.l1_loss(reconstruction, images)
        kl = 0.5 * (mean**2 + deviation**2 - torch.log(deviation**2) - 1).mean()
        fooled = self.adversarial(self.critic(reconstruction), target_is_real=True, for_discriminator=False)
        (l1 + 1e-5 * kl + 0.1 * fooled).backward()
        generator.step()
        discriminator.zero_grad(set_to_none=True)
        fake = self.adversarial(self.critic(reconstruction.detach()), target_is_real=False, for_discriminator=True)
        real = self.adversarial(self.critic(images), target_is_real=True, for_discriminator=True)
        loss: Tensor = (fake + real) * 0.5
        loss.backward()  # type: ignore[no-untyped-call]
        discriminator.step()
        return {"network/l1": l1.item(), "critic/adversarial": loss.item()}


class Codes(nn.Module):
    """The autoencoder in the form that MONAI's inferer asks for."""

    def __init__(self, autoencoder: SpatialAutoencoder) -> None:
        super().__init__()
        self.autoencoder = autoencoder

    def encode_stage_2_inputs(self, x: Tensor) -> Tensor:
        """A draw from the posterior."""
        return torch.as_tensor(self.autoencoder.network.encode_stage_2_inputs(self.autoencoder.front(x)))


class Framed(nn.Module):
    """The denoising network with its transform on either side."""

    def __init__(self, system: DenoisingSystem) -> None:
        super().__init__()
        self.system = system

    def forward(self, x: Tensor, timesteps: Tensor, context: Tensor | None = None, **_: object) -> Tensor:
        """Prediction for noised codes."""
        return self.system.predict(x, timesteps, {})


class DenoiserLoop:
    """Stage 2 of the tutorial: every step encodes its images, through MONAI's LatentDiffusionInferer."""

    def __init__(self, run: StageRun, autoencoder: SpatialAutoencoder) -> None:
        self.codes = Codes(cast(SpatialAutoencoder, plain(autoencoder))).eval()
        self.network = Framed(cast(DenoisingSystem, plain(run.system)))
        self.scheduler = DDPMScheduler(num_train_timesteps=1000, schedule="scaled_linear_beta")
        self.inferer = LatentDiffusionInferer(self.scheduler, scale_factor=1.0)
        self.optimizer = torch.optim.Adam(self.network.parameters(), run.stage.training.learning_rate)
        self.shape = run.system.noise_shape()

    def step(self, images: Tensor) -> float:
        """One update."""
        self.optimizer.zero_grad(set_to_none=True)
        noise = torch.randn(len(images), *self.shape)
        timesteps = torch.randint(0, self.scheduler.num_train_timesteps, (len(images),)).long()
        prediction = self.inferer(
            inputs=images,
            autoencoder_model=self.codes,
            diffusion_model=self.network,
            noise=noise,
            timesteps=timesteps,
        )
        loss = F.mse_loss(prediction.float(), noise.float())
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        return loss.item()


class WassersteinLoop:
    """The critic so many times with its gradient penalty, then the generator once, each on noise of its own."""

    def __init__(self, run: StageRun) -> None:
        t = run.stage.training
        self.updates, self.latent = t.critic_updates, run.system.noise_shape()
        self.generator, self.critic = plain(run.system), plain(run.critics["critic"])
        self.optimizers = [
            torch.optim.Adam(network.parameters(), t.learning_rate, betas=t.betas)
            for network in (self.generator, self.critic)
        ]

    def step(self, batches: Iterator[Tensor], noise: torch.Generator | None = None) -> dict[str, float]:
        """All updates of a step."""
        optimizer, critic_optimizer = self.optimizers
        for _ in range(self.updates):
            images = next(batches)
            critic_optimizer.zero_grad(set_to_none=True)
            fakes = self.made(images, noise).detach()
            adversarial = self.critic(fakes).mean() - self.critic(images).mean()
            mix = torch.rand(len(images), generator=noise).view(-1, 1, 1, 1, 1)
            between = (mix * images + (1 - mix) * fakes).requires_grad_(True)
            (slope,) = torch.autograd.grad(self.critic(between).sum(), between, create_graph=True)
            penalty = ((slope.flatten(1).norm(dim=1) - 1) ** 2).mean()
            (adversarial + 10 * penalty).backward()
            critic_optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        fooled = -self.critic(self.made(images, noise)).mean()
        fooled.backward()
        optimizer.step()
        fooled.item()
        return {"critic/adversarial": adversarial.item(), "critic/gradient_penalty": penalty.item()}

    def made(self, images: Tensor, noise: torch.Generator | None) -> Tensor:
        """Fakes from fresh noise."""
        z = torch.randn(len(images), *self.latent, generator=noise)
        return torch.tanh(self.generator.generate(z, Batch(images)))  # type: ignore[operator]


Pair: TypeAlias = tuple[StageRun, AutoencoderLoop | DenoiserLoop, dict[str, float]]
"""Ours, the loop written plainly, and how far both are apart."""


def stepping(run: StageRun) -> Step:
    """What the trainer does of every iteration, its look at the losses included."""

    def step() -> None:
        losses = run.step()
        run.iteration += 1
        for value in losses.values():
            float(value)

    return step


def autoencoder_pair(plan: TrainingPlan, folder: Path) -> tuple[StageRun, AutoencoderLoop, dict[str, float]]:
    """Stage 1 both ways, and how far their first steps are apart."""
    run = stage_of(plan, folder, "autoencoder")
    loop = AutoencoderLoop(run)
    expected = loop.step(run.batch(0).target, drawing(run))
    with everywhere(run):
        return run, loop, largest_difference(run.step(), expected)


def denoiser_pair(plan: TrainingPlan, folder: Path) -> tuple[StageRun, DenoiserLoop, dict[str, float]]:
    """Stage 2 both ways, and how far their predictions are apart at the same noised codes."""
    autoencoder = cast(SpatialAutoencoder, stage_of(plan, folder, "autoencoder").system)
    run = stage_of(plan, folder, "denoiser", autoencoder)
    for parameter in run.system.parameters():
        # With its last layers as they are initialised, a denoiser predicts nothing but zeros.
        if not parameter.any():
            nn.init.normal_(parameter, std=0.02)
    loop = DenoiserLoop(run, autoencoder)
    with torch.no_grad():
        outputs = run.system(run.batch(0), torch.Generator().manual_seed(0))
        plainly = loop.network(outputs["noised"], outputs["timesteps"])
    difference = float((plainly - outputs["prediction"]).abs().max())
    return run, loop, _within(difference, float(plainly.abs().max()), ALLOWED)


def wasserstein_pair(plan: TrainingPlan, folder: Path) -> tuple[StageRun, WassersteinLoop, dict[str, float]]:
    """Critic and generator both ways, and how far the critic's losses are apart at its last update."""
    run = stage_of(plan, folder, "gan")
    loop = WassersteinLoop(run)
    order = [*range(1, run.stage.training.critic_updates), 0]
    expected = loop.step((run.batch(update).target for update in order), drawing(run))
    with everywhere(run):
        # Adam's first steps are signs of gradients, whose rounding the second and third update see.
        return run, loop, largest_difference(run.step(), expected, 1e-3)


def latent_row(
    cohort: Cohort, row: str, changes: dict[str, Any], pair: Callable[[TrainingPlan, Path], Pair], title: str, peer: str
) -> Result:
    """A stage of the latent diffusion model, of whose recipe `changes` make the tutorial's."""
    with planned(cohort, "ldm", {"stages": changes}) as (plan, folder):
        run, loop, error = pair(plan, folder)
        batches = in_memory(plan, folder, run.stage.training.batch_size)
        return timed(
            row,
            f"one step of {title}, {_sizes(run)}",
            f"MONAI's tutorial loop, {peer}",
            "exact",
            interleaved(stepping(run), lambda: loop.step(next(batches))),
            GOAL,
            error=error,
            detail=_detail(run),
            note=BOUND,
        )


def autoencoder_row(cohort: Cohort) -> Result:
    """Stage 1."""
    changes = {"autoencoder": TUTORIAL_TERMS}
    return latent_row(cohort, "training-step-ldm-autoencoder", changes, autoencoder_pair, "the autoencoder", "stage 1")


def denoiser_row(cohort: Cohort) -> Result:
    """Stage 2."""
    peer = "stage 2, LatentDiffusionInferer"
    return latent_row(cohort, "training-step-ldm", {"denoiser": EPSILON}, denoiser_pair, "the latent denoiser", peer)


def half_precision_row(cohort: Cohort) -> Result:
    """Stage 2 with ours in bfloat16, where the CPU has it."""
    row, title, peer = "training-step-ldm-half", "one step of the latent denoiser in bfloat16", "MONAI's loop, float32"
    problem = half_precision.problem()
    if problem:
        return Result(
            row=row,
            title=title,
            peer_title=peer,
            kind="approximate",
            ours=None,
            peer=None,
            ratio=None,
            goal=None,
            note=f"This CPU {problem}.",
        )
    with planned(cohort, "ldm", {"stages": {"denoiser": EPSILON}}) as (plan, folder):
        asked = plan.options.model_copy(update={"precision": "bf16-mixed"})
        run, loop, _ = denoiser_pair(plan, folder)
        half = stage_of(
            plan.model_copy(update={"options": asked}),
            folder,
            "denoiser",
            loop.codes.autoencoder,
        )
        half.system.load_state_dict(run.system.state_dict())
        single = {name: float(value) for name, value in run.step().items()}
        found = {name: float(value) for name, value in half.step().items()}
        batches = in_memory(plan, folder, run.stage.training.batch_size)
        return timed(
            row,
            f"{title}, {_sizes(run)}",
            peer,
            "approximate",
            interleaved(stepping(half), lambda: loop.step(next(batches)), warm_ups=2),
            None,
            error={f"{name}, of {single[name]:.3g}": abs(found[name] - single[name]) for name in single},
        )


def wasserstein_row(cohort: Cohort) -> Result:
    """Critic and generator."""
    with planned(cohort, "wgan-gp", {}) as (plan, folder):
        run, loop, error = wasserstein_pair(plan, folder)
        batches = in_memory(plan, folder, run.stage.training.batch_size)
        return timed(
            "training-step-wgan-gp",
            f"{run.stage.training.critic_updates} updates of the critic and one of the generator, {_sizes(run)}",
            "the loop written plainly",
            "exact",
            interleaved(stepping(run), lambda: loop.step(batches)),
            GOAL,
            error=error,
            detail=_detail(run),
        )


class Everywhere:
    """Cases of which everything counts, padding too: the tutorial's loop knows of no field of view."""

    def __init__(self, data: Source) -> None:
        self.data = data

    def __len__(self) -> int:
        """Items."""
        return len(self.data)

    def batch(self, items: Sequence[int], rng: np.random.Generator) -> Batch:
        """The items."""
        return replace(self.data.batch(items, rng), inside=None)


@contextmanager
def everywhere(run: StageRun) -> Iterator[None]:
    """Inside, both ways are trained on the same; what a timed step of ours does with the padding comes on top."""
    data, run.data = run.data, Everywhere(run.data)
    try:
        yield
    finally:
        run.data = data


def drawing(run: StageRun) -> torch.Generator:
    """What the run draws its noise from in its next iteration."""
    seed = derive(run.setting.seed, run.name, run.iteration, "draws")
    return torch.Generator().manual_seed(seed)


def largest_difference(ours: dict[str, Any], peers: dict[str, float], allowed: float = ALLOWED) -> dict[str, float]:
    """How far the terms of both are apart after a step from the same weights on the same batch and noise."""
    worst = max(abs(float(ours[name]) - value) / max(1e-3, abs(value)) for name, value in peers.items())
    return _within(worst, 1.0, allowed)


def _within(difference: float, scale: float, allowed: float) -> dict[str, float]:
    if not difference <= allowed * max(scale, 1e-3):
        raise RuntimeError(f"the two ways differ by {difference:.3g} where {allowed:g} of {scale:.3g} is allowed")
    return {"largest": difference, "allowed": allowed}


def _sizes(run: StageRun) -> str:
    signature = run.system.signature
    window = "×".join(map(str, signature.window))
    return f"batch {run.stage.training.batch_size} of {signature.channels}×{window}"


def _detail(run: StageRun) -> dict[str, Any]:
    players = {"network": run.system, **run.critics}
    return {
        "parameters": {name: sum(p.numel() for p in player.parameters()) for name, player in players.items()},
        "ours_also": ["reading its windows from disk", "averaged weights", "gradient clipping", "a finite loss"],
    }


def measure() -> list[Result]:
    """All of them."""
    cohort = hippocampus()
    cohort = cohort.with_cases(cohort.part("train")[:CASES])
    return [autoencoder_row(cohort), denoiser_row(cohort), half_precision_row(cohort), wasserstein_row(cohort)]


SPEC = Spec(
    "training-step",
    ("training-step-ldm-autoencoder", "training-step-ldm", "training-step-ldm-half", "training-step-wgan-gp"),
    measure,
)
