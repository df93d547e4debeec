"""Random deformations are diffeomorphisms, and they do what their numbers say."""

from __future__ import annotations

import numpy as np
import pytest
from genaug.templates.deformation import (
    AffineRanges,
    DeformationDraws,
    displacement,
    draw_deformation,
    warp,
)
from genaug.templates.lattice import Lattice, draw_lattice, interpolate
from genaug.volume import LABEL, Volume
from scipy import ndimage

SHAPE, SPACING = (40, 44, 36), (3.0, 2.5, 4.0)
STILL = Lattice(shape=(2, 2, 2), values=(0.0,) * 24)


def jacobian(field: np.ndarray) -> np.ndarray:
    """Determinant of the Jacobian of x + field(x), by central differences in mm."""
    gradients = [np.gradient(part, *SPACING) for part in field]
    matrix = np.array([[gradients[a][b] + (a == b) for b in range(3)] for a in range(3)])
    return np.linalg.det(np.moveaxis(matrix, (0, 1), (-2, -1)))


def compose(outer: np.ndarray, inner: np.ndarray) -> np.ndarray:
    """Displacement of outer after inner: x -> inner first."""
    scale = np.array(SPACING).reshape(3, 1, 1, 1)
    at = np.indices(SHAPE) + inner / scale
    return inner + np.stack([ndimage.map_coordinates(part, at, order=3, mode="nearest") for part in outer])


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("amplitude_mm", [2.5, 10.0])
def test_no_deformation_folds(seed: int, amplitude_mm: float) -> None:
    draws = draw_deformation(np.random.default_rng(seed), SHAPE, SPACING, amplitude_mm)
    field = displacement(draws, SHAPE, SPACING)
    assert jacobian(field).min() > 0
    # The velocity alone, without integration, does fold at the large amplitude: the guard is needed.
    if amplitude_mm == 10.0:
        assert jacobian(interpolate(draws.velocity.array, SHAPE)).min() < 0


@pytest.mark.parametrize("seed", range(2))
def test_the_inverse_undoes_it(seed: int) -> None:
    draws = draw_deformation(np.random.default_rng(seed), SHAPE, SPACING, 4.0)
    there, back = (displacement(draws, SHAPE, SPACING, inverse=inverse) for inverse in (False, True))
    assert np.abs(there).max() > 5
    inner = (slice(None), *[slice(7, -7)] * 3)
    for both in (compose(there, back), compose(back, there)):
        assert np.abs(both[inner]).max() < 0.2
        assert np.abs(both[inner]).mean() < 0.02


def test_the_exponential_is_the_flow_at_time_one() -> None:
    velocity = draw_lattice(np.random.default_rng(3), SHAPE, SPACING, 36.0, 6.0, components=3)
    field = displacement(DeformationDraws(velocity=velocity), SHAPE, SPACING)
    # Reference: Runge-Kutta along the finely sampled velocity.
    fine = interpolate(velocity.array, (157, 173, 141)).astype(np.float64)
    per_mm = (np.array(fine.shape[1:]) - 1) / ((np.array(SHAPE) - 1) * SPACING)

    def speed(x: np.ndarray) -> np.ndarray:
        at = x * per_mm[:, None]
        return np.stack([ndimage.map_coordinates(part, at, order=1, mode="nearest") for part in fine])

    index = np.random.default_rng(0).integers(8, np.array(SHAPE) - 8, (300, 3)).T
    start = index * np.array(SPACING)[:, None]
    x, h = start.copy(), 1 / 20
    for _ in range(20):
        k1 = speed(x)
        k2 = speed(x + h / 2 * k1)
        k3 = speed(x + h / 2 * k2)
        x = x + h / 6 * (k1 + 2 * k2 + 2 * k3 + speed(x + h * k3))
    assert np.abs(field[(slice(None), *index)] - (x - start)).max() < 0.15


def test_affine_numbers_mean_what_they_say() -> None:
    assert np.abs(displacement(DeformationDraws(velocity=STILL), SHAPE, SPACING)).max() < 1e-4
    moved = displacement(DeformationDraws(velocity=STILL, translation_mm=(6.0, -5.0, 4.0)), SHAPE, SPACING)
    np.testing.assert_allclose(moved.reshape(3, -1).T, np.tile([6, -5, 4], (moved[0].size, 1)), atol=1e-4)
    larger = displacement(DeformationDraws(velocity=STILL, scaling=(1.1, 0.9, 1.2)), SHAPE, SPACING)
    np.testing.assert_allclose(jacobian(larger), 1.1 * 0.9 * 1.2, rtol=1e-3)
    turned = DeformationDraws(velocity=STILL, rotation_deg=(10.0, 20.0, -30.0), shear=(0.1, 0.0, 0.2))
    assert np.linalg.det(turned.matrix) == pytest.approx(1)
    quarter = DeformationDraws(velocity=STILL, rotation_deg=(0.0, 0.0, 30.0)).matrix
    np.testing.assert_allclose(quarter @ [1, 0, 0], [np.cos(np.pi / 6), 0.5, 0], atol=1e-12)


def test_warping_pulls_back() -> None:
    image = np.zeros(SHAPE, np.float32)
    image[20, 20, 20] = 1
    moved = displacement(DeformationDraws(velocity=STILL, translation_mm=(6.0, -5.0, 4.0)), SHAPE, SPACING)
    warped = warp(Volume(image, np.diag([*SPACING, 1])), moved, 1)
    assert np.unravel_index(warped.array.argmax(), SHAPE) == (18, 22, 19)


def test_warping_keeps_labels_and_ranges() -> None:
    rng = np.random.default_rng(0)
    affine = np.diag([*SPACING, 1])
    field = displacement(draw_deformation(rng, SHAPE, SPACING), SHAPE, SPACING)
    label = Volume(rng.choice([0, 3, 200], SHAPE).astype(np.uint8), affine, LABEL)
    warped = warp(label, field, 0)
    assert set(np.unique(warped.array)) <= {0, 3, 200} and warped.array.dtype == np.uint8
    with pytest.raises(ValueError, match="order 0"):
        warp(label, field, 1)
    image = warp(Volume((label.array > 0).astype(np.float32), affine), field, 3)
    assert image.array.min() >= 0 and image.array.max() <= 1


def test_draws_alone_give_the_same_deformation_bit_for_bit() -> None:
    draws = draw_deformation(np.random.default_rng(9), SHAPE, SPACING)
    again = DeformationDraws.model_validate_json(draws.model_dump_json())
    first, second = (displacement(d, SHAPE, SPACING) for d in (draws, again))
    assert first.tobytes() == second.tobytes()
    # A coarser array of the same field of view gets the same deformation.
    coarse = displacement(draws, (14, 44, 36), (9.0, 2.5, 4.0))
    np.testing.assert_allclose(coarse, first[:, ::3], atol=0.02)


def test_ranges_bound_the_affine_part() -> None:
    rng = np.random.default_rng(0)
    ranges = AffineRanges(rotation_deg=3, scaling=0.1, shear=0.05, translation_mm=7)
    drawn = [draw_deformation(rng, SHAPE, SPACING, affine=ranges) for _ in range(50)]
    for values, bound in (
        ([d.rotation_deg for d in drawn], 3),
        ([np.array(d.scaling) - 1 for d in drawn], 0.1),
        ([d.shear for d in drawn], 0.05),
        ([d.translation_mm for d in drawn], 7),
    ):
        assert 0.9 * bound < np.abs(values).max() <= bound


def test_a_lattice_spline_passes_through_its_values() -> None:
    lattice = draw_lattice(np.random.default_rng(1), (31, 21, 11), (1.0, 1.0, 1.0), 10.0, 5.0, components=2)
    assert lattice.array.shape == (2, 4, 3, 2)
    fine = interpolate(lattice.array, (31, 21, 11))
    np.testing.assert_allclose(fine[:, ::10, ::10, ::10], lattice.array, atol=1e-4)
    # Twice continuously differentiable: second differences shrink with the square of the step.
    assert np.abs(np.diff(interpolate(lattice.array, (301, 21, 11)), 2, axis=1)).max() < 0.02 * np.abs(fine).max()
