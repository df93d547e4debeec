"""Did the model memorise? Synthetic cases against training cases, judged by how near unseen real cases come.

Similarity alone proves nothing: anatomy is alike. The 95th percentile of the similarity of held-out cases to their
nearest training case is the threshold, by Weibull's plotting positions, with which 5 % of independent synthetic cases
lie above it however many held-out cases there are; of less than FEW_HELD_OUT it is the largest, and the share one in as
many and one. Without held-out cases the nearest pairs are listed and nothing is claimed, and of images not either where
there is only one to be copied.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from genaug.evaluation.coverage import nearest
from genaug.evaluation.resampling import LEVEL
from genaug.evaluation.scores import FEW_HELD_OUT, CopyCheck, CopyPair
from genaug.volume import FloatArray

PERCENTILE = 95.0
METHOD: Literal["weibull"] = "weibull"
"""Hyndman and Fan 1996, definition 6: with no other does a further case exceed a percentile as often as it says."""
LISTED = 10
THUMBNAIL = {2: 64, 3: 20}
"""Longest axis after averaging over blocks: fine enough to tell patients apart, coarse enough to forgive noise."""

ROUNDING = 1e-6
"""A deviation below this, relative to the image, is what single precision leaves of none."""

BLOCK_ELEMENTS = 1 << 22
"""Correlations held at a time: 32 MiB in double precision."""


def thumbnail(image: FloatArray) -> FloatArray:
    """(v,) float32: the image (C, *S) averaged over blocks, for comparison voxel by voxel."""
    for axis in range(1, image.ndim):
        length = image.shape[axis]
        factor = max(1, round(max(image.shape[1:]) / THUMBNAIL[image.ndim - 1]))
        starts = np.arange(0, length, factor)
        shape = [1] * image.ndim
        shape[axis] = len(starts)
        counts = np.diff(np.append(starts, length)).reshape(shape)
        image = np.add.reduceat(image, starts, axis=axis) / counts
    return image.astype(np.float32).ravel()


def deviations(thumbnails: FloatArray, training: FloatArray) -> FloatArray:
    """(n, v) deviation from the mean training image, of unit length, or zero for an image that equals the mean.

    Inner products of these are the normalised correlations. Without the mean, all images of one body part correlate so
    well that a copy would not stand out.
    """
    residual = thumbnails - training.mean(axis=0, dtype=np.float64)
    length = np.linalg.norm(residual, axis=1, keepdims=True)
    deviates = length > ROUNDING * np.linalg.norm(thumbnails, axis=1, keepdims=True)
    unit: FloatArray = np.where(deviates, residual / np.where(deviates, length, 1), 0)
    return unit


def copy_check(
    space: str,
    training: FloatArray,
    synthetic: FloatArray,
    held_out: FloatArray | None,
    training_ids: Sequence[str],
    synthetic_ids: Sequence[str],
) -> CopyCheck:
    """Compare nearest-neighbour similarity of synthetic and of held-out cases.

    Args:
        space: "image" when the rows are `deviations`, whose similarity is their correlation; otherwise the name of the
            extractor, and similarity is minus the distance.
        training: (n, d) rows of the training cases.
        synthetic: (m, d) rows.
        held_out: (h, d) rows of real cases that the model never saw, or None.
        training_ids: id of each training case.
        synthetic_ids: id of each synthetic case.
    """
    if space == "image" and not training.any():
        # All training images are their own mean, and nothing correlates with that.
        return _unclaimed(space, training, synthetic, held_out)
    similarity, numbers = _similarity(space, synthetic, training)
    threshold = share = interval = None
    note = "no held-out cases: nearest pairs are listed, but whether they are too near cannot be said"
    if held_out is not None and len(held_out) >= 2:
        reference, _ = _similarity(space, held_out, training)
        threshold = float(np.percentile(reference, PERCENTILE, method=METHOD))
        above = similarity > threshold
        share = float(np.mean(above))
        interval = share_interval(int(above.sum()), len(above), len(held_out))
        few = len(held_out) < FEW_HELD_OUT
        note = f"only {len(held_out)} held-out cases: the most similar of them is the threshold" if few else ""
    order = np.argsort(-similarity, kind="stable")[:LISTED]
    pairs = [
        CopyPair(
            synthetic=synthetic_ids[i],
            training=training_ids[numbers[i]],
            similarity=float(similarity[i]),
            above=None if threshold is None else bool(similarity[i] > threshold),
        )
        for i in order
    ]
    return CopyCheck(
        space=space,
        threshold=threshold,
        share=share,
        interval=interval,
        pairs=pairs,
        n_training=len(training),
        n_held_out=0 if held_out is None else len(held_out),
        n_synthetic=len(synthetic),
        note=note,
    )


def _unclaimed(space: str, training: FloatArray, synthetic: FloatArray, held_out: FloatArray | None) -> CopyCheck:
    return CopyCheck(
        space=space,
        threshold=None,
        share=None,
        interval=None,
        pairs=[],
        n_training=len(training),
        n_held_out=0 if held_out is None else len(held_out),
        n_synthetic=len(synthetic),
        note="fewer than two different training images: there is no mean image from which a copy would stand out",
    )


def share_interval(above: int, synthetic: int, held_out: int) -> tuple[float, float]:
    """95 % interval of the share of synthetic cases above the threshold that the held-out cases set.

    The part of all unseen real cases that lies above the k-th of n has a beta distribution, whose continuation is that
    of a threshold between two of them (Stigler 1977), so the number of independent synthetic cases above it has a
    beta-binomial one. The interval holds the means with which such a distribution does not contradict the number
    (Clopper and Pearson 1934): it misses `CopyCheck.expected` for one in twenty cohorts of independent cases at most. A
    bootstrap cannot say what lies beyond the largest of few held-out cases.

    Args:
        above: number of synthetic cases above the threshold.
        synthetic: number of synthetic cases.
        held_out: number of held-out cases.
    """
    from scipy.optimize import brentq
    from scipy.stats import betabinom

    tail, spread = (1 - LEVEL) / 2, held_out + 1

    def excess(mean: float, smaller: bool) -> float:
        counts = np.arange(above + 1) if smaller else np.arange(above, synthetic + 1)
        return float(betabinom.pmf(counts, synthetic, spread * mean, spread * (1 - mean)).sum()) - tail

    ends = 1e-9, 1 - 1e-9
    low = 0.0 if above == 0 else float(brentq(excess, *ends, args=(False,)))
    high = 1.0 if above == synthetic else float(brentq(excess, *ends, args=(True,)))
    return low, high


def _similarity(space: str, queries: FloatArray, training: FloatArray) -> tuple[FloatArray, npt.NDArray[np.intp]]:
    """Of each query to the training case that it is most similar to, and which that is."""
    if space != "image":
        distance, numbers = nearest(queries, training)
        return -distance, numbers
    similarity, numbers = np.empty(len(queries)), np.empty(len(queries), dtype=np.intp)
    step = max(1, BLOCK_ELEMENTS // len(training))
    for start in range(0, len(queries), step):
        rows = slice(start, start + step)
        correlation = queries[rows] @ training.T
        numbers[rows] = correlation.argmax(axis=1)
        similarity[rows] = correlation.max(axis=1)
    return similarity, numbers
