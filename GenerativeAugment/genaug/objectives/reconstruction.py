"""Terms that compare with a real case, and the posterior's regulariser."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from monai.losses import SSIMLoss
from torch import Tensor

from genaug.networks.base import single_precision
from genaug.objectives.base import Batch, Outputs, Play, mean_inside


def l1(outputs: Outputs, batch: Batch, play: Play, of: str = "generated", by: str | None = None) -> Tensor:
    """Mean absolute error of the image channels of what `of` names, every case times what `by` names, (B,)."""
    errors = F.l1_loss(play.images(outputs[of]), play.images(batch.target), reduction="none")
    return mean_inside(errors if by is None else _times(errors, outputs[by]), batch)


def l2(outputs: Outputs, batch: Batch, play: Play) -> Tensor:
    """Mean squared error of the image channels."""
    errors = F.mse_loss(play.images(outputs["generated"]), play.images(batch.target), reduction="none")
    return mean_inside(errors, batch)


def ssim(outputs: Outputs, batch: Batch, play: Play, window: int = 7) -> Tensor:
    """1 - SSIM of the image channels (Wang 2004), MONAI's SSIMLoss over the data range 2.

    The darkest value counts as 0, as Wang has it: his comparison of means is one of their ratio, and where they may be
    negative it takes a step across the middle of [-1, 1] for an image turned inside out. In single precision whatever
    autocast says: a variance is the small difference of two means.
    """
    loss = SSIMLoss(spatial_dims=play.signature.dimension, data_range=2.0, win_size=window)
    inside = 1.0 if batch.inside is None else batch.inside
    made, wanted = (play.images(x).float() + 1 for x in (outputs["generated"], batch.target))
    with single_precision(made):
        return torch.as_tensor(loss(made * inside, wanted * inside))


def gradient_difference(outputs: Outputs, batch: Batch, play: Play) -> Tensor:
    """Mean absolute error of the image's finite differences: keeps edges that L1 alone blurs.

    Mathieu 2016 (arXiv:1511.05440) and Nie 2017 compare their magnitudes; with their signs an edge must also rise to
    the right side.
    """
    generated, target = play.images(outputs["generated"]), play.images(batch.target)
    errors = []
    for axis in range(2, target.ndim):
        between = None
        if batch.inside is not None:
            count = target.shape[axis] - 1
            between = batch.inside.narrow(axis, 0, count) * batch.inside.narrow(axis, 1, count)
        difference = F.l1_loss(generated.diff(dim=axis), target.diff(dim=axis), reduction="none")
        errors.append(mean_inside(difference, batch, between))
    return torch.stack(errors).mean()


def cross_entropy(outputs: Outputs, batch: Batch, play: Play, by: str | None = None) -> Tensor:
    """`label_errors` of the label channels, every case times what `by` names, (B,); 0 without label channels."""
    logits = play.labels(outputs["raw"])
    if not logits.shape[1]:
        return outputs["raw"].sum() * 0
    weights = None if by is None else outputs[by]
    return label_errors(logits, (play.labels(batch.target) > 0).float(), batch, weights)


def label_errors(logits: Tensor, truth: Tensor, batch: Batch, weights: Tensor | None = None) -> Tensor:
    """Voxel cross-entropy of logits (B, L, *S) and one-hot labels, plus one minus their mean soft Dice.

    The Dice part keeps small structures from being voted away by the background. Cases may have weights (B,).
    """
    logits = logits.float()
    inside = torch.ones_like(truth[:, :1]) if batch.inside is None else batch.inside
    probability = torch.softmax(logits, dim=1)
    axes = tuple(range(2, logits.ndim))
    overlap = 2 * (probability * truth * inside).sum(axes) + 1
    overlap = overlap / (((probability + truth) * inside).sum(axes) + 1)
    errors, missed = F.cross_entropy(logits, truth, reduction="none")[:, None], 1 - overlap.mean(dim=1)
    if weights is not None:
        errors, missed = _times(errors, weights), _times(missed, weights)
    return mean_inside(errors, batch) + missed.mean()


def _times(values: Tensor, weights: Tensor) -> Tensor:
    """Values (B, ...) of every case times its weight (B,)."""
    return values * weights.view(-1, *[1] * (values.ndim - 1))


def kl(outputs: Outputs, batch: Batch, play: Play) -> Tensor:
    """Kullback-Leibler divergence of the posterior from the standard normal, in nats per code value.

    A mean rather than the sum of Kingma and Welling 2014, so that a weight keeps its meaning when the code grows.
    """
    mean, log_variance = outputs["mean"].float(), outputs["log_variance"].float()
    return 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance).mean()
