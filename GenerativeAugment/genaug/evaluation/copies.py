"""Did the model memorise? Synthetic cases against training cases, judged by how near unseen real cases come.

Similarity alone proves nothing: anatomy is alike. The 95th percentile of the similarity of held-out cases to their
nearest training case is the threshold, by Weibull's plotting positions, with which 5 % of independent synthetic cases
lie above it however many held-out cases there are; of less than 19 it is the largest, and the share one in as many and
one. Without held-out cases the nearest pairs are listed and nothing is claimed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from genaug.evaluation.coverage import nearest
from genaug.evaluation.resampling import REPLICATES, bootstrap_weights, percentile_interval
from genaug.evaluation.scores import CopyCheck, CopyPair
from genaug.volume import FloatArray

PERCENTILE = 95.0
METHOD: Literal["weibull"] = "weibull"
"""Hyndman and Fan 1996, definition 6: with no other does a further case exceed a percentile as often as it says."""
LISTED = 10
THUMBNAIL = {2: 64, 3: 20}
"""Longest axis after averaging over blocks: fine enough to tell patients apart, coarse enough to forgive noise."""

FEW_HELD_OUT = 20


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
    """(n, v) deviation from the mean training image, of unit length.

    Inner products of these are the normalised correlations. Without the mean, all images of one body part correlate so
    well that a copy would not stand out.
    """
    residual = thumbnails - training.mean(axis=0, dtype=np.float64)
    length = np.linalg.norm(residual, axis=1, keepdims=True)
    unit: FloatArray = residual / np.where(length > 0, length, 1)
    return unit


def copy_check(
    space: str,
    training: FloatArray,
    synthetic: FloatArray,
    held_out: FloatArray | None,
    training_ids: Sequence[str],
    synthetic_ids: Sequence[str],
    rng: np.random.Generator,
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
        rng: draws the bootstrap, over synthetic and held-out cases.
    """
    similarity, numbers = _similarity(space, synthetic, training)
    threshold = share = interval = None
    note = "no held-out cases: nearest pairs are listed, but whether they are too near cannot be said"
    if held_out is not None and len(held_out) >= 2:
        reference, _ = _similarity(space, held_out, training)
        threshold = float(np.percentile(reference, PERCENTILE, method=METHOD))
        share = float(np.mean(similarity > threshold))
        interval = _share_interval(similarity, reference, rng)
        note = "" if len(held_out) >= FEW_HELD_OUT else (
            f"only {len(held_out)} held-out cases: their 95th percentile is uncertain"
        )  # fmt: skip
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


def _similarity(space: str, queries: FloatArray, training: FloatArray) -> tuple[FloatArray, npt.NDArray[np.intp]]:
    distance, numbers = nearest(queries, training)
    # Of unit vectors |a − b|² = 2 − 2 a·b.
    return (1 - distance**2 / 2 if space == "image" else -distance), numbers


def _share_interval(synthetic: FloatArray, held_out: FloatArray, rng: np.random.Generator) -> tuple[float, float]:
    """Both the synthetic cases and the held-out ones that set the threshold are redrawn."""
    drawn = rng.choice(held_out, size=(REPLICATES, len(held_out)))
    thresholds = np.percentile(drawn, PERCENTILE, axis=1, method=METHOD)
    weights = bootstrap_weights(len(synthetic), REPLICATES, rng)
    above = synthetic[None] > thresholds[:, None]
    return percentile_interval((weights * above).sum(1) / weights.sum(1))
