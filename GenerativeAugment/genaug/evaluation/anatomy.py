"""Features a radiologist could name: "anatomy-v1", of intensities, texture, spectrum and label maps.

Per channel: 7 percentiles and a 16-bin histogram of the intensities; mean, spread and two percentiles of the gradient
at two scales; log power in 8 bands of spatial frequency. Per label: the edge length of a cube of its volume, in mm, and
its centroid relative to the image. A label that is absent has volume 0 and lies in the middle.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from genaug.evaluation.arrays import CaseArrays
from genaug.evaluation.labels import label_volumes
from genaug.volume import AnyArray, FloatArray

NAME = "anatomy-v1"
PERCENTILES = (1, 5, 25, 50, 75, 95, 99)
HISTOGRAM_BINS = 16
BANDS = 8
POWER_FLOOR = 1e-10
"""Power of an image that is constant in a band; its logarithm stays finite."""


class AnatomyFeatures:
    """The extractor, for cohorts with `labels`; empty where there are no label maps.

    Its scores compare only where it had the same labels, so an evaluation says which.
    """

    def __init__(self, labels: Sequence[int] = ()) -> None:
        self.name = NAME
        self.labels = tuple(labels)

    def __call__(self, case: CaseArrays) -> FloatArray:
        """(C × 39 + L × (1 + spatial axes),) float32."""
        parts = [_channel(channel) for channel in case.image]
        if self.labels:
            parts.append(_shape_of_labels(case, self.labels))
        return np.concatenate(parts).astype(np.float32)


def _channel(image: FloatArray) -> FloatArray:
    histogram, _ = np.histogram(np.clip(image, -1, 1), bins=HISTOGRAM_BINS, range=(-1, 1))
    return np.concatenate(
        [
            np.percentile(image, PERCENTILES),
            histogram / image.size,
            _gradient_statistics(image),
            _gradient_statistics(_halved(image)),
            _spectrum(image),
        ]
    )


def _gradient_statistics(image: FloatArray) -> FloatArray:
    """(4,) mean, standard deviation, median and 95th percentile of the gradient magnitude, per voxel."""
    axes = [axis for axis, length in enumerate(image.shape) if length > 1]
    square = np.zeros(image.shape, dtype=np.float32)
    for axis in axes:
        square += np.gradient(image, axis=axis) ** 2
    magnitude = np.sqrt(square)
    median, high = np.percentile(magnitude, [50, 95])
    return np.array([magnitude.mean(), magnitude.std(), median, high])


def _halved(image: FloatArray) -> FloatArray:
    """Mean of neighbouring voxels along each axis longer than one; the last voxel of an odd axis is left out."""
    for axis, length in enumerate(image.shape):
        if length > 1:
            pairs = np.take(image, range(length - length % 2), axis=axis)
            shape = (*pairs.shape[:axis], length // 2, 2, *pairs.shape[axis + 1 :])
            image = pairs.reshape(shape).mean(axis=axis + 1)
    return image


def _spectrum(image: FloatArray) -> FloatArray:
    """(BANDS,) log10 of the mean power in bands of equal width up to half a cycle per voxel."""
    band = _bands(image.shape)
    power = np.abs(np.fft.rfftn(image - image.mean())) ** 2 / image.size
    total = np.bincount(band.ravel(), power.ravel(), minlength=BANDS + 1)[:BANDS]
    count = np.bincount(band.ravel(), minlength=BANDS + 1)[:BANDS]
    return np.log10(total / np.maximum(count, 1) + POWER_FLOOR)


@lru_cache(maxsize=4)
def _bands(shape: tuple[int, ...]) -> npt.NDArray[np.intp]:
    """Band of every coefficient of a real Fourier transform; corners beyond half a cycle are BANDS."""
    axes: list[AnyArray] = [np.fft.fftfreq(length) for length in shape[:-1]] + [np.fft.rfftfreq(shape[-1])]
    radius = np.sqrt(sum(np.square(axis) for axis in np.meshgrid(*axes, indexing="ij", sparse=True)))
    band: npt.NDArray[np.intp] = np.minimum((radius * 2 * BANDS).astype(np.intp), BANDS)
    return band


def _shape_of_labels(case: CaseArrays, labels: tuple[int, ...]) -> FloatArray:
    if case.label is None:
        raise ValueError(f"case {case.id} has no label map, others have")
    label = case.label
    edges = label_volumes(case, labels) ** (1 / 3 if label.ndim == 3 else 1 / 2)
    parts = []
    for value, edge in zip(labels, edges):
        parts.append(np.array([edge, *_centroid(label == value)]))
    return np.concatenate(parts)


def _centroid(mask: npt.NDArray[np.bool_]) -> list[float]:
    """Relative to the image, 0 to 1 along each axis; the middle for an empty mask."""
    if not mask.any():
        return [0.5] * mask.ndim
    return [float(axis.mean() + 0.5) / length for axis, length in zip(np.nonzero(mask), mask.shape)]
