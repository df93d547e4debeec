"""Intensities into [-1, 1] and back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from genaug.errors import GenaugError, Reason
from genaug.grid import Fitted, IntensityMap
from genaug.volume import Volume
from pydantic import ValidationError


def test_a_window_clips_and_comes_back_in_hu() -> None:
    mapping = IntensityMap(kind="window", low=-1000, high=1000, modality="CT")
    hu = np.array([-3024, -1000, -40, 0, 77, 1000, 3071], dtype=np.int16)
    fitted = mapping.fit(hu)
    inside = mapping.forward(hu, fitted)
    assert inside.dtype == np.float32 and inside.min() == -1 and inside.max() == 1
    np.testing.assert_allclose(mapping.inverse(inside, fitted), np.clip(hu, -1000, 1000), atol=1e-3)
    assert mapping.inverse(np.array([1.7]), fitted) == 1000, "a network's overshoot does not leave the window"


def test_percentiles_keep_the_background_and_ignore_how_much_of_it_there_is() -> None:
    rng = np.random.default_rng(0)
    brain = rng.normal(400, 60, 20_000).clip(1)
    mapping = IntensityMap.for_modality("MR")
    tight, wide = (mapping.fit(np.concatenate([np.zeros(n), brain])) for n in (10_000, 300_000))
    assert tight.low == wide.low == 0
    assert tight.high == wide.high == pytest.approx(400 + 3.09 * 60, rel=0.05)


def test_percentiles_take_out_the_scanner_gain() -> None:
    rng = np.random.default_rng(1)
    image = rng.gamma(2, 100, (10, 10, 10))
    mapping = IntensityMap(kind="percentiles", low=1, high=99)
    loud = image * 37 + 5
    np.testing.assert_allclose(
        mapping.forward(image, mapping.fit(image)), mapping.forward(loud, mapping.fit(loud)), atol=1e-5
    )


@pytest.mark.parametrize(
    ("array", "reason"), [(np.array([0, np.nan, 1]), Reason.NOT_FINITE), (np.full(9, 4.0), Reason.BAD_PARAMETER)]
)
def test_images_without_usable_contrast_are_refused(array: np.ndarray, reason: Reason) -> None:
    image = Volume(array.reshape(-1, 1, 1), np.eye(4), source=Path("bad.nii.gz"))
    with pytest.raises(GenaugError) as caught:
        IntensityMap.for_modality("MR").fit(image)
    assert caught.value.reason is reason and caught.value.subject == "bad.nii.gz"


def test_nan_is_refused_by_fixed_windows_too() -> None:
    with pytest.raises(GenaugError) as caught:
        IntensityMap.for_modality("CT").fit(np.array([0.0, np.inf]))
    assert caught.value.reason is Reason.NOT_FINITE


@pytest.mark.parametrize("air", [-1600.0, 1200.0])
def test_an_image_beyond_fixed_values_is_refused(air: float) -> None:
    """CT whose intercept was taken off twice is one value in the model's space, and trains to that without a word."""
    mapping = IntensityMap(kind="window", low=-1000, high=1000, modality="CT")
    image = air + np.arange(200.0).reshape(4, 5, 10)
    with pytest.raises(GenaugError, match="all outside -1000 to 1000") as caught:
        mapping.fit(image)
    assert caught.value.reason is Reason.BAD_PARAMETER
    mapping.fit(np.append(image, 0.0))


def test_impossible_maps_are_refused() -> None:
    for options in (
        {"kind": "window", "low": 5, "high": 5},
        {"kind": "percentiles", "low": -1, "high": 99},
        {"kind": "percentiles", "low": 1, "high": 101},
        {"kind": "range", "low": 0, "high": 1, "typical": Fitted(low=0, high=1)},
    ):
        with pytest.raises(ValidationError):
            IntensityMap(**options)
    with pytest.raises(ValidationError):
        Fitted(low=1, high=1)
