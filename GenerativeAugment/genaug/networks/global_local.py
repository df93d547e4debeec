"""Two paths: the whole window seen coarsely, and what is around a voxel seen sharply."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from monai.networks.blocks import ResidualUnit
from monai.networks.layers.factories import Conv, Pool
from torch import Tensor, nn

from genaug.networks.base import Batch, Signature
from genaug.networks.haar import Haar, band_channels, to_features
from genaug.networks.translators import ImageToImage, required, unet

NORM = ("instance", {"affine": True})


class GlobalLocalTranslator(ImageToImage):
    """Global and local path of GLA-GAN (Sikka 2021, arXiv:2108.02160), which makes PET from MR.

    The global path is a U-Net on the window at half the resolution, for uptake that depends on where in the brain a
    voxel is; the local path are a few residual units behind a Haar front, whose field of view is a dozen voxels, for
    edges. Both leave feature maps that a last layer joins; it starts at nothing. The paper cuts patches for its local
    path, which convolutions of small reach do for all patches at once.

    Args:
        features: channels of the global path, see Translator.
        local_channels: of the local path.
        local_blocks: its residual units.
        from_source: see ImageToImage.
    """

    def __init__(
        self,
        signature: Signature,
        features: Sequence[int] = (32, 32, 64, 128, 256, 32),
        local_channels: int = 32,
        local_blocks: int = 2,
        from_source: bool = False,
    ) -> None:
        super().__init__(signature, from_source)
        d, width = signature.dimension, features[-1]
        self.shrink = Pool[Pool.AVG, d](2)
        inputs = signature.condition_channels
        self.whole = unet(signature, inputs, width, features, norm="group", halved=1, zeroed=False)
        near: list[nn.Module] = [to_features(inputs, local_channels, d, 1)]
        near += [
            ResidualUnit(d, local_channels, local_channels, norm=NORM, act="leakyrelu") for _ in range(local_blocks)
        ]
        self.near = nn.Sequential(*near)
        self.head = Conv[Conv.CONV, d](width + local_channels, band_channels(signature.channels, d, 1), 1)
        self.back = Haar(1, inverse=True)
        for parameter in self.head.parameters():
            nn.init.zeros_(parameter)

    def translated(self, batch: Batch) -> Tensor:
        """Raw output for the batch's condition."""
        condition = required(batch)
        both = torch.cat([self.whole(self.shrink(condition)), self.near(condition)], dim=1)
        return self.based(torch.as_tensor(self.back(self.head(both))), batch)
