"""A chain of U-Nets, each of which corrects what the one before it has made."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from genaug.networks.base import Batch, Outputs, Signature, activate
from genaug.networks.translators import ImageToImage, required, unet


class CascadeTranslator(ImageToImage):
    """CasNet, the generator of MedGAN (Armanious 2020, arXiv:1806.06397): U-blocks one behind the other.

    Every block sees the source and the image so far and adds a correction to it, which is nothing at first, so that a
    longer cascade starts where a shorter one does. Deterministic and fully convolutional, see Translator.

    Args:
        blocks: number of U-blocks.
        features: channels of each, see Translator; narrower than there, because there are several.
        norm: of each, see Translator.
        from_source: see ImageToImage.
    """

    def __init__(
        self,
        signature: Signature,
        blocks: int = 3,
        features: Sequence[int] = (16, 16, 32, 64, 128, 16),
        norm: str = "instance",
        from_source: bool = False,
    ) -> None:
        super().__init__(signature, from_source)
        if blocks < 1:
            raise ValueError(f"a cascade of {blocks} blocks makes nothing; use at least 1")
        channels = signature.condition_channels + signature.channels
        self.blocks = nn.ModuleList(
            unet(signature, channels, signature.channels, features, norm=norm) for _ in range(blocks)
        )

    def translated(self, batch: Batch) -> Tensor:
        """Raw output of the last block."""
        return self._refined(batch)[-1]

    def forward(self, batch: Batch, generator: torch.Generator) -> Outputs:
        """The translated source; `streams` (B, blocks * C, *S) are the images after each block."""
        every = self._refined(batch)
        made = [activate(raw, self.signature.image_channels) for raw in every]
        return {"raw": every[-1], "generated": made[-1], "streams": torch.cat(made, dim=1)}

    def _refined(self, batch: Batch) -> list[Tensor]:
        difference = batch.target.new_zeros(len(batch.target), self.signature.channels, *batch.target.shape[2:])
        raw = self.based(difference, batch)
        every = []
        for block in self.blocks:
            seen = torch.cat([required(batch), activate(raw, self.signature.image_channels)], dim=1)
            difference = difference + block(seen)
            raw = self.based(difference, batch)
            every.append(raw)
        return every
