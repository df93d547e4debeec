import numpy as np
import pytest
import torch
from genaug.tensors import Roles, StoreWriter, TensorStore


@pytest.fixture
def folder(tmp_path):
    """One case of 8 x 8 x 8 whose field of view is 4 x 6 x 8, a ramp along the first axis, label 1 everywhere in it."""
    writer = StoreWriter(tmp_path, Roles(target=["A"], generate_labels=True, label_values=[0, 1]), 3)
    ramp = np.clip(np.arange(8) - 2, 0, 3) / 3
    image = np.broadcast_to(ramp[:, None, None], (1, 8, 8, 8)).astype(np.float32)
    label = np.zeros((8, 8, 8), np.int32)
    label[2:6, 1:7] = 1
    writer.add("case", image, label, ((2, 1, 0), (4, 6, 8)))
    writer.finish()
    return tmp_path


def test_the_field_of_view_of_a_case_is_known(folder):
    inside = TensorStore(folder, (8, 8, 8)).batch([0], np.random.default_rng(0)).inside
    expected = torch.zeros(1, 1, 8, 8, 8)
    expected[:, :, 2:6, 1:7] = 1
    assert torch.equal(inside, expected)


def test_a_shift_moves_image_labels_and_field_of_view_together_and_carries_the_edge_on(folder):
    store = TensorStore(folder, (8, 8, 8), shift=2)
    for seed in range(8):
        batch = store.batch([0], np.random.default_rng(seed))
        assert torch.equal((batch.target[:, 2:] > 0).float(), batch.inside)
        column = batch.target[0, 0, :, 4, 4]
        seen = batch.inside[0, 0, :, 4, 4] > 0
        np.testing.assert_allclose(column[seen], np.arange(4) / 3, atol=1e-4)
        first = int(seen.nonzero()[0])
        assert torch.all(column[:first] == column[first]) and torch.all(column[first + 4 :] == column[first + 3])


def test_a_mirrored_case_is_mirrored_with_its_field_of_view(folder):
    store = TensorStore(folder, (8, 8, 8), flip=True)
    for seed in range(4):
        batch = store.batch([0], np.random.default_rng(seed))
        assert torch.equal((batch.target[:, 2:] > 0).float(), batch.inside)


def test_without_padding_there_is_no_mask(tmp_path):
    writer = StoreWriter(tmp_path, Roles(target=["A"]), 3)
    writer.add("case", np.zeros((1, 8, 8, 8), np.float32), None, ((0, 0, 0), (8, 8, 8)))
    writer.finish()
    assert TensorStore(tmp_path, (8, 8, 8)).batch([0], np.random.default_rng(0)).inside is None


def test_a_translation_learns_beyond_the_field_of_view(tmp_path):
    writer = StoreWriter(tmp_path, Roles(target=["B"], source=["A"]), 3)
    writer.add("case", np.zeros((2, 8, 8, 8), np.float32), None, ((2, 1, 0), (4, 6, 8)))
    writer.finish()
    assert TensorStore(tmp_path, (8, 8, 8)).batch([0], np.random.default_rng(0)).inside is None
