"""A denoiser that is steered from outside: its weights stay, a copy of its encoder learns to add to its features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from monai.networks.nets.controlnet import ControlNet
from torch import Tensor

from genaug.denoiser import Conditions
from genaug.networks.base import Signature, System, take_alike
from genaug.networks.denoising import DenoisingSystem, heads
from genaug.networks.haar import band_channels
from genaug.schedule import Prediction


class ControlledDenoiser(DenoisingSystem):
    """MONAI's ControlNet on a frozen denoiser that knows no conditions (Zhang 2023, arXiv:2302.05543).

    The control starts as a copy of the denoiser's encoder and enters through layers that start at zero, so that the
    first sample is the denoiser's own. In the latent space the maps come at the size of the code and are not made
    smaller any more.

    Args:
        control_channels: features that the maps become before they join the copy.
        channels, attention, ...: those of the denoiser that it follows.

    Raises:
        ValueError: where there is nothing to be controlled by.
    """

    def __init__(
        self,
        signature: Signature,
        channels: Sequence[int] = (64, 128),
        attention: Sequence[bool] = (False, True),
        res_blocks: int = 1,
        head_channels: int = 32,
        groups: int = 16,
        haar_levels: int = 0,
        schedule: Mapping[str, Any] | None = None,
        prediction: Prediction = "v",
        clip: float | None = None,
        control_channels: int = 32,
    ) -> None:
        if not signature.condition_channels:
            raise ValueError("a ControlNet needs a condition, such as a label map, to be controlled by")
        alone = replace(signature, condition_channels=0, vector=())
        super().__init__(
            alone, channels, attention, res_blocks, head_channels, groups, haar_levels, schedule, prediction, clip
        )
        self.signature = signature
        d = signature.dimension
        self.control = ControlNet(
            spatial_dims=d,
            in_channels=band_channels(signature.channels, d, haar_levels),
            num_res_blocks=(res_blocks,) * len(channels),
            channels=tuple(channels),
            attention_levels=tuple(attention),
            norm_num_groups=groups,
            num_head_channels=heads(attention, head_channels),
            conditioning_embedding_in_channels=band_channels(signature.condition_channels, d, haar_levels),
            conditioning_embedding_num_channels=(control_channels,),
        )
        self.network.requires_grad_(False)

    def follow(self, teacher: System) -> None:
        """Take over the denoiser, and its encoder a second time as where the control starts."""
        super().follow(teacher)
        take_alike(self.control, self.network)

    def predict(self, x: Tensor, timesteps: Tensor, conditions: Conditions) -> Tensor:
        """The denoiser's prediction for noised x (B, C, *S), with what the control adds to its features."""
        condition = conditions.get("condition")
        if not isinstance(condition, Tensor):
            raise ValueError("a ControlNet needs the condition it was trained for")
        seen = self.front(x)
        down, middle = self.control(seen, timesteps, self.front(condition))
        made = self.network(
            seen,
            timesteps,
            down_block_additional_residuals=tuple(down),
            mid_block_additional_residual=middle,
        )
        return torch.as_tensor(self.back(made))
