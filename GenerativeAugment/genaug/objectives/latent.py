"""Terms of the autoencoders' codes: how far posterior and prior are apart, in the forms that methods have for it.

All are in nats per number of the code, so that a weight keeps its meaning when the code grows.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from genaug.errors import GenaugError, Reason
from genaug.objectives.base import Batch, Outputs, Play

Kernel = Literal["imq", "gaussian"]


def sampled_kl(outputs: Outputs, batch: Batch, play: Play) -> Tensor:
    """Log q - log p at one draw: divergence of a posterior that no formula gives (Rezende 2015, arXiv:1505.05770).

    Both are "log_posterior" and "log_prior" (B,), up to the same constant.
    """
    difference = outputs["log_posterior"] - outputs["log_prior"]
    return difference.float().mean() / outputs["code"].shape[1]


def told_kl(outputs: Outputs, batch: Batch, play: Play) -> Tensor:
    """Divergence of the told block's posterior from the prior that class and numbers give it (Pesteie 2019)."""
    mean, log_variance = outputs["told_mean"].float(), outputs["told_log_variance"].float()
    prior_mean, prior_log_variance = outputs["prior_mean"].float(), outputs["prior_log_variance"].float()
    spread = log_variance - prior_log_variance
    distance = (mean - prior_mean) ** 2 / prior_log_variance.exp()
    return 0.5 * (distance + spread.exp() - 1 - spread).mean()


def read_vector(outputs: Outputs, batch: Batch, play: Play) -> Tensor:
    """What was "read" (B, V) of the case against its vector: cross-entropy of classes, squared error of the rest.

    Only what is known of a case counts; 0 when nothing is.
    """
    if batch.vector is None or "read" not in outputs:
        return outputs["raw"].sum() * 0
    total, count = outputs["raw"].sum() * 0, 0
    lengths = [length for _, length in play.signature.vector]
    both = (torch.split(vector, lengths, 1) for vector in (outputs["read"], batch.vector))
    for (kind, _), read, true in zip(play.signature.vector, *both, strict=True):
        known = true.abs().sum(1) > 0
        if not known.any():
            continue
        count += 1
        if kind == "class":
            total = total + F.cross_entropy(read[known].float(), true[known].float())
        else:
            total = total + F.mse_loss(read[known].float(), true[known].float())
    return total / max(count, 1)


def mmd(outputs: Outputs, batch: Batch, play: Play, kernel: Kernel = "imq", bandwidth: float = 1.0) -> Tensor:
    """Maximum mean discrepancy of the batch's codes from as many draws of the standard normal (Zhao 2019, InfoVAE)."""
    codes = outputs["code"].float()
    prior = torch.randn(tuple(codes.shape), generator=play.generator).to(codes)
    return unbiased_mmd(codes, prior, kernel, bandwidth)


SCALES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
"""Of the inverse multiquadratic kernels that are added up (Tolstikhin 2018, arXiv:1711.01558)."""


def unbiased_mmd(x: Tensor, y: Tensor, kernel: Kernel = "imq", bandwidth: float = 1.0) -> Tensor:
    """The unbiased estimate of the squared discrepancy (Gretton 2012, equation 3), 0 on average for equal ones.

    Args:
        x: (N, D), at least two rows.
        y: (M, D), at least two rows.
        kernel: "imq", a sum over SCALES, or "gaussian".
        bandwidth: s in 2 D s^2, the square of the kernel's width.
    """
    if min(len(x), len(y)) < 2:
        raise GenaugError(
            Reason.BAD_PARAMETER,
            "batch size",
            str(min(len(x), len(y))),
            "at least 2, from which a discrepancy can be told",
            "Train with larger batches.",
        )
    width = 2 * x.shape[1] * bandwidth**2

    def similar(a: Tensor, b: Tensor) -> Tensor:
        squared = ((a[:, None] - b[None]) ** 2).sum(2)
        if kernel == "gaussian":
            return torch.exp(-squared / width)
        if kernel == "imq":
            return torch.stack([s * width / (s * width + squared) for s in SCALES]).sum(0)
        raise ValueError(f"unknown kernel {kernel!r}")

    def within(a: Tensor) -> Tensor:
        similarity = similar(a, a)
        return (similarity.sum() - similarity.diagonal().sum()) / (len(a) * (len(a) - 1))

    return within(x) + within(y) - 2 * similar(x, y).mean()


def commitment(outputs: Outputs, batch: Batch, play: Play, share: float = 0.25) -> Tensor:
    """Vectors to their codebook entries, and entries to their vectors where those learn by gradient.

    Args:
        outputs: "encoded" and "nearest", of the same shape.
        batch: not looked at.
        play: not looked at.
        share: weight of the former, beta of van den Oord 2017.
    """
    encoded, nearest = outputs["encoded"].float(), outputs["nearest"].float()
    loss = share * F.mse_loss(encoded, nearest.detach())
    return loss + F.mse_loss(nearest, encoded.detach()) if nearest.requires_grad else loss


def margin(outputs: Outputs, batch: Batch, play: Play, level: float = 1.0) -> Tensor:
    """The game of IntroVAE's two players (Huang 2018, equations 11 and 12), without what both want of the real case.

    The encoder pushes the divergence of fakes up to the margin, the decoder pulls it down; whose gradient goes where is
    the network's affair, see IntrospectiveAutoencoder.
    """
    fakes = _divergence(outputs["fake_mean"], outputs["fake_log_variance"])
    fooled = _divergence(outputs["fooled_mean"], outputs["fooled_log_variance"])
    return F.relu(level - fakes).mean() + fooled.mean()


def _divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Of each case's posterior from the standard normal, (B,)."""
    mean, log_variance = mean.float(), log_variance.float()
    return 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance).mean(1)


def likelihood(outputs: Outputs, batch: Batch, play: Play) -> Tensor:
    """Minus the mean "log_density" of the batch's codes."""
    return -outputs["log_density"].float().mean() / batch.target[0].numel()


def next_code(outputs: Outputs, batch: Batch, play: Play) -> Tensor:
    """Cross-entropy of an autoregressive prior, per integer of the code."""
    return F.cross_entropy(outputs["logits"].float().flatten(0, 1), batch.target.flatten())
