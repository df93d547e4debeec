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
    assert all(score.floor is None for score in result.scores)
    assert any("no floor" in note for note in result.notes)


def test_a_better_translation_has_better_scores() -> None:
    near, far = (evaluate_translation(source([ct_pair(s, error) for s in range(4)])) for error in (5.0, 200.0))
    for name in ("mae", "ssim", "psnr"):
        low, high = sorted([near.find(name), far.find(name)], key=lambda score: score.value)
        assert (high if low.better == "higher" else low) is near.find(name)


def test_repeated_scans_are_the_floor() -> None:
    repeats = [ct_pair(seed, error=3) for seed in range(4)]
    result = evaluate_translation(source([ct_pair(s) for s in range(4)]), source(repeats))
    assert result.find("mae", region="bone").floor == pytest.approx(3, abs=1e-3)
    assert not result.notes


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
