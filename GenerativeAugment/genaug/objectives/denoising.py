"""The objective of the diffusion models."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from genaug.objectives.base import Batch, Outputs, Play, mean_inside


def denoising(outputs: Outputs, batch: Batch, play: Play) -> Tensor:
    """Mean squared error of the prediction in the network's own parameterisation (Ho 2020, equation 14)."""
    return mean_inside(F.mse_loss(outputs["prediction"], outputs["truth"], reduction="none"), batch)
