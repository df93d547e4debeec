"""Carving: components, distances, contrast statistics, and lesions that stay themselves on another grid."""

import numpy as np
import pytest
from genaug.case import Case
from genaug.cohort import Cohort
from genaug.errors import GenaugError, Reason
from genaug.imageio import write_volume
from genaug.lesions import BankSource, LesionBank, carve, insert_lesions
from genaug.lesions.bank import AnnotatedCase
from genaug.lesions.carve import components, draw_carve
from genaug.lesions.local import Unfit, box_around, most_touched, positions_mm
from genaug.volume import LABEL, Volume
from lesion_phantoms import GRIDS, affine, annotated, asking, bank, ct, mr
from scipy import ndimage


@pytest.mark.parametrize("grid", GRIDS)
def test_components_know_their_place_and_size(grid):
    _, label = annotated(GRIDS[grid])
    large, small = components(label, 3, "case", "patient")
    assert large.reference.volume_mm3 == pytest.approx(4 / 3 * np.pi * 9 * 6 * 5, rel=0.08)
    assert small.reference.diameter_mm == pytest.approx(8, rel=0.08)
    voxel = np.array([22, 30, 30]) / label.spacing
    centre = (label.affine @ [*voxel, 1])[:3]
    assert np.linalg.norm(np.subtract(large.reference.centre_ras, centre)) < 0.5


@pytest.mark.parametrize("grid", GRIDS)
def test_surrounding_tissue_is_measured_without_the_lesions(grid):
    image, label = annotated(GRIDS[grid], mean=100, noise=5, contrast=60)
    patch = carve(image, label, value=3)
    assert patch.around.mean == pytest.approx(100, abs=1.5)
    assert patch.around.spread == pytest.approx(5, rel=0.25)
    assert patch.texture[patch.signed < -1].mean() == pytest.approx(160, abs=2)


def tumour_in_an_organ(organ: int, oedema: int = 0):
    """CT: an organ of 110 HU in fat of -100 HU, and in it a tumour of 60 HU and value 2 near the organ's border.

    `organ` is the organ's label value, `oedema` that of a shell of 85 HU and 2 mm around the tumour; 0 is none.
    """
    distance = np.linalg.norm(np.indices((44, 44, 44)) - np.reshape([22, 22, 28], (3, 1, 1, 1)), axis=0)
    inside = np.linalg.norm(np.indices((44, 44, 44)) - 22, axis=0) < 18
    values = np.where(inside, 110, -100)
    label = np.where(inside, organ, 0)
    if oedema:
        values[distance < 10], label[distance < 10] = 85, oedema
    values[distance < 7], label[distance < 7] = 60, 2
    values = values + np.random.default_rng(4).normal(0, 6, values.shape)
    return Volume(values.astype(np.int16), affine(), "CT"), Volume(label.astype(np.uint8), affine(), LABEL)


@pytest.mark.parametrize("organ", [0, 1, 200])
def test_a_lesion_is_compared_with_its_organ_whether_that_is_labelled_or_not(organ):
    """A tumour darker than its organ must not turn bright because the fat beyond is all that has no label."""
    image, label = tumour_in_an_organ(organ)
    donors = LesionBank([AnnotatedCase("d", "d", lambda: image, lambda: label)], value=2)
    patch = donors.patch(donors.lesions[0])
    assert patch.tissue == organ
    assert patch.around.mean == pytest.approx(110, abs=2)
    host, tissue = ct(affine(), mean=110)
    asked = asking(source=BankSource(value=2, margin="none"), diameter_mm=(5, 20), contrast=None)
    done = insert_lesions(host, tissue, asked, bank=donors)
    core = ndimage.distance_transform_edt(done.mask.array) > 2
    assert done.image.array[core].mean() == pytest.approx(60, abs=5)
    assert done.record.draws["lesions"][0]["lesion"]["tissue"] == organ, "the Record says what it was compared with"


def test_a_lesion_in_another_one_is_compared_with_what_both_lie_in():
    image, label = tumour_in_an_organ(organ=1, oedema=3)
    assert carve(image, label, 2).tissue == 3
    patch = carve(image, label, 2, other_lesions=(3,))
    assert patch.tissue == 1
    assert patch.around.mean == pytest.approx(110, abs=2)


def test_a_lesion_whose_surroundings_are_not_shown_gives_way_to_others():
    """One fills a corner of its image and cannot be compared with anything."""
    image, label = tumour_in_an_organ(organ=0)
    label.array[:12], label.array[12:20] = 2, 9
    lesions = LesionBank([AnnotatedCase("d", "d", lambda: image, lambda: label)], value=2, other_lesions=(9,))
    large, small = lesions.lesions
    with pytest.raises(Unfit, match="Leave this lesion out"):
        lesions.patch(large)
    host, tissue = ct(affine(), mean=110)
    asked = asking(source=BankSource(value=2, margin="none"), diameter_mm=(5, 60), contrast=None)
    for seed in range(4):
        done = insert_lesions(host, tissue, asked, bank=lesions, seed=seed)
        assert done.record.draws["lesions"][0]["lesion"]["lesion"]["volume_mm3"] == small.volume_mm3


def test_the_tissue_is_what_touches_most_of_the_border_by_area():
    """Few faces between thick slices are less than many along them, and more than their number says."""
    mask = np.zeros((9, 9, 9), bool)
    mask[3:6, 3:6, 3:6] = True
    values = np.ones(mask.shape, np.uint8)
    values[:, :, 6:], values[:, :, :3] = 5, 5  # 18 of the 54 faces
    assert most_touched(values, mask, values > 0, (1.0, 1.0, 1.0)) == 1
    assert most_touched(values, mask, values > 0, (3.0, 3.0, 1.0)) == 5
    assert most_touched(values, mask, values == 5, (1.0, 1.0, 1.0)) == 5
    assert most_touched(values, mask, values == 0, (1.0, 1.0, 1.0)) is None


def test_a_ventricle_beside_a_lesion_stays_in_its_brain():
    """Neither does it change what counts as surrounding tissue, nor is it carried along around the lesion."""
    image, label = annotated(mean=100, noise=5, contrast=60)
    values = image.array.copy()
    values[33:, :, :] = values[:, 37:, :] = 10
    patch = carve(image.with_array(values), label, 3)
    assert patch.around.mean == pytest.approx(100, abs=2)
    assert patch.around.spread == pytest.approx(5, rel=0.3)
    assert patch.texture[patch.signed > 0].min() > 80


def test_noise_left_by_interpolation_is_known():
    """Measured on a lesion-free texture of white noise at several offsets, aligned and turned."""
    image, label = annotated(noise=5, contrast=0)
    patch = carve(image, label, 3)
    rng = np.random.default_rng(0)
    for points in (
        np.indices((12, 9, 8)).reshape(3, -1) - np.array([[5.0], [4], [4]]),
        np.indices((12, 9, 8)).reshape(3, -1) - np.array([[5.5], [4.5], [4.5]]),
        rng.uniform(-5, 5, (3, 4000)),
    ):
        _, texture, noise = patch.sample(points.astype(np.float32))
        assert noise == pytest.approx(texture.std(), rel=0.15)


def test_which_component_is_carved():
    image, label = annotated()
    assert carve(image, label, 3).reference == carve(image, label, 3, component=0).reference
    assert carve(image, label, 3, component=1).reference.diameter_mm < 9
    drawn = {carve(image, label, 3, np.random.default_rng(seed)).reference.volume_mm3 for seed in range(6)}
    assert len(drawn) == 2
    with pytest.raises(GenaugError, match="0 to 1"):
        carve(image, label, 3, component=2)


def test_nothing_to_carve_names_the_values_there_are():
    image, label = annotated()
    with pytest.raises(GenaugError) as caught:
        carve(image, label, value=1, case_id="case 5")
    assert caught.value.reason is Reason.WRONG_LABELS
    assert caught.value.subject == "case 5"
    assert "0, 3" in caught.value.found
    dust = np.zeros(label.shape, np.uint8)
    dust[3, 3, 3] = dust[9, 9, 9] = 3
    with pytest.raises(GenaugError, match="2 voxels of value 3"):
        carve(image, label.with_array(dust), value=3)


def test_another_grid_and_missing_values_are_refused():
    image, label = annotated()
    with pytest.raises(GenaugError) as caught:
        carve(image, Volume(label.array, affine(origin=(0, 0, 0)), LABEL), 3)
    assert caught.value.reason is Reason.GEOMETRY_MISMATCH
    values = image.array.copy()
    values[22, 30, 30] = np.nan
    with pytest.raises(GenaugError) as caught:
        carve(image.with_array(values), label, 3)
    assert caught.value.reason is Reason.NOT_FINITE


@pytest.mark.parametrize("source", GRIDS)
@pytest.mark.parametrize("target", GRIDS)
def test_volume_and_orientation_survive_any_pair_of_grids(source, target):
    """Second moments in the patient's axes: size, shape and direction at once."""
    image, label = annotated(GRIDS[source])
    patch = carve(image, label, 3)
    host, _ = mr(GRIDS[target], 30)
    box = box_around(host, patch.extent_mm + 6)
    positions = positions_mm(host, box, (0.2, -0.3, 0.1))
    signed, _, _ = patch.sample(positions)
    inside = signed <= 0
    assert inside.sum() * np.prod(host.spacing) == pytest.approx(patch.reference.volume_mm3, rel=0.1)
    own = label.affine[:3, :3] @ np.argwhere(components(label, 3)[0].mask).T
    wanted, found = np.cov(own), np.cov(positions[:, inside])
    assert np.abs(found - wanted).max() < 0.2 * np.trace(wanted) / 3 + 0.1 * max(*image.spacing, *host.spacing) ** 2


def test_the_distance_goes_on_growing_beyond_the_patch():
    image, label = annotated()
    patch = carve(image, label, 3)
    far = np.stack([np.linspace(0, 90, 181), np.zeros(181), np.zeros(181)]).astype(np.float32)
    signed, _, _ = patch.sample(far)
    assert np.diff(signed)[24:] == pytest.approx(0.5, abs=0.01), "as much as one goes, and no step"


@pytest.mark.parametrize("angles", [(0, 0, 0), (0.3, -0.5, 0.7)])
def test_a_lesion_of_a_single_slice_is_as_thick_as_the_slice(angles):
    """Into such a slice it goes as it is, and into a volume of such slices once."""
    matrix = affine((1, 1, 5), angles)
    label = np.zeros((60, 60, 1), np.uint8)
    label[20:32, 22:31] = 3
    values = np.random.default_rng(0).normal(100, 5, label.shape) + 40 * (label == 3)
    image, label = Volume(values.astype(np.float32), matrix, "MR"), Volume(label, matrix, LABEL)
    donors = LesionBank([AnnotatedCase("d", "d", lambda: image, lambda: label)], value=3)
    source = BankSource(value=3, margin="none", mirror=False)
    asked = asking(source=source, diameter_mm=(5, 20), contrast=None, margin_mm=0)
    for depth in (1, 9):
        host = Volume(np.random.default_rng(1).normal(200, 5, (60, 60, depth)).astype(np.float32), matrix, "MR")
        done = insert_lesions(host, host.with_array(np.ones(host.shape, np.uint8)), asked, bank=donors)
        assert done.mask.array.sum() == pytest.approx(12 * 9, rel=0.15)
        assert done.image.array[done.mask.array == 1].mean() - 200 > 20


def test_mirroring_swaps_left_and_right_of_the_patient():
    image, label = annotated(affine(angles=(0, 0, 0.6)))
    patch = carve(image, label, 3)
    points = np.random.default_rng(0).uniform(-8, 8, (3, 500)).astype(np.float32)
    flipped = points * np.array([[-1], [1], [1]], np.float32)
    np.testing.assert_allclose(patch.sample(points, mirror=True)[0], patch.sample(flipped)[0], atol=1e-4)


def test_carvemix_levels_lie_half_inside_and_half_outside():
    image, label = annotated()
    patch = carve(image, label, 3)
    rng = np.random.default_rng(0)
    levels = np.array([draw_carve(rng, patch, "carvemix", True, None).level_mm for _ in range(600)])
    assert (levels < 0).mean() == pytest.approx(0.5, abs=0.07)
    assert -0.5 * patch.depth_mm <= levels.min() < -0.45 * patch.depth_mm
    assert 0.9 * patch.depth_mm < levels.max() <= patch.depth_mm
    assert draw_carve(rng, patch, "none", True, None).level_mm == 0


@pytest.mark.parametrize("target", GRIDS)
@pytest.mark.parametrize("unit", ["spread", "fraction"])
def test_inserting_keeps_the_contrast_in_units_of_the_tissue(target, unit):
    """Donor: 100, noise 5, lesion +40. Host: 200, noise 8. The lesion must be 8 spreads, or 40 %, brighter."""
    host, tissue = mr(GRIDS[target])
    asked = asking(
        source=BankSource(value=3, margin="none"),
        diameter_mm=(10, 20),
        contrast=None,
        contrast_unit=unit,
        edge_mm=(0.3, 0.3),
    )
    done = insert_lesions(host, tissue, asked, bank=bank(noise=5, contrast=40, mean=100))
    mask = done.mask.array == 1
    core = ndimage.distance_transform_edt(mask, sampling=host.spacing) > 1.5 * max(host.spacing) ** 0.5
    found = done.image.array[core].mean() - 200
    assert found == pytest.approx({"spread": 8 * 8, "fraction": 80}[unit], rel=0.12)
    assert all(check.passed for check in done.record.checks), done.record.checks


def test_an_asked_contrast_replaces_the_carved_one():
    host, tissue = mr(affine())
    asked = asking(
        source=BankSource(value=3, margin="none"), diameter_mm=(10, 20), contrast=(-0.5, -0.5), contrast_unit="fraction"
    )
    done = insert_lesions(host, tissue, asked, bank=bank())
    assert done.image.array[done.mask.array == 1].mean() < 130


def test_the_record_names_the_donor():
    host, tissue = mr(affine())
    asked = asking(source=BankSource(value=3), diameter_mm=(5, 20), contrast=None)
    donors = bank("d1", "pd", derived_from=("p7", "p8"))
    done = insert_lesions(host, tissue, asked, bank=donors, host_id="h1", host_patients=["ph", "pd"])
    assert done.record.parents == ["h1", "d1"]
    assert done.record.patients == ["ph", "pd", "p7", "p8"], "those a synthetic donor was trained on too"


def test_a_lesion_of_another_modality_is_refused():
    host, tissue = mr(affine())
    asked = asking(source=BankSource(value=3), diameter_mm=(5, 20))
    with pytest.raises(GenaugError) as caught:
        insert_lesions(host, tissue, asked, bank=bank(modality="CT"))
    assert caught.value.reason is Reason.WRONG_MODALITY


def test_sizes_that_the_bank_lacks_are_refused_with_those_it_has():
    host, tissue = mr(affine())
    asked = asking(source=BankSource(value=3), diameter_mm=(30, 40))
    with pytest.raises(GenaugError, match=r"2 lesions of 7\.9 to 12\.8 mm"):
        insert_lesions(host, tissue, asked, bank=bank())
    with pytest.raises(GenaugError, match="without a bank"):
        insert_lesions(host, tissue, asked)


def test_a_bank_reads_images_only_when_a_lesion_is_carved():
    image, label = annotated()
    read = []
    case = AnnotatedCase("a", "a", lambda: read.append("image") or image, lambda: read.append("label") or label)
    lesions = LesionBank([case], value=3)
    assert read == ["label"]
    first = lesions.patch(lesions.lesions[0])
    assert lesions.patch(lesions.lesions[0]) is first
    assert read.count("image") == 1


def test_a_bank_over_a_cohort_takes_train_patients_only(tmp_path):
    image, label = annotated()
    cases = []
    for name in ("a", "b"):
        write_volume(tmp_path / f"{name}.nii.gz", image)
        write_volume(tmp_path / f"{name}_seg.nii.gz", label)
        cases.append(
            Case(
                id=name, patient=name, images={"t1": tmp_path / f"{name}.nii.gz"}, label=tmp_path / f"{name}_seg.nii.gz"
            )
        )
    cohort = Cohort(name="c", channels={"t1": "MR"}, cases=cases, split={"b": "test"})
    lesions = LesionBank.from_cohort(cohort, "t1", value=3)
    assert {lesion.case_id for lesion in lesions.lesions} == {"a"}
    assert lesions.patch(lesions.lesions[0]).texture.max() > 120
    with pytest.raises(GenaugError) as caught:
        LesionBank.from_cohort(cohort, "t2", value=3)
    assert caught.value.reason is Reason.EMPTY_COHORT
