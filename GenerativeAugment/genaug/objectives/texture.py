"""Terms that compare features of images instead of voxels.

No trained weights come with genaug and none are fetched, so the features are those of a critic, which learns them on
the data itself, or of a fixed random convolutional network (the architecture of evaluation.convolutional with other
weights, so that a training cannot learn to please the score). A critic's features mean more with every iteration and
are a moving target; random ones see edges, orientation and grain at four resolutions from the start, and no anatomy.
Neither knows what an organ is, as a network trained on pictures or scans would in part; both see a missing texture.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from genaug.evaluation.convolutional import feature_maps
from genaug.networks.base import single_precision
from genaug.objectives.base import Batch, Outputs, Play, field_of, judged, layers_of, named

SEED = 20_251_125
"""Of the random features; any but those of the evaluation."""


def perceptual(
    outputs: Outputs,
    batch: Batch,
    play: Play,
    critic: str | None = None,
    fake: str = "generated",
    real: str = "target",
) -> Tensor:
    """Mean absolute difference of the features, level by level (Johnson 2016, arXiv:1603.08155).

    Args:
        outputs: with what `fake` names.
        batch: its field of view and, for a critic, its condition are looked at.
        play: holds the critics.
        critic: whose features; None for the fixed random ones.
        fake: which output is compared.
        real: what it is compared with, an output or a field of the batch.
    """
    pairs = _pairs(outputs, batch, play, critic, fake, real)
    return torch.stack([F.l1_loss(f, r) for f, r in pairs]).mean()


def style(
    outputs: Outputs,
    batch: Batch,
    play: Play,
    critic: str | None = None,
    fake: str = "generated",
    real: str = "target",
) -> Tensor:
    """Mean squared difference of the features' Gram matrices, level by level (Gatys 2016): texture wherever it is.

    Arguments as of `perceptual`.
    """
    pairs = _pairs(outputs, batch, play, critic, fake, real)
    return torch.stack([F.mse_loss(gram(f), gram(r)) for f, r in pairs]).mean()


def gram(features: Tensor) -> Tensor:
    """(B, C, C): how much two features (B, C, *S) are seen together per voxel, wherever that is.

    In single precision whatever autocast says: half precision has no number for the sum over a large volume.
    """
    flat = features.float().flatten(2)
    with single_precision(flat):
        return flat @ flat.transpose(1, 2) / flat.shape[2]


def _pairs(
    outputs: Outputs, batch: Batch, play: Play, critic: str | None, fake: str, real: str
) -> Iterator[tuple[Tensor, Tensor]]:
    """Features of the fake and of the real one at every level; gradients reach the fake alone."""
    false, true = named(fake, outputs, batch), named(real, outputs, batch)
    with torch.no_grad():
        wanted = list(_features(true, batch, play, critic, fake))
    made = (
        _features(false, batch, play, None, fake)
        if critic is None
        else play.judgement(critic, fake, outputs, batch)[:-1]
    )
    return zip(made, wanted, strict=True)


def _features(x: Tensor, batch: Batch, play: Play, critic: str | None, fake: str) -> Iterable[Tensor]:
    if critic is not None:
        # Without the scores.
        return layers_of(play.critics[critic], judged(x, batch, fake))[:-1]
    images, inside = play.images(x).float(), field_of(fake, batch)
    seen = images if inside is None else images * inside
    maps = feature_maps(seen.flatten(0, 1)[:, None], play.signature.dimension, SEED)
    return [level.reshape(len(x), -1, *level.shape[2:]) for level in maps]
