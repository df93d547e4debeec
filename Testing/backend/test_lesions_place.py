"""Placement: inside the tissue, off its border, uniform, and honest when there is no room."""

from contextlib import suppress

import numpy as np
import pytest
from genaug.errors import GenaugError, Reason
from genaug.lesions import insert, insert_lesions
from genaug.lesions.local import Box, TooSmall
from genaug.lesions.place import Footprint, draw_place, footprint
from genaug.lesions.region import Region
from genaug.volume import LABEL, Volume
from lesion_phantoms import GRIDS, affine, asking, ct
from scipy import ndimage


def border_distance(tissue, value=2):
    """Distance of every voxel to the nearest that is not tissue; outside the volume there is none."""
    free = np.pad(tissue.array == value, 1)
    return ndimage.distance_transform_edt(free, sampling=tissue.spacing)[1:-1, 1:-1, 1:-1]


def volume_of(array, spacing=(1.0, 1.0, 1.0)):
    return Volume(array, affine(spacing), LABEL)


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("margin", [0.0, 2.0, 5.0])
def test_the_margin_holds_for_every_voxel(grid, margin):
    host, tissue = ct(GRIDS[grid])
    distance = border_distance(tissue)
    for seed in range(2):
        done = insert_lesions(host, tissue, asking(margin_mm=margin, tissue_labels=[2], seed=seed))
        mask = done.mask.array == 1
        assert mask.any()
        assert (tissue.array[mask] == 2).all()
        assert distance[mask].min() >= margin


def test_a_tight_tissue_is_found_by_the_full_search():
    """One centre in a million fits; random centres practically never meet it."""
    array = np.zeros((100, 100, 100), np.uint8)
    array[60:65, 70:75, 80:85] = 1
    array[10, :, :] = 1
    mask, box = np.ones((5, 5, 5), bool), Box((-2, -2, -2), (3, 3, 3))
    tissue = volume_of(array)
    place = draw_place(np.random.default_rng(0), Region(tissue), footprint(mask, box, tissue, 0.0))
    assert place == (62, 72, 82)


def test_places_are_uniform_over_those_that_fit():
    array = np.zeros((40, 40, 40), np.uint8)
    array[4:24, 10:20, 10:20] = 1
    tissue = volume_of(array)
    shape = footprint(np.ones((3, 3, 3), bool), Box((-1, -1, -1), (2, 2, 2)), tissue, 1.0)
    rng = np.random.default_rng(0)
    drawn = np.array([draw_place(rng, Region(tissue), shape) for _ in range(400)])
    # A voxel of the mask may touch the last tissue layer: its nearest outside voxel is 1 mm away.
    assert drawn.min(axis=0).tolist() == [5, 11, 11]
    assert drawn.max(axis=0).tolist() == [22, 18, 18]
    counts = np.histogram(drawn[:, 0], bins=6, range=(5, 23))[0]
    assert ((counts - 400 / 6) ** 2 / (400 / 6)).sum() < 20.5  # chi-square, 5 degrees of freedom, p = 0.001


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.8, 0.8, 2.5)])
def test_no_room_says_how_much_there_is(spacing):
    shape = tuple(int(70 / s) for s in spacing)
    mm = [
        (np.arange(n) * s - 35).reshape([-1 if a == b else 1 for b in range(3)])
        for a, (n, s) in enumerate(zip(shape, spacing))
    ]
    ball = (sum(x**2 for x in mm) <= 10**2).astype(np.uint8)
    host = Volume(np.random.default_rng(0).normal(0, 1, shape).astype(np.float32), affine(spacing), "MR")
    with pytest.raises(GenaugError) as caught:
        insert_lesions(host, volume_of(ball, spacing), asking(diameter_mm=(24, 24), margin_mm=1))
    assert caught.value.reason is Reason.NO_ROOM
    assert "24.0 mm with 1 mm" in caught.value.expected
    assert float(caught.value.found.split("sphere of ")[1].split()[0]) == pytest.approx(20, abs=2.5)


def test_the_widest_place_is_that_of_the_distance_transform():
    rng = np.random.default_rng(4)
    for seed in range(4):
        noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(60, 50, 40)), 5)
        tissue = volume_of((noise > 0).astype(np.uint8), tuple(rng.uniform(0.7, 2.0, 3)))
        exact = 2 * border_distance(tissue, 1).max() - min(tissue.spacing)
        assert Region(tissue).widest_mm() == pytest.approx(exact, rel=0.06)


def test_small_holes_are_not_overlooked():
    """A hole between the points of any coarse lattice halves the room."""
    array = np.ones((49, 49, 49), np.uint8)
    array[25, 25, 25] = 0
    tissue = volume_of(array)
    exact = 2 * border_distance(tissue, 1).max() - 1
    assert Region(tissue).widest_mm() == pytest.approx(exact, rel=0.06)


def test_an_empty_tissue_is_no_room():
    host, tissue = ct(affine(), 40)
    with pytest.raises(GenaugError, match="no free voxel") as caught:
        insert_lesions(host, tissue, asking(tissue_labels=[7]))
    assert caught.value.reason is Reason.NO_ROOM
    assert f"holds {', '.join(map(str, np.unique(tissue.array)))}" in caught.value.found
    assert "lesions below" not in caught.value.remedy


def test_a_lesion_too_large_is_drawn_smaller():
    """The range goes beyond what fits, which is no reason to fail."""
    host, _ = ct(affine(), 60)
    array = np.zeros(host.shape, np.uint8)
    array[20:40, 20:40, 20:40] = 2
    for seed in range(3):
        done = insert_lesions(host, Volume(array, host.affine, LABEL), asking(diameter_mm=(6, 30), seed=seed))
        assert done.mask.array.any()


def test_a_lesion_without_a_voxel_is_drawn_larger(monkeypatch):
    """Between two thick slices a small lesion may hold no voxel's centre, which is no reason to fail either."""
    host, tissue = ct(affine((1.0, 1.0, 6.0)))
    seeds, at_once = range(16), {}
    with monkeypatch.context() as once:
        once.setattr(insert, "_TRIES", 1)
        for seed in seeds:
            with suppress(TooSmall):
                at_once[seed] = insert_lesions(host, tissue, asking(diameter_mm=(2, 9), seed=seed)).record
    assert 0 < len(at_once) < len(seeds)
    done = {seed: insert_lesions(host, tissue, asking(diameter_mm=(2, 9), seed=seed)) for seed in seeds}
    assert all(one.mask.array.any() for one in done.values())
    assert {seed: done[seed].record for seed in at_once} == at_once, "what fits at once is drawn as ever"
    with pytest.raises(TooSmall, match=r"0\.10 mm"):
        insert_lesions(host, tissue, asking(diameter_mm=(0.1, 0.1)))


def test_a_lesion_too_large_for_its_point_is_drawn_smaller():
    """15 mm from the border there is room for some of the range."""
    host, tissue = ct(affine())
    point = (host.affine @ [32, 32, 14, 1])[:3]
    sphere = {"kind": "procedural", "shape": "ellipsoid", "elongation": (1, 1)}
    drawn = [
        insert_lesions(host, tissue, asking(source=sphere, at=[point], margin_mm=0, diameter_mm=(4, 30), seed=seed))
        for seed in range(8)
    ]
    assert max(done.record.draws["lesions"][0]["lesion"]["diameter_mm"] for done in drawn) < 18


def test_a_given_point_is_taken():
    host, tissue = ct(GRIDS["left-handed oblique"])
    point = (host.affine @ [*(n / 2 + 0.3 for n in host.shape), 1])[:3]
    done = insert_lesions(host, tissue, asking(at=[point]))
    voxels = np.argwhere(done.mask.array == 1)
    centre = (host.affine @ [*voxels.mean(axis=0), 1])[:3]
    assert np.linalg.norm(centre - point) < 1.0
    assert done.record.draws["lesions"][0]["place"]["ras"] == pytest.approx(point, abs=1e-9)


@pytest.mark.parametrize(
    ("index", "reason"), [((32, 32, 1), "outside the tissue"), ((32, 32, 14.6), "mm from the border")]
)
def test_a_given_point_without_room_is_refused_unless_allowed(index, reason):
    host, tissue = ct(affine())
    point = (host.affine @ [*index, 1])[:3]
    asked = {
        "at": [point],
        "margin_mm": 3,
        "source": {"kind": "procedural", "shape": "ellipsoid", "elongation": (1, 1)},
    }
    with pytest.raises(GenaugError) as caught:
        insert_lesions(host, tissue, asking(**asked))
    assert caught.value.reason is Reason.NO_ROOM
    assert reason in caught.value.found
    done = insert_lesions(host, tissue, asking(**asked, allow_outside=True))
    assert done.mask.array.any()
    (check,) = [c for c in done.record.checks if "inside" in c.name]
    assert check.passed, "what was allowed is no fault"
    assert (check.value == 1) == (reason == "mm from the border"), "but how much of it lies outside is said"


@pytest.mark.parametrize("index", [(32, 32, 5), (32, 32, 1), (1, 1, 1)])
def test_a_lesion_that_may_lie_outside_passes_its_checks(index):
    """An export leaves out what fails one. At the image's edge only what is inside can have a volume."""
    host, tissue = ct(affine())
    done = insert_lesions(host, tissue, asking(at=[(host.affine @ [*index, 1])[:3]], allow_outside=True))
    checks = {check.name.split(" ", 2)[2]: check for check in done.record.checks}
    assert all(check.passed for check in checks.values()), checks
    assert checks["inside tissue"].value < 1
    assert checks["volume"].value == done.mask.array.sum()
    if index != (32, 32, 5):
        wanted = float(checks["volume"].limit.split()[0])
        assert wanted == pytest.approx(checks["volume"].value, rel=0.1) and wanted < 0.7 * np.pi / 6 * 16**3


def test_a_point_outside_the_image_is_refused():
    host, tissue = ct(affine(), 40)
    with pytest.raises(GenaugError, match="inside the image"):
        insert_lesions(host, tissue, asking(at=[(500, 0, 0)]))


def test_several_lesions_keep_off_each_other_and_off_those_there_are():
    host, tissue = ct(affine(), 60)
    old = np.zeros(host.shape, np.uint8)
    old[10:30, 10:50, 10:50] = 9
    label = Volume(old, host.affine, LABEL)
    done = insert_lesions(host, tissue, asking(count=8, diameter_mm=(8, 10), margin_mm=1, lesion_value=9), label=label)
    mask = done.mask.array == 1
    assert not mask[old == 9].any()
    found, count = ndimage.label(mask, np.ones((3, 3, 3)))
    assert count == 8, "no two touch, not even at a corner"
    volumes = [c.value for c in done.record.checks if c.name.endswith("volume")]
    assert found.astype(bool).sum() == sum(volumes)


def test_a_lesion_keeps_a_slice_between_itself_and_those_there_are():
    """Where slices are thicker than the margin, the margin alone would let it touch one in the next slice."""
    spacing = (0.8, 0.8, 5.0)
    host, _ = ct(affine(spacing))
    old = np.zeros(host.shape, np.uint8)
    old[:, :, 5:7] = 9
    tissue, label = (Volume(array, host.affine, LABEL) for array in (np.full_like(old, 2), old))
    for seed in range(12):
        asked = asking(diameter_mm=(6, 12), margin_mm=2, lesion_value=9, seed=seed)
        done = insert_lesions(host, tissue, asked, label=label)
        one, _ = ndimage.label(done.label.array == 9, np.ones((3, 3, 3)))
        assert not set(one[old == 9]) & set(one[done.mask.array == 1]), "one lesion with that of the next slice"
    at = [(host.affine @ [40, 40, 8, 1])[:3]]
    asked = asking(at=at, diameter_mm=(14, 14), margin_mm=0, lesion_value=9)
    with pytest.raises(GenaugError, match="touching one that is annotated"):
        insert_lesions(host, tissue, asked, label=label)


@pytest.mark.parametrize("spacing", [(0.7, 0.7, 5.0), (3.0, 0.7, 0.7)])
def test_thick_slices_are_no_fault_of_a_lesion(spacing):
    """As large as a slice is thick, it is in one slice or in two; an export would leave out what fails its check."""
    host, tissue = ct(affine(spacing))
    for seed in range(12):
        asked = asking(diameter_mm=(max(spacing), max(spacing) + 1), margin_mm=0, seed=seed)
        checks = insert_lesions(host, tissue, asked).record.checks
        (volume,) = [check for check in checks if check.name.endswith("volume")]
        assert volume.passed, volume


def test_a_footprint_is_the_lesion_and_its_margin():
    host, _ = ct(affine((1.0, 1.0, 2.0)), 30)
    one = footprint(np.ones((1, 1, 1), bool), Box((0, 0, 0), (1, 1, 1)), host, 2.5)
    assert isinstance(one, Footprint)
    near = {(i, j, k) for i, j, k in one.offsets.tolist()}
    wanted = {
        (i, j, k)
        for i in range(-3, 4)
        for j in range(-3, 4)
        for k in range(-2, 3)
        if np.linalg.norm([i, j, 2 * k]) < 2.5
    }
    assert near == wanted
    assert one.lesion.tolist() == [[0, 0, 0]]
