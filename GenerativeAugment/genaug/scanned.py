"""Which planes of an image show anything: a scan that ends early is filled up when it is put on another one's grid."""

from __future__ import annotations

import numpy as np

from genaug.volume import AnyArray, BoolArray

LEAST_CONTENT = 0.1
"""Share of what the fullest plane shows, up to which there is nothing to learn from a plane: the body ends, or the scan
does."""
LEFT_OVER = 0.001
"""The share up to which a plane of an image with empty air was filled up: single voxels that resampling left. In masked
MR a plane where a limb tapers off shows hardly more, and was scanned."""
NOISY_AIR = 0.9
"""Content of the fullest plane from which the air of an image is noisy: hardly any of a scanned plane is empty then."""
FILLED = 0.5
"""Percentile of an image that counts as its background, lest single voxels that resampling left below it do."""


def planes_with_content(content: AnyArray, least: float = LEAST_CONTENT) -> BoolArray:
    """Which planes show something, of the share of each that is not background.

    Args:
        content: (..., K), shares in [0, 1].
        least: share of the fullest plane's that a plane has to exceed.

    Returns:
        (..., K). Where no plane has content all count, since none is emptier than the others.
    """
    fullest = content.max(axis=-1, keepdims=True)
    return np.asarray((content > least * fullest) | (fullest == 0))


def scanned(image: AnyArray) -> BoolArray:
    """The voxels that lie in no plane, along any axis, that was filled up; the shape of `image`."""
    above = image > np.percentile(image, FILLED)
    inside = np.ones(image.shape, dtype=bool)
    for axis in range(image.ndim):
        others = tuple(other for other in range(image.ndim) if other != axis)
        content = above.mean(axis=others)
        kept = planes_with_content(content, LEAST_CONTENT if content.max() > NOISY_AIR else LEFT_OVER)
        inside &= kept.reshape([-1 if other == axis else 1 for other in range(image.ndim)])
    return inside
