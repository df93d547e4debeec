"""Both ways of a row of sampling do the same thing: one call, one volume, a cohort."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from engine_data import blob_cohort, tiny_options
from genaug import convolution
from genaug.imageio import read_volume
from genaug.package import Package, load_package
from genaug.progress import Silent
from genaug.record import case_seed
from genaug.split import split_by_ids
from genaug.training import train
from monai.networks.schedulers import DDIMScheduler, DDPMScheduler

from benchmarks.performance import cohort_workers, denoiser, latent, volume
from benchmarks.performance.inferer import Peer


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Package:
    """A latent model of images alone, hardly trained."""
    folder = tmp_path_factory.mktemp("package")
    cohort = latent.images_of(blob_cohort(folder / "data"))
    options = tiny_options("ldm", 2).model_copy(update={"channels": ["A"], "with_labels": False})
    return load_package(train(cohort, options, folder / "ldm", "cpu", Silent()))


def test_a_routed_call_gives_what_monai_gives_and_is_not_zero() -> None:
    ours, peer = denoiser.both(denoiser.network(), 8)
    assert denoiser.difference(ours(), peer()) <= denoiser.TOLERANCE
    assert float(peer().abs().mean()) > 1e-2
    with pytest.raises(AssertionError, match="differ by"):
        denoiser.difference(ours(), peer() * 1.001)


def test_the_inferer_walks_our_way_when_it_goes_to_its_own_timesteps(package: Package) -> None:
    peer = Peer(package)
    assert volume.agreement(package, peer, 10) <= volume.TOLERANCE
    seed = case_seed(volume.SEED, 0)
    plain = peer(peer.noise([seed]), peer.scheduler(DDIMScheduler, 10))
    assert plain.shape == volume.ours(package, [seed], 4).shape
    ancestral = peer(peer.noise([seed]), peer.scheduler(DDPMScheduler, 1000))
    assert ancestral.isfinite().all()


def test_the_peer_computes_as_torch_does_by_default(package: Package, monkeypatch: pytest.MonkeyPatch) -> None:
    peer = Peer(package)
    monkeypatch.setattr(convolution, "_onednn", None)
    with convolution.sampling():
        peer(peer.noise([1]), peer.scheduler(DDIMScheduler, 2))


def test_both_write_the_same_cases(package: Package, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cohort_workers, "STEPS", 4)
    cohort_workers.ours(package.folder, tmp_path / "ours", 2, 1)
    cohort_workers.by_monai(package, Peer(package), tmp_path / "peer", 2)
    found = sorted((tmp_path / "ours").glob("*/A.nii.gz"))
    others = sorted((tmp_path / "peer").glob("*.nii.gz"))
    assert len(found) == len(others) == 2
    for one, other in zip(found, others, strict=True):
        mine, theirs = read_volume(one), read_volume(other)
        assert np.allclose(mine.affine[:3, :3], theirs.affine[:3, :3], atol=1e-4)
        assert all(a <= b for a, b in zip(mine.shape, theirs.shape, strict=True))


def test_volumes_are_kept_and_made_once(package: Package, tmp_path: Path) -> None:
    made: list[list[int]] = []

    def make(seeds: list[int]) -> torch.Tensor:
        made.append(list(seeds))
        return torch.zeros(len(seeds), 1, 4, 4, 4)

    for _ in range(2):
        assert volume._kept(tmp_path / "kept", range(8, 12), make).shape == (4, 1, 4, 4, 4)
    assert made == [[case_seed(volume.SEED, index) for index in range(8, 12)]]


def test_the_judge_finds_what_lies_further_from_the_real_cases(
    package: Package, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Against the held-out cases; and the fewest steps are those whose distance is not above the peer's."""
    cohort = blob_cohort(tmp_path / "data", count=12)
    split = split_by_ids(cohort, test=[case.patient for case in cohort.cases[:6]])
    monkeypatch.setattr(volume, "hippocampus", lambda: split)
    monkeypatch.setattr(latent, "WORK", tmp_path)
    judge = volume.Judge(package)
    generator = torch.Generator().manual_seed(0)
    noise = torch.rand(64, 1, *package.info.grid.size, generator=generator) * 2 - 1
    ours = judge.kid("ours", 8, lambda seeds: volume.ours(package, seeds, 2))
    far = judge.kid("noise", 8, lambda seeds: noise[: len(seeds)])
    assert ours.value < far.value and far.interval[0] <= far.value <= far.interval[1]
    steps, tried = volume.fewest_steps(judge, far, 8)
    assert steps == volume.STEPS[0] and list(tried) == [steps]
    assert ours.above(far)[1] < 0 < far.above(ours)[0] and far.above(far) == (0, 0)
    with pytest.raises(AssertionError, match="no number of steps"):
        volume.fewest_steps(judge, replace(far, value=far.value - 1e6), 8)
