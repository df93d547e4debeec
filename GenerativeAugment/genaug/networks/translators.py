"""Image to image: the translator of pix2pix and of the plain regression baseline."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from monai.networks.nets import BasicUNet
from torch import Tensor, nn

from genaug.networks.base import Batch, OnePass, Outputs, Signature, activate

HALVINGS = 4
"""How often BasicUNet halves its window on the way down."""

FEATURES = (32, 32, 64, 128, 256, 32)
"""Channels of BasicUNet by level, and before its last layer."""


class Translator(OnePass):
    """MONAI's BasicUNet (Ronneberger 2015), source images in, target images out. Deterministic.

    What it learns are differences from the mean of the sources, and its last layer starts at zero: two contrasts of one
    body share their background and their edges, and a U-Net that has to build both first spends most of a short
    training on it, now and then with a saturated blob that no gradient reaches any more.

    Upsampling is interpolation followed by convolution, which leaves no checkerboard. The network is fully
    convolutional: windows may have any size divisible by 16 that leaves two voxels at the bottleneck, because instance
    normalisation has no spread to divide by in one.

    Raises:
        ValueError: for a window that is too small, with its size.
    """

    def __init__(
        self,
        signature: Signature,
        features: Sequence[int] = FEATURES,
        norm: str = "instance",
        dropout: float = 0.0,
    ) -> None:
        super().__init__(signature)
        bottleneck = [n // 2**HALVINGS for n in signature.window]
        if math.prod(bottleneck) < (2 if norm == "instance" else 1):
            raise ValueError(
                f"a window of {' x '.join(map(str, signature.window))} voxels leaves {math.prod(bottleneck)} at the "
                f"bottleneck, after {HALVINGS} halvings; use at least {2 ** (HALVINGS + 1)} voxels along one axis and "
                f"{2**HALVINGS} along the others"
            )
        self.network = BasicUNet(
            spatial_dims=signature.dimension,
            in_channels=signature.condition_channels,
            out_channels=signature.channels,
            features=tuple(features),
            norm=(norm, {"affine": True}),
            dropout=dropout,
            upsample="nontrainable",
        )
        for parameter in self.network.final_conv.parameters():
            nn.init.zeros_(parameter)

    def noise_shape(self) -> tuple[int, ...]:
        """One number, which is not used: the translator is deterministic."""
        return (1,)

    def generate(self, noise: Tensor, batch: Batch) -> Tensor:
        """Raw output for the batch's condition."""
        if batch.condition is None:
            raise ValueError("a translator needs a source image or a label map")
        return on_source(torch.as_tensor(self.network(batch.condition)), batch, self.signature)

    def forward(self, batch: Batch, generator: torch.Generator) -> Outputs:
        """The translated source."""
        raw = self.generate(batch.target.new_zeros(len(batch.target), 1), batch)
        return {"raw": raw, "generated": activate(raw, self.signature.image_channels)}


def on_source(raw: Tensor, batch: Batch, signature: Signature) -> Tensor:
    """A raw output (B, C, *S) whose images are added to the mean of those sources that the case has."""
    if batch.source is None:
        return raw
    # Not by its inverse tanh: where a source is brightest, no gradient would reach a target that is dark there.
    base = mean_source(batch.source, batch, signature)
    images, labels = raw[:, : signature.image_channels], raw[:, signature.image_channels :]
    return torch.cat([images + base, labels], dim=1)


def mean_source(source: Tensor, batch: Batch, signature: Signature) -> Tensor:
    """(B, 1, *S): the mean over the sources, of those only that a case has where some may be missing."""
    if batch.vector is None or not signature.vector or signature.vector[-1][0] != "source":
        return source.mean(dim=1, keepdim=True)
    has = batch.vector[:, -signature.vector[-1][1] :]
    # A missing source is zero everywhere, in each of its planes.
    there = source.shape[1] * has.mean(dim=1).clamp(min=1 / has.shape[1])
    return source.sum(dim=1, keepdim=True) / there.view(-1, *[1] * (source.ndim - 1))
