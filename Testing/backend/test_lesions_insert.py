"""Insertion: what changes, what must not, and doing it again from the Record."""

import numpy as np
import pytest
from genaug.errors import GenaugError, Reason
from genaug.lesions import BankSource, insert_lesions, reinsert
from genaug.record import Record, hash_voxels
from genaug.volume import LABEL, Volume
from lesion_phantoms import GRIDS, affine, asking, bank, ct, mr
from scipy import ndimage


@pytest.mark.parametrize("dtype", [np.int16, np.uint8, np.float32, np.float64])
def test_voxels_away_from_the_lesions_keep_their_bits(dtype):
    host, tissue = ct(affine(), dtype=dtype)
    before = host.array.copy()
    done = insert_lesions(host, tissue, asking(count=2, margin_mm=0, edge_mm=(1, 1)))
    assert np.array_equal(host.array, before), "the host is never written to"
    assert done.image.array.dtype == dtype
    far = ndimage.distance_transform_edt(done.mask.array == 0) > 3
    assert far.mean() > 0.8
    assert done.image.array[far].tobytes() == before[far].tobytes()
    assert done.image.array[~tissue.array.astype(bool)].tobytes() == before[~tissue.array.astype(bool)].tobytes()
    assert (done.image.array != before)[done.mask.array == 1].mean() > 0.9


def test_nothing_changes_beyond_the_tissue_even_at_its_border():
    host, tissue = ct(affine())
    point = (host.affine @ [32, 32, 14, 1])[:3]  # a sphere of 8 mm that ends where the tissue does, at 6
    shape = {"kind": "procedural", "shape": "ellipsoid", "elongation": (1, 1)}
    asked = asking(source=shape, at=[point], margin_mm=0, edge_mm=(1.5, 1.5))
    done = insert_lesions(host, tissue, asked)
    changed = done.image.array != host.array
    assert done.mask.array[:, :, :8].any()
    assert not changed[tissue.array == 0].any()


def test_integers_are_rounded_and_clipped_to_their_type():
    host, tissue = ct(affine(), dtype=np.uint8)
    done = insert_lesions(host, tissue, asking(contrast=(-300, -300)))
    assert done.image.array[done.mask.array == 1].min() == 0
    done = insert_lesions(host, tissue, asking(contrast=(900, 900)))
    assert done.image.array[done.mask.array == 1].max() == 255


def test_hounsfield_differences_are_met_in_ct_by_default():
    host, tissue = ct(affine())
    done = insert_lesions(host, tissue, asking(contrast=(-40, -40), contrast_unit="auto"))
    core = ndimage.distance_transform_edt(done.mask.array) > 2
    assert done.image.array[core].mean() - 60 == pytest.approx(-40, abs=3)


@pytest.mark.parametrize("contrast", [-5.0, 4.0])
def test_multiples_of_the_spread_are_met_in_mr_by_default(contrast):
    host, tissue = mr(affine())
    done = insert_lesions(host, tissue, asking(contrast=(contrast, contrast), contrast_unit="auto"))
    core = ndimage.distance_transform_edt(done.mask.array) > 2
    assert (done.image.array[core].mean() - 200) / 8 == pytest.approx(contrast, rel=0.1)


@pytest.mark.parametrize("unit", ["spread", "fraction"])
def test_of_several_tissues_the_one_the_lesion_lies_in_gives_the_contrast(unit):
    """Grey matter beside white must neither shift the mean nor widen the spread that a contrast is measured in."""
    host, tissue = mr(affine(), noise=8.0)
    values, label = host.array.copy(), tissue.array.copy()
    values[:, :, 34:] -= 80
    label[:, :, 34:][label[:, :, 34:] > 0] = 3
    point = (host.affine @ [32, 32, 24, 1])[:3]
    asked = asking(contrast=(-0.5, -0.5) if unit == "fraction" else (-5, -5), contrast_unit=unit, at=[point])
    done = insert_lesions(host.with_array(values), tissue.with_array(label), asked)
    core = ndimage.distance_transform_edt(done.mask.array) > 2
    wanted = {"fraction": 0.5 * 200, "spread": 200 - 5 * 8}[unit]
    assert done.image.array[core].mean() == pytest.approx(wanted, abs=8)


@pytest.mark.parametrize("donor_noise", [None, 3.0, 6.0])
def test_the_lesion_is_as_noisy_as_the_host(donor_noise):
    """Neighbour differences see noise alone, not the lesion's own slow texture.

    A donor at half the host's brightness brings up to twice its noise; the host's is added only as far as it lacks.
    """
    host, tissue = mr(affine(), noise=8.0)
    own = {"kind": "procedural", "shape": "ellipsoid", "heterogeneity": (0, 0)}
    donors = None
    if donor_noise is not None:
        own = {"kind": "bank", "value": 3, "margin": "none"}
        donors = bank(radii=((12, 10, 9), (4, 4, 4)), noise=donor_noise, contrast=40)
    asked = asking(source=own, diameter_mm=(14, 40), contrast=(0.4, 0.4), contrast_unit="fraction", seed=2)
    done = insert_lesions(host, tissue, asked, bank=donors)
    core = ndimage.distance_transform_edt(done.mask.array) > 2
    assert done.image.array[core].std() == pytest.approx(8, rel=0.1)
    if donor_noise is None:

        def rough(values):
            return np.std((values[1:] - values[:-1])[core[1:] & core[:-1]])

        assert rough(done.image.array) == pytest.approx(rough(host.array), rel=0.1), "the noise's own grain"


def test_a_vessel_does_not_shine_through_the_lesion():
    host, tissue = mr(affine(), noise=4.0)
    values = host.array.copy()
    values[32, :, 32] += 150
    middle = (host.affine @ [32, 32, 32, 1])[:3]
    asked = asking(contrast=(-0.3, -0.3), contrast_unit="fraction", at=[middle])
    done = insert_lesions(host.with_array(values), tissue, asked)
    core = (ndimage.distance_transform_edt(done.mask.array) > 2)[32, :, 32]
    assert core.sum() > 5
    assert done.image.array[32, core, 32].mean() < 200 - 60 + 4 * 4


def test_the_border_is_as_soft_as_asked():
    """10-90 % width of a Gaussian border is 2.56 sigma."""
    host, tissue = mr(affine((0.5, 0.5, 0.5)), extent_mm=36, noise=0.5)
    shape = {"kind": "procedural", "shape": "ellipsoid", "elongation": (1, 1), "heterogeneity": (0, 0)}
    for sigma in (0.5, 1.5):
        asked = asking(
            source=shape, contrast=(100, 100), edge_mm=(sigma, sigma), diameter_mm=(14, 14), margin_mm=3, seed=3
        )
        done = insert_lesions(host, tissue, asked)
        i, j, k = np.rint(ndimage.center_of_mass(done.mask.array)).astype(int)
        ray = (done.image.array[i:, j, k].astype(float) - 200) / 100
        at = [np.interp(-level, -ray[:26], np.arange(26) * 0.5) for level in (0.9, 0.1)]
        assert at[1] - at[0] == pytest.approx(2.56 * np.hypot(sigma, 0.5 / 12**0.5), rel=0.25)


@pytest.mark.parametrize("source", ["ellipsoid", "irregular", "confluent", "spiculated", "bank"])
def test_a_very_soft_border_has_no_step(source):
    """It runs out before the end of the box that the lesion is worked out in, whatever its width."""
    host, tissue = mr(affine((1.5, 1.5, 1.5)), extent_mm=110, noise=0.5)
    own = {"kind": "bank", "value": 3} if source == "bank" else {"kind": "procedural", "shape": source}
    middle = (host.affine @ [*np.floor_divide(host.shape, 2), 1])[:3]
    asked = asking(source=own, contrast=(100, 100), edge_mm=(7, 7), diameter_mm=(12, 16), margin_mm=0, at=[middle])
    done = insert_lesions(host, tissue, asked, bank=bank() if source == "bank" else None)
    change = np.abs(done.image.array - host.array)
    where = np.argwhere(change > 0)
    ends = np.stack([where.min(axis=0), where.max(axis=0)])
    reached = np.ix_(*[np.arange(low, high + 1) for low, high in ends.T])
    shell = np.pad(np.zeros([n - 2 for n in change[reached].shape], bool), 1, constant_values=True)
    assert change[reached][shell].max() < 2
    assert done.scene.lesions[0].shape[0] * 1.5 > 2 * (8 + 1.88 * 7)


def test_thick_slices_get_partial_volume():
    """Across 6 mm slices a sharp lesion must still end gradually, as a scanner would show it."""
    host, tissue = mr(affine((1, 1, 6)), noise=0.5)
    shape = {"kind": "procedural", "shape": "ellipsoid", "elongation": (1, 1), "heterogeneity": (0, 0)}
    done = insert_lesions(host, tissue, asking(source=shape, contrast=(100, 100), edge_mm=(0, 0), diameter_mm=(20, 20)))
    change = (done.image.array - host.array) / 100
    grey = (change > 0.15) & (change < 0.85)
    along_k = np.abs(np.diff(done.mask.array.astype(int), axis=2)).sum()
    assert grey.sum() > 0.4 * along_k


def test_the_label_map_changes_by_the_mask_alone():
    host, tissue = ct(affine())
    done = insert_lesions(host, tissue, asking(count=2, lesion_value=5, tissue_labels=[2]), label=tissue)
    wanted = np.where(done.mask.array == 1, 5, tissue.array)
    assert done.label is not None
    assert np.array_equal(done.label.array, wanted)
    assert done.label.array.dtype == tissue.array.dtype
    assert done.label.is_label
    assert done.mask.is_label
    assert done.mask.array.dtype == np.uint8
    assert set(np.unique(done.mask.array)) == {0, 1}
    for made in (done.image, done.mask, done.label):
        assert made.same_grid(host)


def test_a_lesion_value_that_cannot_be_told_is_refused():
    host, tissue = ct(affine(), 40)
    with pytest.raises(GenaugError) as caught:
        insert_lesions(host, tissue, asking(lesion_value=2, tissue_labels=[2]), label=tissue)
    assert caught.value.reason is Reason.BAD_PARAMETER


@pytest.mark.parametrize(("value", "kind"), [(9, np.uint8), (300, np.uint16), (70_000, np.uint32)])
def test_a_label_map_grows_with_the_value_of_the_lesions(value, kind):
    """The label map of one case holds 255 at most, that of the next more: a value is right for both or for none."""
    host, tissue = ct(affine(), 40)
    done = insert_lesions(host, tissue, asking(lesion_value=value, tissue_labels=[2]), label=tissue)
    assert done.label is not None and done.label.array.dtype == kind
    assert np.array_equal(done.label.array, np.where(done.mask.array == 1, value, tissue.array.astype(kind)))


def test_same_seed_same_voxels_and_another_seed_others():
    host, tissue = ct(GRIDS["oblique"])
    first, again = (insert_lesions(host, tissue, asking(count=2)) for _ in range(2))
    other = insert_lesions(host, tissue, asking(count=2), seed=99)
    assert hash_voxels(first.image.array) == hash_voxels(again.image.array)
    assert first.record.draws == again.record.draws
    assert hash_voxels(first.mask.array) != hash_voxels(other.mask.array)
    assert other.record.seed == other.record.parameters["seed"] == 99


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("source", ["procedural", "bank"])
def test_a_record_read_from_disk_makes_the_case_again(grid, source, tmp_path):
    host, tissue = mr(GRIDS[grid])
    changes = {"count": 3, "diameter_mm": (6, 20), "contrast": (2, 6), "contrast_unit": "spread", "lesion_value": 7}
    if source == "bank":
        changes["source"] = BankSource(value=3).model_dump()
    lesions = bank() if source == "bank" else None
    done = insert_lesions(host, tissue, asking(**changes), label=tissue, bank=lesions, host_id="h", host_patients=["p"])
    done.record.write(tmp_path / "a.record.json")
    record = Record.read(tmp_path / "a.record.json")
    again = reinsert(host, tissue, tissue, record, bank() if source == "bank" else None)
    for one, two in ((done.image, again.image), (done.mask, again.mask), (done.label, again.label)):
        assert hash_voxels(one.array) == hash_voxels(two.array)
    assert again.record == done.record


def test_a_record_is_refused_on_another_host():
    host, tissue = ct(affine())
    done = insert_lesions(host, tissue, asking())
    other, _ = ct(affine(), seed=1)
    with pytest.raises(GenaugError, match="unchanged host"):
        reinsert(other, tissue, None, done.record)
    with pytest.raises(GenaugError, match="kind 'translate'"):
        reinsert(host, tissue, None, done.record.model_copy(update={"kind": "translate"}))
    with pytest.raises(GenaugError, match="lesions"):
        reinsert(host, tissue, None, done.record.model_copy(update={"draws": {}}))


def test_a_carved_record_needs_its_bank():
    host, tissue = mr(affine())
    asked = asking(source=BankSource(value=3), diameter_mm=(5, 20), contrast=None)
    done = insert_lesions(host, tissue, asked, bank=bank("donor"))
    with pytest.raises(GenaugError, match="no lesion bank"):
        reinsert(host, tissue, None, done.record)
    with pytest.raises(GenaugError, match="case donor"):
        reinsert(host, tissue, None, done.record, bank("another"))


def test_the_record_tells_kind_parents_and_checks():
    host, tissue = ct(affine())
    record = insert_lesions(host, tissue, asking(count=2), case_id="c", host_id="h", host_patients=["p"]).record
    assert (record.kind, record.case_id, record.parents, record.patients) == ("insert", "c", ["h"], ["p"])
    assert [check.name for check in record.checks] == [
        f"lesion {n} {what}" for n in (1, 2) for what in ("inside tissue", "volume", "contrast")
    ]
    assert all(check.passed for check in record.checks)


def test_a_check_fails_when_the_contrast_cannot_be_reached():
    host, tissue = ct(affine(), dtype=np.uint8)
    done = insert_lesions(host, tissue, asking(contrast=(-200, -200)))
    (check,) = [c for c in done.record.checks if c.name.endswith("contrast")]
    assert not check.passed
    assert check.value == pytest.approx(-60, abs=3)


def test_changes_can_be_written_into_a_mapped_file(tmp_path):
    host, tissue = ct(affine())
    done = insert_lesions(host, tissue, asking())
    mapped = np.memmap(tmp_path / "host.raw", host.array.dtype, "w+", shape=host.shape)
    mapped[:] = host.array
    done.scene.image.write_into(mapped)
    assert np.array_equal(mapped, done.image.array)


def test_memory_order_does_not_matter():
    """Images from ITK are Fortran-ordered views."""
    host, tissue = ct(affine())
    turned = Volume(np.asfortranarray(host.array), host.affine, "CT")
    map_turned = Volume(np.asfortranarray(tissue.array), host.affine, LABEL)
    plain, other = insert_lesions(host, tissue, asking()), insert_lesions(turned, map_turned, asking())
    assert np.array_equal(plain.image.array, other.image.array)
    assert other.image.array.flags.f_contiguous


def test_a_single_slice_works():
    host = Volume(np.random.default_rng(0).normal(100, 5, (96, 96, 1)).astype(np.float32), affine((1, 1, 5)), "MR")
    tissue = Volume(np.ones((96, 96, 1), np.uint8), host.affine, LABEL)
    round_one = {"kind": "procedural", "shape": "ellipsoid", "elongation": (1, 1)}
    done = insert_lesions(host, tissue, asking(source=round_one, diameter_mm=(20, 20), margin_mm=4))
    assert done.mask.array.sum() == pytest.approx(np.pi * 100, rel=0.12)
    border = ndimage.distance_transform_edt(np.pad(tissue.array[..., 0], 1))[1:-1, 1:-1]
    assert border[done.mask.array[..., 0] == 1].min() >= 4


def test_missing_values_shear_and_another_grid_are_refused():
    host, tissue = ct(affine(), dtype=np.float32)
    holes = host.array.copy()
    holes[::2, ::2, ::2] = np.nan
    with pytest.raises(GenaugError) as caught:
        insert_lesions(host.with_array(holes), tissue, asking())
    assert caught.value.reason is Reason.NOT_FINITE
    sheared = affine()
    sheared[0, 1] = 0.3
    with pytest.raises(GenaugError, match="perpendicular") as caught:
        insert_lesions(Volume(host.array, sheared, "CT"), Volume(tissue.array, sheared, LABEL), asking())
    assert caught.value.reason is Reason.GEOMETRY_MISMATCH
    with pytest.raises(GenaugError) as caught:
        insert_lesions(host, Volume(tissue.array, affine(origin=(0, 0, 0)), LABEL), asking())
    assert caught.value.reason is Reason.GEOMETRY_MISMATCH


def test_contrast_without_a_unit_is_refused():
    host, tissue = mr(affine(), 40)
    flat = host.with_array(np.full(host.shape, 100, np.float32))
    with pytest.raises(GenaugError, match="positive unit"):
        insert_lesions(flat, tissue, asking(contrast=(3, 3), contrast_unit="spread"))
    done = insert_lesions(flat, tissue, asking(contrast=(0.3, 0.3), contrast_unit="fraction"))
    assert done.image.array.max() == pytest.approx(130, rel=0.2)
