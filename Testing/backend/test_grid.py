"""Grid: what goes in comes out again, where it was."""

from __future__ import annotations

import os
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
from genaug.errors import GenaugError, Reason
from genaug.grid import Fitted, Grid, IntensityMap, Placement
from genaug.volume import LABEL, Volume
from scipy import ndimage
from scipy.spatial.transform import Rotation

DATA = Path(os.environ.get("GENAUG_DATA", Path(__file__).parents[3] / "shared" / "data"))
LABELS = (0, 1, 2, 300)


def random_affine(rng: np.random.Generator) -> np.ndarray:
    """Oblique up to any angle, anisotropic, left-handed half of the time."""
    affine = np.eye(4)
    affine[:3, :3] = Rotation.random(random_state=rng.integers(2**31)).as_matrix() * rng.uniform(0.4, 6, 3)
    affine[:3, :3] = affine[:3, rng.permutation(3)] * rng.choice([-1, 1], 3)
    affine[:3, 3] = rng.uniform(-300, 300, 3)
    return affine


def grid_for(*volumes: Volume, **options) -> Grid:
    """A grid planned for the volumes, with an image channel that clips nothing."""
    channels = {"image": IntensityMap(kind="range", low=-50, high=150)}
    return Grid.plan([(v.shape, v.affine) for v in volumes], channels, LABELS, **options)


def random_pair(rng: np.random.Generator) -> tuple[Volume, Volume]:
    shape = tuple(rng.integers(3, 21, 3))
    affine = random_affine(rng)
    image = rng.uniform(-50, 150, shape).astype(np.float32)
    return Volume(image, affine), Volume(rng.choice(LABELS, shape).astype(np.int16), affine, LABEL)


@pytest.mark.parametrize("seed", range(40))
@pytest.mark.parametrize("orientation", ["RAS", "LPS", "PSR"])
def test_any_affine_comes_back_exactly(seed: int, orientation: str) -> None:
    image, label = random_pair(np.random.default_rng(seed))
    grid = grid_for(image, orientation=orientation)
    placement = grid.place(image, {"image": image})
    assert not placement.interpolated

    back = grid.map_out(grid.map_in(image, placement, "image"), placement, "image")
    assert back.affine.tobytes() == image.affine.tobytes() and back.shape == image.shape
    np.testing.assert_allclose(back.array, image.array, atol=200 * 1e-6)

    label_back = grid.map_out(grid.map_in(label, placement, None), placement, None)
    assert label_back.is_label and label_back.affine.tobytes() == label.affine.tobytes()
    assert np.array_equal(label_back.array, label.array)


@pytest.mark.parametrize("seed", range(10))
def test_model_affine_says_where_each_voxel_is(seed: int) -> None:
    rng = np.random.default_rng(seed)
    image, _ = random_pair(rng)
    grid = grid_for(image)
    placement = grid.place(image)
    model = grid.map_in(image, placement, "image")
    # The brightest voxel is at the same place in the patient on both sides.
    here = np.array([*np.unravel_index(image.array.argmax(), image.shape), 1])
    # Padding carries the border on, so the brightest voxel is looked for inside the field of view.
    inside = tuple(slice(b, b + n) for b, n in zip(placement.before, placement.resampled))
    found = np.unravel_index(model[inside].argmax(), model[inside].shape)
    there = np.array([*np.add(found, placement.before), 1])
    np.testing.assert_allclose(placement.model_affine @ there, image.affine @ here, atol=1e-9)
    # And the model's axes point as near to R, A, S as a permutation can bring them.
    directions = placement.model_affine[:3, :3] / np.linalg.norm(placement.model_affine[:3, :3], axis=0)
    best = max(sum(abs(directions[m, axes[m]]) for m in range(3)) for axes in permutations(range(3)))
    assert np.trace(directions) == pytest.approx(best)


def test_ixi_heads_come_back_exactly() -> None:
    files = sorted((DATA / "ixi_heads" / "labels").glob("*.nii.gz"))
    if not files:
        pytest.skip(f"no IXI heads in {DATA}")
    nibabel = pytest.importorskip("nibabel")
    images = [nibabel.load(file) for file in files]
    grid = Grid.plan([(i.shape, i.affine) for i in images], {"t1": IntensityMap.for_modality("MR")})
    assert grid.size == (96, 120, 120) and grid.spacing == (2, 2, 2)
    for image in images:
        label = Volume(np.asarray(image.dataobj), image.affine, LABEL)
        placement = Placement.model_validate_json(grid.place(label).model_dump_json())
        model = grid.map_in(label, placement, None)
        assert model.shape == grid.size
        back = grid.map_out(model, placement, None)
        assert back.affine.tobytes() == label.affine.tobytes()
        assert np.array_equal(back.array, label.array)


@pytest.mark.parametrize("seed", range(10))
def test_resampled_label_maps_get_no_new_values_and_the_old_geometry(seed: int) -> None:
    rng = np.random.default_rng(seed)
    _, label = random_pair(rng)
    grid = grid_for(label, spacing=tuple(rng.uniform(0.5, 4, 3)))
    placement = grid.place(label)
    assert placement.interpolated
    model = grid.map_in(label, placement, None)
    back = grid.map_out(model, placement, None)
    assert set(np.unique(model)) <= set(LABELS) and set(np.unique(back.array)) <= set(LABELS)
    assert back.shape == label.shape and back.affine.tobytes() == label.affine.tobytes()


def test_label_maps_survive_a_finer_grid_bit_for_bit() -> None:
    _, label = random_pair(np.random.default_rng(3))
    grid = grid_for(label, spacing=tuple(np.array([0.37, 0.51, 0.45]) * min(label.spacing)))
    placement = grid.place(label)
    assert np.array_equal(grid.map_out(grid.map_in(label, placement, None), placement, None).array, label.array)


def blob(shape: tuple[int, int, int], affine: np.ndarray, centre: np.ndarray, width: float) -> np.ndarray:
    index = np.indices(shape).reshape(3, -1)
    position = affine[:3, :3] @ index + affine[:3, 3:]
    return 100 * np.exp(-((position - centre[:, None]) ** 2).sum(axis=0) / (2 * width**2)).reshape(shape)


def centre_of_mass(array: np.ndarray, affine: np.ndarray) -> np.ndarray:
    return affine[:3, :3] @ np.array(ndimage.center_of_mass(array)) + affine[:3, 3]


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (1.7, 2.3, 2.9), (3.1, 2.6, 4.0)])
def test_resampling_shifts_nothing_and_converges(spacing: tuple[float, float, float]) -> None:
    affine = random_affine(np.random.default_rng(5))
    affine[:3, :3] *= np.array([1.9, 2.4, 2.2]) / np.linalg.norm(affine[:3, :3], axis=0)
    shape = (41, 38, 43)
    centre = affine[:3, :3] @ (np.array(shape) * (0.45, 0.55, 0.5)) + affine[:3, 3]
    image = Volume(blob(shape, affine, centre, 9.0).astype(np.float32), affine)
    channels = {"image": IntensityMap(kind="range", low=0, high=100)}
    grid = Grid.plan([(shape, affine)], channels, spacing=spacing)
    placement = grid.place(image)
    model = (grid.map_in(image, placement, "image") + 1) / 2
    # A shift of half a voxel would be 0.5 to 2 mm.
    np.testing.assert_allclose(centre_of_mass(model, placement.model_affine), centre, atol=0.02)
    back = grid.map_out(grid.map_in(image, placement, "image"), placement, "image")
    np.testing.assert_allclose(centre_of_mass(back.array, back.affine), centre, atol=0.02)
    assert np.abs(back.array - image.array).max() < 5.0, "a smooth function survives, but for the anti-aliasing"


def test_a_ramp_is_resampled_onto_itself() -> None:
    shape, affine = (30, 26, 24), np.diag([1.5, 2.0, 1.0, 1.0])
    i, j, k = np.indices(shape)
    image = Volume((i * 1.5 + j * 2.0 - k).astype(np.float32), affine)
    grid = grid_for(image, spacing=(2.2, 1.3, 1.9))
    placement = grid.place(image)
    model = grid.map_in(image, placement, "image")
    x, y, z = np.einsum(
        "ab,bijk->aijk", placement.model_affine, np.stack([*np.indices(model.shape), np.ones(model.shape)])
    )[:3]
    inner = tuple(slice(b + 7, b + n - 7) for b, n in zip(placement.before, placement.resampled))
    np.testing.assert_allclose(model[inner] * 100 + 50, (x + y - z)[inner], atol=0.05)


def test_coarsening_does_not_alias() -> None:
    # A checkerboard at the finest frequency has mean 50 and nothing else on a grid four times as coarse.
    board = (np.indices((48, 48, 48)).sum(axis=0) % 2 * 100).astype(np.float32)
    image = Volume(board, np.eye(4))
    grid = grid_for(image, spacing=(4.2, 4.2, 4.2))
    placement = grid.place(image)
    model = grid.map_in(image, placement, "image")
    inner = tuple(slice(b + 2, b + n - 2) for b, n in zip(placement.before, placement.resampled))
    np.testing.assert_allclose(model[inner] * 100 + 50, 50, atol=2)


def test_padding_is_symmetric_and_carries_the_image_on() -> None:
    """The end of the field of view must not look like an edge of the anatomy; a label beyond it nobody drew."""
    ramp = np.broadcast_to(np.arange(5.0)[:, None, None], (5, 6, 7))
    image, label = Volume(ramp, np.eye(4), "MR"), Volume(np.full((5, 6, 7), 90), np.eye(4), LABEL)
    grid = grid_for(image, size=(8, 16, 16))
    placement = grid.place(image)
    assert placement.before == (1, 5, 4)
    model = grid.map_in(image, placement, "image")
    assert np.array_equal(model[:, 5:11, 4:11][[0, -1]], model[:, 5:11, 4:11][[1, 5]])
    assert np.array_equal(model[:, :5], np.broadcast_to(model[:, 5:6], model[:, :5].shape))
    model_label = grid.map_in(label, placement, None)
    assert (model_label == 90).sum() == image.array.size and (model_label == 0).sum() == model.size - image.array.size


def test_larger_volumes_are_refused_not_cropped() -> None:
    small = Volume(np.zeros((16, 16, 16)), np.diag([2.0, 2, 2, 1]))
    large = Volume(np.zeros((16, 17, 16)), np.diag([2.0, 2, 2, 1]), source=Path("large.nii.gz"))
    grid = grid_for(small)
    with pytest.raises(GenaugError) as caught:
        grid.place(large)
    assert caught.value.reason is Reason.FIELD_OF_VIEW and caught.value.subject == "large.nii.gz"
    assert "16 x 17 x 16 voxels (32.0 x 34.0 x 32.0 mm)" in caught.value.found
    assert "16 x 16 x 16 voxels (32.0 x 32.0 x 32.0 mm)" in caught.value.expected
    assert grid.place(large, whole=True).size == (16, 24, 16)


def test_field_of_view_unlike_training_is_refused_with_the_numbers() -> None:
    seen = [Volume(np.zeros((n, 40, 40)), np.diag([-1.0, -1, 1, 1])) for n in (40, 50)]
    grid = grid_for(*seen)
    for n in (36, 40, 55):
        grid.require_field_of_view(Volume(np.zeros((n, 40, 40)), np.eye(4)))
    for n in (35, 56):
        with pytest.raises(GenaugError) as caught:
            grid.require_field_of_view(Volume(np.zeros((n, 40, 40)), np.eye(4)))
        assert caught.value.reason is Reason.FIELD_OF_VIEW
        assert f"{n}.0 mm along R" in caught.value.found and "40.0 to 50.0 mm" in caught.value.expected
    # It is the field of view in the patient that counts, not the array's axes.
    turned = np.array([[0.0, 0, 1, 0], [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1]])
    grid.require_field_of_view(Volume(np.zeros((40, 40, 50)), turned))
    with pytest.raises(GenaugError):
        grid.require_field_of_view(Volume(np.zeros((50, 40, 40)), turned))


def test_sliding_windows_are_free_along_axes_where_training_saw_crops() -> None:
    seen = Volume(np.zeros((60, 60, 20)), np.eye(4))
    grid = grid_for(seen, window=(32, 32, 32))
    assert grid.size == (32, 32, 24), "a window is no larger than the volumes"
    tall = Volume(np.zeros((200, 60, 20)), np.eye(4))
    grid.require_field_of_view(tall, whole=True)
    assert grid.place(tall, whole=True).size == (200, 64, 24)
    for shape in ((200, 60, 40), (20, 60, 20)):
        with pytest.raises(GenaugError):
            grid.require_field_of_view(Volume(np.zeros(shape), np.eye(4)), whole=True)


def test_plan_coarsens_until_everything_fits_and_thick_slices_last() -> None:
    headers = [((200, 180, 30), np.diag([1.0, 1, 6, 1])), ((180, 210, 28), np.diag([1.0, 1, 6, 1]))]
    channels = {"image": IntensityMap.for_modality("CT")}
    free = Grid.plan(headers, channels, multiple_of=16)
    assert free.size == (208, 224, 32) and free.spacing == (1, 1, 6) and free.content == (200, 210, 30)
    tight = Grid.plan(headers, channels, multiple_of=16, max_voxels=100_000)
    assert np.prod(tight.size) <= 100_000
    assert tight.spacing[0] == tight.spacing[1] > 3 and tight.spacing[2] == 6
    finer = tight.spacing[0] * 0.9
    assert np.prod(Grid.plan(headers, channels, multiple_of=16, spacing=(finer, finer, 6.0)).size) > 100_000
    for shape, affine in headers:
        tight.place(Volume(np.zeros(shape, np.uint8), affine))
    with pytest.raises(GenaugError) as caught:
        Grid.plan(headers, channels, max_voxels=100)
    assert caught.value.reason is Reason.BAD_PARAMETER
    with pytest.raises(GenaugError) as caught:
        Grid.plan(headers, channels, size=(128, 256, 32))
    assert caught.value.reason is Reason.FIELD_OF_VIEW and "200 x 210 x 30" in caught.value.expected
    with pytest.raises(GenaugError) as caught:
        Grid.plan([], channels)
    assert caught.value.reason is Reason.EMPTY_COHORT


def test_two_dimensions_never_touch_the_slices() -> None:
    rng = np.random.default_rng(0)
    image = Volume(rng.uniform(0, 100, (7, 20, 30)).astype(np.float32), np.diag([5.0, 1, 1, 1]))
    grid = grid_for(image, dimension=2, orientation="ASR", spacing=(2.0, 2.0, 1.0))
    placement = grid.place(image)
    model = grid.map_in(image, placement, "image")
    assert grid.size == (16, 16) and model.shape == (16, 16, 7)
    alone = Volume(image.array[2:3], image.affine)
    np.testing.assert_array_equal(grid.map_in(alone, grid.place(alone), "image")[..., 0], model[..., 2])
    assert grid.map_out(model, placement, "image").shape == image.shape


@pytest.mark.parametrize("normal", range(3))
def test_single_planes_are_seen_whole_whichever_way_they_lie(normal: int) -> None:
    rng = np.random.default_rng(normal)
    shape = [12, 10, 8]
    shape[normal] = 1
    image = Volume(rng.uniform(1, 100, shape).astype(np.float32), np.diag([1.0, 1.5, 2.0, 1.0]), "MR")
    maps = {"t1": IntensityMap.for_modality("MR")}
    grid = Grid.plan([(image.shape, image.affine)], maps, dimension=2, multiple_of=2)
    placement = grid.place(image, {"t1": image})
    inside = grid.map_in(image, placement, "t1")
    assert inside.shape[2] == 1 and sorted(inside.shape[:2]) == sorted(n for n in shape if n > 1)
    assert len(np.unique(inside)) > 0.8 * image.array.size
    back = grid.map_out(inside, placement, "t1")
    assert back.shape == image.shape and np.array_equal(back.affine, image.affine)


def test_planes_of_two_orientations_have_no_common_grid() -> None:
    maps = {"t1": IntensityMap.for_modality("MR")}
    with pytest.raises(GenaugError, match="sagittal and axial planes"):
        Grid.plan([((1, 8, 8), np.eye(4)), ((8, 8, 1), np.eye(4))], maps, dimension=2)


def test_new_volumes_are_centred_and_trimmed_to_the_content() -> None:
    image = Volume(np.zeros((13, 10, 9)), np.diag([2.0, 3, 4, 1]))
    mapping = IntensityMap(kind="percentiles", low=0, high=100)
    fitted = [Fitted(low=low, high=high) for low, high in ((0, 10), (1, 20), (2, 90))]
    grid = Grid.plan([(image.shape, image.affine)], {"t1": mapping}, (1,), fitted={"t1": fitted}, orientation="LPS")
    assert grid.channels["t1"].default_fitted() == Fitted(low=1, high=20)
    made = grid.new_volume(np.ones(grid.size), "t1")
    assert made.shape == (13, 10, 9) and made.spacing == (2, 3, 4) and made.modality == "MR"
    np.testing.assert_array_equal(made.array, 20)
    corners = made.affine @ np.array([[0, 0, 0, 1], [12, 9, 8, 1]]).T
    np.testing.assert_allclose(corners.sum(axis=1)[:3], 0)
    np.testing.assert_array_equal(np.sign(np.diag(made.affine)), [-1, -1, 1, 1])
    assert grid.new_volume(np.ones(grid.size), "t1", fov=(8.0, 9.0, 100.0)).shape == (4, 3, 16)
    assert grid.new_volume(np.ones(grid.size, int), None).array.dtype == np.uint8
    # What is trimmed from a placed case is its padding, to the voxel.
    label = grid.map_in(Volume(np.ones(image.shape), image.affine), grid.place(image), None)
    assert label.sum() == np.prod(image.shape) and (grid.new_volume(label, None).array == 1).all()
    with pytest.raises(GenaugError) as caught:
        Grid.plan([(image.shape, image.affine)], {"t1": mapping}).new_volume(np.ones(grid.size), "t1")
    assert caught.value.reason is Reason.BAD_PACKAGE


def test_a_generated_channel_takes_the_typical_intensities() -> None:
    image = Volume(np.arange(512.0).reshape(8, 8, 8), np.eye(4))
    channels = {
        "mr": IntensityMap(kind="percentiles", low=0, high=100),
        "ct": IntensityMap(kind="window", low=-1000, high=2000, modality="CT"),
    }
    grid = Grid.plan([(image.shape, image.affine)], channels, fitted={"mr": [Fitted(low=0, high=7)]})
    placement = grid.place(image, {"mr": image})
    assert grid.map_out(np.ones(grid.size), placement, "mr").array.max() == 511
    ct = grid.map_out(np.zeros(grid.size), placement, "ct")
    assert ct.modality == "CT" and (ct.array == 500).all()
    assert grid.map_out(np.ones(grid.size), grid.place(image), "mr").array.max() == 7


def test_json_round_trip() -> None:
    image, _ = random_pair(np.random.default_rng(1))
    grid = grid_for(image)
    assert Grid.model_validate_json(grid.model_dump_json()) == grid
    placement = grid.place(image, {"image": image})
    again = Placement.model_validate_json(placement.model_dump_json())
    assert again == placement and again.volume_affine.tobytes() == image.affine.tobytes()


def test_another_geometry_is_not_mapped_in() -> None:
    image = Volume(np.zeros((8, 8, 8)), np.eye(4))
    shifted = Volume(np.zeros((8, 8, 8)), np.eye(4) + np.eye(4, k=3), source=Path("shifted.mha"))
    grid = grid_for(image)
    for refused in (
        lambda: grid.map_in(shifted, grid.place(image), "image"),
        lambda: grid.place(image, {"image": shifted}),
    ):
        with pytest.raises(GenaugError) as caught:
            refused()
        assert caught.value.reason is Reason.GEOMETRY_MISMATCH and caught.value.subject == "shifted.mha"


def test_fractional_labels_are_refused() -> None:
    label = Volume(np.full((8, 8, 8), 0.5), np.eye(4), LABEL, source=Path("smooth.nii"))
    grid = grid_for(label)
    with pytest.raises(GenaugError) as caught:
        grid.map_in(label, grid.place(label), None)
    assert caught.value.reason is Reason.WRONG_LABELS and "512 voxels" in caught.value.found
