"""Evaluation of translated images: in the body, per tissue, by patient, and against repeated scans."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from genaug.errors import GenaugError, Reason
from genaug.evaluation import PairArrays, PairSource
from genaug.evaluation.translation import evaluate_translation


def ct_pair(seed: int, error: float = 20.0, patient: str | None = None) -> PairArrays:
    """A limb in air; the result is off by `error` HU in the body and has bone outside it."""
    rng = np.random.default_rng(seed)
    i, j = np.meshgrid(np.arange(32), np.arange(32), indexing="ij")
    radius = np.hypot(i - 16, j - 16)[:, :, None] * np.ones(6)
    reference = np.where(radius < 12, 50.0, -1000.0) + np.where(radius < 5, 700.0, 0.0)
    reference += rng.normal(scale=10, size=reference.shape)
    result = reference + np.where(radius < 12, error, 1500.0)
    return PairArrays(f"case {seed}", patient or f"p{seed}", "CT", reference, result)


def source(pairs: list[PairArrays]) -> PairSource:
    return lambda: iter(pairs)


def test_error_is_measured_inside_the_body_only_and_per_tissue() -> None:
    result = evaluate_translation(source([ct_pair(seed) for seed in range(5)]))
    assert result.find("mae").value == pytest.approx(20, abs=1.5)
    assert result.find("mae").unit == "HU"
    assert result.find("mae", region="bone").value == pytest.approx(20, abs=1e-3)
    assert result.find("mae", region="soft").value == pytest.approx(20, abs=1e-3)
    assert result.find("bone_dice").value > 0.99
    assert {score.name for score in result.scores} == {"mae", "ssim", "psnr", "bone_dice"}


def test_a_better_translation_has_better_scores() -> None:
    near, far = (evaluate_translation(source([ct_pair(s, error) for s in range(4)])) for error in (5.0, 200.0))
    for name in ("mae", "ssim", "psnr"):
        low, high = sorted([near.find(name), far.find(name)], key=lambda score: score.value)
        assert (high if low.better == "higher" else low) is near.find(name)


def test_repeated_scans_are_the_floor() -> None:
    repeats = [ct_pair(seed, error=3) for seed in range(4)]
    result = evaluate_translation(source([ct_pair(s) for s in range(4)]), source(repeats))
    score = result.find("mae", region="bone")
    assert score.floor == pytest.approx(3, abs=1e-3)
    assert score.floor_interval == pytest.approx((3, 3), abs=1e-3)
    assert "second real scan" in score.floor_description
    assert "4 pairs" in score.floor_description
    assert result.notes == [f"the floor is {score.floor_description}"]


def ramp_pair(slope: float, error: float, seed: int = 0) -> PairArrays:
    """MR whose intensity rises by `slope` a voxel along I, and a result that is `error` above it everywhere."""
    reference = np.broadcast_to(slope * np.arange(40.0)[:, None, None], (40, 30, 8)).copy()
    label = np.zeros(reference.shape, np.uint8)
    label[10:20, 5:25, 2:6] = 1
    return PairArrays(f"case {seed}", f"p{seed}", "MR", reference, reference + error, label, np.roll(label, 3, axis=1))


def test_without_repeated_scans_the_floor_is_the_real_image_half_a_voxel_further() -> None:
    """On a ramp that is half a slope along its axis, but at the last voxel, and nothing along the two others."""
    result = evaluate_translation(source([ramp_pair(6.0, 50.0, seed) for seed in range(3)]), labels={1: "block"})
    score = result.find("mae", region="block")
    assert score.value == pytest.approx(50)
    assert score.floor == pytest.approx(6 / 2 / 3)
    # Half a voxel is half the face of the block along each axis: Dice 2n / (2n + 1) for n = 10, 20 and 4 voxels.
    expected = np.mean([2 * n / (2 * n + 1) for n in (10, 20, 4)])
    assert result.find("dice", region="block").floor == pytest.approx(expected)
    assert all(score.floor is not None and "half a voxel" in score.floor_description for score in result.scores)
    assert any("half a voxel" in note for note in result.notes)


def test_translations_that_are_off_by_half_a_voxel_score_as_the_floor() -> None:
    pair = ct_pair(0)
    moved = [
        (pair.reference + np.concatenate([pair.reference[1:], pair.reference[-1:]])) / 2,
        (pair.reference + np.concatenate([pair.reference[:, 1:], pair.reference[:, -1:]], axis=1)) / 2,
        (pair.reference + np.concatenate([pair.reference[..., 1:], pair.reference[..., -1:]], axis=2)) / 2,
    ]
    result = evaluate_translation(source([replace(pair, id=str(axis), result=moved[axis]) for axis in range(3)]))
    for score in result.scores:
        assert score.value == pytest.approx(score.floor)


def test_the_floor_changes_neither_a_score_nor_its_interval() -> None:
    pairs = [ct_pair(seed, 10 * seed + 5) for seed in range(4)]
    plain = evaluate_translation(source(pairs), seed=3)
    repeated = evaluate_translation(source(pairs), source([ct_pair(seed, 3) for seed in range(4)]), seed=3)
    assert [(s.value, s.interval) for s in plain.scores] == [(s.value, s.interval) for s in repeated.scores]


def test_a_label_called_as_a_tissue_hides_no_tissue() -> None:
    pair = ct_pair(0)
    label = np.zeros(pair.reference.shape, np.uint8)
    label[15:17, 15:17] = 1
    result = evaluate_translation(source([replace(pair, label=label)]), labels={1: "bone"})
    assert {"bone", "label bone"} <= {score.region for score in result.scores}


def test_interval_is_over_patients() -> None:
    """Four scans of each of two patients who differ: the patients are what varies."""
    errors = [10.0, 40.0]
    pairs = [ct_pair(seed, errors[seed % 2], f"p{seed % 2}") for seed in range(8)]
    by_patient = evaluate_translation(source(pairs)).find("mae", region="bone").interval
    by_scan = (
        evaluate_translation(source([replace(p, patient=p.id) for p in pairs])).find("mae", region="bone").interval
    )
    assert by_patient is not None
    assert by_scan is not None
    assert by_patient == pytest.approx((10, 40), abs=0.1)
    assert by_scan[1] - by_scan[0] < 29
    assert evaluate_translation(source(pairs[:1])).find("mae").interval is None


def test_labels_add_error_and_overlap() -> None:
    pair = ct_pair(0)
    label = (pair.reference > 200).astype(np.uint8)
    shifted = np.roll(label, 1, axis=0)
    result = evaluate_translation(
        source([replace(pair, modality="MR", label=label, result_label=shifted)]), labels={1: "bone", 2: "absent"}
    )
    assert result.find("mae", region="bone").value == pytest.approx(20, abs=1e-3)
    assert 0.5 < result.find("dice", region="bone").value < 1
    with pytest.raises(KeyError):
        result.find("dice", region="absent")


def test_a_blank_plane_has_an_error_but_neither_ssim_nor_psnr_and_is_named() -> None:
    """One of many must not end the evaluation, nor count as similar or not."""
    rng = np.random.default_rng(0)
    planes = []
    for number in range(4):
        reference = rng.normal(100, 20, (32, 32))
        reference[:4] = 0
        planes.append(PairArrays(f"plane {number}", f"p{number}", "MR", reference, reference + 5))
    blank = PairArrays("blank", "p9", "MR", np.zeros((32, 32)), np.ones((32, 32)))
    without, found = evaluate_translation(source(planes)), evaluate_translation(source([*planes, blank]))
    for name in ("ssim", "psnr"):
        assert (found.find(name).value, found.find(name).n_real) == (without.find(name).value, 4)
    assert found.find("mae").value == pytest.approx((4 * 5 + 1) / 5)
    assert any("1 of 5 pairs" in note and "(blank)" in note for note in found.notes)
    assert len(without.notes) == 1
    assert {score.name for score in evaluate_translation(source([blank])).scores} == {"mae"}


def test_what_the_source_does_not_show_is_not_scored_and_the_case_is_named() -> None:
    """A body there could only be guessed."""
    whole = ct_pair(0)
    label = np.zeros(whole.reference.shape, np.uint8)
    label[12:20, 12:20] = 1
    scanned = np.ones(label.shape, bool)
    scanned[..., 4:] = False
    result = np.where(scanned, whole.result, -1000.0)
    cut = replace(whole, result=result, label=label, scanned=scanned)
    labels = {1: "marrow"}
    found, without = (
        evaluate_translation(source([pair]), labels=labels)
        for pair in (
            cut,
            replace(
                cut, reference=whole.reference[..., :4], result=result[..., :4], label=label[..., :4], scanned=None
            ),
        )
    )
    for name, region in (("mae", None), ("mae", "bone"), ("mae", "marrow"), ("bone_dice", None)):
        assert found.find(name, region=region).value == pytest.approx(without.find(name, region=region).value)
    assert any("1 of 1 pairs (case 0)" in note for note in found.notes)
    assert evaluate_translation(source([replace(cut, scanned=np.ones_like(scanned))])).notes == without.notes
    nowhere = evaluate_translation(source([whole, replace(cut, id="nowhere", scanned=np.zeros_like(scanned))]))
    assert (nowhere.find("mae").n_real, nowhere.find("ssim").n_real) == (1, 1)
    assert any("nothing is scored of 1 of 2 pairs" in note and "(nowhere)" in note for note in nowhere.notes)
    assert not any("one value" in note for note in nowhere.notes)
    with pytest.raises(GenaugError, match="show anything") as caught:
        evaluate_translation(source([replace(cut, scanned=np.zeros_like(scanned))]))
    assert caught.value.reason is Reason.EMPTY_COHORT


def test_a_label_outside_the_body_counts_and_its_score_says_so() -> None:
    reference = np.full((40, 40, 12), -1000.0)
    reference[10:30, 10:30] = 40
    label = np.zeros(reference.shape, np.uint8)
    label[2:8, 2:8] = 1
    pair = PairArrays("a", "a", "CT", reference, np.where(label == 1, 0.0, reference), label, label)
    found = evaluate_translation(source([pair]), labels={1: "catheter"})
    assert found.find("mae", region="catheter").value == 1000
    for region, body in ((None, True), ("soft", True), ("catheter", False)):
        score = next(score for score in found.scores if (score.name, score.region) == ("mae", region))
        assert ("inside the body of the reference" in score.note) == body
    assert "whole image" in found.find("dice").note


def test_pairs_that_cannot_be_scored_are_named() -> None:
    pair = ct_pair(0)
    holes = pair.result.copy()
    holes[3, 3, 3] = np.inf
    wrong = {
        Reason.GEOMETRY_MISMATCH: [replace(pair, result=pair.result[1:])],
        Reason.NOT_FINITE: [replace(pair, result=holes)],
        Reason.WRONG_MODALITY: [ct_pair(1), replace(pair, modality="MR")],
        Reason.EMPTY_COHORT: [],
    }
    for reason, pairs in wrong.items():
        with pytest.raises(GenaugError) as error:
            evaluate_translation(source(pairs))
        assert error.value.reason is reason
        assert pair.id in error.value.subject or not pairs
