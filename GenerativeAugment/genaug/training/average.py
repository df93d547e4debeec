"""The averaged weights of a network, the ones that are packaged."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from genaug.networks import System


class Average(AveragedModel):
    """Exponential moving average of a system's parameters and buffers.

    torch's own update asks the device for its counter every time, which on a GPU waits for all work before it; here the
    counter stays on the CPU.

    Args:
        system: a copy of it is kept.
        decay: see `average_weight`.
    """

    def __init__(self, system: System, decay: float) -> None:
        super().__init__(system, use_buffers=True)
        self._decay = decay

    @property
    def system(self) -> System:
        """The averaged network, in evaluation mode."""
        assert isinstance(self.module, System)
        return self.module.eval()

    @torch.no_grad()
    def update_parameters(self, model: nn.Module) -> None:
        """Move towards the model's present weights; the first time, and what is not a fraction, take them."""
        done = int(self.n_averaged)
        weight = average_weight(self._decay, done)
        pairs = list(zip(_tensors(self.module), _tensors(model), strict=True))
        moved = [pair for pair in pairs if done and pair[0].is_floating_point()]
        if moved:
            # All in one call: on a GPU hundreds of small kernels would take longer than what they do.
            torch._foreach_lerp_([average for average, _ in moved], [value for _, value in moved], weight)
        for average, value in pairs:
            if not (done and average.is_floating_point()):
                average.copy_(value)
        self.n_averaged += 1


def average_weight(decay: float, done: int) -> float:
    """The weight of the newest value after `done` others: the memory grows with the run up to `decay`.

    With a fixed decay a short run's average would still be full of the weights it started from (Karras 2024,
    arXiv:2312.02696, section 3.1).
    """
    return 1 - min(decay, (1 + done) / (10 + done))


def _tensors(module: nn.Module) -> Iterator[Tensor]:
    return (tensor.detach() for tensor in chain(module.parameters(), module.buffers()))
