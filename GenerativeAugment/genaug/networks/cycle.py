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
        mirrored = reverse_of(signature)
        self.there = Translator(signature, features, norm, dropout, from_source=from_source)
        self.back = Translator(mirrored, features, norm, dropout, from_source=from_source)
        self.identity = identity and mirrored.channels == signature.channels

    def translated(self, batch: Batch) -> Tensor:
        """Raw target for the batch's source."""
        return self.there.translated(batch)

    def forward(self, batch: Batch, generator: torch.Generator) -> Outputs:
        """Both directions, and there and back again from either side."""
        if batch.source is None:
            raise ValueError("a cycle needs a source image")
        raw = self.there.translated(batch)
        generated = activate(raw, self.signature.image_channels)
        reverse = made_from(batch.target, self.back, batch)
        outputs = {
            "raw": raw,
            "generated": generated,
            "reversed": reverse,
            "cycle_source": made_from(generated, self.back, batch),
            "cycle_target": made_from(reverse, self.there, batch),
        }
        if self.identity:
            outputs["identity_target"] = made_from(batch.target, self.there, batch)
            outputs["identity_source"] = made_from(batch.source, self.back, batch)
        return outputs


def reverse_of(signature: Signature) -> Signature:
    """Shapes of a translator from the target to the source.

    Raises:
        ValueError: see CyclePair.
    """
    if any(kind == "source" for kind, _ in signature.vector):
        raise ValueError("a cycle needs every source of a case")
    return replace(
        signature,
        image_channels=signature.condition_channels - signature.vector_length,
        label_channels=0,
        condition_channels=signature.channels + signature.vector_length,
    )


def made_from(source: Tensor, translator: Translator, batch: Batch) -> Tensor:
    """What a translator makes of `source` (B, C, *S) with what else is known of the batch, in [-1, 1]."""
    raw = translator.translated(replace(batch, source=source))
    return activate(raw, translator.signature.image_channels)
