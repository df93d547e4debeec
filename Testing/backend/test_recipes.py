"""What every recipe promises, whatever its method: it trains, goes on where it was stopped, and makes cases again."""

from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from engine_data import Told, blob_cohort, tiny_options
from genaug.cli import main
from genaug.cohort import Cohort
from genaug.errors import Cancelled, GenaugError, Reason
from genaug.package import read_info
from genaug.progress import Silent
from genaug.recipe import FOLDER, list_recipes, load_recipe, recipe_path
from genaug.recipe_check import check_recipe
from genaug.record import Record
from genaug.synthesis import remake as make_again
from genaug.training import train
from genaug.translation import remake as translate_again
from recipe_kit import EVERY, NAMES, StopAfter, data_for, make, options_for, recipe_cohorts, text_encoder, weights


@pytest.fixture(scope="module")
def cohorts(tmp_path_factory) -> dict[tuple[int, bool], Cohort]:
    return recipe_cohorts(tmp_path_factory)


@pytest.fixture
def encoder(tmp_path, monkeypatch) -> Path:
    return text_encoder(tmp_path, monkeypatch)


@pytest.mark.parametrize(("recipe", "dimension"), EVERY, ids=NAMES)
def test_a_recipe_trains_resumes_packages_makes_cases_and_makes_them_again(
    recipe, dimension, cohorts, encoder, tmp_path
):
    data, options = data_for(recipe, dimension, cohorts), options_for(recipe, dimension, encoder)
    told = Told()
    package = train(data, options, tmp_path / "whole", "cpu", told)
    assert any("MB expected" in line for line in told.lines), told.lines
    info = read_info(package)
    assert info.grid.dimension == dimension
    assert info.trained_on.patients == ["patient0", "patient1", "patient2"]
    assert all(torch.isfinite(value).all() for value in weights(package).values())
    with pytest.raises(Cancelled):
        train(data, options, tmp_path / "parts", "cpu", StopAfter())
    resumed, whole = weights(train(data, options, tmp_path / "parts", "cpu", Silent())), weights(package)
    assert resumed.keys() == whole.keys()
    assert all(torch.equal(resumed[key], whole[key]) for key in whole)
    made, given = make(recipe, package, data, tmp_path / "made", encoder, "cpu")
    record = Record.read(made.record)
    assert record.weights is not None and record.weights.recipe == recipe.name
    again = (translate_again if recipe.task == "translation" else make_again)(record, package, given)
    for name in info.roles.target:
        voxels = made.volume(name).array
        assert np.isfinite(voxels).all()
        assert np.array_equal(again[name].array, voxels)
    if info.roles.generate_labels:
        assert np.array_equal(again["label"].array, made.label_map().array)


@pytest.mark.parametrize("recipe", list_recipes(), ids=lambda recipe: recipe.name)
def test_a_recipe_is_short_and_tells_what_it_is_and_suits(recipe):
    assert len((FOLDER / f"{recipe.name}.toml").read_text(encoding="utf-8").splitlines()) <= 56
    assert all((recipe.title, recipe.citation, recipe.distinct, recipe.suits, recipe.unsuited))


@pytest.mark.parametrize("recipe", list_recipes(), ids=lambda recipe: recipe.name)
def test_a_recipe_names_only_what_there_is(recipe):
    dimension = recipe.dimensions[-1]
    check_recipe(recipe.resolve(dimension), dimension, recipe_path(recipe.name))


def written(folder: Path, base: str, *changes: str) -> Path:
    """A recipe of one's own that differs from another in some lines."""
    known = load_recipe(base)
    about = ("title", "family", "task", "citation", "distinct", "suits", "unsuited")
    lines = [f'extends = "{base}"', 'name = "mine"', *(f'{key} = """{getattr(known, key)}"""' for key in about)]
    lines += [f"conditions = {list(known.conditions)}", f"dimensions = {list(known.dimensions)}"]
    lines += [f"{key} = {str(getattr(known, key)).lower()}" for key in ("with_labels", "unpaired")]
    path = folder / "mine.toml"
    path.write_text("\n".join([*lines, *changes]), encoding="utf-8")
    return path


UNET = "stages.translator."
GAME = f"{UNET}loss.adversarial.options.game"
MISTAKES = {
    "network": ("pix2pix", f'{UNET}network.kind = "translater"', f"{UNET}network.kind", "translator"),
    "critic": ("pix2pix", f'{UNET}critics.critic.kind = "patch_critik"', f"{UNET}critics.critic.kind", "patch_critic"),
    "term": ("pix2pix", f"{UNET}loss.stile = 1", f"{UNET}loss.stile", "style"),
    "kind": ("pix2pix", f'{UNET}loss.mine = {{ kind = "perceptuel" }}', f"{UNET}loss.mine.kind", "perceptual"),
    "critic's term": ("pix2pix", f"{UNET}critic_loss.critic.r2 = 1", f"{UNET}critic_loss.critic.r2", "r1"),
    "late term": ("pix2pix", f"{UNET}loss.stile.start = 900000", f"{UNET}loss.stile", "style"),
    "option": ("pix2pix", f"{UNET}loss.ssim.options.windov = 5", f"{UNET}loss.ssim.options.windov", "window"),
    "value": ("pix2pix", f'{UNET}loss.ssim.options.window = "wide"', f"{UNET}loss.ssim.options.window", "integer"),
    "game": ("pix2pix", f'{GAME} = "hinche"', GAME, "hinge"),
    "network's option": ("pix2pix", f"{UNET}network.options.feetures = [8]", f"{UNET}network.options.f", "features"),
    "passed on": ("rhvae", "stages.vae.network.options.chanels = [8]", "network.options.chanels", "channels"),
    "of a part": ("syndiff", "stages.syndiff.network.options.diffusion.lattent = 8", "stages.syndiff", "lattent"),
    "of planes": ("slice-vae", "stages.vae.network.options.lattent = 8", "stages.vae", "lattent"),
    "of a schedule": ("ddpm", "stages.denoiser.network.options.schedule.kint = 1", "stages.denoiser", "kint"),
    "critic's option": (
        "pix2pix",
        f"{UNET}critics.critic.options.layer = 2",
        f"{UNET}critics.critic.options.layer",
        "layers",
    ),
    "asked critic": (
        "pix2pix",
        f'{UNET}loss.style.options.critic = "kritik"',
        f"{UNET}loss.style.options.critic",
        "critic",
    ),
    "critic by default": ("unet-l1", f"{UNET}loss.adversarial = 1", f"{UNET}loss.adversarial.options.critic", "none"),
    "fake": ("cyclegan", 'stages.cycle.loss.reverse.options.fake = "revert"', "loss.reverse.options.fake", "reversed"),
    "real": (
        "cyclegan",
        'stages.cycle.critic_loss.source_critic.remembering.options.real = "sauce"',
        "critic_loss.source_critic.remembering.options.real",
        "cycle_source",
    ),
    "of": ("regression-translation", 'stages.denoiser.loss.l1.options.of = "predikt"', "l1.options.of", "prediction"),
    "output of a term": ("pix2pix", f"{UNET}loss.kl = 1", f"{UNET}loss.kl", "generated"),
    "teacher": ("ddpm", "stages.denoiser.loss.distillation = 1", "stages.denoiser.loss.distillation", "fits"),
    "memory": ("pix2pix", f"{UNET}critic_loss.critic.remembering = 1", f"{UNET}critic_loss.critic.remembering", "fits"),
    "layers": (
        "pix2pix",
        f'{UNET}critics.critic = {{ kind = "critic", options = {{ channels = [8], layers = false }} }}\n'
        f"{UNET}loss.feature_matching = 1",
        f"{UNET}loss.feature_matching",
        "fits",
    ),
    "sampler": ("ddpm", 'sampler.name = "dpmp_2m"', "sampler.name", "dpmpp_2m"),
    "sampler of one pass": ("pix2pix", 'sampler.name = "ddim"', "sampler.name", "one_pass"),
    "no sampler": ("ddpm", 'sampler.name = "one_pass"', "sampler.name", "fastdpm_step"),
    "sampler's option": ("ddim", "sampler.options.etta = 1", "sampler.options.etta", "eta"),
    "spacing": ("ddim", 'sampler.options.spacing = "even"', "sampler.options.spacing", "uniform"),
    "levels": ("ddgan", "sampler.steps = 7", "sampler", "levels"),
    "stage followed": ("progressive-distillation", 'stages.student_1.follows = "student_3"', "student_3", "recipe"),
    "window": ("ddpm", "window = [64, 64]", "window", "recipe"),
    "stage in the defaults": (
        "pix2pix",
        "defaults.3d.stages.tranzlator.training.batch_size = 1",
        "tranzlator",
        "recipe",
    ),
}
"""Recipe, the line that spoils it, the key that must be named, and what must be expected first."""


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_in_a_recipe_is_told_with_its_file_its_place_and_the_nearest_name(mistake, tmp_path):
    base, line, key, expected = MISTAKES[mistake]
    path = written(tmp_path, base, line)
    with pytest.raises(GenaugError) as caught:
        recipe = load_recipe(path)
        dimension = recipe.dimensions[-1]
        check_recipe(recipe.resolve(dimension), dimension, path)
    error = caught.value
    assert error.reason is Reason.BAD_RECIPE and error.subject == str(path) and key in error.found
    if "one of " in error.expected or "of the network: " in error.expected:
        first = error.expected.replace("one of ", "").split(": ")[-1].split(", ")[0]
        assert first.startswith(expected), error.expected
    else:
        assert expected in f"{error.found} {error.expected}"
    assert error.remedy


def test_an_option_that_a_network_passes_on_or_keeps_for_its_sampler_is_known(tmp_path):
    for base, line in (
        ("rhvae", "stages.vae.network.options.corruption = 0.1"),
        ("ddm", "sampler.options.amplitude = 0.5"),
        ("pix2pix", "stages.translator.network.options.dropout = 0"),
    ):
        check_recipe(load_recipe(written(tmp_path, base, line)).resolve(2), 2, "mine")


def test_a_mistake_stops_the_page_of_a_file_and_a_training_before_anything_is_written(tmp_path):
    path = written(tmp_path, "pix2pix", "stages.translator.loss.stile.start = 900")
    page = CliRunner().invoke(main, ["methods", str(path)])
    assert page.exit_code == 2 and "stages.translator.loss.stile" in page.stderr
    cohort = blob_cohort(tmp_path / "data", 1, 32, flat=True)
    options = tiny_options("pix2pix", 1).model_copy(update={"recipe": str(path)})
    with pytest.raises(GenaugError, match="stile") as caught:
        train(cohort, options, tmp_path / "package", "cpu", Silent())
    assert caught.value.reason is Reason.BAD_RECIPE and caught.value.subject == str(path)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["data", "mine.toml"]


def test_a_term_that_is_not_there_cannot_be_taken_away(tmp_path):
    """It would otherwise be there, with a weight of nothing, and cost its time."""
    path = tmp_path / "mine.toml"
    known = (FOLDER / "cgan-dar.toml").read_text(encoding="utf-8")
    path.write_text(f"{known}stages.cycle.loss.cycle = false\n", encoding="utf-8")
    assert "cycle" not in load_recipe(path).stages["cycle"].loss
    path.write_text(f"{known}stages.cycle.loss.identity = false\n", encoding="utf-8")
    with pytest.raises(GenaugError, match="takes a term away") as caught:
        load_recipe(path)
    assert caught.value.reason is Reason.BAD_RECIPE
