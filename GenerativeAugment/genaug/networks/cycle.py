"""Two translators that undo each other, which is what unpaired images can be learnt from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from genaug.networks.base import Batch, Outputs, Signature, activate
from genaug.networks.translators import FEATURES, ImageToImage, Translator


class CyclePair(ImageToImage):
    """Source to target and target to source (Zhu 2017, arXiv:1703.10593); only the first makes cases.

    Besides `raw` and `generated`, the training pass leaves what the terms of a cycle look at, (B, C, *S) in [-1, 1]:
    `reversed`, the target seen as a source; `cycle_source` and `cycle_target`, there and back again; and, where both
    have equally many channels, `identity_target` and `identity_source`, what a translator makes of an image that is
    already what it should become.

    Args:
        signature: its condition is the source, and the vector where there is one.
        features, norm, dropout: of both translators.
        identity: whether to make the identity outputs, which cost a fifth of an iteration.
        from_source: see ImageToImage; for two contrasts of one modality, or a channel and itself.

    Raises:
        ValueError: where some sources may be missing: what is not there cannot be come back to.
    """

    def __init__(
        self,
        signature: Signature,
        features: Sequence[int] = FEATURES,
        norm: str = "instance",
        dropout: float = 0.0,
        identity: bool = True,
        from_source: bool = False,
    ) -> None:
        super().__init__(signature)
        if any(kind == "source" for kind, _ in signature.vector):
            raise ValueError("a cycle needs every source of a case")
        sources = signature.condition_channels - signature.vector_length
        mirrored = replace(
            signature,
            image_channels=sources,
            label_channels=0,
            condition_channels=signature.channels + signature.vector_length,
        )
        self.there = Translator(signature, features, norm, dropout, from_source=from_source)
        self.back = Translator(mirrored, features, norm, dropout, from_source=from_source)
        self.identity = identity and sources == signature.channels

    def translated(self, batch: Batch) -> Tensor:
        """Raw target for the batch's source."""
        return self.there.translated(batch)

    def forward(self, batch: Batch, generator: torch.Generator) -> Outputs:
        """Both directions, and there and back again from either side."""
        if batch.source is None:
            raise ValueError("a cycle needs a source image")
        raw = self.there.translated(batch)
        generated = activate(raw, self.signature.image_channels)
        reverse = self._made(self.back, batch.target, batch)
        outputs = {
            "raw": raw,
            "generated": generated,
            "reversed": reverse,
            "cycle_source": self._made(self.back, generated, batch),
            "cycle_target": self._made(self.there, reverse, batch),
        }
        if self.identity:
            outputs["identity_target"] = self._made(self.there, batch.target, batch)
            outputs["identity_source"] = self._made(self.back, batch.source, batch)
        return outputs

    @staticmethod
    def _made(translator: Translator, source: Tensor, batch: Batch) -> Tensor:
        raw = translator.translated(replace(batch, source=source))
        return activate(raw, translator.signature.image_channels)
