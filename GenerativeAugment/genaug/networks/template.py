"""The last layer of the generating networks: a template that is bent, and what is added to it."""

from __future__ import annotations

import torch
from monai.networks.layers.factories import Conv
from torch import Tensor, nn

from genaug.networks.base import Signature, raw_mean
from genaug.networks.haar import Haar, band_channels, with_detail_at
from genaug.networks.warping import enlarged, warp

TEMPLATE_RATE = 10.0
"""How much faster than the weights the template is learnt: a voxel has one gradient a case, a weight thousands."""


class TemplateHead(nn.Module):
    """Feature maps to a raw case: the template, warped where asked, plus a residual.

    Cases of one anatomy differ little from their mean, so a network has only the deviations to learn. With `deform` the
    template is learnt as well, and the features also give a displacement for every voxel, as in deforming autoencoders
    (Shu 2018, arXiv:1806.06503): shape and appearance are told apart, and edges stay as sharp as the template's, which
    a sum of smooth corrections to a mean never is. Both output layers start at zero, so that a network starts exactly
    at the mean case.

    Args:
        features: channels of the feature maps.
        signature: shapes to build for.
        haar_levels: the features lie at 1 / 2^haar_levels of the window's resolution.
        deform: learn the template and bend it.
        detail_rate: how fast the detail of single voxels is learnt beside the rest, see `with_detail_at`.
    """

    def __init__(
        self, features: int, signature: Signature, haar_levels: int, deform: bool = False, detail_rate: float = 1.0
    ) -> None:
        super().__init__()
        d = signature.dimension
        self.signature, self.scale, self.detail_rate = signature, 2**haar_levels, detail_rate
        self.residual = _zeroed(Conv[Conv.CONV, d](features, band_channels(signature.channels, d, haar_levels), 1))
        self.back = Haar(haar_levels, inverse=True)
        # Kept divided by its rate, which is what makes an optimiser's steps on it larger.
        self.scaled: Tensor
        self.rate = TEMPLATE_RATE if deform else 1.0
        start = torch.zeros(signature.channels, *signature.window)
        self.displacement: nn.Module | None = None
        if deform:
            self.scaled = nn.Parameter(start)
            self.displacement = _zeroed(Conv[Conv.CONV, d](features, d, 3, padding=1))
        else:
            self.register_buffer("scaled", start)

    def start_at(self, mean: Tensor) -> None:
        """Make the mean target (C, *window) what zero weights mean."""
        with torch.no_grad():
            self.scaled.copy_(raw_mean(mean, self.signature.image_channels) / self.rate)

    @property
    def template(self) -> Tensor:
        """The raw case (C, *window) that no features bend and nothing is added to."""
        return self.rate * self.scaled

    def forward(self, features: Tensor) -> Tensor:
        """Raw output (B, C, *window) for features (B, features, *window / 2^haar_levels)."""
        residual = self._residual(features)
        if self.displacement is None:
            return residual + self.template
        # Smooth, because it is made at the features' resolution.
        field = enlarged(self.displacement(features), self.signature.window)
        return residual + warp(self.template[None], field)

    def _residual(self, features: Tensor) -> Tensor:
        """What is added: detail from the Haar bands, the coarsest band by interpolation, without blocks."""
        bands: Tensor = self.residual(features)
        mean = bands[:, : self.signature.channels] / self.scale ** (self.signature.dimension / 2)
        return self.detail(bands) + enlarged(mean, self.signature.window)

    def detail(self, bands: Tensor) -> Tensor:
        """What all bands (B, C * 2^(d haar_levels), *S) but the coarsest add, (B, C, *S * 2^haar_levels)."""
        coarse = self.signature.channels
        bands = with_detail_at(self.detail_rate, bands, coarse)
        return torch.as_tensor(self.back(torch.cat([torch.zeros_like(bands[:, :coarse]), bands[:, coarse:]], dim=1)))


def _zeroed(layer: nn.Module) -> nn.Module:
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer
