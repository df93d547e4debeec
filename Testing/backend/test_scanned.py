"""Planes in which an image shows nothing, because its scan ends there."""

import numpy as np
import pytest
from genaug.scanned import planes_with_content, scanned


def limb(seed=0):
    """MR of 20 x 20 x 12 voxels: a limb in noisy air."""
    rng = np.random.default_rng(seed)
    i, j = np.meshgrid(np.arange(20), np.arange(20), indexing="ij")
    inside = (np.hypot(i - 10, j - 10) < 6)[:, :, None] * np.ones(12, bool)
    return np.where(inside, 300.0, 5.0) + rng.uniform(0, 5, inside.shape)


def test_a_scan_that_fills_its_grid_is_scanned_everywhere():
    assert scanned(limb()).all()


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("left_over", [0.0, -1.0])
def test_planes_that_were_filled_up_are_not_scanned(axis, left_over):
    """Resampling leaves single voxels below the filling, which do not make the filling content."""
    image = limb()
    filled = [slice(None)] * 3
    filled[axis] = slice(0, 4)
    image[tuple(filled)] = 0
    image[0, 0, 0] = left_over
    expected = np.ones(image.shape, bool)
    expected[tuple(filled)] = False
    np.testing.assert_array_equal(scanned(image), expected)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_where_a_limb_tapers_off_in_air_of_zero_it_is_scanned(axis):
    """Masked MR has no noise; a toe is thin, and there nevertheless."""
    size = np.full(12, 8.0)
    size[:4] = [0.6, 1.5, 2, 3]
    i, j = np.meshgrid(np.arange(20) - 9.5, np.arange(20) - 9.5, indexing="ij")
    inside = np.hypot(i, j)[:, :, None] < size + 0.2
    image = np.moveaxis(np.where(inside, 300.0, 0.0), 2, axis)
    shown = scanned(image)
    assert shown[image > 0].all()


def test_a_plane_in_which_a_slanting_scan_ends_is_not_scanned_where_air_is_noisy():
    """A corner of it is, but what lies beside that cannot be told from it."""
    image = limb()
    image[..., :3] = 0
    image[:4, :4, 2] = 8
    assert not scanned(image)[..., :3].any() and scanned(image)[..., 3:].all()


def test_an_image_without_contrast_is_scanned_everywhere():
    assert scanned(np.zeros((4, 5, 6))).all() and scanned(np.full((4, 5), 7.0)).all()


def test_the_emptiest_planes_of_each_image_go():
    content = np.array([[0.0, 0.05, 0.5, 1.0], [0.0, 0.0, 0.0, 0.0], [0.01, 0.02, 0.0, 0.2]])
    expected = [[False, False, True, True], [True] * 4, [False, False, False, True]]
    np.testing.assert_array_equal(planes_with_content(content), expected)
    expected = [[False, True, True, True], [True] * 4, [True, True, False, True]]
    np.testing.assert_array_equal(planes_with_content(content, least=0.01), expected)
