"""Filling a hole in an image: the player that fills it, and the one that looks at nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from genaug.networks.base import Batch, OnePass, Outputs, Signature, draw
from genaug.networks.critics import PatchCritic
from genaug.networks.translators import Translator

NOISE_FACTOR = 4
"""The noise lies at this fraction of the resolution: it is about the grain of a lesion and not of single voxels."""


class HoleFiller(OnePass):
    """The translator's U-Net with noise in the hole, so that many lesions fit the same place (MCGAN, Han 2019).

    Args:
        signature: its condition is the image with its hole, the label map of what was there, and the vector.
        features: see Translator.
        noise_channels: how many maps of noise.
        norm: see Translator; "group" lets the vector be heard.
    """

    def __init__(
        self,
        signature: Signature,
        features: Sequence[int] = (32, 32, 64, 128, 256, 32),
        noise_channels: int = 2,
        norm: str = "instance",
    ) -> None:
        super().__init__(signature)
        self.noise_channels = noise_channels
        wider = replace(signature, condition_channels=signature.condition_channels + noise_channels)
        self.translator = Translator(wider, features, norm, from_source=True)

    def noise_shape(self) -> tuple[int, ...]:
        """(noise_channels, *window / 4)."""
        return (self.noise_channels, *(n // NOISE_FACTOR for n in self.signature.window))

    def generate(self, noise: Tensor, batch: Batch) -> Tensor:
        """Raw output for noise and the batch's condition."""
        if batch.label_map is None:
            raise ValueError("a hole needs the label map of what was there")
        spread = F.interpolate(noise, size=batch.label_map.shape[2:], mode="nearest")
        # The first label is the background: where there is none of it is the hole.
        inside = spread * (1 - batch.label_map[:, :1])
        told = replace(batch, label_map=torch.cat([batch.label_map, inside], dim=1))
        return self.translator.generate(noise, told)

    def forward(self, batch: Batch, generator: torch.Generator) -> Outputs:
        """The batch's images with their holes filled anew."""
        return self.made_from(draw((len(batch.target), *self.noise_shape()), batch.target, generator), batch)


class HoleCritic(PatchCritic):
    """The patch critic with everything outside the hole made grey: it judges the lesion, another one its surroundings.

    Takes the condition of a recipe that fills holes: as many source channels as there are target channels, then the
    label map, whose first channel is the background.
    """

    def __init__(self, signature: Signature, channels: int = 32, layers: int = 2, haar_levels: int = 0) -> None:
        super().__init__(signature, channels, layers, haar_levels)
        self.images = signature.image_channels
        if signature.condition_channels - signature.vector_length <= self.images:
            raise ValueError("a critic of holes needs the label map of what was there")

    def layers(self, x: Tensor) -> list[Tensor]:
        """What every layer makes of the lesion, the scores last."""
        images, others = x[:, : self.images], x[:, self.images :]
        hole = 1 - others[:, self.images : self.images + 1]
        return super().layers(torch.cat([images * hole, others], dim=1))
