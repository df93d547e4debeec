"""The second player: judges whole volumes or patches, given the condition where there is one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from monai.networks.layers.factories import Conv
from monai.networks.nets import PatchDiscriminator
from torch import Tensor, nn

from genaug.networks.base import Signature
from genaug.networks.haar import Haar, band_channels


class Critic(nn.Module):
    """One number per volume, without normalisation, as the gradient penalty demands (Gulrajani 2017).

    The standard deviation over the batch is one more feature (Karras 2018, section 3), which lets the critic see a
    generator that repeats itself. An axis of which one voxel is left is not halved any further: a stack of few thick
    planes is as long across them as a volume.
    """

    def __init__(
        self,
        signature: Signature,
        channels: Sequence[int] = (32, 64, 128),
        haar_levels: int = 1,
        conditional: bool = True,
    ) -> None:
        super().__init__()
        d = signature.dimension
        self.seen = seen_channels(signature, conditional)
        before = band_channels(self.seen, d, haar_levels)
        layers: list[nn.Module] = [Haar(haar_levels)]
        size = [n // 2**haar_levels for n in signature.window]
        for after in channels:
            kernel, stride, padding = zip(*((4, 2, 1) if n > 1 else (1, 1, 0) for n in size), strict=True)
            layers += [Conv[Conv.CONV, d](before, after, kernel, stride=stride, padding=padding), nn.LeakyReLU(0.2)]
            size = [max(n // 2, 1) for n in size]
            before = after
        self.features = nn.Sequential(*layers)
        features = before * math.prod(size)
        self.last = nn.Sequential(nn.Linear(features + 1, before), nn.LeakyReLU(0.2), nn.Linear(before, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Scores (B, 1) for generated or real tensors joined with their condition, (B, C, *window)."""
        return torch.as_tensor(self.last(self.described(x)))

    def described(self, x: Tensor) -> Tensor:
        """Features (B, F) of every case, and how much they vary over the batch."""
        return with_spread(self.features(x[:, : self.seen]).flatten(1))


class PatchCritic(nn.Module):
    """One number per overlapping patch (Isola 2017), MONAI's PatchDiscriminator, optionally behind a Haar front."""

    def __init__(
        self,
        signature: Signature,
        channels: int = 32,
        layers: int = 3,
        haar_levels: int = 0,
        conditional: bool = True,
        judges: Literal["target", "source"] = "target",
    ) -> None:
        super().__init__()
        d = signature.dimension
        smallest = min(signature.window)
        # Two convolutions of kernel 4 follow the strided ones and take one voxel each.
        if smallest // 2 ** (layers + haar_levels) < 3:
            raise ValueError(f"a window of {smallest} voxels leaves no patch after {layers} layers; use fewer layers")
        if judges == "source":
            # The other direction of a cycle: what is made looks like a source, and was made for nothing that is told.
            self.seen = signature.condition_channels - signature.vector_length
        else:
            self.seen = seen_channels(signature, conditional)
        self.front = Haar(haar_levels)
        self.network = PatchDiscriminator(
            spatial_dims=d,
            channels=channels,
            in_channels=band_channels(self.seen, d, haar_levels),
            num_layers_d=layers,
            norm="INSTANCE",
        )

    def forward(self, x: Tensor) -> Tensor:
        """Scores (B, 1, *patches)."""
        return torch.as_tensor(self.layers(x)[-1])

    def layers(self, x: Tensor) -> list[Tensor]:
        """What every layer makes of it, the scores last."""
        return list(self.network(self.front(x[:, : self.seen])))


def with_spread(features: Tensor) -> Tensor:
    """Features (B, F), and as one more how much they vary over the batch."""
    # Variance with a floor: its square root must stay differentiable for a batch of equal volumes. Half precision has
    # no number that small.
    spread = (features.float().var(dim=0, unbiased=False) + 1e-8).sqrt().mean().expand(len(features), 1)
    return torch.cat([features, spread], dim=1)


def seen_channels(signature: Signature, conditional: bool) -> int:
    """Channels that a critic looks at: the tensor that is judged, and what it was made for unless told not to."""
    return signature.channels + (signature.condition_channels if conditional else 0)
