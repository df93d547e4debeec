"""Which labels are in a label map: exactly those that a sort finds, in a fraction of its time."""

import time

import numpy as np
import pytest

TYPES = ("uint8", "int8", "uint16", "int16", "int32", "uint32", "float32", "float64")


@pytest.fixture
def presentValues(slicerHost):
    from GenerativeAugmentLib.labelMaps import presentValues

    return presentValues


@pytest.mark.parametrize("dtype", TYPES)
def test_the_values_are_those_of_a_sort(presentValues, dtype):
    rng = np.random.default_rng(3)
    highest = 127 if dtype == "int8" else 250
    voxels = np.zeros((9, 320, 320), dtype)
    voxels[2:5] = rng.choice([0, 1, 7, highest], (3, 320, 320)).astype(dtype)
    voxels[-1, -1, -1] = 9
    if np.dtype(dtype).itemsize >= 4:
        voxels[6, 0, 0] = 1 << 20
    expected = [int(value) for value in np.unique(voxels) if value > 0]
    assert presentValues(voxels, "labels") == expected
    assert presentValues(voxels[:, ::2, ::-3], "labels") == sorted({*np.unique(voxels[:, ::2, ::-3]).tolist()} - {0})
    assert presentValues(voxels[:0], "labels") == presentValues(np.zeros((4, 4, 4), dtype), "labels") == []


@pytest.mark.parametrize("wrong", [-1, -0.5, 0.25, 3.5, np.nan, np.inf])
@pytest.mark.parametrize("place", ["alone", "everywhere"])
def test_what_is_no_label_is_refused(presentValues, wrong, place):
    from GenerativeAugmentLib.errors import JobError

    voxels = np.full((4, 300, 300), wrong if place == "everywhere" else 2, np.float32)
    voxels[-1, -1, -1] = wrong
    with np.errstate(invalid="ignore"), pytest.raises(JobError) as caught:
        presentValues(voxels, "labels")
    assert caught.value.reason == "wrong_labels" and f"{wrong:g}" in caught.value.found


def test_a_large_label_map_is_counted_in_a_moment(presentValues):
    voxels = np.zeros((100, 512, 512), np.int16)
    voxels[20:80, 100:400, 100:400] = np.random.default_rng(0).integers(0, 20, (60, 300, 300))
    seconds = {}
    for name, count in (("counted", lambda: presentValues(voxels, "labels")), ("sorted", lambda: np.unique(voxels))):
        start = time.process_time()
        count()
        seconds[name] = time.process_time() - start
    print({name: round(value, 3) for name, value in seconds.items()})
    assert seconds["counted"] < seconds["sorted"] / 2
