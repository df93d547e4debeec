import numpy as np
import pytest
import torch
from genaug.errors import GenaugError, Reason
from genaug.networks import Batch
from genaug.tensors import FINDING_VOXELS, Roles, StoreWriter, TensorStore


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


@pytest.mark.parametrize("padded", [True, False])
def test_each_side_of_an_unpaired_translation_has_a_field_of_view_of_its_own(tmp_path, padded):
    """Of 8 x 8 x 8 the target shows 4 x 8 x 8 and the source 8 x 5 x 8; images are positive where they were scanned."""
    fields = [((2, 0, 0), (4, 8, 8)), ((0, 1, 0), (8, 5, 8))] if padded else [((0, 0, 0), (8, 8, 8))] * 2
    writer = StoreWriter(tmp_path, Roles(target=["B"], source=["A"], unpaired=True), 3)
    for side, ((i, j, k), (a, b, c)) in zip(("target", "source"), fields, strict=True):
        image = np.full((1, 8, 8, 8), -0.5, np.float32)
        image[:, i : i + a, j : j + b, k : k + c] = 0.5
        writer.add(side, image, None, ((i, j, k), (a, b, c)), side=side)
    writer.finish()
    store = TensorStore(tmp_path, (8, 8, 8), shift=1, flip=True)
    for seed in range(8 if padded else 0):
        batch = store.batch([0], np.random.default_rng(seed))
        # Where a shift has brought in the edge that is carried on, the image is as before and the mark is not.
        assert batch.inside.shape == batch.source_inside.shape == (1, 1, 8, 8, 8)
        for image, inside in ((batch.target, batch.inside), (batch.source, batch.source_inside)):
            assert 0 < inside.mean() < 1 and (image > 0)[inside > 0].all()
    batch = TensorStore(tmp_path, (8, 8, 8)).batch([0], np.random.default_rng(0))
    if padded:
        assert torch.equal((batch.target > 0).float(), batch.inside)
        assert torch.equal((batch.source > 0).float(), batch.source_inside)
    else:
        assert batch.inside is None and batch.source_inside is None


def test_a_translation_learns_beyond_the_field_of_view(tmp_path):
    writer = StoreWriter(tmp_path, Roles(target=["B"], source=["A"]), 3)
    writer.add("case", np.zeros((2, 8, 8, 8), np.float32), None, ((2, 1, 0), (4, 6, 8)))
    writer.finish()
    batch = TensorStore(tmp_path, (8, 8, 8)).batch([0], np.random.default_rng(0))
    assert batch.inside is None and batch.source_inside is None


def test_a_plane_that_the_source_does_not_show_is_not_learnt_from(tmp_path):
    """Nor one that the target does not show: both would be made up."""
    writer = StoreWriter(tmp_path, Roles(target=["B"], source=["A"]), 2)
    image = np.zeros((2, 8, 8, 6), np.float32)
    image[:, 0] = -1
    image[0, ..., :1] = -1
    image[1, ..., 4:] = -1
    writer.add("case", image, None, ((0, 0, 0), (8, 8, 6)))
    writer.finish()
    store = TensorStore(tmp_path, (8, 8))
    assert len(store) == 3
    batch = store.batch(range(3), np.random.default_rng(0))
    assert (batch.target.amax((1, 2, 3)) == 0).all() and (batch.source.amax((1, 2, 3)) == 0).all()


def stored(folder, roles, **cases):
    """A store of 2D cases of 8 x 8 x 6 voxels, of which each of two channels shows the planes that are given."""
    writer = StoreWriter(folder, roles, 2)
    for name, planes in cases.items():
        image = np.full((2, 8, 8, 6), -1, np.float32)
        for channel, shown in enumerate(planes):
            image[channel, 1:, :, shown] = 0
        writer.add(name, image, None, ((0, 0, 0), (8, 8, 6)))
    writer.finish()
    return TensorStore(folder, (8, 8))


def test_a_case_without_a_plane_that_all_its_images_show_is_named(tmp_path):
    roles = Roles(target=["B"], source=["A"])
    store = stored(tmp_path, roles, apart=([4, 5], [0, 1, 2, 3]), whole=([0, 1, 2, 3], [1, 2, 3, 4]))
    assert store.unused == ["apart"] and len(store) == 3


def test_a_cohort_without_a_plane_that_all_images_of_a_case_show_is_refused(tmp_path):
    with pytest.raises(GenaugError, match="B, A show something") as caught:
        stored(tmp_path, Roles(target=["B"], source=["A"]), apart=([4, 5], [0, 1, 2, 3]))
    assert caught.value.reason is Reason.EMPTY_COHORT


def test_images_that_are_generated_together_need_not_all_show_something(tmp_path):
    """A map or a dose is empty in most planes, which belong to the anatomy all the same."""
    assert len(stored(tmp_path, Roles(target=["A", "B"]), case=([1, 2, 3, 4], [3]))) == 4


@pytest.mark.parametrize(("planes", "hidden"), [(4, 0), (6, 0), (9, 2)])
def test_windows_in_3d_show_as_little_as_they_can_of_what_the_source_does_not(tmp_path, planes, hidden):
    """They are cut anywhere among the other planes, the first and the last of them too."""
    writer = StoreWriter(tmp_path, Roles(target=["B"], source=["A"]), 3)
    image = np.full((2, 8, 8, 12), 0.5, np.float32)
    image[:, 0] = -1
    image[1, ..., 2] = 1
    image[1, ..., 8] = 0
    image[1, ..., :2] = image[1, ..., 9:] = -1
    writer.add("case", image, None, ((0, 0, 0), (8, 8, 12)))
    writer.finish()
    store, rng = TensorStore(tmp_path, (8, 8, planes)), np.random.default_rng(0)
    sources = [store.batch([0], rng).source[0, 0, 4] for _ in range(50)]
    assert all(int((one[0] == -1).sum()) == hidden for one in sources)
    assert {bool((one == 1).any()) for one in sources} == ({True, False} if planes < 7 else {True})
    assert {bool((one == 0).any()) for one in sources} == ({True, False} if planes < 7 else {True})


def test_a_batch_that_comes_back_from_a_device_is_waited_for(monkeypatch):
    """On a GPU a copy that is not would be read before it has arrived; one that goes there is used in its order."""
    waited, move = {}, torch.Tensor.to

    def moved(tensor, device, non_blocking):
        waited[torch.device(device).type] = not non_blocking
        return move(tensor, device)

    monkeypatch.setattr(torch.Tensor, "to", moved)
    for device in ("cpu", "meta"):
        Batch(torch.ones(1, 1)).to(device)
    assert waited == {"cpu": True, "meta": False}


@pytest.mark.parametrize("count", [256, 257, 300])
def test_every_label_keeps_its_channel_however_many_there_are(tmp_path, count):
    """A whole brain has more regions than a byte has values."""
    roles = Roles(target=["A"], generate_labels=True, label_values=list(range(0, 2 * count, 2)))
    labels = np.zeros((4, 4, 4), dtype=np.int32)
    labels[0], labels[1] = 2 * (count - 1), 2
    writer = StoreWriter(tmp_path, roles, 3)
    writer.add("case", np.zeros((1, 4, 4, 4), dtype=np.float32), labels, ((0, 0, 0), (4, 4, 4)))
    writer.finish()
    one_hot = TensorStore(tmp_path, (4, 4, 4)).batch([0], np.random.default_rng(0)).target[0, 1:]
    assert one_hot[:, :3, 0, 0].argmax(dim=0).tolist() == [count - 1, 1, 0]
    assert torch.equal((one_hot > 0).sum(dim=0), torch.ones(4, 4, 4, dtype=torch.int64))


@pytest.mark.parametrize("dimension", [2, 3])
def test_a_window_of_the_source_shows_a_finding_and_that_of_the_target_the_same_place(tmp_path, dimension):
    """The intensities tell where a window is from: it is the ramp along every axis that tells a shift or a mirror."""
    size = (48, 40, 6)
    ramps = np.stack([np.broadcast_to(r, size) for r in np.ogrid[:48, :40, :6][:2]])
    image = ((ramps[0] + 50 * ramps[1]) / 3000)[None].astype(np.float32)
    found = np.zeros(size, np.uint8)
    found[40:44, 3:6, 2:4] = 3
    roles = Roles(target=["A"], source=["A"], unpaired=True)
    writer = StoreWriter(tmp_path, roles, dimension)
    writer.add("ill", image, found, ((0, 0, 0), size), side="source", planes=[2, 3] if dimension == 2 else None)
    writer.add("well", image, None, ((0, 0, 0), size), side="target")
    writer.finish()
    store = TensorStore(tmp_path, (16, 16, 6)[:dimension], flip=True)
    batch = store.batch([0] * 32, np.random.default_rng(0))
    flat = batch.found.reshape(32, -1)
    assert flat.any(dim=1).all(), "every window shows some of the finding, which is a fiftieth of the plane"
    assert torch.equal(batch.source, batch.target)
    # Its mask lies where it is, mirrored or not.
    ill = torch.from_numpy(image[0][found > 0])
    marked = batch.source[batch.found > 0]
    assert torch.isin((marked * 3000).round(), (ill * 3000).round()).all()
    starts = batch.source.reshape(32, -1).min(dim=1).values.unique()
    assert len(starts) > 10, "but windows lie in many places around it"


def test_findings_are_sought_by_windows_whatever_their_size(tmp_path):
    """Of a large finding so few voxels are kept to place windows by that memory stays small, and from all over it."""
    size = (200, 200, 1)
    found = np.zeros(size, np.uint8)
    found[:, 20:180] = 1
    writer = StoreWriter(tmp_path, Roles(target=["A"], source=["A"], unpaired=True), 2)
    writer.add("ill", np.zeros((1, *size), np.float32), found, ((0, 0, 0), size), side="source")
    writer.add("well", np.ones((1, *size), np.float32), None, ((0, 0, 0), size), side="target")
    writer.finish()
    kept = TensorStore(tmp_path, (16, 16))._found(0, 0)
    assert len(kept) <= FINDING_VOXELS
    assert kept.min(axis=0).tolist() == [0, 20] and (kept.max(axis=0) >= [198, 170]).all()
