"""Rendering from labels, the embedded brain, and the cohort made from it."""

from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from genaug.cohort import Cohort
from genaug.errors import Cancelled, GenaugError, Reason
from genaug.progress import Silent
from genaug.record import Record, hash_voxels
from genaug.templates import brain
from genaug.templates import cohort as cohort_module
from genaug.templates.acquisition import AcquisitionDraws, acquire
from genaug.templates.brain import Template, brain_template
from genaug.templates.cohort import SubjectDraws, draw_subject, make_subject, template_cohort
from genaug.templates.label_to_image import ContrastDraws, draw_contrast, render
from genaug.templates.lattice import Lattice
from genaug.volume import LABEL, Volume
from scipy import ndimage

FLAT = Lattice(shape=(2, 2, 2), values=(0.0,) * 8)
IDEAL = AcquisitionDraws(gamma=1.0, blur_mm=0.0, bias=FLAT, noise=0.0, noise_seed=0)
PLAIN = ContrastDraws(labels=(1, 2), means=(60.0, 180.0), spreads=(0.0, 0.0), texture_seed=0, acquisition=IDEAL)
needs_nilearn = pytest.mark.skipif(
    importlib.util.find_spec("nilearn") is None, reason="nilearn, which holds the brain template, is not installed"
)


@cache
def small_brain() -> Template:
    return brain_template(4.0)


def test_a_label_map_gets_its_means_and_a_black_background() -> None:
    label = np.random.default_rng(0).choice([0, 1, 2, 9], (12, 10, 8))
    image = render(Volume(label, np.eye(4), LABEL), PLAIN)
    expected = np.select([label == 1, label == 2], [60, 180], 0)
    np.testing.assert_allclose(image.array, expected, rtol=1e-5)


def test_mixed_voxels_lie_between_their_tissues() -> None:
    share = np.linspace(0, 1, 50, dtype=np.float32).reshape(50, 1, 1)
    tissue = {1: Volume(1 - share, np.eye(4)), 2: Volume(share, np.eye(4))}
    np.testing.assert_allclose(render(tissue, PLAIN).array, 60 + 120 * share, rtol=1e-5)


def test_spread_is_the_standard_deviation_inside_a_tissue() -> None:
    draws = PLAIN.model_copy(update={"spreads": (5.0, 12.0)})
    label = np.repeat([1, 2], 8000).reshape(2, 20, 400)
    image = render(Volume(label, np.eye(4), LABEL), draws).array
    assert image[0].std() == pytest.approx(5, rel=0.05) and image[1].std() == pytest.approx(12, rel=0.05)


def test_noise_is_rician_and_bias_is_smooth() -> None:
    signal = np.full((40, 40, 40), 100.0)
    signal[:20] = 0
    everywhere = np.ones(signal.shape, bool)
    noisy = acquire(signal, (1, 1, 1), IDEAL.model_copy(update={"noise": 4.0}), everywhere)
    # Without signal the magnitude is Rayleigh distributed, with mean sigma * sqrt(pi / 2).
    assert noisy[:20].mean() == pytest.approx(4 * np.sqrt(np.pi / 2), rel=0.02)
    assert noisy[20:].std() == pytest.approx(4, rel=0.02)
    bias = Lattice(shape=(2, 2, 2), values=(-0.2,) * 4 + (0.2,) * 4)
    shaded = acquire(np.full(signal.shape, 100.0), (1, 1, 1), IDEAL.model_copy(update={"bias": bias}), everywhere)
    np.testing.assert_allclose(shaded[[0, -1], 0, 0], 100 * np.exp([-0.2, 0.2]), rtol=1e-4)
    assert np.abs(np.diff(shaded, axis=0)).max() < 2


def test_random_contrasts_cover_every_order_of_tissues() -> None:
    rng = np.random.default_rng(0)
    drawn = [draw_contrast(rng, (0, 1, 2, 3), (8, 8, 8), (1, 1, 1)) for _ in range(100)]
    assert {draws.labels for draws in drawn} == {(1, 2, 3)}
    assert len({tuple(np.argsort(draws.means)) for draws in drawn}) == 6


@needs_nilearn
def test_the_brain_is_a_brain() -> None:
    template = small_brain()
    voxel_ml = np.prod(template.image.spacing) / 1000
    volumes = {label: np.count_nonzero(template.label.array == label) * voxel_ml for label in (1, 2, 3)}
    assert 60 < volumes[1] < 400 and 900 < volumes[2] < 1300 and 500 < volumes[3] < 800
    means = [template.image.array[template.label.array == label].mean() for label in (0, 1, 2, 3)]
    assert means == sorted(means), "T1: background, fluid, grey, white from dark to bright"
    total = sum(volume.array for volume in template.tissue.values())
    assert total.min() >= 0 and total.max() <= 1 + 1e-6
    border = template.label.array.copy()
    border[3:-3, 3:-3, 3:-3] = 0
    assert not border.any(), "the margin is room for deformation"
    # Coarsening and cutting leave the brain where the file has it, to a fraction of a voxel.
    full, affine = brain._read("t1")
    here, there = (
        a @ [*ndimage.center_of_mass(image), 1]
        for image, a in ((template.image.array, template.image.affine), (full, affine))
    )
    np.testing.assert_allclose(here, there, atol=0.2)


def test_a_missing_wheel_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(brain, "find_spec", lambda name: None)
    with pytest.raises(GenaugError) as caught:
        brain_template()
    assert caught.value.reason is Reason.MISSING_DEPENDENCY and "genaug[demo]" in caught.value.remedy


@needs_nilearn
def test_channels_have_the_contrast_of_their_names() -> None:
    template = small_brain()
    draws = draw_subject(np.random.default_rng(4), template, ("T1", "T2", "random"))
    images, label = make_subject(template, draws)
    fluid, grey, white = (label.array == value for value in (1, 2, 3))
    t1, t2 = images["T1"].array, images["T2"].array
    assert t1[fluid].mean() < t1[grey].mean() < t1[white].mean()
    assert t2[fluid].mean() > t2[grey].mean() > t2[white].mean()
    for image in images.values():
        np.testing.assert_array_equal(image.array[label.array == 0], 0)
        assert image.same_grid(label) and (image.array[grey] > 0).mean() > 0.99


@needs_nilearn
def test_the_rendered_channel_is_no_cartoon(monkeypatch: pytest.MonkeyPatch) -> None:
    template = small_brain()
    draws = draw_subject(np.random.default_rng(4), template, ("T1", "T2"))

    def agreement() -> float:
        images, label = make_subject(template, draws)
        grey = ndimage.binary_erosion(label.array > 0) & (label.array == 2)
        return float(np.corrcoef(images["T1"].array[grey], images["T2"].array[grey])[0, 1])

    # Inside grey matter it shows, inverted, the anatomy of the T1 that the labels do not have.
    carried = agreement()
    monkeypatch.setattr(cohort_module, "_DETAIL", 0.0)
    assert carried < agreement() - 0.02


@needs_nilearn
def test_a_cohort_is_complete_and_every_record_makes_its_case_again(tmp_path: Path) -> None:
    template = small_brain()
    folder = template_cohort(template, tmp_path / "cohort", 3, seed=5, contrasts=("T1", "T2"))
    cohort = Cohort.read(folder)
    cohort.check()
    assert cohort.channels == {"T1": "MR", "T2": "MR"} and set(cohort.label_names) == {1, 2, 3}
    assert len(cohort.patients) == 3
    hashes = set()
    for case in cohort.cases:
        assert case.record is not None and case.origin == "synthetic" and case.parents == [template.name]
        record = Record.read(case.record)
        assert record.kind == "template" and all(check.passed for check in record.checks)
        images, label = make_subject(template, SubjectDraws.model_validate(record.draws))
        for role, volume in {**images, "label": label}.items():
            assert hash_voxels(volume.array) == record.outputs[role].voxels
            hashes.add(record.outputs[role].voxels)
    assert len(hashes) == 9, "no two subjects are the same"
    # A subject does not depend on how many there are.
    other = Cohort.read(template_cohort(template, tmp_path / "other", 1, seed=5))
    assert other.cases[0].record is not None and cohort.cases[0].record is not None
    assert Record.read(other.cases[0].record).outputs == Record.read(cohort.cases[0].record).outputs


@needs_nilearn
def test_subjects_of_two_cohorts_are_different_people(tmp_path: Path) -> None:
    """So that one may be held out although another of the same number was learnt from."""
    first, second = (
        Cohort.read(template_cohort(small_brain(), tmp_path / str(seed), 1, seed, contrasts=("T1",))) for seed in (1, 2)
    )
    assert first.cases[0].id == second.cases[0].id and first.patients != second.patients


@needs_nilearn
def test_unknown_contrasts_and_no_subjects_are_refused(tmp_path: Path) -> None:
    for count, contrasts in ((1, ("T1", "FLAIR")), (0, ("T1",)), (1, ("T1", "T1")), (1, ())):
        with pytest.raises(GenaugError) as caught:
            template_cohort(small_brain(), tmp_path / "cohort", count, 0, contrasts)
        assert caught.value.reason is Reason.BAD_PARAMETER
    assert not list(tmp_path.iterdir())


@needs_nilearn
def test_stopping_leaves_nothing(tmp_path: Path) -> None:
    class Impatient(Silent):
        def progress(self, done: int, total: int, note: str = "") -> None:
            if done == 1:
                raise Cancelled

    with pytest.raises(Cancelled):
        template_cohort(small_brain(), tmp_path / "cohort", 3, 0, reporter=Impatient())
    assert not list(tmp_path.iterdir())
