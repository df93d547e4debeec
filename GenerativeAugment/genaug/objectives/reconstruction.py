"""Terms that compare with a real case, and the posterior's regulariser."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from monai.losses import SSIMLoss
from torch import Tensor

from genaug.objectives.base import Batch, Outputs, Play


def l1(outputs: Outputs, batch: Batch, play: Play) -> Tensor:
    """Mean absolute error of the image channels."""
    return F.l1_loss(play.images(outputs["generated"]), play.images(batch.target))


def l2(outputs: Outputs, batch: Batch, play: Play) -> Tensor:
    """Mean squared error of the image channels."""
    return F.mse_loss(play.images(outputs["generated"]), play.images(batch.target))


def ssim(outputs: Outputs, batch: Batch, play: Play, window: int = 7) -> Tensor:
    """1 - SSIM of the image channels (Wang 2004), MONAI's SSIMLoss over the data range [-1, 1]."""
    loss = SSIMLoss(spatial_dims=play.signature.dimension, data_range=2.0, win_size=window)
    return torch.as_tensor(loss(play.images(outputs["generated"]).float(), play.images(batch.target).float()))


def gradient_difference(outputs: Outputs, batch: Batch, play: Play) -> Tensor:
    """Mean absolute error of the image's finite differences (Mathieu 2016): keeps edges that L1 alone blurs."""
    generated, target = play.images(outputs["generated"]), play.images(batch.target)
    axes = range(2, target.ndim)
    return torch.stack([F.l1_loss(generated.diff(dim=a), target.diff(dim=a)) for a in axes]).mean()


def cross_entropy(outputs: Outputs, batch: Batch, play: Play) -> Tensor:
    """Voxel cross-entropy of the label channels plus one minus their mean soft Dice; 0 without label channels.

    The Dice part keeps small structures from being voted away by the background.
    """
    logits = play.labels(outputs["raw"]).float()
    if not logits.shape[1]:
        return outputs["raw"].sum() * 0
    truth = (play.labels(batch.target) > 0).float()
    probability = torch.softmax(logits, dim=1)
    axes = tuple(range(2, logits.ndim))
    overlap = (2 * (probability * truth).sum(axes) + 1) / (probability.sum(axes) + truth.sum(axes) + 1)
    return F.cross_entropy(logits, truth) + 1 - overlap.mean()


def kl(outputs: Outputs, batch: Batch, play: Play) -> Tensor:
    """Kullback-Leibler divergence of the posterior from the standard normal, in nats per code value.

    A mean rather than the sum of Kingma and Welling 2014, so that a weight keeps its meaning when the code grows.
    """
    mean, log_variance = outputs["mean"].float(), outputs["log_variance"].float()
    return 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance).mean()
