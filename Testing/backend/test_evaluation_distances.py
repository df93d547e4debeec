"""KID, Fréchet distance and PRDC against references, and the intervals around them."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable

import numpy as np
import prdc
import pytest
import torch
from genaug.evaluation import kid as kid_module
from genaug.evaluation.coverage import coverage, nearest
from genaug.evaluation.floors import real_splits
from genaug.evaluation.frechet import frechet_bootstrap, frechet_distance
from genaug.evaluation.kid import kid, kid_bootstrap, kid_permutation_p
from genaug.evaluation.realism import Features, kid_score
from genaug.evaluation.resampling import (
    bootstrap_weights,
    centred_interval,
    mean_interval,
    pair_mean_interval,
    percentile_interval,
)
from torchmetrics.image.kid import poly_mmd


def gaussian(seed: int, n: int, d: int, mean: float = 0.0, scale: float = 1.0) -> np.ndarray:
    return (mean + scale * np.random.default_rng(seed).normal(size=(n, d))).astype(np.float32)


# --- kernel distance -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [20, 300])
def test_kid_equals_torchmetrics(n: int) -> None:
    real, synthetic = gaussian(0, n, 30), gaussian(1, n, 30, mean=0.2, scale=1.2)
    expected = poly_mmd(torch.from_numpy(real).double(), torch.from_numpy(synthetic).double()).item()
    assert kid(real, synthetic) == pytest.approx(expected, rel=1e-4)
    assert kid(real.astype(np.float64), synthetic.astype(np.float64)) == pytest.approx(expected, rel=1e-10)


def test_kid_is_unbiased_between_random_halves_of_one_cohort() -> None:
    pooled = gaussian(0, 80, 10)
    rng = np.random.default_rng(1)
    values = []
    for _ in range(300):
        order = rng.permutation(len(pooled))
        values.append(kid(pooled[order[:30]], pooled[order[30:]]))
    standard_error = np.std(values) / np.sqrt(len(values))
    assert abs(np.mean(values)) < 4 * standard_error
    assert min(values) < 0 < max(values)


def test_kid_sees_a_variance_that_is_wrong_at_the_right_mean() -> None:
    """A plain difference of means, which some libraries call MMD, is blind or negative here."""
    real = gaussian(0, 60, 20)
    same, wide = gaussian(1, 60, 20), gaussian(1, 60, 20, scale=5)
    assert kid(real, wide) > 100 * abs(kid(real, same))


def test_kid_does_not_depend_on_how_the_kernel_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    real, synthetic = gaussian(0, 50, 12), gaussian(1, 37, 12, mean=0.3)
    patients = [f"p{i // 2}" for i in range(50)]
    whole = kid(real, synthetic), kid(real, synthetic, patients)
    monkeypatch.setattr(kid_module, "PANEL", 7)
    assert (kid(real, synthetic), kid(real, synthetic, patients)) == pytest.approx(whole, rel=1e-5)


def test_two_scans_of_a_patient_do_not_bias_kid() -> None:
    """Identical scans of each patient pull a naive estimate up, since pairs within a patient are not independent."""
    values, naive = [], []
    for seed in range(60):
        patients = gaussian(seed, 20, 8)
        real, other = np.repeat(patients, 2, axis=0), gaussian(1000 + seed, 40, 8)
        values.append(kid(real, other, [f"p{i // 2}" for i in range(40)]))
        naive.append(kid(real, other))
    assert abs(np.mean(values)) < 4 * np.std(values) / np.sqrt(len(values))
    assert np.mean(naive) > 4 * np.std(naive) / np.sqrt(len(naive))


def test_kid_needs_two_patients() -> None:
    with pytest.raises(ValueError, match="two patients"):
        kid(gaussian(0, 4, 3), gaussian(1, 4, 3), ["one"] * 4)


def test_bootstrap_of_kid_is_centred_on_kid() -> None:
    """A draw that paired a case with its own copy would be shifted by E k(x, x) / n."""
    real, synthetic = gaussian(0, 30, 20), gaussian(1, 30, 20, mean=0.4)
    draws = kid_bootstrap(real, synthetic, np.random.default_rng(0), replicates=2000)
    self_pairs = np.mean((np.sum(real**2, axis=1) / 20 + 1) ** 3) / 30
    assert abs(draws.mean() - kid(real, synthetic)) < 0.1 * self_pairs


def test_bootstrap_interval_covers_the_true_kid() -> None:
    d, shift = 4, 0.8
    # From so many cases that its own error is far below the width of an interval of 40.
    truth = kid(gaussian(10_000, 6000, d), gaussian(10_001, 6000, d, mean=shift))
    covered = 0
    for seed in range(100):
        real, synthetic = gaussian(seed, 40, d), gaussian(500 + seed, 40, d, mean=shift)
        low, high = percentile_interval(kid_bootstrap(real, synthetic, np.random.default_rng(seed), replicates=200))
        covered += low <= truth <= high
    assert covered >= 85


def test_permutation_p_is_uniform_for_equal_and_small_for_different_cohorts() -> None:
    rng = np.random.default_rng(0)
    equal = [kid_permutation_p(gaussian(s, 15, 5), gaussian(900 + s, 15, 5), rng, permutations=99) for s in range(100)]
    assert 0.35 < np.mean(equal) < 0.65
    assert np.mean(np.array(equal) <= 0.1) < 0.2
    assert kid_permutation_p(gaussian(0, 30, 5), gaussian(1, 30, 5, mean=1), rng, permutations=99) == pytest.approx(
        0.01
    )


def test_permutation_test_keeps_its_level_against_few_real_cases() -> None:
    """In units of the ten reference cases alone a third of such cohorts, which do not differ, would be told apart."""
    rng = np.random.default_rng(0)
    mixing, patients = rng.normal(size=(10, 40)), [str(i) for i in range(10)]
    found = []
    for _ in range(60):
        cases = rng.normal(size=(34, 10)) @ mixing + 0.3 * rng.normal(size=(34, 40))
        rows = np.exp(cases / 3).astype(np.float32)
        features = Features("mixed", rows[:10], rows[10:], patients, real_splits(10, 24, rng))
        found.append(kid_score(features, rng))
    assert np.mean([score.p_value <= 0.05 for score in found]) < 0.13
    assert np.mean([score.value > score.floor_interval[1] for score in found]) > 0.15, "which the note says"
    assert all("10 reference patients" in score.note for score in found)


def test_permutation_moves_whole_patients() -> None:
    """Ten scans of each of four patients are not forty independent cases, and do not prove a difference."""
    patients = gaussian(3, 4, 6)
    real = np.repeat(patients, 10, axis=0)
    names = [f"p{i // 10}" for i in range(40)]
    synthetic = gaussian(4, 12, 6)
    rng = np.random.default_rng(0)
    assert kid_permutation_p(real, synthetic, rng, names, 199) > 10 * kid_permutation_p(real, synthetic, rng, None, 199)


# --- Fréchet distance ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "d"), [(200, 20), (15, 40), (40, 40)])
def test_frechet_of_a_cohort_with_itself_is_zero(n: int, d: int) -> None:
    features = gaussian(0, n, d)
    assert frechet_distance(features, features) < 1e-5 * d
    assert frechet_distance(features, features[::-1]) < 1e-5 * d


def test_frechet_equals_the_formula_for_known_moments() -> None:
    """For covariances that commute tr (Σ₁ + Σ₂ − 2 (Σ₁Σ₂)^½) is Σ (σ₁ − σ₂)²."""
    rng = np.random.default_rng(0)
    d, n = 6, 50
    base = rng.normal(size=(n, d))
    base -= base.mean(axis=0)
    base = np.linalg.qr(base)[0] * np.sqrt(n - 1)
    rotation = np.linalg.qr(rng.normal(size=(d, d)))[0]
    spread_1, spread_2 = rng.uniform(0.5, 2, d), rng.uniform(0.5, 2, d)
    mean = rng.normal(size=d)
    first, second = base * spread_1 @ rotation, base * spread_2 @ rotation + mean
    assert frechet_distance(first, second) == pytest.approx((mean**2).sum() + ((spread_1 - spread_2) ** 2).sum())


@pytest.mark.parametrize("n", [25, 200])
def test_frechet_equals_the_matrix_square_root(n: int) -> None:
    """Fewer cases than features included; the singular values there are compared with a symmetric root."""
    real, synthetic = (gaussian(s, n, 30, mean=m).astype(np.float64) for s, m in ((0, 0.0), (1, 0.3)))
    cov_1, cov_2 = np.cov(real.T), np.cov(synthetic.T)
    values, vectors = np.linalg.eigh(cov_1)
    root = vectors * np.sqrt(np.maximum(values, 0)) @ vectors.T
    shared = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ cov_2 @ root), 0)).sum()
    shift = real.mean(0) - synthetic.mean(0)
    expected = shift @ shift + np.trace(cov_1) + np.trace(cov_2) - 2 * shared
    assert frechet_distance(real, synthetic) == pytest.approx(expected, rel=1e-5)


def test_frechet_of_features_that_depend_on_each_other() -> None:
    """A histogram sums to one: its covariance is singular however many cases there are."""
    rng = np.random.default_rng(0)
    histograms = rng.dirichlet(np.ones(8), size=200)
    constant = np.concatenate([histograms, np.ones((200, 1)), histograms[:, :1]], axis=1)
    assert frechet_distance(constant, constant) < 1e-7
    assert np.isfinite(frechet_distance(constant, constant[:100]))


def test_weights_of_frechet_count_repeated_cases() -> None:
    real, synthetic = gaussian(0, 12, 4), gaussian(1, 9, 4)
    weights = np.array([0, 2, 1, 1, 3, 0, 1, 1, 1, 1, 0, 1])
    repeated = np.repeat(real, weights, axis=0)
    assert frechet_distance(real, synthetic, weights) == pytest.approx(frechet_distance(repeated, synthetic), rel=1e-9)


def test_centred_interval_of_frechet_holds_the_value_that_percentiles_would_miss() -> None:
    real, synthetic = gaussian(0, 25, 20), gaussian(1, 25, 20)
    value = frechet_distance(real, synthetic)
    draws = frechet_bootstrap(real, synthetic, np.random.default_rng(0), replicates=60)
    low, high = centred_interval(draws, value)
    assert low <= value <= high
    assert percentile_interval(draws)[0] > value


# --- precision, recall, density, coverage ----------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "m"), [(40, 40), (60, 35)])
def test_coverage_equals_the_reference_package(n: int, m: int) -> None:
    real, synthetic = gaussian(0, n, 6), gaussian(1, m, 6, mean=0.3, scale=0.9)
    with contextlib.redirect_stdout(io.StringIO()):
        expected = prdc.compute_prdc(real, synthetic, nearest_k=5)
    names = ("precision", "recall", "density", "coverage")
    assert coverage(real, synthetic).means() == pytest.approx([expected[name] for name in names])


def test_coverage_does_not_depend_on_blocks_or_on_a_shift_of_all_features(monkeypatch: pytest.MonkeyPatch) -> None:
    real, synthetic = gaussian(0, 50, 6).astype(np.float64), gaussian(1, 30, 6).astype(np.float64)
    expected = coverage(real, synthetic).means()
    assert coverage(real + 1e4, synthetic + 1e4).means() == pytest.approx(expected)
    monkeypatch.setattr("genaug.evaluation.coverage.BLOCK_ELEMENTS", 64)
    assert coverage(real, synthetic).means() == pytest.approx(expected)


def test_a_collapsed_generator_is_precise_but_covers_nothing() -> None:
    real = gaussian(0, 100, 5)
    collapsed = real[:1] + gaussian(1, 100, 5, scale=1e-3)
    scores = coverage(real, collapsed)
    assert scores.precision.mean() == 1
    assert scores.recall.mean() < 0.05
    assert scores.coverage.mean() < 0.3


def test_coverage_needs_more_cases_than_neighbours() -> None:
    with pytest.raises(ValueError, match="more than k"):
        coverage(gaussian(0, 5, 3), gaussian(1, 20, 3))


def test_nearest_finds_the_nearest() -> None:
    queries, references = gaussian(0, 10, 4), gaussian(1, 50, 4)
    full = np.linalg.norm(queries[:, None] - references[None], axis=2)
    distance, number = nearest(queries, references)
    np.testing.assert_array_equal(number, full.argmin(axis=1))
    np.testing.assert_allclose(distance, full.min(axis=1), rtol=1e-5)


# --- resampling and floors -------------------------------------------------------------------------------------------


def test_cases_of_one_patient_are_drawn_together() -> None:
    groups = ["a", "b", "a", "c", "b"]
    weights = bootstrap_weights(5, 50, np.random.default_rng(0), groups)
    np.testing.assert_array_equal(weights[:, 0], weights[:, 2])
    np.testing.assert_array_equal(weights[:, 1], weights[:, 4])
    np.testing.assert_array_equal(weights[:, [0, 1, 3]].sum(axis=1), 3)


def coverage_of(interval: Callable[[np.ndarray, int], tuple[float, float]], draw: Callable[[int], np.ndarray]) -> int:
    return sum(low <= 0 <= high for low, high in (interval(draw(seed), seed) for seed in range(200)))


def test_mean_interval_covers_the_mean_also_for_repeated_scans() -> None:
    groups = [f"p{i // 3}" for i in range(90)]

    def scans(seed: int) -> np.ndarray:
        return np.repeat(np.random.default_rng(seed).normal(size=30), 3)

    def by_patient(values: np.ndarray, seed: int) -> tuple[float, float]:
        return mean_interval(values, np.random.default_rng(seed), groups) or (np.nan, np.nan)

    def by_case(values: np.ndarray, seed: int) -> tuple[float, float]:
        return mean_interval(values, np.random.default_rng(seed)) or (np.nan, np.nan)

    assert coverage_of(by_patient, scans) >= 178
    assert coverage_of(by_case, scans) < 165
    assert mean_interval(np.ones(3), np.random.default_rng(0), ["a"] * 3) is None


def test_interval_of_a_mean_over_pairs_covers() -> None:
    """Pairs share cases: taken as independent, 780 pairs of 40 cases would give far too narrow an interval."""
    first, second = np.triu_indices(40, 1)
    pairs = np.stack([first, second], axis=1)

    def of_pairs(values: np.ndarray, seed: int) -> tuple[float, float]:
        both = (values[first] + values[second]) / 2
        return pair_mean_interval(pairs, both, 40, np.random.default_rng(seed), replicates=200) or (np.nan, np.nan)

    assert coverage_of(of_pairs, lambda seed: np.random.default_rng(seed).normal(size=40)) >= 178


def test_splits_are_disjoint_by_patient_and_of_one_size() -> None:
    groups = [f"p{i // 2}" for i in range(21)]
    for split in real_splits(21, 8, np.random.default_rng(0), groups):
        assert len(split.first) == len(split.second) == len(split.synthetic) == 8
        assert not {groups[i] for i in split.first} & {groups[i] for i in split.second}
        assert len(set(split.synthetic)) == 8


def test_a_few_cases_of_a_split_are_of_as_many_patients_as_there_are():
    """A distance that counts pairs of different patients needs two of them in either half."""
    groups = [f"p{case // 3}" for case in range(12)]
    for split in real_splits(12, 3, np.random.default_rng(0), groups):
        for half in (split.first, split.second):
            assert len(half) == 3 and len({groups[case] for case in half}) == 2
