import copy
import json
import math
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from engine_data import TINY, blob_cohort, tiny_options
from genaug.errors import Cancelled, GenaugError, Reason
from genaug.objectives import LOSSES
from genaug.package import load_package, read_info
from genaug.progress import Silent
from genaug.split import split_by_ids
from genaug.training import train, training_folder
from genaug.training.curves import read_curve
from genaug.training.loop import averaging, shuffled_item
from lightning_fabric import Fabric
from lightning_fabric.plugins import MixedPrecision

RECIPES = ["vae", "wgan-gp", "ldm", "ddpm", "spade"]


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    return blob_cohort(tmp_path_factory.mktemp("blobs"))


def weights(package: Path) -> dict[str, torch.Tensor]:
    systems = load_package(package).systems
    return {f"{stage}.{key}": v for stage, system in systems.items() for key, v in system.state_dict().items()}


class StopAt(Silent):
    """Asks the training to stop once, when it reports some step."""

    def __init__(self, step: int) -> None:
        self.step, self.seen = step, 0

    def progress(self, done, total, note=""):
        if ":" in note:
            self.seen += 1
            if self.seen == self.step:
                raise Cancelled()


@pytest.mark.parametrize("recipe", ["vae", "wgan-gp", "ldm"])
@pytest.mark.parametrize("stop", [1, 3])
def test_a_resumed_run_equals_an_uninterrupted_one_bit_for_bit(cohort, tmp_path, recipe, stop):
    options = tiny_options(recipe)
    whole = train(cohort, options, tmp_path / "whole", "cpu", Silent())
    with pytest.raises(Cancelled):
        train(cohort, options, tmp_path / "parts", "cpu", StopAt(stop))
    assert not (tmp_path / "parts").exists()
    parts = train(cohort, options, tmp_path / "parts", "cpu", Silent())
    first, second = weights(whole), weights(parts)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[key], second[key]) for key in first)


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("flat", [False, True])
def test_every_recipe_trains_and_packages_in_2d_and_3d(tmp_path, recipe, flat):
    data = blob_cohort(tmp_path / "data", count=3, size=32 if flat else 16, flat=flat)
    package = train(data, tiny_options(recipe, 2), tmp_path / "package", "cpu", Silent())
    info = read_info(package)
    assert info.grid.dimension == (2 if flat else 3)
    assert info.trained_on.patients == ["patient0", "patient1", "patient2"]
    assert info.trained_on.labels[0].name == "sphere" or recipe == "spade"
    assert all(torch.isfinite(value).all() for value in weights(package).values())


class GuardedPrecision(MixedPrecision):
    """Fabric's mixed precision with all its guards and conversions, but computing in single precision.

    Half precision itself is left to GPUs: torch's CPU kernels for it give a NaN now and then on maps of few channels.
    """

    def __init__(self) -> None:
        super().__init__("bf16-mixed", "cpu")
        self._desired_input_dtype = torch.float32

    def forward_context(self):
        return nullcontext()


@pytest.mark.parametrize("recipe", [*RECIPES, "pix2pix"])
def test_every_recipe_passes_the_guards_of_mixed_precision(tmp_path, monkeypatch, recipe):
    fabric = Fabric(accelerator="cpu", devices=1, plugins=[GuardedPrecision()])
    monkeypatch.setattr("genaug.training.run.make_fabric", lambda options, device: fabric)
    flat = recipe == "pix2pix"
    data = blob_cohort(tmp_path / "data", count=3, size=64 if flat else 16, flat=flat)
    package = train(data, tiny_options(recipe, 2), tmp_path / "package", "cpu", Silent())
    assert all(torch.isfinite(value).all() for value in weights(package).values())
    assert {value.dtype for value in weights(package).values() if value.is_floating_point()} == {torch.float32}


def test_training_learns_what_differs_between_cases(cohort, tmp_path):
    """It starts at the mean case, so any further gain is knowledge of single cases; the noise sets a floor."""
    overrides = copy.deepcopy(TINY["vae"])
    overrides["stages"]["vae"] |= {"loss": {"kl": 5e-4}, "training": {"shift": 0}}
    options = tiny_options("vae", 600, learning_rate=3e-3, overrides=overrides)
    train(cohort, options, tmp_path / "vae", "cpu", Silent())
    rows = read_curve(training_folder(tmp_path / "vae") / "vae.curves.csv")
    assert rows[-1]["network/l1"] < 0.7 * rows[0]["network/l1"]
    assert [row["iteration"] for row in rows] == list(range(10, 601, 10))


def test_only_train_patients_are_read(cohort, tmp_path):
    split = split_by_ids(cohort, test=["patient4"], validation=["patient5"])
    for case in (*split.part("test"), *split.part("validation")):
        case_copy = case.images["A"]
        assert case_copy.exists()
    package = train(split, tiny_options("vae", 1), tmp_path / "vae", "cpu", Silent())
    assert read_info(package).trained_on.patients == [f"patient{i}" for i in range(4)]
    index = json.loads((training_folder(package) / "tensors" / "index.json").read_text())
    assert index["cases"] == [f"case{i}" for i in range(4)]


def test_divergence_stops_with_the_step_and_a_cause(cohort, tmp_path, monkeypatch):
    def explode(outputs, batch, play):
        return outputs["generated"].sum() * (math.nan if play.iteration == 2 else 1.0)

    monkeypatch.setitem(LOSSES, "l1", explode)
    with pytest.raises(GenaugError, match="iteration 3") as caught:
        train(cohort, tiny_options("vae"), tmp_path / "vae", "cpu", Silent())
    assert caught.value.reason is Reason.DIVERGED
    assert "learning rate" in caught.value.remedy
    assert not (tmp_path / "vae").exists()


@pytest.mark.parametrize("error", [torch.cuda.OutOfMemoryError("CUDA out of memory"), MemoryError("no")])
def test_out_of_memory_says_what_to_lower(cohort, tmp_path, monkeypatch, error):
    def too_much(outputs, batch, play):
        raise error

    monkeypatch.setitem(LOSSES, "l1", too_much)
    with pytest.raises(GenaugError, match="batch size to 1") as caught:
        train(cohort, tiny_options("vae"), tmp_path / "vae", "cpu", Silent())
    assert caught.value.reason is Reason.OUT_OF_MEMORY


def test_another_training_in_the_same_place_is_refused(cohort, tmp_path):
    with pytest.raises(Cancelled):
        train(cohort, tiny_options("vae"), tmp_path / "vae", "cpu", StopAt(1))
    with pytest.raises(GenaugError, match="another cohort or with other options"):
        train(cohort, tiny_options("vae", batch_size=3), tmp_path / "vae", "cpu", Silent())


def test_a_package_can_be_the_start_of_a_training(cohort, tmp_path):
    first = train(cohort, tiny_options("vae"), tmp_path / "first", "cpu", Silent())
    slow = {"learning_rate": 1e-12, "initial": first, "seed": 5}
    second = train(cohort, tiny_options("vae", 1, **slow), tmp_path / "second", "cpu", Silent())
    before, after = weights(first), weights(second)
    assert all(torch.allclose(before[key], after[key], atol=1e-6) for key in before)


def test_a_package_of_another_shape_cannot_be_the_start(cohort, tmp_path):
    first = train(cohort, tiny_options("vae", 1), tmp_path / "first", "cpu", Silent())
    wider = {"stages": {"vae": {"network": {"options": {"latent": 4, "start": 8, "channels": [64, 64]}}}}}
    with pytest.raises(GenaugError, match="same network"):
        train(cohort, tiny_options("vae", 1, initial=first, overrides=wider), tmp_path / "second", "cpu", Silent())


def test_a_generator_can_start_from_a_decoder(cohort, tmp_path):
    first = train(cohort, tiny_options("vae"), tmp_path / "first", "cpu", Silent())
    options = tiny_options("wgan-gp", 1, learning_rate=1e-12, initial=first)
    second = train(cohort, options, tmp_path / "second", "cpu", Silent())
    before, after = weights(first), weights(second)
    assert torch.allclose(before["vae.up.first.weight"], after["gan.up.first.weight"], atol=1e-6)


def test_minutes_stop_a_training_early_and_keep_it_usable(cohort, tmp_path):
    options = tiny_options("vae", 100_000, minutes=0.02)
    package = train(cohort, options, tmp_path / "vae", "cpu", Silent())
    assert 0 < read_info(package).stages["vae"].iterations < 100_000


def test_the_average_forgets_where_it_started_and_then_has_the_asked_memory():
    update = averaging(0.9)
    average, value = [torch.zeros(1, dtype=torch.float64)], [torch.ones(1, dtype=torch.float64)]
    for done in range(5):
        update(average, value, done)
    assert average[0] > 0.95
    late = [torch.zeros(1, dtype=torch.float64)]
    update(late, value, 10_000)
    torch.testing.assert_close(late[0], torch.tensor([0.1], dtype=torch.float64))


def test_every_epoch_is_its_own_permutation_of_all_items():
    epochs = [[shuffled_item(1, "s", epoch * 7 + i, 7) for i in range(7)] for epoch in range(3)]
    assert all(sorted(epoch) == list(range(7)) for epoch in epochs)
    assert epochs[0] != epochs[1]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"channels": ["C"]}, "channel 'C'"),
        ({"iterations": {"gan": 1}}, "stage 'gan'"),
        ({"window": (16, 16, 16)}, "window"),
        ({"precision": "bf16-mixed"}, "32-true on the device cpu"),
    ],
)
def test_options_that_do_not_fit_are_refused_in_words(cohort, tmp_path, changes, words):
    with pytest.raises(GenaugError, match=words) as caught:
        train(cohort, tiny_options("vae", **changes), tmp_path / "vae", "cpu", Silent())
    assert caught.value.reason is Reason.BAD_PARAMETER


def test_a_gpu_that_is_not_there_is_said(cohort, tmp_path):
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(GenaugError, match="torch sees no GPU of this kind"):
        train(cohort, tiny_options("vae"), tmp_path / "vae", "cuda", Silent())
