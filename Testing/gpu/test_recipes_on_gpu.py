"""On an NVIDIA GPU: every recipe trains in half precision and makes its cases again, and what is stated is held.

`make test-gpu` runs these. `make test` leaves them out: its tests hide every GPU.
"""

from pathlib import Path

import numpy as np
import pytest
import torch
from engine_data import blob_cohort, tiny_options
from genaug.acceleration import following
from genaug.cohort import Cohort
from genaug.errors import Cancelled, Reason
from genaug.jobs.events import Failed, Finished
from genaug.jobs.folder import build_job
from genaug.jobs.run import run_job
from genaug.jobs.schema import read_result
from genaug.networks import Batch
from genaug.package import read_info
from genaug.parameters import SynthesisParameters
from genaug.progress import Silent
from genaug.record import Record
from genaug.synthesis import remake as make_again
from genaug.synthesis import synthesize
from genaug.training import train
from genaug.translation import remake as translate_again
from genaug.worker import _devices
from recipe_kit import (
    EVERY,
    NAMES,
    STEPS,
    StopAfter,
    data_for,
    make,
    options_for,
    recipe_cohorts,
    text_encoder,
    weights,
)

if not torch.cuda.is_available():
    pytest.skip("needs an NVIDIA GPU, and `make test-gpu`", allow_module_level=True)


@pytest.fixture(scope="module")
def cohorts(tmp_path_factory) -> dict[tuple[int, bool], Cohort]:
    return recipe_cohorts(tmp_path_factory)


@pytest.fixture
def encoder(tmp_path, monkeypatch) -> Path:
    return text_encoder(tmp_path, monkeypatch)


@pytest.mark.parametrize(("recipe", "dimension"), EVERY, ids=NAMES)
def test_a_recipe_trains_resumes_and_makes_cases_again(recipe, dimension, cohorts, encoder, tmp_path):
    data, options = data_for(recipe, dimension, cohorts), options_for(recipe, dimension, encoder)
    with pytest.raises(Cancelled):
        train(data, options, tmp_path / "package", "cuda", StopAfter())
    package = train(data, options, tmp_path / "package", "cuda", Silent())
    trained = weights(package).values()
    assert all(torch.isfinite(value).all() for value in trained)
    assert {value.dtype for value in trained if value.is_floating_point()} == {torch.float32}
    info = read_info(package)
    assert {stage.device for stage in info.stages.values()} == {torch.cuda.get_device_name()}
    made, given = make(recipe, package, data, tmp_path / "made", encoder, "cuda")
    again = (translate_again if recipe.task == "translation" else make_again)(Record.read(made.record), package, given)
    for name in info.roles.target:
        voxels = made.volume(name).array
        assert np.isfinite(voxels).all()
        assert np.array_equal(again[name].array, voxels)


@pytest.mark.parametrize(("recipe", "dimension"), EVERY, ids=NAMES)
def test_a_recipe_trains_in_the_half_precision_of_older_gpus(recipe, dimension, cohorts, encoder, tmp_path):
    options = options_for(recipe, dimension, encoder, precision="16-mixed")
    package = train(data_for(recipe, dimension, cohorts), options, tmp_path / "package", "cuda", Silent())
    assert all(torch.isfinite(value).all() for value in weights(package).values())


@pytest.fixture(scope="module", params=["vae", "wgan-gp", "ldm", "ddpm", "vq-vae"])
def package(request, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    data = blob_cohort(folder / "data", 3)
    return train(data, tiny_options(request.param), folder / "package", "cpu", Silent())


def made_on(device: str, package: Path, output: Path, **parameters: object) -> np.ndarray:
    cases = synthesize(package, output, SynthesisParameters(count=3, **parameters), 5, device).cases
    return np.stack([case.volume("A").array for case in cases])


def test_plain_arithmetic_gives_the_case_of_the_cpu(package, tmp_path):
    """The noise is drawn on the CPU, so the same seed is the same case wherever it is made."""
    there = made_on("cuda", package, tmp_path / "gpu", acceleration="off")
    here = made_on("cpu", package, tmp_path / "cpu", acceleration="off")
    assert np.abs(there - here).max() <= 1e-3 * np.ptp(here)


def test_faster_arithmetic_changes_what_nobody_sees(package, tmp_path):
    fast, plain = (made_on("cuda", package, tmp_path / kind, acceleration=kind) for kind in ("auto", "off"))
    assert np.abs(fast - plain).max() <= 0.02 * np.ptp(plain)


def test_graphs_play_the_same_bits(package, tmp_path):
    """Steps, cases and a second series from the same graphs."""
    made = {}
    for on in (False, True, True):
        folder = tmp_path / f"{on}-{len(made)}"
        with following({"graphs": on}):
            now = made_on("cuda", package, folder)
        assert np.array_equal(made.setdefault(on, now), now)
    assert np.array_equal(made[False], made[True])


def test_a_graph_of_one_arithmetic_is_not_played_in_another(package, tmp_path):
    made = [made_graphed(package, tmp_path / str(number), tf32) for number, tf32 in enumerate((False, True, False))]
    assert np.array_equal(made[0], made[2])


def made_graphed(package: Path, output: Path, tf32: bool) -> np.ndarray:
    with following({"graphs": True, "tf32": tf32}):
        return made_on("cuda", package, output)


@pytest.mark.parametrize("recipe", ["vae", "wgan-gp", "ldm"])
def test_a_job_holds_what_it_stated(recipe, tmp_path):
    """With the recipe's own networks: of tiny ones the libraries' own memory would be most."""
    blob_cohort(tmp_path / "cohort", 4, 48)
    options = tiny_options(recipe, STEPS, overrides={}, batch_size=None).model_dump(mode="json", exclude_unset=True)
    trained = done("train", {"cohort": tmp_path / "cohort"}, options, tmp_path / "train")
    package = next(product.path for product in read_result(trained).products if product.role == "package")
    done("synthesize", {"package": trained / package}, {"count": 2}, tmp_path / "made")


def done(kind: str, inputs: dict[str, Path], parameters: dict[str, object], folder: Path) -> Path:
    """Run a job whose peak is neither above what was stated nor so far below that jobs would be refused that fit."""
    build_job(folder, kind, parameters, inputs, seed=1, device="cuda")
    assert isinstance(run_job(folder, lambda event: None), Finished)
    result = read_result(folder)
    stated, peak = result.expected_memory_bytes, result.peak_gpu_memory_bytes
    assert stated is not None and peak is not None
    assert 0.25 * stated <= peak <= stated
    return folder


def test_a_gpu_that_is_full_says_what_to_lower(tmp_path):
    blob_cohort(tmp_path / "cohort", 3, 48)
    options = tiny_options("ldm", STEPS, overrides={}, batch_size=16).model_dump(mode="json", exclude_unset=True)
    job = build_job(tmp_path / "job", "train", options, {"cohort": tmp_path / "cohort"}, seed=1, device="cuda")
    torch.cuda.empty_cache()
    held = torch.cuda.memory_allocated()
    torch.cuda.set_per_process_memory_fraction((held + (64 << 20)) / torch.cuda.get_device_properties(0).total_memory)
    try:
        failed = run_job(job, lambda event: None)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert isinstance(failed, Failed)
    assert failed.reason is Reason.OUT_OF_MEMORY
    assert "batch size" in failed.remedy


def test_what_comes_back_from_the_gpu_has_arrived():
    """A copy that does not wait would be read before it is there."""
    x = torch.ones(64, 1024, 1024, device="cuda")
    for number in range(20):
        x.mul_(2).div_(2).fill_(number)
        assert torch.equal(Batch(x).to("cpu").target[-1, -8:], torch.full((8, 1024), float(number)))


def test_the_worker_tells_of_the_gpu():
    gpu = next(device for device in _devices() if device["kind"] == "cuda:0")
    assert gpu["name"] == torch.cuda.get_device_name(0) and 0 < gpu["free_bytes"] <= gpu["total_bytes"]
