"""Image to image: the translator of pix2pix and of the plain regression baseline."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence

import torch
from monai.networks.blocks import SpatialAttentionBlock
from monai.networks.nets import BasicUNet
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx

from genaug.networks.base import Batch, OnePass, Outputs, Signature, activate

HALVINGS = 4
"""How often BasicUNet halves its window on the way down."""

BOUND = 0.999
"""Largest intensity of what is made by adding to a source: tanh reaches 1 nowhere, and its inverse has to be finite."""

FEATURES = (32, 32, 64, 128, 256, 32)
"""Channels of BasicUNet by level, and before its last layer."""


class ImageToImage(OnePass):
    """A network that makes the same of the same source, whatever the noise.

    With `from_source` it learns differences of intensity from the mean of the sources and, its last layer being zero,
    starts there: two MR contrasts of one body share background and edges, and a network that has to build both first
    spends most of a short training on it, now and then with a saturated blob that no gradient reaches any more.
    From MR to CT it would have to take the source away again: there the error of a U-Net in the body doubled.

    Args:
        signature: what goes in and comes out.
        from_source: learn differences from the mean of the sources.
    """

    def __init__(self, signature: Signature, from_source: bool = False) -> None:
        super().__init__(signature)
        self.from_source = from_source

    def based(self, raw: Tensor, batch: Batch) -> Tensor:
        """A raw output (B, C, *S) that is a difference, where the network learns those, on what it differs from."""
        return on_source(raw, batch, self.signature) if self.from_source else raw

    def noise_shape(self) -> tuple[int, ...]:
        """One number, which is not used."""
        return (1,)

    @abstractmethod
    def translated(self, batch: Batch) -> Tensor:
        """Raw output (B, C, *S) for the batch's condition."""

    def generate(self, noise: Tensor, batch: Batch) -> Tensor:
        """Raw output for the batch's condition."""
        return self.translated(batch)

    def forward(self, batch: Batch, generator: torch.Generator) -> Outputs:
        """The translated source."""
        raw = self.translated(batch)
        return {"raw": raw, "generated": activate(raw, self.signature.image_channels)}


class Translator(ImageToImage):
    """MONAI's BasicUNet (Ronneberger 2015), source images in, target images out. Deterministic.

    Upsampling is interpolation followed by convolution, which leaves no checkerboard. The network is fully
    convolutional: windows may have any size divisible by 16 that, with instance norms, leaves two voxels at the
    bottleneck, because in one these have no spread to divide by.

    Args:
        features: channels by level, and before the last layer.
        norm: "instance", "batch", or "group", see `norm_of`.
        dropout: share of values dropped while training.
        attention: self-attention at the bottleneck, where every place is compared with every other (Zhang 2019).
        from_source: see ImageToImage.

    Raises:
        ValueError: for a window that is too small, with its size.
    """

    def __init__(
        self,
        signature: Signature,
        features: Sequence[int] = FEATURES,
        norm: str = "instance",
        dropout: float = 0.0,
        attention: bool = False,
        from_source: bool = False,
    ) -> None:
        super().__init__(signature, from_source)
        self.network = unet(
            signature,
            signature.condition_channels,
            signature.channels,
            features,
            norm=norm,
            dropout=dropout,
            attention=attention,
            zeroed=from_source,
        )

    def translated(self, batch: Batch) -> Tensor:
        """Raw output for the batch's condition."""
        return self.based(torch.as_tensor(self.network(required(batch))), batch)


def unet(
    signature: Signature,
    inputs: int,
    outputs: int,
    features: Sequence[int],
    *,
    norm: str = "instance",
    dropout: float = 0.0,
    attention: bool = False,
    halved: int = 0,
    zeroed: bool = True,
) -> BasicUNet:
    """A U-Net (B, inputs, *S) to (B, outputs, *S); see Translator.

    Args:
        signature: gives dimension and window.
        inputs: channels.
        outputs: channels.
        features: see Translator, as norm, dropout and attention.
        norm: "group" is content with one voxel at the bottleneck.
        dropout: see Translator.
        attention: see Translator.
        halved: how often the window has been halved before it gets here.
        zeroed: whether the last layer starts at zero.

    Raises:
        ValueError: for a window that is too small, with its size.
    """
    levels = HALVINGS + halved
    bottleneck = [n // 2**levels for n in signature.window]
    if math.prod(bottleneck) < (2 if norm == "instance" else 1):
        raise ValueError(
            f"a window of {' x '.join(map(str, signature.window))} voxels leaves {math.prod(bottleneck)} at the "
            f"bottleneck, after {levels} halvings; use at least {2 ** (levels + 1)} voxels along one axis and "
            f"{2**levels} along the others"
        )
    network = BasicUNet(
        spatial_dims=signature.dimension,
        in_channels=inputs,
        out_channels=outputs,
        features=tuple(features),
        norm=norm_of(norm),
        dropout=dropout,
        upsample="nontrainable",
    )
    if attention:
        width = features[HALVINGS]
        groups = math.gcd(width, 32)
        network.down_4 = nn.Sequential(
            network.down_4, SpatialAttentionBlock(signature.dimension, width, norm_num_groups=groups)
        )
    if zeroed:
        for parameter in network.final_conv.parameters():
            nn.init.zeros_(parameter)
    return network


def norm_of(name: str) -> tuple[str, dict[str, int | bool]]:
    """A norm as MONAI wants it: "instance", "batch", or "group", of four groups.

    Instance norms take from every map its level, and with it what a constant channel has told: a network that is to
    hear the vector of class and numbers needs another norm. So does one that is to tell tissues by how bright they are:
    with instance norms a limb that is nearly all fat became the mixture of fat and muscle that most limbs are.
    """
    return name, {"num_groups": 4} if name == "group" else {"affine": True}


def required(batch: Batch) -> Tensor:
    """The condition (B, condition_channels, *S) of a network that makes nothing of nothing."""
    if batch.condition is None:
        raise ValueError("a translator needs a source image or a label map")
    return batch.condition


def on_source(raw: Tensor, batch: Batch, signature: Signature) -> Tensor:
    """A raw output (B, C, *S) whose images are added to the mean of those sources that the case has."""
    if batch.source is None:
        return raw
    base = mean_source(batch.source, batch, signature)
    images, labels = raw[:, : signature.image_channels], raw[:, signature.image_channels :]
    # Added as intensities, so that where nothing is to change nothing has to be learnt: added before the tanh, the air
    # around a head stayed grey for thousands of iterations. Bounded here, since near its ends a tanh has no slope, and
    # no gradient would reach a target that is dark where the source is brightest. In single precision, for half has no
    # number between the bound and one.
    bounded: Tensor = _Bounded.apply(images.float() + base.float())  # type: ignore[no-untyped-call]
    return torch.cat([torch.atanh(bounded), labels.float()], dim=1)


class _Bounded(torch.autograd.Function):
    """Values cut off at BOUND, whose gradient still leads back from beyond, and no further out."""

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.clamp(-BOUND, BOUND)

    @staticmethod
    def backward(ctx: FunctionCtx, gradient: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors  # type: ignore[attr-defined]
        outwards = ((x > BOUND) & (gradient < 0)) | ((x < -BOUND) & (gradient > 0))
        return gradient.masked_fill(outwards, 0.0)


def mean_source(source: Tensor, batch: Batch, signature: Signature) -> Tensor:
    """(B, 1, *S): the mean over the sources, of those only that a case has where some may be missing."""
    if batch.vector is None or not signature.vector or signature.vector[-1][0] != "source":
        return source.mean(dim=1, keepdim=True)
    has = batch.vector[:, -signature.vector[-1][1] :]
    # A missing source is zero everywhere, in each of its planes.
    there = source.shape[1] * has.mean(dim=1).clamp(min=1 / has.shape[1])
    return source.sum(dim=1, keepdim=True) / there.view(-1, *[1] * (source.ndim - 1))
