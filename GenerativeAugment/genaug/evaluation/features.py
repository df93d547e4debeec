"""Named feature extractors, none of which needs the network, and the standardisation that belongs to each.

A score on features means nothing without the extractor's name, so every score carries it. Register another extractor,
for instance the encoder of a model of your own, under a new name:

    FEATURES["encoder-of-mine-v1"] = lambda dims, labels: MyEncoder(...)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from genaug.errors import GenaugError, Reason
from genaug.evaluation.anatomy import AnatomyFeatures
from genaug.evaluation.arrays import CaseArrays
from genaug.volume import FloatArray

CLIP = 10.0
"""Standardised features beyond this many standard deviations are all equally absurd. Without a limit, one feature that
hardly varies among real cases would decide the cubic kernel alone."""

CONSTANT = 1e-6
"""A spread below this, relative to the mean, is rounding: the feature is constant over the real cases."""


class Extractor(Protocol):
    """Turns one case into a vector of fixed length, the same for the same case in any company."""

    name: str

    def __call__(self, case: CaseArrays) -> FloatArray:
        """(d,) float32."""


def _convolutional(dims: int) -> Callable[[int, Sequence[int]], Extractor]:
    def make(spatial_dims: int, _labels: Sequence[int]) -> Extractor:
        from genaug.evaluation.convolutional import ConvolutionalFeatures

        if spatial_dims != dims:
            raise GenaugError(
                Reason.BAD_PARAMETER,
                f"features conv{dims}d-v1",
                f"{spatial_dims}D images",
                f"{dims}D images",
                f"Use conv{spatial_dims}d-v1, or leave the features to their default.",
            )
        return ConvolutionalFeatures(dims)

    return make


def _anatomy(_spatial_dims: int, labels: Sequence[int]) -> Extractor:
    return AnatomyFeatures(labels)


FEATURES: dict[str, Callable[[int, Sequence[int]], Extractor]] = {
    "conv2d-v1": _convolutional(2),
    "conv3d-v1": _convolutional(3),
    "anatomy-v1": _anatomy,
}
"""Name → maker of the extractor, given the number of spatial axes and the cohort's labels."""


def default_features(spatial_dims: int) -> tuple[str, ...]:
    """What is computed unless other features are named."""
    return (f"conv{spatial_dims}d-v1", "anatomy-v1")


def make_extractor(name: str, spatial_dims: int, labels: Sequence[int] = ()) -> Extractor:
    """The extractor registered as `name`. Raises GenaugError BAD_PARAMETER naming the known ones."""
    if name not in FEATURES:
        raise GenaugError(
            Reason.BAD_PARAMETER,
            "features",
            name,
            f"one of {', '.join(sorted(FEATURES))}",
            "Correct the name, or register an extractor under it.",
        )
    return FEATURES[name](spatial_dims, labels)


class Standardisation:
    """Puts features in units of their spread over given cases; raw features have no common unit.

    These are the REAL cases for a value, so that all cohorts scored against them compare, and all cases for a test that
    exchanges them. A feature that is constant over the given cases keeps its own unit, since it has no spread to be
    measured in. Values are limited to ±CLIP.
    """

    def __init__(self, cases: FloatArray) -> None:
        self._mean = cases.mean(axis=0, dtype=np.float64)
        spread = cases.std(axis=0, dtype=np.float64)
        self._scale = np.where(spread > CONSTANT * (1 + np.abs(self._mean)), spread, 1.0)

    def __call__(self, features: FloatArray) -> FloatArray:
        """(n, d) float32."""
        standardised: FloatArray = np.clip((features - self._mean) / self._scale, -CLIP, CLIP).astype(np.float32)
        return standardised
