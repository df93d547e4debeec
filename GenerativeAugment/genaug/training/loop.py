"""The one training loop.

Every method is played by the same two kinds of players: a network and its critics. All randomness of iteration i is
derived from (seed, stage, i): the order of the data, the augmentation, the noise, dropout. A run that was killed and
resumed therefore draws what the uninterrupted one draws, and no generator's state has to be carried along.

Where several processes train together, each has its own share of the data and its own draws, all have the same weights,
and the first alone reports and writes. They must leave the loop together, because each waits for the others' gradients.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from genaug.acceleration import PLAIN, Acceleration
from genaug.causes import is_out_of_memory
from genaug.errors import Cancelled, GenaugError, Reason
from genaug.networks import Batch, Growing, Outputs, System
from genaug.objectives import CRITIC_LOSSES, LOSSES, Play
from genaug.progress import Reporter
from genaug.recipe import Stage, Term
from genaug.record import hash_voxels
from genaug.tensors import Source
from genaug.training.average import Average
from genaug.training.checkpoint import checkpoint_path, load_checkpoint, save_checkpoint
from genaug.training.curves import Curves, NoCurves

CHECKPOINT_SECONDS = 300.0
"""Also after so long without a checkpoint there is one, so that a killed training of slow steps loses minutes only."""

CHECK_EVERY_ON_GPU = 20
"""Iterations between looks at the loss on a GPU, where each look waits for the device."""


@dataclass
class Setting:
    """Where and how a stage is trained."""

    fabric: Fabric
    folder: Path
    seed: int
    reporter: Reporter
    checkpoint_every: int = 500
    preview_every: int = 500
    preview: Callable[[System, int], None] | None = None
    deadline: float | None = None
    """`time.monotonic()` value after which the stage stops early."""
    later: Sequence[Path] = ()
    """Checkpoints of the stages that are built on this one: once one has begun with its weights, this one stays as it
    is, however far it came."""
    codes_of: str = ""
    """The weights that made the codes a stage in the latent space sees; its checkpoint is of no use with others."""
    taught_by: str = ""
    """The weights of the stage that this one follows; the same holds."""
    acceleration: Acceleration = PLAIN
    """What of the device's faster arithmetic is on."""


@dataclass
class StageRun:
    """One stage in training: players, optimisers, averaged weights."""

    name: str
    stage: Stage
    system: System
    critics: dict[str, nn.Module]
    data: Source
    setting: Setting
    teacher: System | None = None
    """The averaged network of the stage that this one follows."""
    iteration: int = 0
    seconds: float = 0.0
    progress: float = 0.0
    """Share of the training that is over, by iterations or by minutes, whichever says more; it never falls."""
    optimizers: dict[str, torch.optim.Optimizer] = field(init=False)
    average: Average = field(init=False)

    def __post_init__(self) -> None:
        t = self.stage.training
        fabric = self.setting.fabric
        self._plain = self.system.to(fabric.device)
        self.average = Average(self._plain, t.ema)
        self._players: dict[str, nn.Module] = {}
        self.optimizers = {}
        rates = {"network": t.learning_rate}
        rates.update(dict.fromkeys(self.critics, t.critic_learning_rate or t.learning_rate))
        for name, module in {"network": self._plain, **self.critics}.items():
            optimizer = torch.optim.AdamW(
                module.parameters(), lr=rates[name], betas=t.betas, weight_decay=t.weight_decay
            )
            self._players[name], self.optimizers[name] = fabric.setup(module, optimizer)
        self._rates = rates
        self._first = 0
        self._begun = self._saved_at = time.monotonic()

    def train(self) -> System:
        """Run to the last iteration, from the last checkpoint if there is one; returns the averaged network.

        Raises:
            GenaugError: DIVERGED, OUT_OF_MEMORY, CANCELLED (after writing a checkpoint).
        """
        total = self.stage.training.iterations
        resumed = self._resume()
        self._first = self.iteration
        if resumed and self._is_settled():
            return self.averaged()
        writes = self.setting.fabric.is_global_zero
        curves = Curves(self.setting.folder, self.name, after=self.iteration) if writes else NoCurves()
        try:
            while self.iteration < total and not self._anywhere(self._out_of_time()):
                started = time.monotonic()
                losses = self.step()
                self.iteration += 1
                self._check(losses)
                curves.add(self.iteration, losses)
                self.seconds += time.monotonic() - started
                # Before what takes long, so that whoever stops the training waits for the step and one checkpoint only.
                self._report(total, curves.summary())
                if self.iteration % self.setting.checkpoint_every == 0 or self._anywhere(self._is_save_due()):
                    curves.write()
                    self._save()
                if writes and self.setting.preview and self.iteration % self.setting.preview_every == 0:
                    self.setting.preview(self.averaged(), self.iteration)
        except Cancelled:
            self._keep()
            raise
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            raise self._out_of_memory(error) from error
        finally:
            curves.close()
        self._keep()
        return self.averaged()

    def _keep(self) -> None:
        """Save what was trained; a stage that has not begun must not look like one that has."""
        if self.iteration:
            self._save()

    def _is_settled(self) -> bool:
        """Whether a later stage has begun with these weights; one that began with others begins anew itself."""
        begun = [load_checkpoint(path) for path in self.setting.later if path.exists()]
        own = digest(self.averaged()) if begun else ""
        return any(own in _built_on(state) for state in begun)

    def averaged(self) -> System:
        """The network with averaged weights, in evaluation mode."""
        return self.average.system

    def step(self) -> dict[str, float | Tensor]:
        """What an iteration does: the critics' updates, then the network's; returns the terms for the curves."""
        self._set_rates()
        torch.manual_seed(self._seed("global"))
        generator = torch.Generator().manual_seed(self._seed("draws"))
        # The network is judged by the critics themselves, not by their distributed wrappers, which would wait for
        # gradients that this step does not give them.
        play = Play(self.system.signature, self.critics, generator, self.iteration, self.teacher)
        growing = [m for m in (self._plain, self.averaged(), *self.critics.values()) if isinstance(m, Growing)]
        if growing:
            self.progress = self._progress()
        for module in growing:
            module.grow(self.progress)
        losses: dict[str, float | Tensor] = {}
        for update in range(1, self._batches()):
            losses.update(self._update_critics(self.batch(update), play))
        batch = self.batch(0)
        outputs: Outputs = self._players["network"](batch, play.generator)
        # The critics' last update is on what the network's is on (as in Isola 2017): a pass and a batch less.
        losses.update(self._update_critics(batch, play, outputs))
        losses.update(self._update_network(batch, play, outputs))
        self.average.update_parameters(self._plain)
        return losses

    def _seed(self, purpose: str) -> int:
        """A seed for one purpose in this iteration, another one in every process."""
        rank = self.setting.fabric.global_rank
        own = [f"process {rank}"] if rank else []
        return derive(self.setting.seed, self.name, self.iteration, purpose, *own)

    def _update_critics(self, batch: Batch, play: Play, made: Outputs | None = None) -> dict[str, float | Tensor]:
        """One update of every critic that has a term by now, on what the network has made of the batch.

        Without `made` the network makes it here.
        """
        active = {
            name: {key: term for key, term in terms.items() if self._counts(term)}
            for name, terms in self.stage.critic_loss.items()
        }
        if not any(active.values()):
            return {}
        if made is None:
            with torch.no_grad():
                made = self._players["network"](batch, play.generator)
        outputs = {name: value.detach() for name, value in made.items()}
        losses: dict[str, float | Tensor] = {}
        for name, terms in active.items():
            critic = self._players[name]
            with self.setting.fabric.autocast():
                values = {
                    key: self._weigh(
                        term, CRITIC_LOSSES[term.kind or key](critic, outputs, batch, play, **term.options)
                    )
                    for key, term in terms.items()
                }
            losses.update(self._step(name, values))
            self._clip_weights(self.critics[name])
        return losses

    def _clip_weights(self, critic: nn.Module) -> None:
        """Hold a critic's weights to a box, which bounds its slope (Arjovsky 2017, arXiv:1701.07875)."""
        limit = self.stage.training.clip_weights
        if limit is not None:
            with torch.no_grad():
                for parameter in critic.parameters():
                    parameter.clamp_(-limit, limit)

    def _update_network(self, batch: Batch, play: Play, outputs: Outputs) -> dict[str, float | Tensor]:
        for critic in self.critics.values():
            critic.requires_grad_(False)
        play = replace(play, judgements={})
        with self.setting.fabric.autocast():
            terms = {
                name: self._weigh(term, LOSSES[term.kind or name](outputs, batch, play, **term.options))
                for name, term in self.stage.loss.items()
                if self._counts(term)
            }
        losses = self._step("network", terms)
        for critic in self.critics.values():
            critic.requires_grad_(True)
        return losses

    def _counts(self, term: Term) -> bool:
        return self.iteration >= term.start and self.iteration % term.every == 0

    @staticmethod
    def _weigh(term: Term, value: Tensor) -> tuple[Tensor, Tensor]:
        return value, term.weight * value

    def _step(self, player: str, terms: dict[str, tuple[Tensor, Tensor]]) -> dict[str, float | Tensor]:
        """Descend the sum of the weighted terms; returns the unweighted ones for the curves."""
        optimizer, fabric = self.optimizers[player], self.setting.fabric
        if not terms:
            return {}
        optimizer.zero_grad(set_to_none=True)
        total = torch.stack([weighted.float() for _, weighted in terms.values()]).sum()
        fabric.backward(total)
        clip = self.stage.training.clip
        if player == "network" and clip is not None:
            fabric.clip_gradients(self._players[player], optimizer, max_norm=clip, error_if_nonfinite=False)
        optimizer.step()
        return {f"{player}/{name}": value.detach() for name, (value, _) in terms.items()}

    def batch(self, update: int) -> Batch:
        """Batch of this iteration: 0 is everybody's, the others are the critics' alone."""
        size, per_iteration = self.stage.training.batch_size, self._batches()
        first = (self.iteration * per_iteration + update) * size * self.setting.fabric.world_size
        first += self.setting.fabric.global_rank * size
        items = [shuffled_item(self.setting.seed, self.name, first + i, len(self.data)) for i in range(size)]
        rng = np.random.default_rng(derive(self.setting.seed, self.name, self.iteration, f"items {first}"))
        batch = self.data.batch(items, rng)
        hidden = self.stage.training.drop_condition
        if hidden:
            batch = batch.known_where(torch.from_numpy(rng.random(size) >= hidden))
        return batch.to(self.setting.fabric.device, self.setting.acceleration.pinned)

    def _batches(self) -> int:
        return self.stage.training.critic_updates if self.critics else 1

    def _set_rates(self) -> None:
        t = self.stage.training
        factor = min(1.0, (self.iteration + 1) / t.warmup) if t.warmup else 1.0
        if t.decay == "cosine":
            factor *= 0.5 * (1 + math.cos(math.pi * min(1.0, self.iteration / t.iterations)))
        for name, optimizer in self.optimizers.items():
            for group in optimizer.param_groups:
                group["lr"] = self._rates[name] * factor

    def _report(self, total: int, note: str) -> None:
        """Tell how far the stage is; raises Cancelled in every process when the first was asked to stop."""
        cancelled = None
        try:
            self.setting.reporter.progress(self._told(total), total, f"{self.name}: {note}")
        except Cancelled as error:
            cancelled = error
        if self._anywhere(cancelled is not None):
            raise cancelled or Cancelled()

    def _anywhere(self, here: bool) -> bool:
        """Whether it is so in any process; the answer is the same in all."""
        fabric = self.setting.fabric
        if fabric.world_size == 1:
            return here
        return bool(fabric.all_reduce(torch.tensor(float(here), device=fabric.device), reduce_op="sum") > 0)

    def _check(self, losses: dict[str, float | Tensor]) -> None:
        if self.setting.fabric.device.type == "cuda" and self.iteration % CHECK_EVERY_ON_GPU:
            return
        self._require_finite(name for name, value in losses.items() if not math.isfinite(float(value)))

    def _check_weights(self) -> None:
        """Every weight, so that none is kept that is not a number, whenever it became so; waits for a GPU once."""
        modules = {"network": self._plain, "average": self.average, **self.critics}
        tensors = [(name, value) for name, module in modules.items() for value in module.state_dict().values()]
        finite = torch.stack([value.isfinite().all().to(self.setting.fabric.device) for _, value in tensors]).tolist()
        self._require_finite(f"{name}/weights" for (name, _), good in zip(tensors, finite, strict=True) if not good)

    def _require_finite(self, not_finite: Iterable[str]) -> None:
        bad = sorted(set(not_finite))
        if self._anywhere(bool(bad)):
            t = self.stage.training
            raise GenaugError(
                Reason.DIVERGED,
                f"stage {self.name}, iteration {self.iteration}",
                f"{', '.join(bad) or 'a loss in another process'} is not a number",
                "finite losses and weights",
                f"The likely cause is a learning rate of {t.learning_rate:g} that is too high for batches of "
                f"{t.batch_size}: lower it threefold"
                + (", or the critic is winning: raise the gradient penalty." if self.critics else ".")
                + " The last checkpoint is kept.",
            )

    def _out_of_memory(self, error: BaseException) -> GenaugError:
        cause = (str(error) or type(error).__name__).splitlines()[0]
        t = self.stage.training
        return GenaugError(
            Reason.OUT_OF_MEMORY,
            f"stage {self.name}, iteration {self.iteration}",
            f"not enough memory on {self.setting.fabric.device} ({cause[:160]})",
            f"room for batches of {t.batch_size} windows of {self.system.signature.window}",
            f"Lower the batch size to {max(1, t.batch_size // 2)}, or the window, or the network's channels.",
        )

    def _progress(self) -> float:
        """The share that is over now, the same in every process."""
        progress = max(self.progress, self.iteration / self.stage.training.iterations)
        over = self._time_over()
        if over is None:
            return progress
        # What minutes will end has to be whole by then.
        return float(self.setting.fabric.broadcast(max(progress, over)))

    def _told(self, total: int) -> int:
        """How many iterations are over, or stand for the minutes that are: what ends first is what the bar shows."""
        over = self._time_over()
        return self.iteration if over is None else max(self.iteration, self._first + int(over * (total - self._first)))

    def _time_over(self) -> float | None:
        """The share of the stage's minutes that is over; None where it has as long as it takes."""
        if self.setting.deadline is None:
            return None
        minutes = max(self.setting.deadline - self._begun, 1e-3)
        return min(1.0, (time.monotonic() - self._begun) / minutes)

    def _out_of_time(self) -> bool:
        return self.setting.deadline is not None and time.monotonic() > self.setting.deadline

    def _is_save_due(self) -> bool:
        return time.monotonic() - self._saved_at >= CHECKPOINT_SECONDS

    def _state(self) -> dict[str, Any]:
        return {
            "iteration": self.iteration,
            "codes_of": self.setting.codes_of,
            "taught_by": self.setting.taught_by,
            "seconds": self.seconds,
            "progress": self.progress,
            "network": self._plain.state_dict(),
            "average": self.average.state_dict(),
            "critics": {name: critic.state_dict() for name, critic in self.critics.items()},
            "optimizers": {name: optimizer.state_dict() for name, optimizer in self.optimizers.items()},
            # Loss scaling of 16-bit training; empty in other precisions.
            "precision": self.setting.fabric._precision.state_dict(),
        }

    def _save(self) -> None:
        self._check_weights()
        if self.setting.fabric.is_global_zero:
            save_checkpoint(checkpoint_path(self.setting.folder, self.name), self._state())
        self._saved_at = time.monotonic()

    def _resume(self) -> bool:
        """Whether there was a checkpoint to go on from."""
        path = checkpoint_path(self.setting.folder, self.name)
        if not path.exists():
            return False
        state = load_checkpoint(path)
        if _built_on(state) != (self.setting.codes_of, self.setting.taught_by):
            self.setting.reporter.log(f"{self.name}: begun anew, because the stage before it has changed")
            return False
        self.iteration, self.seconds = int(state["iteration"]), float(state["seconds"])
        self.progress = float(state.get("progress", 0.0))
        self._plain.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        for name, critic in self.critics.items():
            critic.load_state_dict(state["critics"][name])
        for name, optimizer in self.optimizers.items():
            optimizer.load_state_dict(state["optimizers"][name])
        # What was begun without loss scaling has no scale to go on with.
        if state["precision"]:
            self.setting.fabric._precision.load_state_dict(state["precision"])
        self.setting.reporter.log(f"{self.name}: resumed at iteration {self.iteration}")
        return True


def _built_on(state: Mapping[str, Any]) -> tuple[str, str]:
    """The weights that what a checkpoint holds was begun with."""
    return state.get("codes_of", ""), state.get("taught_by", "")


def digest(system: System) -> str:
    """SHA-256 of a network's weights."""
    hashes = [f"{name} {hash_voxels(value.cpu().numpy())}\n" for name, value in system.state_dict().items()]
    return hashlib.sha256("".join(hashes).encode()).hexdigest()


def derive(seed: int, *parts: object) -> int:
    """A seed in [0, 2**63) for one purpose."""
    digest = hashlib.sha256(" ".join(["genaug training", str(seed), *map(str, parts)]).encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


_orders: dict[tuple[int, str, int, int], np.ndarray[Any, Any]] = {}


def shuffled_item(seed: int, stage: str, position: int, count: int) -> int:
    """The item at a position of the endless stream of epochs, each its own permutation of all items."""
    epoch = position // count
    key = (seed, stage, epoch, count)
    if key not in _orders:
        if len(_orders) > 8:
            _orders.clear()
        _orders[key] = np.random.default_rng(derive(seed, stage, "epoch", epoch)).permutation(count)
    return int(_orders[key][position % count])
