"""Label map to image without a network: a contrast is drawn for every region, then what a scanner adds."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from monai.networks.layers.simplelayers import GaussianFilter
from torch import Tensor, nn

from genaug.networks.base import Batch, Outputs, Signature, System, draw, single_precision
from genaug.networks.translators import required
from genaug.recipe import Sampler
from genaug.samplers import Callback, Noise

MEANS, SPREADS = (-0.9, 0.9), (0.02, 0.25)
"""From where SynthSeg's contrasts without prior are drawn, in model intensities."""

KNOTS = 4
"""Knots of the bias field along every axis."""

LEAST_VOXELS = 4
"""Of a region, for its spread to be measured."""


class ContrastDraws(System):
    """A Gaussian of intensities for every label, as in SynthSeg (Billot 2023, arXiv:2107.09559).

    Each case draws a mean and a spread for each region, fills the regions with them voxel by voxel, and blurs, shades
    and disturbs the result as a scanner would. Nothing is learnt by gradient: in training the mean and the spread of
    every region are measured, case by case, and how much they vary between cases; the sums are kept.

    Args:
        prior: "measured" draws contrasts as they vary between the training cases, "random" draws any, for networks that
            shall work on every contrast.
        blur: largest standard deviation of the point spread, in voxels.
        bias: standard deviation of the logarithm of the coil's shading.
        noise: standard deviation of what is added to every voxel, of an intensity range of 2.
    """

    def __init__(
        self,
        signature: Signature,
        prior: Literal["measured", "random"] = "measured",
        blur: float = 0.7,
        bias: float = 0.05,
        noise: float = 0.02,
    ) -> None:
        super().__init__(signature)
        if prior not in ("measured", "random"):
            raise ValueError(f"prior {prior!r}; use 'measured' or 'random'")
        self.prior, self.blur, self.bias, self.noise = prior, blur, bias, noise
        self.regions = signature.condition_channels - signature.vector_length
        images = signature.image_channels
        if max(2 * self.regions, KNOTS**signature.dimension) > math.prod(signature.window):
            raise ValueError(f"{self.regions} labels in a window of {signature.window} voxels")
        # Cases, and the sums of mean, mean^2, log spread, log spread^2 over them, by image and label.
        self.sums = nn.Parameter(torch.zeros(5, images, self.regions), requires_grad=False)

    def noise_shape(self) -> tuple[int, ...]:
        """(images, *window); it is drawn four times: contrast, texture, shading, disturbance."""
        return (self.signature.image_channels, *self.signature.window)

    def forward(self, batch: Batch, generator: torch.Generator) -> Outputs:
        """Measure the batch's real images, and draw as many.

        In single precision whatever autocast says: a spread is the small difference of two means.
        """
        shape = (len(batch.target), *self.noise_shape())
        with single_precision(batch.target):
            if self.training:
                self._measure(batch)
            return {"generated": self._drawn(lambda: draw(shape, batch.target, generator), batch)}

    def sample(self, noise: Noise, batch: Batch, sampler: Sampler, callback: Callback | None = None) -> Tensor:
        """Images (B, C, *window) for the batch's label maps."""
        made = self._drawn(noise, batch)
        if callback is not None:
            callback(1, 1)
        return made

    @torch.no_grad()
    def _measure(self, batch: Batch) -> None:
        """Add the batch's cases to the sums; a case counts for the regions that it shows."""
        where = required(batch)[:, : self.regions].flatten(2)
        if batch.inside is not None:
            where = where * batch.inside.flatten(2)
        images = batch.target[:, : self.signature.image_channels].flatten(2)
        count = where.sum(2)[:, None]
        mean = torch.einsum("bcn,bln->bcl", images, where) / count.clamp(min=1)
        square = torch.einsum("bcn,bln->bcl", images**2, where) / count.clamp(min=1)
        spread = (square - mean**2).clamp(min=1e-6).sqrt().log()
        there = (count >= LEAST_VOXELS).to(mean).expand_as(mean)
        terms = (torch.ones_like(mean), mean, mean**2, spread, spread**2)
        self.sums.add_(torch.stack([(term * there).sum(0) for term in terms]))

    def _contrast(self, normal: Tensor) -> tuple[Tensor, Tensor]:
        """Means and spreads (B, C, regions) from as many pairs of standard normal numbers (B, C, 2, regions)."""
        chance = torch.special.ndtr(normal)
        any_mean = MEANS[0] + (MEANS[1] - MEANS[0]) * chance[:, :, 0]
        any_spread = SPREADS[0] + (SPREADS[1] - SPREADS[0]) * chance[:, :, 1]
        if self.prior == "random":
            return any_mean, any_spread
        cases, mean, mean_square, spread, spread_square = self.sums
        known = cases > 0
        total = cases.clamp(min=1e-6)
        mean, spread = mean / total, spread / total
        mean_varies = (mean_square / total - mean**2).clamp(min=0).sqrt()
        spread_varies = (spread_square / total - spread**2).clamp(min=0).sqrt()
        means = mean + mean_varies * normal[:, :, 0]
        spreads = (spread + spread_varies * normal[:, :, 1]).exp()
        # A label that no training case showed may look like anything.
        return torch.where(known, means, any_mean), torch.where(known, spreads, any_spread)

    def _drawn(self, noise: Callable[[], Tensor], batch: Batch) -> Tensor:
        where = required(batch)[:, : self.regions]
        numbers = noise().flatten(2)
        pairs = torch.unflatten(numbers[:, :, : 2 * self.regions], 2, (2, self.regions))
        means, spreads = self._contrast(pairs)
        level = torch.einsum("bcl,bl...->bc...", means, where)
        width = torch.einsum("bcl,bl...->bc...", spreads, where)
        ideal = level + width * noise()
        shading = noise().flatten(2)
        d = self.signature.dimension
        knots = torch.unflatten(shading[:, :, : KNOTS**d], 2, (KNOTS,) * d)
        # The point spread takes one more number of a draw that has many left.
        amounts = self.blur * torch.special.ndtr(shading[:, 0, -1])
        blurred = torch.cat([self._blurred(one[None], float(a)) for one, a in zip(ideal, amounts, strict=True)])
        mode = "bilinear" if self.signature.dimension == 2 else "trilinear"
        field = F.interpolate(knots, size=self.signature.window, mode=mode, align_corners=True)
        shaded = (blurred + 1) * (self.bias * field).exp() - 1
        return (shaded + self.noise * noise()).clamp(-1, 1)

    def _blurred(self, image: Tensor, amount: float) -> Tensor:
        if amount < 0.1:
            return image
        return torch.as_tensor(GaussianFilter(self.signature.dimension, amount).to(image.device)(image))
