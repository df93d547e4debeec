"""A translator that has to say everything in a code: no connection passes it by."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from monai.networks.blocks import ResidualUnit
from monai.networks.layers.factories import Conv
from torch import Tensor, nn

from genaug.networks.base import Batch, Signature, spread
from genaug.networks.haar import Haar, band_channels, to_features
from genaug.networks.translators import ImageToImage, norm_of, required


class CodeTranslator(ImageToImage):
    """Encoder and decoder of a conditional autoencoder: the source through a bottleneck, the target of that and vector.

    Without the connections of a U-Net the decoder cannot copy the source's texture: the target, or with `from_source`
    what is added to the source, is made from the code and the vector alone. Deterministic and fully convolutional.

    Args:
        channels: of the encoder, from fine to coarse; each but the first halves the size, and the decoder goes back.
        haar_levels: finest levels that are the Haar transform instead of convolutions.
        from_source: see ImageToImage.
        norm: of the decoder, "instance", or "group", which lets the vector be heard, see `norm_of`.
        encoder_norm: as `norm`, of the encoder; "group" lets a code tell how bright the source is.

    Raises:
        ValueError: for a window that does not divide.
    """

    def __init__(
        self,
        signature: Signature,
        channels: Sequence[int] = (32, 64, 128),
        haar_levels: int = 1,
        from_source: bool = False,
        norm: str = "instance",
        encoder_norm: str = "instance",
    ) -> None:
        super().__init__(signature, from_source)
        d, whole, normed = signature.dimension, norm_of(encoder_norm), norm_of(norm)
        # For the refusal of windows that do not divide.
        signature.reduced(2 ** (len(channels) - 1 + haar_levels))
        told = signature.vector_length
        self.maps = signature.condition_channels - told
        layers: list[nn.Module] = [to_features(self.maps, channels[0], d, haar_levels)]
        for before, after in pairwise(channels):
            layers.append(ResidualUnit(d, before, after, strides=2, norm=whole, act="leakyrelu"))
        self.encoder = nn.Sequential(*layers)
        layers = [ResidualUnit(d, channels[-1] + told, channels[-1], norm=normed, act="leakyrelu")]
        for before, after in pairwise(reversed(channels)):
            layers += [
                nn.Upsample(scale_factor=2, mode="nearest"),
                ResidualUnit(d, before, after, norm=normed, act="leakyrelu"),
            ]
        self.decoder = nn.Sequential(*layers)
        self.head = Conv[Conv.CONV, d](channels[0], band_channels(signature.channels, d, haar_levels), 1)
        self.back = Haar(haar_levels, inverse=True)
        for parameter in self.head.parameters():
            nn.init.zeros_(parameter)

    def translated(self, batch: Batch) -> Tensor:
        """Raw output for the batch's condition."""
        code = self.encoder(required(batch)[:, : self.maps])
        if batch.vector is not None:
            code = torch.cat([code, spread(batch.vector, code.shape[2:])], dim=1)
        return self.based(torch.as_tensor(self.back(self.head(self.decoder(code)))), batch)
