"""A whole evaluation: what it says of good, collapsed, wrong and copied cohorts, and what it refuses."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from genaug.errors import Cancelled, GenaugError, Reason
from genaug.evaluation import CaseArrays, CaseSource, Evaluation
from genaug.evaluation import survey as survey_module
from genaug.evaluation.copies import copy_check, deviations, share_interval, thumbnail
from genaug.evaluation.features import Standardisation, make_extractor
from genaug.evaluation.floors import floor_scores, real_splits
from genaug.evaluation.kid import kid
from genaug.evaluation.survey import Plan, survey
from genaug.evaluation.synthesis import evaluate_synthesis
from genaug.progress import Silent
from scipy import ndimage
from scipy.stats import binomtest

SHAPE = (16, 14, 12)


def blob(seed: int, sharpness: float = 1.5) -> tuple[np.ndarray, np.ndarray]:
    """An ellipsoid of random size and place with a textured inside, and its label map."""
    rng = np.random.default_rng(seed)
    centre = np.array(SHAPE) / 2 + rng.normal(scale=0.7, size=3)
    radii = rng.uniform(3, 5, size=3)
    grid = np.stack(np.meshgrid(*[np.arange(n) for n in SHAPE], indexing="ij"), axis=-1)
    label = (((grid - centre) / radii) ** 2).sum(axis=-1) < 1
    texture = ndimage.gaussian_filter(rng.normal(size=SHAPE), sharpness)
    image = ndimage.gaussian_filter(np.where(label, 0.5, -0.8), 0.7) + 0.3 * texture / texture.std()
    return np.clip(image, -1, 1).astype(np.float32)[None], label.astype(np.uint8)


def cohort(prefix: str, seeds: range, sharpness: float = 1.5) -> list[CaseArrays]:
    return [CaseArrays(f"{prefix}{s}", f"{prefix}{s}", *blob(s, sharpness), 1.0) for s in seeds]


def source(cases: list[CaseArrays]) -> CaseSource:
    return lambda: iter(cases)


@pytest.fixture(scope="module")
def real() -> list[CaseArrays]:
    return cohort("real", range(36))


@pytest.fixture(scope="module")
def training() -> list[CaseArrays]:
    return cohort("train", range(100, 130))


@pytest.fixture(scope="module")
def good(real: list[CaseArrays], training: list[CaseArrays]) -> Evaluation:
    held_out = source(real)
    return evaluate_synthesis(held_out, source(cohort("syn", range(200, 230))), source(training), held_out, seed=3)


def test_every_score_of_features_names_its_extractor_and_has_floor_and_interval(good: Evaluation) -> None:
    names = {score.name for score in good.scores}
    assert names == {
        *("kid", "frechet", "precision", "recall", "density", "coverage", "ms_ssim"),
        *("label_volume_difference", "label_volume_wasserstein"),
    }
    for score in good.scores:
        assert score.floor is not None
        assert score.interval is not None
        assert score.interval[0] <= score.interval[1]
        assert score.name in ("ms_ssim",) or score.extractor or score.region
    assert "scales" in good.find("ms_ssim").note


def test_new_cases_of_the_same_kind_score_as_real_ones(good: Evaluation) -> None:
    for extractor in ("conv3d-v1", "anatomy-v1"):
        score = good.find("kid", extractor)
        assert score.interval is not None
        assert score.p_value is not None
        assert score.interval[0] < 0 < score.interval[1]
        assert score.p_value > 0.05
        for name in ("frechet", "precision", "recall", "density", "coverage"):
            score = good.find(name, extractor)
            assert score.matched == pytest.approx(score.floor, rel=0.35), name
    assert good.find("ms_ssim").value == pytest.approx(good.find("ms_ssim").floor, abs=0.05)
    assert abs(good.find("label_volume_difference").value) < 0.2
    assert all(check.share is not None and check.share < 0.3 for check in good.copies)


def test_scores_fall_in_the_order_of_the_damage(real: list[CaseArrays]) -> None:
    """Noise is worse than blur, blur worse than a slight change of intensity, and collapse hits coverage."""
    base = cohort("syn", range(200, 230))
    rng = np.random.default_rng(0)
    cohorts = {
        "slight": [replace(c, image=c.image * np.float32(0.98)) for c in base],
        "blurred": [replace(c, image=ndimage.gaussian_filter(c.image, (0, 1.5, 1.5, 1.5))) for c in base],
        "noise": [replace(c, image=rng.uniform(-1, 1, c.image.shape).astype(np.float32)) for c in base],
        "collapsed": [replace(base[0], id=f"c{i}", image=base[0].image + np.float32(1e-3 * i)) for i in range(30)],
    }
    results = {name: evaluate_synthesis(source(real), source(cases), labels={}) for name, cases in cohorts.items()}
    for extractor in ("conv3d-v1", "anatomy-v1"):
        kids = {name: result.find("kid", extractor).value for name, result in results.items()}
        assert 10 * abs(kids["slight"]) < kids["blurred"] < kids["noise"]
        floor = results["noise"].find("kid", extractor).floor
        assert floor is not None
        assert abs(floor) < 1e-3 * kids["noise"]
        coverage = {name: result.find("coverage", extractor).value for name, result in results.items()}
        assert coverage["noise"] == 0
        assert coverage["collapsed"] < 0.5 < coverage["slight"]
    similarity = results["collapsed"].find("ms_ssim")
    assert similarity.value > 0.99 > 0.9 > (similarity.floor or 0)


def test_a_difference_of_label_volumes_is_best_at_zero(good: Evaluation, real: list[CaseArrays]) -> None:
    """Signed as it is: larger and smaller anatomy are as wrong, and equal anatomy is not worse than another."""
    score = good.find("label_volume_difference")
    assert (score.floor, score.better) == (0, "zero")
    assert score.floor_interval[0] < 0 < score.floor_interval[1]
    for change in (-0.3, 0.0, 0.3):
        # The volume of a voxel stands for larger and smaller anatomy.
        made = [replace(case, id=f"made{case.id}", voxel_volume_mm3=1 + change) for case in real]
        found = evaluate_synthesis(source(real), source(made), features=["anatomy-v1"]).find("label_volume_difference")
        assert found.value == pytest.approx(change, abs=1e-6)
        assert found.matched == pytest.approx(change, abs=0.05)
        assert found.floor == 0


def test_result_repeats_and_survives_the_disk(good: Evaluation, real: list[CaseArrays], tmp_path: Path) -> None:
    good.write(tmp_path / "evaluation.json")
    assert Evaluation.read(tmp_path / "evaluation.json") == good
    synthetic, training = cohort("syn", range(200, 230)), cohort("train", range(100, 130))
    again = evaluate_synthesis(source(real), source(synthetic), source(training), source(real), seed=3)
    assert again.model_dump_json() == good.model_dump_json()
    assert json.loads(again.model_dump_json())["schema_version"] == 1


def test_summary_shows_each_score_with_floor_and_each_copy_check(good: Evaluation) -> None:
    lines = good.summary_lines()
    assert len(lines) == 1 + len(good.scores) + len(good.copies) + len(good.notes)
    assert "real floor" in lines[0]
    line = next(line for line in lines if line.startswith("kid (conv3d-v1)"))
    assert f"{good.find('kid').value:.4g}" in line
    assert f"{good.find('kid').floor:.4g}" in line


# --- copies ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("held_out", [10, 20, 50])
def test_independent_cases_are_taken_for_copies_as_often_as_is_said(held_out: int) -> None:
    """However few held-out cases set the threshold; and the interval holds that share as often as it says."""
    rng = np.random.default_rng(held_out)
    checks = []
    for _ in range(400):
        training, other, made = (rng.normal(size=(n, 4)) for n in (30, held_out, 40))
        ids = [str(n) for n in range(40)]
        checks.append(copy_check("features", training, made, other, ids[:30], ids))
    expected = checks[0].expected
    assert np.mean([check.share for check in checks]) == pytest.approx(expected, abs=0.012)
    assert np.mean([check.interval[0] <= expected <= check.interval[1] for check in checks]) > 0.94
    assert all(check.interval[0] <= check.share <= check.interval[1] for check in checks)


def test_the_interval_of_a_share_is_that_of_clopper_and_pearson_against_many_held_out_cases() -> None:
    """With many of them the threshold is known, and what is left is the chance of the synthetic cases."""
    for above in (0, 3, 20):
        exact = binomtest(above, 20).proportion_ci(method="exact")
        assert share_interval(above, 20, 1_000_000) == pytest.approx((exact.low, exact.high), abs=1e-4)
        low, high = share_interval(above, 20, 10)
        assert low <= exact.low and high >= exact.high
    assert share_interval(20, 20, 12)[0] > 0.5


@pytest.mark.parametrize("images", [1, 2, 3])
def test_near_copies_of_few_training_images_are_found_or_nothing_is_claimed(images: int) -> None:
    """A single training image is its own mean: every image correlates with it by nothing, copies too."""
    training = np.stack([thumbnail(blob(seed)[0]) for seed in range(images)])
    held_out = np.stack([thumbnail(blob(seed)[0]) for seed in range(100, 130)])
    noise = np.random.default_rng(0).normal(scale=0.01, size=(16, training.shape[1]))
    near, rows = (training[0] + noise).astype(np.float32), [str(n) for n in range(16)]
    for known in (training, np.repeat(training, 3, axis=0)):
        made = [deviations(of, known) for of in (known, near, held_out)]
        check = copy_check("image", *made, [str(n) for n in range(9)], rows)
        if images == 1:
            assert (check.share, check.threshold, check.interval, check.pairs) == (None, None, None, [])
            assert "fewer than two different training images" in check.note
        else:
            assert check.share == 1
            assert check.pairs[0].similarity > 0.9


def test_an_image_that_is_the_mean_correlates_with_none() -> None:
    rng = np.random.default_rng(0)
    first = rng.normal(size=(1, 50)).astype(np.float32)
    training = np.concatenate([first, -first, np.zeros_like(first)])
    ids = ["a", "b", "mean"]
    queries = np.concatenate([np.zeros_like(first), 0.1 * first + rng.normal(size=(1, 50)).astype(np.float32)])
    check = copy_check("image", *(deviations(of, training) for of in (training, queries)), None, ids, ["mean", "other"])
    assert {pair.synthetic: pair.similarity for pair in check.pairs}["mean"] == 0
    other = next(pair for pair in check.pairs if pair.synthetic == "other")
    expected = max(np.corrcoef(queries[1], case)[0, 1] for case in training[:2])
    assert other.training != "mean" and other.similarity == pytest.approx(expected, abs=0.05)


def test_copies_of_training_cases_are_found_and_fresh_cases_are_not(
    real: list[CaseArrays], training: list[CaseArrays]
) -> None:
    rng = np.random.default_rng(0)
    copied = [
        replace(c, id=f"copy{i}", image=c.image * 0.95 + rng.normal(scale=0.03, size=c.image.shape).astype(np.float32))
        for i, c in enumerate(training[:12])
    ]
    synthetic = copied + cohort("syn", range(200, 212))
    result = evaluate_synthesis(source(real), source(synthetic), source(training), source(real))
    image = next(check for check in result.copies if check.space == "image")
    assert {check.space for check in result.copies} == {"image", "conv3d-v1", "anatomy-v1"}
    assert image.share is not None
    assert image.share == pytest.approx(0.5, abs=0.1)
    assert {(p.synthetic, p.training) for p in image.pairs} < {(f"copy{i}", training[i].id) for i in range(12)}
    assert all(pair.above for pair in image.pairs)
    assert image.pairs == sorted(image.pairs, key=lambda pair: -pair.similarity)


def test_share_of_fresh_cases_above_the_threshold_is_five_percent() -> None:
    rng = np.random.default_rng(0)
    shares = []
    for _ in range(20):
        training, synthetic, held_out = rng.normal(size=(3, 200, 8))
        ids = [str(i) for i in range(200)]
        shares.append(copy_check("features", training, synthetic, held_out, ids, ids).share)
    assert 0.03 < np.mean(shares) < 0.075


def test_without_held_out_cases_nothing_is_claimed(real: list[CaseArrays], training: list[CaseArrays]) -> None:
    result = evaluate_synthesis(source(real), source(training), source(training), labels={})
    for check in result.copies:
        assert check.threshold is None
        assert check.share is None
        assert check.pairs[0].above is None
        assert "cannot be said" in check.note
    assert any("cannot be said" in line for line in result.summary_lines())


def test_held_out_patients_among_the_training_cases_are_a_leak(
    real: list[CaseArrays], training: list[CaseArrays]
) -> None:
    leaky = [*real, replace(real[0], id="again", patient=training[3].patient)]
    with pytest.raises(GenaugError, match=training[3].patient) as error:
        evaluate_synthesis(source(real), source(real), source(training), source(leaky))
    assert error.value.reason is Reason.LEAK


def test_correlation_of_deviations_forgives_contrast_but_not_another_patient(training: list[CaseArrays]) -> None:
    rows = np.stack([thumbnail(case.image) for case in training])
    altered = thumbnail(training[4].image * np.float32(0.9))[None]
    similarity = deviations(altered, rows) @ deviations(rows, rows).T
    assert similarity.argmax() == 4
    assert similarity[0, 4] > 0.95
    assert np.delete(similarity, 4).max() < 0.8


@pytest.mark.parametrize("shape", [(1, 50, 37), (2, 41, 30, 60)])
def test_thumbnail_is_small_and_keeps_the_mean_of_every_block(shape: tuple[int, ...]) -> None:
    image = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    small = thumbnail(image)
    factor = max(1, round(max(shape[1:]) / (64 if len(shape) == 3 else 20)))
    assert small.size == shape[0] * np.prod([-(-n // factor) for n in shape[1:]])
    corner = image[(0, *[slice(0, factor)] * (len(shape) - 1))]
    assert small[0] == pytest.approx(corner.mean(), abs=1e-6)


# --- what is refused, and what is left out ---------------------------------------------------------------------------


def test_few_cases_leave_out_coverage_and_say_so() -> None:
    result = evaluate_synthesis(source(cohort("r", range(6))), source(cohort("s", range(10, 16))))
    assert {score.name for score in result.scores}.isdisjoint({"precision", "coverage"})
    assert any("precision" in note for note in result.notes)
    assert any("no training cases" in note for note in result.notes)


def test_a_kid_against_few_patients_says_that_real_cases_too_would_lie_above_the_floor(good: Evaluation) -> None:
    assert any("36 reference patients" in note for note in good.notes)
    result = evaluate_synthesis(
        source(cohort("r", range(50))), source(cohort("s", range(60, 70))), features=["anatomy-v1"], labels={}
    )
    assert not any("reference patients" in note for note in [*result.notes, result.find("kid").note])


def test_too_few_real_patients_are_refused() -> None:
    scans = [replace(case, patient=f"p{i % 3}") for i, case in enumerate(cohort("r", range(12)))]
    with pytest.raises(GenaugError, match="3 patients") as error:
        evaluate_synthesis(source(scans), source(cohort("s", range(20, 30))))
    assert error.value.reason is Reason.EMPTY_COHORT
    with pytest.raises(GenaugError) as error:
        evaluate_synthesis(source([]), source(scans))
    assert error.value.reason is Reason.EMPTY_COHORT


def broken(case: CaseArrays) -> Iterator[tuple[Reason, CaseArrays]]:
    holes = case.image.copy()
    holes[0, 0, 0, :2] = np.nan
    yield Reason.NOT_FINITE, replace(case, image=holes)
    yield Reason.GEOMETRY_MISMATCH, replace(case, image=case.image[:, 1:])
    yield Reason.GEOMETRY_MISMATCH, replace(case, label=np.zeros((2, 2, 2), dtype=np.uint8))
    yield Reason.BAD_PARAMETER, replace(case, image=case.image * 1000)
    yield Reason.WRONG_LABELS, replace(case, label=None)
    yield Reason.BAD_JOB, replace(case, id="s20")


@pytest.mark.parametrize("number", range(6))
def test_a_case_that_cannot_be_scored_is_named(number: int, real: list[CaseArrays]) -> None:
    synthetic = cohort("s", range(20, 26))
    reason, synthetic[4] = list(broken(synthetic[4]))[number]
    with pytest.raises(GenaugError, match=f"synthetic case {synthetic[4].id}") as error:
        evaluate_synthesis(source(real), source(synthetic))
    assert error.value.reason is reason


def test_an_evaluation_can_be_stopped_at_any_case(real: list[CaseArrays]) -> None:
    class Stopping(Silent):
        fractions: list[float] = []  # noqa: RUF012

        def progress(self, done: int, total: int, note: str = "") -> None:
            self.fractions.append(done / total)
            if "synthetic case 3" in note:
                raise Cancelled()

    reporter = Stopping()
    with pytest.raises(Cancelled):
        evaluate_synthesis(source(real), lambda: real, reporter=reporter)
    assert reporter.fractions == sorted(reporter.fractions)


def test_one_case_is_in_memory_at_a_time_and_the_sample_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(survey_module, "IMAGES_KEPT", 9)
    alive: list[int] = []

    def stream() -> Iterator[CaseArrays]:
        for seed in range(40):
            alive.append(seed)
            yield CaseArrays(f"c{seed}", f"p{seed}", np.full((1, 8, 8, 8), seed / 40, dtype=np.float32))

    shape = (1, 8, 8, 8)
    kept = [survey(stream, "real", Plan((), (), shape, seed), Silent(), keep_images=True) for seed in range(60)]
    assert all(len(result.images) == len(result.image_patients) == 9 for result in kept)
    chosen = [int(patient[1:]) for result in kept for patient in result.image_patients]
    assert 17 < np.mean(chosen) < 22, "early and late cases have one chance"
    assert len(survey(stream, "real", Plan((), (), shape, 0), Silent()).images) == 0


def test_a_sample_of_one_patient_has_a_diversity_without_a_floor(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a patient with most of the cases; pairs within a patient say nothing of how alike patients are."""
    monkeypatch.setattr(survey_module, "IMAGES_KEPT", 3)
    scans = [replace(case, patient="often") for case in cohort("r", range(40))] + cohort("q", range(50, 53))
    result = evaluate_synthesis(source(scans), source(cohort("s", range(60, 70))), features=["anatomy-v1"])
    score = result.find("ms_ssim")
    assert 0 < score.value < 1
    assert (score.floor, score.floor_interval) == (None, None)
    assert any("ms_ssim has no floor" in note and "one patient" in note for note in result.notes)


@pytest.mark.parametrize("dims", [2, 3])
def test_two_dimensional_and_two_channel_cohorts(dims: int) -> None:
    rng = np.random.default_rng(0)

    def images(prefix: str) -> list[CaseArrays]:
        return [
            CaseArrays(f"{prefix}{i}", f"{prefix}{i}", rng.uniform(-1, 1, (2, *(14,) * dims)).astype(np.float32))
            for i in range(16)
        ]

    result = evaluate_synthesis(source(images("r")), source(images("s")))
    assert {score.extractor for score in result.scores} == {f"conv{dims}d-v1", "anatomy-v1", None}
    assert result.find("coverage").value > 0.5


# --- real data -------------------------------------------------------------------------------------------------------


def hippocampi(count: int) -> list[CaseArrays]:
    root = Path(os.environ.get("GENAUG_DATA", Path(__file__).parents[3] / "shared" / "data")) / "hippocampus"
    if not root.is_dir():
        pytest.skip(f"no hippocampus data at {root}; set GENAUG_DATA")
    import SimpleITK as sitk

    cases = []
    for path in sorted((root / "images").iterdir())[:count]:
        arrays = [sitk.GetArrayFromImage(sitk.ReadImage(str(p))).T for p in (path, root / "labels" / path.name)]
        image, label = (fitted(array, (32, 48, 32)) for array in arrays)
        low, high = np.percentile(arrays[0], [1, 99])
        image = np.clip(2 * (image - low) / (high - low) - 1, -1, 1).astype(np.float32)
        cases.append(CaseArrays(path.name, path.name, image[None], label.astype(np.uint8)))
    return cases


def fitted(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    for axis, wanted in enumerate(shape):
        start = max(0, (array.shape[axis] - wanted) // 2)
        array = np.take(array, range(start, min(start + wanted, array.shape[axis])), axis=axis)
    missing = [wanted - length for wanted, length in zip(shape, array.shape)]
    return np.pad(array, [(m // 2, m - m // 2) for m in missing])


def test_real_hippocampi_are_near_each_other_and_far_from_noise_shuffle_and_blur() -> None:
    cases = hippocampi(40)
    real, others = cases[:20], cases[20:]
    rng = np.random.default_rng(0)

    def perturbed(kind: str, case: CaseArrays) -> CaseArrays:
        if kind == "noise":
            image = rng.uniform(-1, 1, case.image.shape).astype(np.float32)
        elif kind == "shuffled":
            image = rng.permutation(case.image.ravel()).reshape(case.image.shape)
        elif kind == "blurred":
            image = ndimage.gaussian_filter(case.image, (0, 2, 2, 2))
        else:
            image = np.clip(case.image * np.float32(0.99) + np.float32(0.005), -1, 1)
        return replace(case, image=image)

    for name in ("conv3d-v1", "anatomy-v1"):
        extractor = make_extractor(name, 3, (1, 2))
        reference = np.stack([extractor(case) for case in real])
        standardise = Standardisation(reference)
        scores = {
            kind: kid(standardise(reference), standardise(np.stack([extractor(perturbed(kind, c)) for c in others])))
            for kind in ("mild", "blurred", "shuffled", "noise")
        }
        splits = real_splits(len(real), len(others), rng)
        floor = floor_scores(kid, standardise(reference), splits).mean()
        assert abs(floor) < 0.01 * scores["noise"]
        assert abs(scores["mild"]) < 0.1 * min(scores[kind] for kind in ("blurred", "shuffled", "noise"))
