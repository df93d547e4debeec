"""The two ways of the performance rows about training do the same work."""

import pytest
from engine_data import blob_cohort, tiny

from benchmarks.performance import training_step


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    return blob_cohort(tmp_path_factory.mktemp("blobs"), count=4)


def overrides(recipe, stage, **more):
    told = tiny(recipe)
    told["stages"][stage] |= more
    for one in told["stages"].values():
        one["training"] = {"batch_size": 2}
    return told


def test_both_autoencoder_steps_have_the_same_losses(cohort):
    told = overrides("ldm", "autoencoder", **training_step.TUTORIAL_TERMS)
    with training_step.planned(cohort, "ldm", told) as (plan, folder):
        run, loop, error = training_step.autoencoder_pair(plan, folder)
        assert error["largest"] <= error["allowed"]
        training_step.stepping(run)()
        assert loop.step(next(training_step.in_memory(plan, folder, 2)))["network/l1"] > 0


def test_both_denoisers_predict_the_same(cohort):
    told = overrides("ldm", "denoiser")
    told["stages"]["denoiser"]["network"]["options"]["prediction"] = "epsilon"
    with training_step.planned(cohort, "ldm", told) as (plan, folder):
        _, loop, error = training_step.denoiser_pair(plan, folder)
        assert error["largest"] <= error["allowed"]
        assert loop.step(next(training_step.in_memory(plan, folder, 2))) > 0


def test_both_critics_have_the_same_losses_after_their_updates(cohort):
    with training_step.planned(cohort, "wgan-gp", overrides("wgan-gp", "gan")) as (plan, folder):
        _, _, error = training_step.wasserstein_pair(plan, folder)
        assert error["largest"] <= error["allowed"]


def test_half_precision_is_refused_in_words_where_the_cpu_has_none(cohort, monkeypatch):
    monkeypatch.setattr("genaug.half_precision.problem", lambda: "has none")
    row = training_step.half_precision_row(cohort)
    assert row.ours is None and "has none" in row.note
