"""Training a recipe: its stages one after another, then the package."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins import MixedPrecision
from lightning_fabric.plugins.environments import LightningEnvironment
from lightning_fabric.strategies import DDPStrategy

from genaug import half_precision
from genaug.acceleration import Acceleration, arithmetic, for_training
from genaug.channels_last import to_layout
from genaug.cohort import Cohort
from genaug.devices import computing_threads, require_devices, resolve_device
from genaug.errors import GenaugError, Reason
from genaug.files import read_json, write_json
from genaug.generation import CodeScale, at_codes, autoencoder_of
from genaug.networks import Autoencoder, Batch, Remembering, Signature, System, build_critic, build_system, follow, join
from genaug.networks.base import unlike_layers
from genaug.package import INFO, PackageInfo, TrainedStage, load_package, write_package
from genaug.parameters import TrainingOptions
from genaug.progress import Part, Reporter, Silent
from genaug.recipe import Stage
from genaug.stages import StageData, blindfolded, built_on, chains, part_view, stage_signature, stage_view
from genaug.tensors import CodeStore, TensorStore
from genaug.training.checkpoint import checkpoint_path
from genaug.training.loop import Setting, StageRun, derive, digest
from genaug.training.memory import state_training_peak
from genaug.training.plan import PLAN, TENSORS, TrainingPlan, make_plan
from genaug.training.preview import write_preview
from genaug.training.processes import train_in_processes

Precision = Literal["32-true", "bf16-mixed", "16-mixed"]

CODE_BATCH = 8

LEAST_SHARED = 0.5
"""Share of a network's weights that an initial package must provide; with less it would be no start."""


def train(cohort: Cohort, options: TrainingOptions, output: Path, device: str, reporter: Reporter) -> Path:
    """Train a recipe on a cohort's training part and write the package.

    Checkpoints, curves and previews stand in `<output>.training`; when the same training is started again it goes on
    from there, and what comes out is the same, bit for bit on a CPU, as if it had never been interrupted.

    Args:
        cohort: split by patient; test and validation cases are not read.
        options: recipe and settings.
        output: package folder to write.
        device: "auto", "cpu", "cuda".
        reporter: told of every iteration.

    Raises:
        GenaugError: from the cohort, the recipe, or the training (DIVERGED, OUT_OF_MEMORY, DISK_FULL, CANCELLED;
            BAD_PARAMETER for minutes that end before every stage has begun, and for an output folder that holds
            something else). What is refused before it starts leaves nothing behind.
    """
    chosen_precision(options, device)
    folder = training_folder(output)
    _require_replaceable(output, begun=(folder / PLAN).is_file())
    make_plan(cohort, options, folder, Part(reporter, 0.0, 0.05))
    return run_training(folder, output, options, device, Part(reporter, 0.05, 0.95))


def training_folder(output: Path) -> Path:
    """Where checkpoints, curves and previews of the package `output` are kept."""
    return output.with_name(output.name + ".training")


def run_training(
    folder: Path,
    output: Path,
    options: TrainingOptions,
    device: str,
    reporter: Reporter,
    *,
    half: bool = False,
    title: str | None = None,
    note: str = "",
) -> Path:
    """Train what `make_plan` wrote into `folder`; see `train`.

    A stage that was stopped by its minutes is trained further when there are minutes again, unless a later one has
    begun that is built on it.

    Args:
        folder: with plan and tensors.
        output: package folder to write.
        options: those of the plan; how often to save, where and how long to train may differ.
        device: "auto", "cpu", "cuda".
        reporter: told of every iteration.
        half: store the weights as float16.
        title: of the package; made of recipe and cohort when None.
        note: first paragraph of the model card.
    """
    if options.devices > 1:
        require_devices(device, options.devices)
        train_in_processes(folder, output, options, device, reporter, half=half, title=title, note=note)
    else:
        train_here(folder, output, options, device, reporter, half=half, title=title, note=note)
    return output


def train_here(
    folder: Path,
    output: Path,
    options: TrainingOptions,
    device: str,
    reporter: Reporter,
    *,
    half: bool = False,
    title: str | None = None,
    note: str = "",
) -> None:
    """What `run_training` does, in this process; with several devices, as one of the processes of a training.

    Fabric starts the others by running this process's own command again, so for several devices the command must be
    `python -m genaug.training`.
    """
    plan = TrainingPlan.read(folder)
    _require_replaceable(output, begun=True)
    fabric = make_fabric(options, device)
    # After the launch, which sets the number of threads of every process to its share of the cores.
    with computing_threads(options.threads):
        told = reporter if fabric.is_global_zero else Silent()
        state_training_peak(plan, folder, fabric.device, told)
        info, systems = _train_stages(plan, folder, options, fabric, told)
        if fabric.is_global_zero:
            info = info.model_copy(update={"name": output.name, "note": note, **({"title": title} if title else {})})
            write_package(output, info, systems, half=half, replace=True)
            reporter.product("package", output)
        fabric.barrier()


def _require_replaceable(output: Path, begun: bool) -> None:
    """Refuse an output folder whose content the package would replace, hours later; one that has `begun` its own."""
    if not output.exists() or (output.is_dir() and not any(output.iterdir())):
        return
    if begun and (output / INFO).is_file():
        return
    raise GenaugError(
        Reason.BAD_PARAMETER,
        output,
        "a folder that is not empty" if output.is_dir() else "a file",
        "a new or empty folder, or the package of a training that goes on",
        "Choose another output folder; nothing else is ever overwritten.",
    )


def _train_stages(
    plan: TrainingPlan, folder: Path, options: TrainingOptions, fabric: Fabric, reporter: Reporter
) -> tuple[PackageInfo, dict[str, System]]:
    """One stage after another: the package's description, still without a name of its own, and the networks."""
    deadline = None if options.minutes is None else time.monotonic() + 60 * options.minutes
    weights = [stage.training.iterations for stage in plan.recipe.stages.values()]
    systems: dict[str, System] = {}
    stages: dict[str, TrainedStage] = {}
    scale: CodeScale | None = None
    codes: Batch | None = None
    codes_of = ""
    for index, (name, stage) in enumerate(plan.recipe.stages.items()):
        if stage.space == "latent":
            chain = next(chain for chain in chains(plan.recipe) if name in chain)
            if codes is None:
                autoencoder = autoencoder_of(chain, systems)
                codes_of = digest(autoencoder)
                codes, scale = encode_all(plan, folder, chain, autoencoder, fabric)
            data: StageData | CodeStore = CodeStore(blindfolded(codes) if stage.blind else codes)
            window = tuple(codes.target.shape[2:])
            signature = replace(
                stage_signature(stage, plan.grid.dimension, window, plan.roles),
                image_channels=codes.target.shape[1],
                label_channels=0,
            )
        else:
            codes, codes_of = None, ""
            data = StageData(_tensors(plan, folder, stage), stage)
            signature = stage_signature(stage, plan.grid.dimension, plan.grid.size, plan.roles)
        part = Part(reporter, sum(weights[:index]) / sum(weights), weights[index] / sum(weights))
        share = None
        if deadline is not None:
            # Stages that keep their weights need no time.
            rest = max(1, sum(weights[index:]))
            share = time.monotonic() + (deadline - time.monotonic()) * weights[index] / rest
        teacher = None if stage.follows is None else systems[stage.follows]
        setting = Setting(
            fabric=fabric,
            folder=folder,
            seed=options.seed,
            reporter=part,
            checkpoint_every=options.checkpoint_every,
            preview_every=options.preview_every,
            preview=_preview(plan, folder, name, systems, scale, part),
            deadline=share,
            later=[checkpoint_path(folder, later) for later in built_on(plan.recipe, name)],
            codes_of=codes_of,
            taught_by="" if teacher is None else digest(teacher),
            acceleration=_acceleration(folder, name, options, fabric, plan.grid.dimension, part),
        )
        run = stage_run(name, stage, signature, data, setting, options, teacher)
        _train(run)
        _require_begun(run, options)
        systems[name] = run.averaged()
        stages[name] = TrainedStage(
            file="",
            sha256="",
            signature=signature.to_dict(),
            iterations=run.iteration,
            seconds=round(run.seconds, 1),
            device=_device_name(fabric.device),
        )
    info = PackageInfo(
        name=plan.recipe.name,
        title=f"{plan.recipe.title}: {', '.join(plan.roles.target)} from {plan.trained_on.cohort}",
        recipe=plan.recipe,
        grid=plan.grid,
        roles=plan.roles,
        stages=stages,
        code_scale=scale,
        trained_on=plan.trained_on,
        seed=options.seed,
    )
    return info, systems


def _require_begun(run: StageRun, options: TrainingOptions) -> None:
    """A network that was not trained at all would make noise of whatever the others have learnt."""
    if run.iteration or not run.stage.training.iterations or not run.stage.loss:
        return
    raise GenaugError(
        Reason.BAD_PARAMETER,
        "minutes",
        f"{options.minutes:g}, which were over before the first iteration of the stage {run.name}",
        "time for every stage",
        "Train again with more minutes; what was trained is kept and trained further.",
    )


class WholeInputs(MixedPrecision):  # type: ignore[misc]  # mypy does not follow Fabric
    """Fabric's mixed precision, but a network is given its batch in single precision.

    Fabric hands everything over in half precision, where noise of the lowest levels is lost in the image, and with it
    all that a network works out before its first layer. Autocast converts what layers take, and nothing else.
    """

    def convert_input(self, data: Any) -> Any:
        """The same."""
        return data


def make_fabric(options: TrainingOptions, device: str) -> Fabric:
    """Lightning Fabric for the device: mixed precision on GPUs only, as many processes as devices are asked for.

    Raises:
        GenaugError: as `chosen_precision`.
    """
    precision = chosen_precision(options, device)
    # It advises users to choose an arithmetic of the GPU, which `genaug.acceleration` has done.
    logging.getLogger("lightning_fabric.utilities.rank_zero").setLevel(logging.WARNING)
    kind, _, index = resolve_device(device).partition(":")
    several = options.devices > 1
    # Not what a cluster's scheduler says of the job that this training is a part of.
    plugins: list[Any] = [LightningEnvironment()] if several else []
    if precision != "32-true":
        plugins.append(WholeInputs(precision, kind))
    fabric = Fabric(
        accelerator=kind,
        devices=[int(index)] if index else options.devices,
        # A critic sees real and generated cases before it goes back; exchanging its buffers in between would change
        # what that step needs. A network that grows has levels that do not count yet and get no gradient.
        strategy=DDPStrategy(broadcast_buffers=False, find_unused_parameters=True) if several else "auto",
        precision="32-true" if precision == "32-true" else None,
        plugins=plugins,
    )
    fabric.launch()
    return fabric


def chosen_precision(options: TrainingOptions, device: str) -> Precision:
    """What the device computes in: as asked, else the half precision that a GPU has, or 32 bits elsewhere.

    Half precision on a CPU has to be asked for, and is granted where `half_precision` finds no problem.

    Raises:
        GenaugError: BAD_PARAMETER for devices that are not there, or a precision that they do not have.
    """
    require_devices(device, options.devices)
    kind = resolve_device(device).partition(":")[0]
    if options.precision == "auto":
        half: Precision = "bf16-mixed" if kind == "cuda" and torch.cuda.is_bf16_supported() else "16-mixed"
        return half if kind == "cuda" else "32-true"
    if kind != "cuda" and options.precision != "32-true":
        asked = kind == "cpu" and options.precision == "bf16-mixed"
        problem = half_precision.problem() if asked else "has no half precision to train in"
        if problem:
            raise GenaugError(
                Reason.BAD_PARAMETER,
                "precision",
                f"{options.precision} on a {kind} that {problem}",
                f"32-true on the device {kind}",
                "Leave the precision at auto.",
            )
    return options.precision


def encode_all(
    plan: TrainingPlan, folder: Path, chain: list[str], autoencoder: Autoencoder, fabric: Fabric
) -> tuple[Batch, CodeScale | None]:
    """Codes of all cases with their conditions, standardised per channel, and the scale to take them back.

    Discrete codes stay as they are and have no scale. Maps that the cases are conditioned on are averaged down to the
    size of the code. The codes are the posterior means, drawn once; where the autoencoder was trained with random
    shifts, each case gives several shifted codes, which keeps a denoiser from learning single cases by heart. What is
    fitted to the codes instead of trained gets each case once, as it lies: it reckons with as many cases as there are.
    """
    stage = plan.recipe.stages[chain[0]]
    if any(plan.recipe.stages[name].loss for name in chain[1:]):
        store, copies = _tensors(plan, folder, stage), 4 if stage.training.shift else 1
    else:
        store, copies = TensorStore(folder / TENSORS, plan.grid.size, 0, False), 1
    rng = np.random.default_rng(derive(plan.options.seed, "codes"))
    parts = []
    autoencoder.to(fabric.device)
    with torch.no_grad():
        for _ in range(copies):
            for first in range(0, len(store), CODE_BATCH):
                batch = store.batch(range(first, min(first + CODE_BATCH, len(store))), rng).to(fabric.device)
                codes = autoencoder.codes(stage_view(batch, stage, plan.roles))
                parts.append(at_codes(part_view(batch, stage, plan.roles), codes).to("cpu"))
    joined = join(parts)
    if not joined.target.is_floating_point():
        return joined, None
    if autoencoder.centered:
        # Measured from the mean code, voxel by voxel, a denoiser has only what differs between cases to learn.
        center = joined.target.mean(0)
        autoencoder.center(center.to(fabric.device))
        joined = replace(joined, target=joined.target - center)
    scale = CodeScale.of(joined.target)
    return replace(joined, target=scale.scale(joined.target)), scale


def _tensors(plan: TrainingPlan, folder: Path, stage: Stage) -> TensorStore:
    # Left and right alone may change places, and a sagittal plane shows but one of them.
    flip = stage.training.flip and plan.grid.orientation[0] in "LR"
    return TensorStore(folder / TENSORS, plan.grid.size, stage.training.shift, flip)


def _train(run: StageRun) -> None:
    """Train a stage, and show its averaged network the cases where that is to remember them."""
    with arithmetic(run.setting.acceleration):
        run.train()
    averaged = run.averaged()
    if isinstance(averaged, Remembering):
        rng, count = np.random.default_rng(derive(run.setting.seed, run.name, "remembered")), len(run.data)
        groups = (range(first, min(first + CODE_BATCH, count)) for first in range(0, count, CODE_BATCH))
        averaged.remember(run.data.batch(items, rng).to(run.setting.fabric.device) for items in groups)


def stage_run(
    name: str,
    stage: Stage,
    signature: Signature,
    data: StageData | CodeStore,
    setting: Setting,
    options: TrainingOptions,
    teacher: System | None = None,
) -> StageRun:
    """A stage about to be trained: its players, built from a seed, start from given weights where asked.

    Args:
        name: of the stage.
        stage: of the recipe.
        signature: shapes to build for.
        data: what it is trained on.
        setting: where and how.
        options: seed and initial weights.
        teacher: the averaged network of the stage that this one follows.
    """
    torch.manual_seed(derive(options.seed, name, "weights"))
    system = build_system(stage.network, signature)
    critics = {key: build_critic(critic, signature) for key, critic in stage.critics.items()}
    if isinstance(data, CodeStore):
        system.fit(data.codes)
    elif (mean := data.mean()) is not None:
        system.start_at(mean)
    if teacher is not None:
        follow(system, teacher, name)
    if options.initial is not None:
        kept = not stage.training.iterations
        # A prior or a student may be new, because what it is made for comes from the package.
        may_lack = not kept and (stage.space == "latent" or teacher is not None)
        _start_from(system, name, options.initial, setting.reporter, 1.0 if kept else LEAST_SHARED, may_lack)
    if setting.acceleration.channels_last:
        for module in (system, *critics.values()):
            to_layout(module, "channels_last")
    return StageRun(name, stage, system, critics, data, setting, teacher)


def _acceleration(
    folder: Path, name: str, options: TrainingOptions, fabric: Fabric, dimension: int, reporter: Reporter
) -> Acceleration:
    """What a stage is trained with: what it was begun with, where it goes on from a checkpoint; noted in the folder."""
    path = folder / f"{name}.acceleration.json"
    if checkpoint_path(folder, name).exists():
        if path.exists():
            return read_json(path, Acceleration)
        # Begun before there was a choice.
        return for_training("auto" if fabric.device.type == "cpu" else "off", fabric.device, dimension)
    chosen = for_training(options.acceleration, fabric.device, dimension)
    if fabric.world_size > 1:
        # What each process measures may differ.
        chosen = Acceleration.model_validate(fabric.broadcast(chosen.model_dump()))
    if fabric.is_global_zero:
        write_json(path, chosen.model_dump(mode="json"))
    on = ", ".join(switch for switch, value in chosen.model_dump().items() if value)
    reporter.log(f"{name}: accelerated by {on or 'nothing'}")
    return chosen


def _start_from(system: System, stage: str, initial: Path, reporter: Reporter, least: float, may_lack: bool) -> None:
    """Take every tensor of the package's stage that the network has too, by name and shape.

    The stage of the same name, else the package's last one; so a GAN's generator can start from a VAE's decoder.
    `least` is the share of the network's weights that it must provide. A stage that the package `may_lack` begins anew
    where it does.
    """
    systems = load_package(initial).systems
    if stage not in systems and may_lack:
        reporter.log(f"{stage}: begins anew, {initial.name} has no such stage")
        return
    source = systems.get(stage, list(systems.values())[-1])
    given, own = source.state_dict(), system.state_dict()
    shared = {key: value for key, value in given.items() if key in own and own[key].shape == value.shape}
    taken, whole = (sum(value.numel() for value in tensors.values()) for tensors in (shared, own))
    if taken < least * whole:
        raise GenaugError(
            Reason.BAD_PACKAGE,
            initial,
            f"{taken} of the {whole} weights of stage {stage!r}",
            f"at least {least:.0%} of them, with the same network, grid size and channels",
            "Train with the package's own recipe options and spacing, or without initial weights.",
        )
    for layer, there, here in unlike_layers(source, system, shared):
        raise GenaugError(
            Reason.BAD_PACKAGE,
            initial,
            f"weights of {there} at {layer} of stage {stage!r}",
            f"those of {here}",
            "Train with the package's own recipe options, its network's norm too, or without initial weights.",
        )
    system.load_state_dict({**own, **shared})
    reporter.log(f"{stage}: {taken / whole:.0%} of the weights start from {initial.name}")


def _preview(
    plan: TrainingPlan,
    folder: Path,
    name: str,
    trained: Mapping[str, System],
    scale: CodeScale | None,
    reporter: Reporter,
) -> Callable[[System, int], None]:
    """A function that draws what the stage makes at an iteration, beside the first two real cases."""
    store = TensorStore(folder / TENSORS, plan.grid.size)
    batch = store.batch([0, len(store) // 2], np.random.default_rng(0))

    def write(system: System, iteration: int) -> None:
        path = folder / "previews" / f"{name}-{iteration:06d}.png"
        write_preview(path, name, {**trained, name: system}, plan.recipe, plan.roles, scale, batch)
        reporter.product("preview", path)

    return write


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"
