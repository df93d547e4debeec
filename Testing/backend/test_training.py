import copy
import json
import math
import shutil
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from engine_data import TINY_NETWORKS, Told, Words, blob_cohort, tiny, tiny_options, words_folder
from genaug.cohort import Cohort
from genaug.errors import Cancelled, GenaugError, Reason
from genaug.fingerprint import files_state
from genaug.imageio import write_volume
from genaug.networks import Batch, Signature, build_system
from genaug.objectives import LOSSES
from genaug.package import load_package, read_info
from genaug.progress import Silent
from genaug.recipe import FOLDER as RECIPES_FOLDER
from genaug.recipe import Network, load_recipe
from genaug.split import split_by_ids
from genaug.stages import built_on
from genaug.training import inputs as training_inputs
from genaug.training import loop, make_plan, run, train, training_folder
from genaug.training.average import Average, average_weight
from genaug.training.checkpoint import checkpoint_path, load_checkpoint, save_checkpoint
from genaug.training.curves import Curves, read_curve
from genaug.training.loop import StageRun, shuffled_item
from lightning_fabric import Fabric
from limits import limited_file_size

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


class GuardedPrecision(run.WholeInputs):
    """Mixed precision with all its guards and conversions, but computing in single precision.

    Half precision itself is left to GPUs: torch's CPU kernels for it give a NaN now and then on maps of few channels.
    """

    def __init__(self, precision="bf16-mixed", scaler=None) -> None:
        super().__init__(precision, "cpu", scaler)

    def forward_context(self):
        return nullcontext()


@pytest.mark.parametrize(
    "kind", ["hamiltonian_autoencoder", "riemannian_autoencoder", "quantised_autoencoder", "diffusion_gan"]
)
def test_mixed_precision_leaves_what_is_worked_out_before_the_layers_in_single_precision(monkeypatch, kind):
    monkeypatch.setattr("genaug.half_precision.problem", lambda: "")
    fabric = run.make_fabric(tiny_options("vae", precision="bf16-mixed"), "cpu")
    options = TINY_NETWORKS[kind] | ({"attention": [False, True]} if kind == "diffusion_gan" else {})
    system = build_system(Network(kind=kind, options=options), Signature(2, (16, 16), 1, 0, 0))
    player, _ = fabric.setup(system, torch.optim.AdamW(system.parameters()))
    given = []
    system.register_forward_pre_hook(lambda module, told: given.append(told[0].target.dtype))
    outputs = player(Batch(torch.rand(2, 1, 16, 16) * 2 - 1), torch.Generator().manual_seed(0))
    assert given == [torch.float32]
    assert {value.dtype for value in outputs.values() if value.is_floating_point()} == {torch.float32}


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
    overrides = copy.deepcopy(tiny("vae"))
    overrides["stages"]["vae"] |= {"loss": {"kl": 5e-4}, "training": {"shift": 0}}
    options = tiny_options("vae", 600, learning_rate=3e-3, overrides=overrides)
    train(cohort, options, tmp_path / "vae", "cpu", Silent())
    rows = read_curve(training_folder(tmp_path / "vae") / "vae.curves.csv")
    assert rows[-1]["network/l1"] < 0.7 * rows[0]["network/l1"]
    assert [row["iteration"] for row in rows] == list(range(10, 601, 10))


def test_a_training_that_is_killed_leaves_the_curves_of_its_checkpoint(cohort, tmp_path):
    """Rows that are gone with the process would be missing for good: the training goes on behind them."""
    left = []

    class Look(Silent):
        def progress(self, done, total, note=""):
            folder = training_folder(tmp_path / "vae")
            rows = [row["iteration"] for row in read_curve(folder / "vae.curves.csv")]
            left.append((checkpoint_path(folder, "vae").exists(), rows))

    train(cohort, tiny_options("vae", 45, checkpoint_every=20), tmp_path / "vae", "cpu", Look())
    assert (True, [10, 20]) in left and (True, [10, 20, 30, 40]) in left
    assert all(rows for begun, rows in left if begun)


class KilledAt(Silent):
    """Ends the training as a killed process would: nothing can be saved any more."""

    def __init__(self, step: int) -> None:
        self.step, self.seen = step, 0

    def progress(self, done, total, note=""):
        self.seen += ":" in note
        if self.seen == self.step:
            raise KeyboardInterrupt


def test_slow_steps_are_kept_by_time_and_seeded_weights_do_not_depend_on_when(cohort, tmp_path, monkeypatch):
    options = tiny_options("wgan-gp", 4, checkpoint_every=500)
    whole = weights(train(cohort, options, tmp_path / "whole", "cpu", Silent()))
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)
    saved = weights(train(cohort, options, tmp_path / "saved", "cpu", Silent()))
    with pytest.raises(KeyboardInterrupt):
        train(cohort, options, tmp_path / "killed", "cpu", KilledAt(3))
    state = load_checkpoint(checkpoint_path(training_folder(tmp_path / "killed"), "gan"))
    assert state["iteration"] == 2
    resumed = weights(train(cohort, options, tmp_path / "killed", "cpu", Silent()))
    for other in (saved, resumed):
        assert all(torch.equal(whole[key], other[key]) for key in whole)


def test_a_stopped_training_makes_no_preview_before_it_saves(cohort, tmp_path):
    told = []

    class Stopper(StopAt):
        def product(self, role, path):
            told.append(role)

    with pytest.raises(Cancelled):
        train(cohort, tiny_options("vae", 4, preview_every=1), tmp_path / "vae", "cpu", Stopper(1))
    assert "preview" not in told
    assert checkpoint_path(training_folder(tmp_path / "vae"), "vae").exists()


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


def gradient_without_number(outputs, batch, play):
    """Zero, but the slope of a root at zero is infinite."""
    return (0 * outputs["generated"]).sqrt().sum() if play.iteration == 2 else outputs["generated"].sum()


@pytest.mark.parametrize("ending", ["the end", "a checkpoint", "a request to stop", "minutes"])
def test_weights_that_are_no_number_are_never_kept(cohort, tmp_path, monkeypatch, ending):
    """Where nobody looks at the losses in between, as on a GPU, and where the losses themselves still look well."""
    monkeypatch.setitem(LOSSES, "l1", gradient_without_number)
    monkeypatch.setattr(StageRun, "_check", lambda run, losses: None)
    if ending == "minutes":
        monkeypatch.setattr(StageRun, "_out_of_time", lambda run: run.iteration == 3)
    steps, every = (3 if ending == "the end" else 6), (3 if ending == "a checkpoint" else 2)
    reporter = StopAt(3) if ending == "a request to stop" else Silent()
    with pytest.raises(GenaugError, match=r"weights.* is not a number") as caught:
        train(cohort, tiny_options("vae", steps, checkpoint_every=every), tmp_path / "vae", "cpu", reporter)
    assert caught.value.reason is Reason.DIVERGED
    assert not (tmp_path / "vae").exists()
    checkpoint = training_folder(tmp_path / "vae") / "vae.checkpoint.pt"
    if every == 2:
        state = load_checkpoint(checkpoint)
        assert state["iteration"] == 2
        assert all(value.isfinite().all() for value in (*state["network"].values(), *state["average"].values()))
    else:
        assert not checkpoint.exists()


def test_a_full_disk_while_training_is_told_as_one(cohort, tmp_path):
    with pytest.raises(GenaugError) as caught, limited_file_size(30_000):
        train(cohort, tiny_options("vae"), tmp_path / "vae", "cpu", Silent())
    assert caught.value.reason is Reason.DISK_FULL
    assert caught.value.subject == str(training_folder(tmp_path / "vae") / "vae.checkpoint.pt")
    assert not (tmp_path / "vae").exists()
    assert not list(tmp_path.rglob(".writing*"))


def test_a_full_disk_while_preparing_is_told_as_one_and_leaves_nothing(cohort, tmp_path):
    with pytest.raises(GenaugError) as caught, limited_file_size(3000):
        train(cohort, tiny_options("vae"), tmp_path / "vae", "cpu", Silent())
    assert caught.value.reason is Reason.DISK_FULL
    assert caught.value.subject == str(training_folder(tmp_path / "vae") / "tensors" / "00000.images.npy")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("left", [b"", b"hello", b"\0" * 1000, b"PK\x03\x04" + b"\0" * 200])
def test_a_damaged_checkpoint_is_named_with_what_to_do(tmp_path, left):
    """An empty one is what a power cut leaves; nobody is advised to load it without torch's guard against code."""
    path = tmp_path / "vae.checkpoint.pt"
    path.write_bytes(left)
    with pytest.raises(GenaugError, match="Remove the file") as caught:
        load_checkpoint(path)
    assert caught.value.reason is Reason.UNREADABLE_FILE and caught.value.subject == str(path)
    assert "weights_only" not in str(caught.value)


def test_a_training_that_was_begun_in_single_precision_goes_on_with_loss_scaling(cohort, tmp_path, monkeypatch):
    """As on a GPU without bfloat16: there is no scale in the checkpoint to go on with."""
    with pytest.raises(Cancelled):
        train(cohort, tiny_options("vae"), tmp_path / "vae", "cpu", StopAt(2))
    scaled = GuardedPrecision("16-mixed", torch.amp.GradScaler("cpu"))
    fabric = Fabric(accelerator="cpu", devices=1, plugins=[scaled])
    monkeypatch.setattr("genaug.training.run.make_fabric", lambda options, device: fabric)
    said = Told()
    train(cohort, tiny_options("vae"), tmp_path / "vae", "cpu", said)
    assert "vae: resumed at iteration 2" in said.lines
    state = load_checkpoint(checkpoint_path(training_folder(tmp_path / "vae"), "vae"))
    assert state["iteration"] == 4 and state["precision"]["scale"] > 0


def test_the_number_of_threads_is_that_of_the_training_alone(cohort, tmp_path):
    before = torch.get_num_threads()
    package = train(cohort, tiny_options("vae", 1, threads=before + 1), tmp_path / "vae", "cpu", Silent())
    assert read_info(package).stages["vae"].device == f"CPU, {before + 1} threads"
    assert torch.get_num_threads() == before


@pytest.mark.parametrize("error", [torch.cuda.OutOfMemoryError("CUDA out of memory"), MemoryError()])
def test_out_of_memory_says_what_to_lower(cohort, tmp_path, monkeypatch, error):
    def too_much(outputs, batch, play):
        if outputs["raw"].is_meta:  # the estimate of the peak, which holds no numbers
            return outputs["raw"].sum()
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


@pytest.mark.parametrize("begun", [False, True])
def test_a_package_never_takes_the_place_of_anything_but_itself(cohort, tmp_path, begun):
    """The folder that holds all models, named in place of a new one in it, would be gone after the training."""
    output = tmp_path / "models"
    if begun:
        with pytest.raises(Cancelled):
            train(cohort, tiny_options("vae"), output, "cpu", StopAt(1))
    output.mkdir()
    (output / "thesis.txt").write_text("years of work")
    with pytest.raises(GenaugError, match="ever overwritten") as caught:
        train(cohort, tiny_options("vae"), output, "cpu", Silent())
    assert caught.value.reason is Reason.BAD_PARAMETER and caught.value.subject == str(output)
    assert [path.name for path in output.iterdir()] == ["thesis.txt"]
    assert training_folder(output).exists() == begun


def test_a_package_without_its_training_is_not_replaced_by_another_one(cohort, tmp_path):
    package = train(cohort, tiny_options("vae", 1), tmp_path / "vae", "cpu", Silent())
    train(cohort, tiny_options("vae", 1), tmp_path / "vae", "cpu", Silent())
    shutil.rmtree(training_folder(package))
    before = read_info(package)
    with pytest.raises(GenaugError, match="ever overwritten"):
        train(cohort, tiny_options("vae", 1, seed=1), tmp_path / "vae", "cpu", Silent())
    assert read_info(package) == before


def plan(cohort, folder, **changes):
    return make_plan(cohort, tiny_options("vae", **changes), folder, Silent())


@pytest.mark.parametrize("role", ["image", "label map"])
def test_a_training_is_not_resumed_on_other_voxels(tmp_path, role):
    data = blob_cohort(tmp_path / "data", count=2)
    plan(data, tmp_path / "plan")
    case = data.cases[1]
    path, volume = (case.label, case.label_map()) if role == "label map" else (case.images["A"], case.volume("A"))
    write_volume(path, volume.with_array(volume.array[::-1].copy()))
    with pytest.raises(GenaugError, match="have changed") as caught:
        plan(data, tmp_path / "plan")
    assert caught.value.reason is Reason.BAD_PARAMETER


def test_voxels_that_are_not_read_may_change(tmp_path):
    data = split_by_ids(blob_cohort(tmp_path / "data", count=3), test=["patient2"])
    first = plan(data, tmp_path / "plan")
    data.cases[0].images["B"].write_bytes(b"not asked for")
    data.cases[2].images["A"].write_bytes(b"held out")
    assert plan(data, tmp_path / "plan") == first


def test_a_copied_cohort_is_the_same_and_an_unchanged_one_is_not_read_again(tmp_path, monkeypatch):
    data = blob_cohort(tmp_path / "data", count=2)
    first = plan(data, tmp_path / "plan")
    shutil.copytree(data.root, tmp_path / "copy", copy_function=shutil.copyfile)
    assert plan(Cohort.read(tmp_path / "copy"), tmp_path / "plan") == first
    monkeypatch.setattr(training_inputs, "sha256_file", None)
    assert plan(data, tmp_path / "plan") == first


def test_what_a_file_browser_leaves_beside_a_series_changes_nothing(cohort, tmp_path):
    """Finder writes .DS_Store into every folder that it shows; the training of a series in it goes on all the same."""
    (tmp_path / "slice.dcm").write_bytes(b"voxels")
    case = cohort.cases[0].model_copy(update={"images": {"A": tmp_path}})
    seen = [training_inputs.file_states([case], ["A"], False, {}), files_state(cohort.with_cases([case]))]
    (tmp_path / ".DS_Store").write_bytes(b"icons")
    assert [training_inputs.file_states([case], ["A"], False, {}), files_state(cohort.with_cases([case]))] == seen
    (tmp_path / "other.dcm").write_bytes(b"voxels")
    assert training_inputs.file_states([case], ["A"], False, {}) != seen[0]


def test_a_training_is_not_resumed_with_another_recipe_or_other_initial_weights(cohort, tmp_path):
    recipe = tmp_path / "mine.toml"
    text = (RECIPES_FOLDER / "vae.toml").read_text()
    recipe.write_text(text)
    weights = shutil.copytree(
        train(cohort, tiny_options("vae", 1), tmp_path / "vae", "cpu", Silent()), tmp_path / "start"
    )

    def again(initial: Path) -> None:
        options = tiny_options("vae", initial=initial).model_copy(update={"recipe": str(recipe)})
        make_plan(cohort, options, tmp_path / "plan", Silent())

    again(weights)
    moved = weights.rename(tmp_path / "moved")
    again(moved)
    (tmp_path / "elsewhere").mkdir()
    recipe = recipe.rename(tmp_path / "elsewhere" / "mine.toml")
    again(moved)
    other = train(cohort, tiny_options("vae", 1, seed=3), tmp_path / "other", "cpu", Silent())
    with pytest.raises(GenaugError, match="have changed"):
        again(other)
    recipe.write_text(text.replace("warmup = 100", "warmup = 7"))
    with pytest.raises(GenaugError, match="have changed"):
        again(moved)


def test_a_training_knows_its_text_encoder_by_its_weights(cohort, tmp_path, monkeypatch):
    monkeypatch.setattr("genaug.text._open", lambda folder: Words())
    encoder = words_folder(tmp_path / "words")

    def again() -> None:
        make_plan(cohort, tiny_options("text-ldm", text_encoder=encoder), tmp_path / "plan", Silent())

    again()
    encoder = encoder.rename(tmp_path / "moved")
    again()
    (encoder / "model.safetensors").write_bytes(b"other words")
    with pytest.raises(GenaugError, match="have changed"):
        again()


def without_labels(cohort, *ids):
    return cohort.with_cases(
        [case.model_copy(update={"label": None}) if case.id in ids else case for case in cohort.cases]
    )


def test_label_maps_of_some_cases_only_are_an_error(cohort, tmp_path):
    some = without_labels(cohort, "case1", "case4")
    for asked in (None, True):
        with pytest.raises(GenaugError, match="2 of 6 training cases: case1, case4") as caught:
            plan(some, tmp_path / "plan", with_labels=asked)
        assert caught.value.reason is Reason.UNPAIRED and "with_labels false" in caught.value.remedy
    assert not plan(some, tmp_path / "plan", with_labels=False).roles.generate_labels


def test_label_maps_that_are_asked_for_must_be_there(cohort, tmp_path):
    bare = without_labels(cohort, *[case.id for case in cohort.cases])
    with pytest.raises(GenaugError, match="6 of 6 training cases"):
        plan(bare, tmp_path / "plan", with_labels=True)
    assert not plan(bare, tmp_path / "plan").roles.generate_labels


def test_a_translation_is_not_asked_to_make_label_maps(cohort, tmp_path):
    with pytest.raises(GenaugError, match="carried over") as caught:
        make_plan(cohort, tiny_options("pix2pix", with_labels=True), tmp_path / "plan", Silent())
    assert caught.value.reason is Reason.BAD_PARAMETER


def test_one_voxel_of_a_wrong_label_is_found_in_its_file_even_where_resampling_would_lose_it(tmp_path):
    data = blob_cohort(tmp_path / "data", count=3)
    label = data.cases[1].label_map()
    array = label.array.copy()
    array[1, 1, 1] = 7
    write_volume(data.cases[1].label, label.with_array(array))
    with pytest.raises(GenaugError, match="label values 7 in 1 voxels") as caught:
        plan(data, tmp_path / "plan", max_voxels=512)
    assert caught.value.reason is Reason.WRONG_LABELS and caught.value.subject == str(data.cases[1].label)
    assert not (tmp_path / "plan").exists()


def test_a_package_can_be_the_start_of_a_training(cohort, tmp_path):
    first = train(cohort, tiny_options("vae"), tmp_path / "first", "cpu", Silent())
    slow = {"learning_rate": 1e-12, "initial": first, "seed": 5}
    second = train(cohort, tiny_options("vae", 1, **slow), tmp_path / "second", "cpu", Silent())
    before, after = weights(first), weights(second)
    assert all(torch.allclose(before[key], after[key], atol=1e-6) for key in before)


def test_a_stage_of_no_iterations_keeps_its_weights_and_codes(cohort, tmp_path):
    """Going on with the denoiser alone: the autoencoder stays, and what its codes mean does too."""
    first = train(cohort, tiny_options("ldm"), tmp_path / "first", "cpu", Silent())
    kept = {"iterations": {"autoencoder": 0, "denoiser": 2}, "initial": first}
    second = train(cohort, tiny_options("ldm", **kept), tmp_path / "second", "cpu", Silent())
    before, after = weights(first), weights(second)
    unchanged = [key for key in before if key.startswith("autoencoder.") and "code_mean" not in key]
    assert all(torch.equal(before[key], after[key]) for key in unchanged)
    torch.testing.assert_close(after["autoencoder.code_mean"], before["autoencoder.code_mean"], atol=1e-5, rtol=0)
    old, new = read_info(first).code_scale, read_info(second).code_scale
    assert new.deviation == pytest.approx(old.deviation, rel=1e-4)
    assert any(not torch.equal(before[key], after[key]) for key in before if key.startswith("denoiser."))


@pytest.mark.parametrize(("recipe", "copies"), [("vae-mixture", 1), ("vae-flow", 4)])
def test_what_is_fitted_to_codes_gets_every_case_once_and_what_is_trained_gets_it_shifted(
    cohort, tmp_path, monkeypatch, recipe, copies
):
    """Several copies of a case would be counted as so many cases by a fit that reckons with their number."""
    found = []
    encode = run.encode_all

    def encoded(*arguments):
        codes, scale = encode(*arguments)
        found.append(len(codes.target))
        return codes, scale

    monkeypatch.setattr(run, "encode_all", encoded)
    train(cohort, tiny_options(recipe, steps=1), tmp_path / "package", "cpu", Silent())
    assert found == [copies * len(cohort.part("train"))]


def test_a_prior_is_fitted_to_the_autoencoder_of_a_package_that_has_none(cohort, tmp_path):
    first = train(cohort, tiny_options("vae"), tmp_path / "first", "cpu", Silent())
    kept = {"iterations": {"vae": 0, "prior": 2}, "initial": first}
    second = train(cohort, tiny_options("vae-flow", **kept), tmp_path / "second", "cpu", Silent())
    before, after = weights(first), weights(second)
    assert all(torch.equal(before[key], after[key]) for key in before if "code_mean" not in key)
    assert any(key.startswith("prior.") for key in after)


@pytest.mark.parametrize(
    "iterations", [{"autoencoder": 0, "denoiser": 2}, {"autoencoder": 0, "denoiser": 0}], ids=["no weights", "nothing"]
)
def test_there_must_be_something_to_keep_and_something_to_train(cohort, tmp_path, iterations):
    with pytest.raises(GenaugError, match="initial weights") as caught:
        train(cohort, tiny_options("ldm", iterations=iterations), tmp_path / "ldm", "cpu", Silent())
    assert caught.value.reason is Reason.BAD_PARAMETER


def test_a_student_unlike_its_teacher_is_refused_before_the_teacher_trains(cohort, tmp_path):
    options = tiny_options("progressive-distillation", 2)
    options.overrides["stages"]["student_2"]["network"]["options"]["channels"] = [16, 24]
    with pytest.raises(GenaugError, match="student_2") as caught:
        train(cohort, options, tmp_path / "students", "cpu", Silent())
    assert caught.value.reason is Reason.BAD_RECIPE
    assert not [*tmp_path.rglob("*.ckpt"), *tmp_path.rglob("denoiser*")]


def test_a_plane_among_volumes_does_not_decide_that_the_model_is_2d(cohort, tmp_path):
    planes = blob_cohort(tmp_path / "planes", count=1, flat=True)
    odd = planes.cases[0].model_copy(update={"id": "odd", "patient": "odd"})
    mixed = cohort.with_cases([odd, *cohort.cases])
    with pytest.raises(GenaugError, match="a single plane") as caught:
        make_plan(mixed, tiny_options("vae", 1), tmp_path / "plan", Silent())
    assert caught.value.reason is Reason.BAD_PARAMETER and caught.value.subject == str(odd.image("A"))
    told = make_plan(mixed, tiny_options("vae", 1, dimension=2), tmp_path / "told", Silent())
    assert told.grid.dimension == 2


def test_a_package_of_another_shape_cannot_be_the_start(cohort, tmp_path):
    first = train(cohort, tiny_options("vae", 1), tmp_path / "first", "cpu", Silent())
    wider = {"stages": {"vae": {"network": {"options": {"latent": 4, "start": 8, "channels": [64, 64]}}}}}
    with pytest.raises(GenaugError, match="same network"):
        train(cohort, tiny_options("vae", 1, initial=first, overrides=wider), tmp_path / "second", "cpu", Silent())


@pytest.mark.parametrize("recipe", ["sagan", "wgan-gp", "ddpm"])
def test_a_package_can_start_a_training_of_its_own_recipe(cohort, tmp_path, recipe):
    """Also where spectral normalisation gives every layer a class of its own."""
    first = train(cohort, tiny_options(recipe, 1), tmp_path / "first", "cpu", Silent())
    second = train(cohort, tiny_options(recipe, 1, initial=first), tmp_path / "second", "cpu", Silent())
    assert read_info(second).trained_on.patients == cohort.patients


def test_weights_learnt_with_another_number_of_groups_are_no_start(cohort, tmp_path):
    first = train(cohort, tiny_options("ddpm", 1), tmp_path / "first", "cpu", Silent())
    options = tiny_options("ddpm", 1, initial=first)
    network = options.overrides["stages"]["denoiser"]["network"]["options"]
    network["groups"] = network["groups"] // 2
    with pytest.raises(GenaugError, match="norm") as caught:
        train(cohort, options, tmp_path / "second", "cpu", Silent())
    assert caught.value.reason is Reason.BAD_PACKAGE and "groups" in caught.value.found


def test_a_generator_can_start_from_a_decoder(cohort, tmp_path):
    first = train(cohort, tiny_options("vae"), tmp_path / "first", "cpu", Silent())
    options = tiny_options("wgan-gp", 1, learning_rate=1e-12, initial=first)
    second = train(cohort, options, tmp_path / "second", "cpu", Silent())
    before, after = weights(first), weights(second)
    assert torch.allclose(before["vae.up.first.weight"], after["gan.up.first.weight"], atol=1e-6)


def test_a_package_trained_on_a_held_out_patient_cannot_be_the_start(cohort, tmp_path):
    first = train(cohort, tiny_options("vae", 1), tmp_path / "first", "cpu", Silent())
    for part in ("test", "validation"):
        split = split_by_ids(cohort, **{part: ["patient5"]})
        with pytest.raises(GenaugError, match="'patient5'") as caught:
            train(split, tiny_options("vae", 1, initial=first), tmp_path / "second", "cpu", Silent())
        assert caught.value.reason is Reason.LEAK and caught.value.subject == str(first)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["first", "first.training"]


def test_weights_that_start_from_a_package_descend_from_its_patients_too(cohort, tmp_path):
    first = train(cohort, tiny_options("vae", 1), tmp_path / "first", "cpu", Silent())
    others = [case.model_copy(update={"patient": f"other-{case.patient}"}) for case in cohort.cases[:2]]
    options = tiny_options("vae", 1, initial=first)
    second = train(cohort.with_cases(others), options, tmp_path / "second", "cpu", Silent())
    trained_on = read_info(second).trained_on
    assert trained_on.cases == 2
    assert trained_on.patients == ["other-patient0", "other-patient1", *cohort.patients]


def test_minutes_stop_a_training_early_and_keep_it_usable(cohort, tmp_path):
    shares = []

    class Look(Silent):
        def progress(self, done, total, note=""):
            if note.startswith("vae:"):
                shares.append(done / total)

    options = tiny_options("vae", 100_000, minutes=0.02)
    package = train(cohort, options, tmp_path / "vae", "cpu", Look())
    assert 0 < read_info(package).stages["vae"].iterations < 100_000
    # The bar is about what ends the training: by iterations it would stand near its start, with hours left.
    assert shares == sorted(shares) and shares[-1] == pytest.approx(1)


def test_what_grows_is_whole_when_its_minutes_are_over_and_its_average_grows_with_it(cohort, tmp_path):
    reports: list[str] = []

    class StopAfterThree(Silent):
        """Asks to stop at the third report of the stage."""

        def progress(self, done, total, note=""):
            if note.startswith("gan:"):
                reports.append(note)
                if len(reports) == 3:
                    raise Cancelled()

    options = tiny_options("pggan", 6)
    with pytest.raises(Cancelled):
        train(cohort, options, tmp_path / "stopped", "cpu", StopAfterThree())
    state = load_checkpoint(checkpoint_path(training_folder(tmp_path / "stopped"), "gan"))
    position = state["network"]["growth._extra_state"]
    assert state["progress"] == pytest.approx(2 / 6) and 0 < position < 1
    assert position == state["average"]["module.growth._extra_state"]
    package = train(cohort, tiny_options("pggan", 100_000, minutes=0.05), tmp_path / "minutes", "cpu", Silent())
    assert 0 < read_info(package).stages["gan"].iterations < 50_000
    assert load_package(package).systems["gan"].growth.position == 1


class StopIn(Silent):
    """Asks to stop at the first report of a stage."""

    def __init__(self, stage: str) -> None:
        self.stage = stage

    def progress(self, done, total, note=""):
        if note.startswith(f"{self.stage}:"):
            raise Cancelled()


def test_a_stage_that_minutes_ended_is_left_alone_once_another_builds_on_it(cohort, tmp_path):
    """Otherwise the second stage would go on with codes that are no longer those it had learnt."""
    options = tiny_options("ldm", 100_000, minutes=0.04)
    folder = training_folder(tmp_path / "ldm")
    with pytest.raises(Cancelled):
        train(cohort, options, tmp_path / "ldm", "cpu", StopIn("denoiser"))
    before = (folder / "autoencoder.checkpoint.pt").read_bytes()
    reached = load_checkpoint(folder / "autoencoder.checkpoint.pt")["iteration"]
    assert 0 < reached < 100_000
    info = read_info(train(cohort, options, tmp_path / "ldm", "cpu", Silent()))
    assert info.stages["autoencoder"].iterations == reached
    assert (folder / "autoencoder.checkpoint.pt").read_bytes() == before


def test_a_stage_begins_anew_when_the_one_it_builds_on_is_another(cohort, tmp_path):
    class Notes(Silent):
        said = ()

        def log(self, message):
            self.said += (message,)

    train(cohort, tiny_options("ldm"), tmp_path / "ldm", "cpu", Silent())
    path = training_folder(tmp_path / "ldm") / "autoencoder.checkpoint.pt"
    state = load_checkpoint(path)
    weight = next(value for value in state["average"].values() if value.is_floating_point())
    weight += 0.1
    save_checkpoint(path, state)
    notes = Notes()
    train(cohort, tiny_options("ldm"), tmp_path / "ldm", "cpu", notes)
    assert notes.said[-1] == "denoiser: begun anew, because the stage before it has changed"
    notes = Notes()
    train(cohort, tiny_options("ldm"), tmp_path / "ldm", "cpu", notes)
    assert notes.said[-1] == "denoiser: resumed at iteration 4"


@pytest.mark.parametrize(
    ("recipe", "stage", "later"),
    [("ldm", "autoencoder", "denoiser"), ("progressive-distillation", "denoiser", "student_8")],
)
def test_a_stage_that_begins_anew_is_trained_whole_and_so_is_what_is_built_on_it(tmp_path, recipe, stage, later):
    """What the later one has learnt of weights that are gone does not keep these from being trained to their end."""
    data, options = blob_cohort(tmp_path / "data", 3, 32, flat=True), tiny_options(recipe, 3)
    folder, said = training_folder(tmp_path / "model"), Told()
    train(data, options, tmp_path / "model", "cpu", Silent())
    path = checkpoint_path(folder, stage)
    path.unlink()
    with pytest.raises(Cancelled):
        train(data, options, tmp_path / "model", "cpu", StopAt(1))
    state = load_checkpoint(path)
    assert state["iteration"] == 1
    # As another device would have it; here the same weights come again.
    next(value for value in state["average"].values() if value.is_floating_point()).add_(0.1)
    save_checkpoint(path, state)
    info = read_info(train(data, options, tmp_path / "model", "cpu", said))
    assert {one.iterations for one in info.stages.values()} == {3}
    assert f"{later}: begun anew, because the stage before it has changed" in said.lines


def test_minutes_that_end_before_a_stage_has_begun_make_no_model_and_freeze_nothing(cohort, tmp_path):
    with pytest.raises(GenaugError, match="minutes") as caught:
        train(cohort, tiny_options("ldm", 6, minutes=1e-6), tmp_path / "ldm", "cpu", Silent())
    assert caught.value.reason is Reason.BAD_PARAMETER and not (tmp_path / "ldm").exists()
    assert not checkpoint_path(training_folder(tmp_path / "ldm"), "autoencoder").exists()
    package = train(cohort, tiny_options("ldm", 6, minutes=5.0), tmp_path / "ldm", "cpu", Silent())
    assert [stage.iterations for stage in read_info(package).stages.values()] == [6, 6]


def test_stages_that_are_kept_need_no_minutes(cohort, tmp_path):
    first = train(cohort, tiny_options("ldm", 1), tmp_path / "first", "cpu", Silent())
    kept = {"iterations": {"autoencoder": 2, "denoiser": 0}, "initial": first, "minutes": 1.0}
    second = train(cohort, tiny_options("ldm", **kept), tmp_path / "second", "cpu", Silent())
    assert [stage.iterations for stage in read_info(second).stages.values()] == [2, 0]


@pytest.mark.parametrize(
    ("recipe", "stage", "expected"),
    [
        ("ldm", "autoencoder", ["denoiser"]),
        ("ldm", "denoiser", []),
        ("pavae", "mask", []),
        ("brainspade", "label_autoencoder", ["label_denoiser"]),
        ("brainspade", "label_denoiser", []),
    ],
)
def test_only_what_is_built_on_a_stage_settles_it(recipe, stage, expected):
    assert built_on(load_recipe(recipe), stage) == expected


def test_a_single_case_is_not_enough_to_fit_a_distribution_to(cohort, tmp_path):
    alone = cohort.with_cases(cohort.cases[:1])
    with pytest.raises(GenaugError, match="at least 2"):
        train(alone, tiny_options("vae-mixture", 1), tmp_path / "mixture", "cpu", Silent())
    train(alone, tiny_options("vae-flow", 1), tmp_path / "flow", "cpu", Silent())


def test_a_term_that_counts_now_and_then_is_shown_as_large_as_it_is(tmp_path):
    curves = Curves(tmp_path, "gan")
    for iteration in range(1, 21):
        rare = {"rare": 1.0} if iteration % 4 == 0 else {}
        late = {"late": 3.0} if iteration > 14 else {}
        curves.add(iteration, {"always": 2.0, **rare, **late})
    curves.close()
    first, second = read_curve(tmp_path / "gan.curves.csv")
    assert first == {"iteration": 10.0, "always": 2.0, "rare": 1.0}
    assert second == {"iteration": 20.0, "always": 2.0, "rare": 1.0, "late": 3.0}


def test_a_last_stage_that_minutes_ended_goes_on_when_there_are_more(cohort, tmp_path):
    options = tiny_options("vae", 100_000, minutes=0.01)
    reached = [
        read_info(train(cohort, options, tmp_path / "vae", "cpu", Silent())).stages["vae"].iterations for _ in range(2)
    ]
    assert 0 < reached[0] < reached[1] < 100_000


def test_the_average_forgets_where_it_started_and_then_has_the_asked_memory():
    average = 0.0
    for done in range(5):
        average += (1 - average) * average_weight(0.9, done)
    assert average > 0.95
    assert average_weight(0.9, 10_000) == pytest.approx(0.1)


def test_the_average_takes_the_first_weights_whole_and_counts_where_no_device_is_asked(cohort, tmp_path):
    system = load_package(train(cohort, tiny_options("vae", 1), tmp_path / "vae", "cpu", Silent())).system
    average = Average(system, 0.5)
    with torch.no_grad():
        for parameter in system.parameters():
            parameter.fill_(3.0)
    average.update_parameters(system)
    assert all(torch.equal(value, torch.full_like(value, 3.0)) for value in average.system.parameters())
    with torch.no_grad():
        for parameter in system.parameters():
            parameter.fill_(5.0)
    average.update_parameters(system)
    weight = average_weight(0.5, 1)
    expected = 3 + weight * 2
    assert all(torch.allclose(value, torch.full_like(value, expected)) for value in average.system.parameters())
    assert int(average.n_averaged) == 2 and average.n_averaged.device.type == "cpu"


def test_every_epoch_is_its_own_permutation_of_all_items():
    epochs = [[shuffled_item(1, "s", epoch * 7 + i, 7) for i in range(7)] for epoch in range(3)]
    assert all(sorted(epoch) == list(range(7)) for epoch in epochs)
    assert epochs[0] != epochs[1]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"channels": ["X"]}, "channel 'X'"),
        ({"channels": ["A", "A"]}, "channel 'A' twice"),
        ({"iterations": {"gan": 1}}, "stage 'gan'"),
        ({"window": (16, 16, 16)}, "window"),
        ({"precision": "16-mixed"}, "32-true on the device cpu"),
    ],
)
def test_options_that_do_not_fit_are_refused_in_words(cohort, tmp_path, changes, words):
    with pytest.raises(GenaugError, match=words) as caught:
        train(cohort, tiny_options("vae", **changes), tmp_path / "vae", "cpu", Silent())
    assert caught.value.reason is Reason.BAD_PARAMETER
    assert list(tmp_path.iterdir()) == [], "a refused training leaves nothing"


@pytest.mark.parametrize(("device", "count"), [("cuda:1", 2), ("cuda", 3), ("mps", 2)])
def test_devices_that_cannot_train_together_are_refused(cohort, tmp_path, monkeypatch, device, count):
    for name, answer in {"is_available": True, "device_count": 2}.items():
        monkeypatch.setattr(torch.cuda, name, lambda answer=answer: answer)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    with pytest.raises(GenaugError) as caught:
        train(cohort, tiny_options("vae", devices=count), tmp_path / "vae", device, Silent())
    assert caught.value.reason is Reason.BAD_PARAMETER and caught.value.subject == "devices"
    assert list(tmp_path.iterdir()) == []


def test_a_gpu_that_is_not_there_is_said(cohort, tmp_path):
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(GenaugError, match="torch sees no GPU of this kind"):
        train(cohort, tiny_options("vae"), tmp_path / "vae", "cuda", Silent())
