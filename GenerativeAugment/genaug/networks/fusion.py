"""Several sources, each with a stream of its own, and how much to believe each of them, voxel by voxel."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from monai.networks.layers.factories import Conv
from torch import Tensor, nn

from genaug.networks.base import Batch, Outputs, Signature, activate
from genaug.networks.translators import ImageToImage, required, unet


class FusionTranslator(ImageToImage):
    """mustGAN (Yurt 2021, arXiv:1909.11504): one-to-one streams, a many-to-one stream, and their adaptive fusion.

    A one-to-one stream keeps what is particular to one source, the joint stream finds what they have in common. Each
    leaves feature maps; weights that sum to one at every voxel, made from all of them, mix these before the last layer.
    The paper trains its streams one after the other and searches the depth at which they meet; here they are trained
    together, meet before the last layer, and the term `streams` holds each one-to-one stream to the target by itself.

    Args:
        features: channels of each stream, see Translator; the last is what the streams leave for the fusion.
        norm: of every stream, see Translator.
        from_source: see ImageToImage; every stream by itself too.
    """

    def __init__(
        self,
        signature: Signature,
        features: Sequence[int] = (16, 16, 32, 64, 128, 16),
        norm: str = "instance",
        from_source: bool = False,
    ) -> None:
        super().__init__(signature, from_source)
        d, width = signature.dimension, features[-1]
        self.sources = signature.condition_channels - signature.vector_length
        conv = Conv[Conv.CONV, d]
        self.streams = nn.ModuleList(
            unet(signature, 1, width, features, norm=norm, zeroed=False) for _ in range(self.sources)
        )
        self.joint = unet(signature, signature.condition_channels, width, features, norm=norm, zeroed=False)
        self.weights = conv((self.sources + 1) * width, self.sources + 1, 1)
        self.heads = nn.ModuleList(conv(width, signature.channels, 1) for _ in range(self.sources))
        self.head = conv(width, signature.channels, 1)
        for parameter in (*self.weights.parameters(), *self.heads.parameters(), *self.head.parameters()):
            nn.init.zeros_(parameter)

    def translated(self, batch: Batch) -> Tensor:
        """Raw output for the batch's sources."""
        maps = self._maps(batch)
        return self.based(self._fused(maps), batch)

    def forward(self, batch: Batch, generator: torch.Generator) -> Outputs:
        """The translated sources; `streams` (B, sources * C, *S) are what each source makes alone."""
        maps = self._maps(batch)
        raw = self.based(self._fused(maps), batch)
        own = [
            activate(self.based(head(one), batch), self.signature.image_channels)
            for head, one in zip(self.heads, maps, strict=False)
        ]
        return {
            "raw": raw,
            "generated": activate(raw, self.signature.image_channels),
            "streams": torch.cat(own, dim=1),
            "fusion": self.believed(maps),
        }

    def believed(self, maps: Sequence[Tensor]) -> Tensor:
        """Weights (B, sources + 1, *S) of the streams and, last, of the joint one: positive, and 1 together."""
        return torch.softmax(self.weights(torch.cat(list(maps), dim=1)), dim=1)

    def _maps(self, batch: Batch) -> list[Tensor]:
        """Feature maps (B, width, *S) of every stream, the joint one last."""
        if batch.source is None:
            raise ValueError("a fusion of streams needs source images")
        alone = [stream(batch.source[:, i : i + 1]) for i, stream in enumerate(self.streams)]
        return [*alone, self.joint(required(batch))]

    def _fused(self, maps: Sequence[Tensor]) -> Tensor:
        weights = self.believed(maps)
        mixed = sum(weights[:, i : i + 1] * one for i, one in enumerate(maps))
        return torch.as_tensor(self.head(mixed))
