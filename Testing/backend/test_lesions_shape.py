"""Procedural shapes: volumes against the analytic ellipsoid, roundness in mm, texture statistics."""

import numpy as np
import pytest
from genaug.errors import GenaugError, Reason
from genaug.lesions import InsertParameters, ProceduralSource, draw_procedural
from genaug.lesions.local import box_around, positions_mm
from genaug.lesions.procedural import STYLES, ProceduralDraws, render_texture, signed_distance
from lesion_phantoms import GRIDS, ct
from pydantic import ValidationError


def raster(draws, host, offset=(0.0, 0.0, 0.0)):
    box = box_around(host, draws.extent_mm + 6)
    positions = positions_mm(host, box, offset)
    return signed_distance(draws, positions), positions


def plain_ellipsoid(diameter, elongation):
    """A drawn ellipsoid without border noise, so that its radii give its volume."""
    source = ProceduralSource(shape="ellipsoid", elongation=(elongation, elongation))
    draws = draw_procedural(np.random.default_rng(3), diameter, -1.0, source)
    (lobe,) = draws.lobes
    return draws.model_copy(update={"lobes": [lobe.model_copy(update={"waves": []})]})


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("elongation", [1.0, 1.8])
def test_mask_volume_is_the_ellipsoids(grid, elongation):
    host, _ = ct(GRIDS[grid])
    draws = plain_ellipsoid(20.0, elongation)
    signed, _ = raster(draws, host, (0.3, -0.2, 0.1))
    analytic = 4 / 3 * np.pi * np.prod(draws.lobes[0].radii_mm)
    assert (signed <= 0).sum() * np.prod(host.spacing) == pytest.approx(analytic, rel=0.05)


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("shape", STYLES)
def test_every_shape_has_the_volume_of_the_asked_sphere(grid, shape):
    host, _ = ct(GRIDS[grid])
    for seed in range(2):
        draws = draw_procedural(np.random.default_rng(seed), 18.0, 1.0, ProceduralSource(shape=shape))
        signed, _ = raster(draws, host)
        assert (signed <= 0).sum() * np.prod(host.spacing) == pytest.approx(np.pi / 6 * 18**3, rel=0.05)


@pytest.mark.parametrize("grid", GRIDS)
def test_round_in_millimetres_whatever_the_grid(grid):
    """Second moments of a drawn sphere are equal in every direction of the patient."""
    host, _ = ct(GRIDS[grid])
    signed, positions = raster(plain_ellipsoid(24.0, 1.0), host)
    lobe = plain_ellipsoid(24.0, 1.0).lobes[0]
    moments = np.linalg.eigvalsh(np.cov(positions[:, signed <= 0]))
    wanted = np.array(lobe.radii_mm) ** 2 / 5
    np.testing.assert_allclose(moments, np.sort(wanted), rtol=0.07)


def test_signed_distance_is_a_distance_near_the_border():
    host, _ = ct(GRIDS["isotropic"])
    draws = plain_ellipsoid(24.0, 1.0)
    signed, positions = raster(draws, host)
    (lobe,) = draws.lobes
    centred = positions - np.reshape(lobe.centre_mm, (3, 1, 1, 1))
    exact = np.linalg.norm(centred, axis=0) - lobe.radii_mm[0]
    near = np.abs(exact) < 3
    np.testing.assert_allclose(signed[near], exact[near], atol=0.02)


def test_the_centre_of_a_lobe_is_deep_inside_and_not_infinitely_so():
    draws = plain_ellipsoid(20.0, 1.5)
    centre = np.reshape(draws.lobes[0].centre_mm, (3, 1)).astype(np.float32)
    depth = -signed_distance(draws, centre)[0]
    assert min(draws.lobes[0].radii_mm) * 0.9 < depth <= max(draws.lobes[0].radii_mm) * 1.01


def test_the_box_never_outgrows_the_volume():
    host, _ = ct(GRIDS["oblique"])
    box = box_around(host, 1e6)
    assert box.shape == tuple(2 * n + 1 for n in host.shape)


@pytest.mark.parametrize("shape", STYLES)
def test_the_extent_holds_the_lesion(shape):
    host, _ = ct(GRIDS["isotropic"])
    for seed in range(3):
        draws = draw_procedural(np.random.default_rng(seed), 20.0, 1.0, ProceduralSource(shape=shape))
        signed, positions = raster(draws, host)
        assert np.linalg.norm(positions[:, signed <= 0], axis=0).max() <= draws.extent_mm + 0.5


def test_shapes_differ_in_how_rough_they_are():
    """Surface over that of the sphere: spiculated > irregular > ellipsoid."""
    host, _ = ct(GRIDS["isotropic"])

    def roughness(shape):
        areas = []
        for seed in range(4):
            draws = draw_procedural(np.random.default_rng(seed), 20.0, 1.0, ProceduralSource(shape=shape))
            mask = raster(draws, host)[0] <= 0
            areas.append(sum(np.diff(mask.astype(int), axis=a).astype(bool).sum() for a in range(3)))
        return np.mean(areas)

    assert roughness("spiculated") > 1.03 * roughness("irregular") > 1.03 * 1.01 * roughness("ellipsoid")


def test_texture_has_the_asked_mean_spread_and_grain():
    host, _ = ct(GRIDS["isotropic"])
    source = ProceduralSource(shape="ellipsoid", heterogeneity=(0.2, 0.2), grain_mm=(4, 4))
    draws = draw_procedural(np.random.default_rng(0), 40.0, -50.0, source)
    signed, _ = raster(draws, host)
    texture, inside = render_texture(draws, signed, host.spacing), signed <= 0
    assert texture[inside].mean() == pytest.approx(-50, abs=0.01)
    assert texture[inside].std() == pytest.approx(10, rel=0.15)
    deviation = np.where(inside, texture + 50, 0)
    # Autocorrelation of white noise behind a Gaussian of sigma s is exp(-d**2 / (4 s**2)).
    sigma = 4 / 2.3548
    for lag in (1, 2):
        both = inside[lag:] & inside[:-lag]
        found = (deviation[lag:] * deviation[:-lag])[both].mean() / deviation[inside].var()
        assert found == pytest.approx(np.exp(-(lag**2) / (4 * sigma**2)), abs=0.08)


def test_core_and_rim_differ_from_the_rest():
    host, _ = ct(GRIDS["isotropic"])
    source = ProceduralSource(
        shape="ellipsoid", heterogeneity=(0, 0), core_gain=(-0.5, -0.5), core_size=(0.5, 0.5), rim_gain=(2, 2)
    )
    draws = draw_procedural(np.random.default_rng(0), 40.0, 10.0, source)
    signed, _ = raster(draws, host)
    texture = render_texture(draws, signed, host.spacing)
    assert texture[signed < -16].mean() == pytest.approx(-5, abs=0.1)
    assert texture[(signed > -1) & (signed <= 0)].mean() > 17


def test_draws_survive_json_exactly():
    draws = draw_procedural(np.random.default_rng(9), 13.0, -3.0, ProceduralSource(shape="spiculated"))
    assert ProceduralDraws.model_validate_json(draws.model_dump_json()) == draws


def test_a_lesion_smaller_than_a_voxel_is_refused():
    host, _ = ct(GRIDS["thick slices"])
    draws = draw_procedural(np.random.default_rng(0), 0.3, 1.0)
    signed, _ = raster(draws, host, (0.5, 0.5, 0.5))
    with pytest.raises(GenaugError) as caught:
        render_texture(draws, signed, host.spacing)
    assert caught.value.reason is Reason.BAD_PARAMETER
    assert "0.30 mm" in caught.value.found


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"diameter_mm": (9, 3)}, "down to"),
        ({"diameter_mm": (0, 3)}, "above 0"),
        ({"diameter_mm": (10, 500)}, "up to 120"),
        ({"contrast": None}, "needs one"),
        ({"at": [(0, 0, 0)], "count": 2}, "1 points for 2"),
        ({"allow_outside": True}, "given points"),
        ({"colour": "red"}, "extra"),
        ({"source": {"kind": "procedural", "elongation": (0.5, 1)}}, "at least 1"),
        ({"source": {"kind": "model"}}, "kind"),
    ],
)
def test_impossible_parameters_are_refused(changes, word):
    with pytest.raises(ValidationError, match=f"(?i){word}"):
        InsertParameters.model_validate({"contrast": (1, 2)} | changes)
