"""Weights whose largest singular value is one (Miyato 2018, Spectral Normalization for GANs, arXiv:1802.05957).

torch has this as a parametrization, too; its vector for the power iteration must have length one, which the average of
many such vectors, as kept for the averaged network, has not. Here it is brought to length one before it is used.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrize import register_parametrization

from genaug.networks.base import single_precision

START_ITERATIONS = 15
"""Power iterations when a weight is first normalised; afterwards one each time it is used in training."""


class Spectral(nn.Module):
    """Divides a weight by its largest singular value, that of the matrix (out, everything else)."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.left: Tensor
        self.register_buffer("left", torch.randn(len(weight)))
        with torch.no_grad():
            for _ in range(START_ITERATIONS):
                self.left.copy_(_improved(self.left, weight.flatten(1)))

    def forward(self, weight: Tensor) -> Tensor:
        """The weight at a norm of one, in single precision whatever autocast says."""
        matrix = weight.flatten(1)
        with single_precision(weight):
            with torch.no_grad():
                left = _improved(self.left, matrix)
                right = F.normalize(matrix.T @ left, dim=0)
                if self.training:
                    self.left.copy_(left)
            return weight / torch.dot(left, matrix @ right)


def _improved(left: Tensor, matrix: Tensor) -> Tensor:
    """One power iteration for the left singular vector."""
    right = F.normalize(matrix.T @ F.normalize(left, dim=0), dim=0)
    return F.normalize(matrix @ right, dim=0)


def normalize_spectrum(module: nn.Module) -> nn.Module:
    """Normalise every convolution and linear layer in `module`, which is returned."""
    for layer in list(module.modules()):
        if isinstance(layer, (nn.Conv2d, nn.Conv3d, nn.Linear)):
            register_parametrization(layer, "weight", Spectral(layer.weight))
    return module
