"""Terms of fields that move an image, see networks.warping."""

from __future__ import annotations

import torch
from torch import Tensor

from genaug.objectives.base import Batch, Outputs, Play


def smoothness(outputs: Outputs, batch: Batch, play: Play, field: str = "velocity") -> Tensor:
    """Mean squared difference between neighbouring voxels of a field (B, d, *S) in voxels: 0 for a translation."""
    moved = outputs[field].float()
    return torch.stack([(moved.diff(dim=axis) ** 2).mean() for axis in range(2, moved.ndim)]).mean()
