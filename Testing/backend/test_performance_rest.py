"""Both ways of a row do the same thing: insertion of a lesion, distances, similarity."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from genaug.evaluation.coverage import coverage
from genaug.evaluation.diversity import pairwise_ms_ssim, scale_plan
from genaug.evaluation.frechet import frechet_distance
from genaug.evaluation.kid import kid

from benchmarks.performance import cold_start, export, lesion, metrics


def test_carvemix_gives_the_same_lesion_at_the_same_place() -> None:
    given = lesion.ground(64)
    before = given.host.array.copy()
    peer = lesion.Peer(given, lesion.ours(given))
    peer()
    lesion.compare(given, peer)
    assert peer.lesion.sum() > 3000
    assert not np.array_equal(given.image, before)
    assert np.array_equal(given.host.array, before)


def test_a_lesion_elsewhere_is_noticed() -> None:
    given = lesion.ground(64)
    peer = lesion.Peer(given, lesion.ours(given))
    peer.lesion = np.roll(peer.lesion, 3, axis=0)
    peer()
    with pytest.raises(AssertionError, match="mask voxels"):
        lesion.compare(given, peer)


def test_distances_are_those_of_the_packages() -> None:
    real, synthetic = metrics.features(120, 24)
    for ours, peer in (
        (kid, metrics.torchmetrics_kid),
        (frechet_distance, metrics.torchmetrics_frechet),
        (lambda a, b: coverage(a, b).means(), metrics.prdc_package),
    ):
        assert metrics.difference(ours(real, synthetic), peer(real, synthetic)) <= metrics.TOLERANCE


def test_pairs_are_those_of_monai_in_the_same_order() -> None:
    images = metrics.volumes(5, 16)
    plan = scale_plan(images[0].shape[1:])
    assert metrics.difference(pairwise_ms_ssim(images, plan).values, metrics.monai_ms_ssim(images, plan)) <= 1e-4


def test_both_exports_have_the_same_files_voxels_and_places(tmp_path: Path) -> None:
    given = export.cohort(tmp_path / "cohort", 5, 2, 24)
    first, second = export.ours(given, tmp_path / "ours"), export.peer(given, tmp_path / "peer")
    assert export.compare(first, second) == {"files that differ": 0}
    assert export.size(first) > 0
    next(second.rglob("*.nii.gz")).unlink()
    with pytest.raises(AssertionError, match="other files"):
        export.compare(first, second)


def test_a_start_is_timed_until_the_first_word() -> None:
    way = cold_start.UntilFirstLine("-c", "print(1, flush=True); import time; time.sleep(0.5)")
    way()
    assert 0 < way.seconds[0] < 0.5


def test_a_worker_that_is_ready_has_imported_what_any_job_needs() -> None:
    assert cold_start.imported_later() == []
