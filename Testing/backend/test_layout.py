"""Layout: what each tensor channel is."""

from __future__ import annotations

import numpy as np
import pytest
from genaug.errors import GenaugError, Reason
from genaug.layout import Layout
from pydantic import ValidationError

LAYOUT = Layout(image_channels=("t1", "t2"), label_values=(0, 2, 7))


@pytest.mark.parametrize("shape", [(6, 5), (6, 5, 4)])
def test_decode_undoes_encode(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    images = {name: rng.uniform(-1, 1, shape).astype(np.float32) for name in ("t2", "t1", "unused")}
    label = rng.choice([0, 2, 7], shape)
    tensor = LAYOUT.encode(images, label)
    assert tensor.shape == (5, *shape) and tensor.dtype == np.float32
    decoded, values = LAYOUT.decode(tensor)
    assert list(decoded) == ["t1", "t2"]
    np.testing.assert_array_equal(decoded["t2"], images["t2"])
    np.testing.assert_array_equal(values, label)
    assert set(np.unique(tensor[LAYOUT.labels])) == {-1, 1}
    np.testing.assert_array_equal(tensor[LAYOUT.images], np.stack([images["t1"], images["t2"]]))


def test_decode_takes_the_largest_channel() -> None:
    tensor = np.zeros((5, 1, 1), np.float32)
    tensor[2:, 0, 0] = -0.9, -0.2, -0.3
    assert LAYOUT.decode(tensor)[1] == 2


def test_one_hot_sums_to_one() -> None:
    label = np.array([[0, 2], [7, 2]])
    hot = LAYOUT.one_hot(label)
    assert hot.shape == (3, 2, 2)
    np.testing.assert_array_equal(hot.sum(axis=0), 1)
    np.testing.assert_array_equal(np.tensordot([0, 2, 7], hot, 1), label)


def test_unknown_labels_are_refused_with_their_count() -> None:
    with pytest.raises(GenaugError) as caught:
        LAYOUT.one_hot(np.array([[0, 1], [1, 7]]), "case_7.nii.gz")
    assert caught.value.reason is Reason.WRONG_LABELS and caught.value.subject == "case_7.nii.gz"
    assert caught.value.found == "2 voxels with label 1" and "0, 2, 7" in caught.value.expected


def test_incomplete_cases_are_refused() -> None:
    image = np.zeros((2, 2))
    for images, label in (({"t1": image}, image), ({"t1": image, "t2": image}, None)):
        with pytest.raises(GenaugError) as caught:
            LAYOUT.encode(images, label)
        assert caught.value.reason is Reason.UNPAIRED


def test_images_alone_and_labels_alone() -> None:
    image = np.zeros((2, 2))
    only_image, only_label = Layout(image_channels=("ct",)), Layout(image_channels=(), label_values=(0, 1))
    assert only_image.decode(only_image.encode({"ct": image}))[1] is None
    assert only_label.encode({}, image).shape == (2, 2, 2)


def test_plain_data_round_trip_and_refusals() -> None:
    assert Layout.model_validate_json(LAYOUT.model_dump_json()) == LAYOUT
    for names, values in ((("a", "a"), ()), ((), ()), (("a",), (1, 2)), (("a",), (0, 2, 1))):
        with pytest.raises(ValidationError):
            Layout(image_channels=names, label_values=values)
