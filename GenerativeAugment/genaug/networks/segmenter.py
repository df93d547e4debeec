"""A third player: finds the labels in an image, so that an image is only good if they can be found in it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from monai.networks.layers.factories import Conv
from monai.networks.nets import UNet
from torch import Tensor, nn

from genaug.networks.base import Signature
from genaug.networks.haar import Haar, band_channels


class Segmenter(nn.Module):
    """MONAI's residual U-Net behind a Haar front: images to the logits of the label map they were made for.

    It sees the images alone, of everything that a critic is given.

    Raises:
        ValueError: for a recipe that is not conditioned on a label map.
    """

    def __init__(self, signature: Signature, channels: Sequence[int] = (32, 64), haar_levels: int = 1) -> None:
        super().__init__()
        d = signature.dimension
        self.images = signature.image_channels
        labels = signature.condition_channels - signature.vector_length
        if labels < 2:
            raise ValueError("a segmenter needs a label map as the condition")
        self.network = nn.Sequential(
            Haar(haar_levels),
            UNet(
                spatial_dims=d,
                in_channels=band_channels(self.images, d, haar_levels),
                out_channels=channels[0],
                channels=tuple(channels),
                strides=(2,) * (len(channels) - 1),
                num_res_units=1,
                norm=("group", {"num_groups": 8}),
            ),
            # MONAI normalises the output of its UNet as well, for which there may be no eight groups of labels.
            Conv[Conv.CONV, d](channels[0], band_channels(labels, d, haar_levels), 1),
            Haar(haar_levels, inverse=True),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, L, *S) for images, joined with whatever else, (B, C, *S)."""
        return torch.as_tensor(self.network(x[:, : self.images]))
