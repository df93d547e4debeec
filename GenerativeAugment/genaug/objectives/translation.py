"""Terms of the translators that leave more than one image."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from genaug.objectives.base import Batch, Outputs, Play, mean_inside, named


def streams(outputs: Outputs, batch: Batch, play: Play, fake: str = "streams") -> Tensor:
    """Mean absolute error of every stream's own image (B, streams * C, *S), so that each is of use by itself."""
    parts = torch.split(named(fake, outputs, batch), batch.target.shape[1], dim=1)
    errors = [F.l1_loss(play.images(part), play.images(batch.target), reduction="none") for part in parts]
    return torch.stack([mean_inside(error, batch) for error in errors]).mean()
