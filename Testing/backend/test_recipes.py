"""What every recipe promises, whatever its method: it trains, goes on where it was stopped, and makes cases again."""

from pathlib import Path

import numpy as np
import pytest
import torch
from engine_data import Told, Words, blob_cohort, tiny_options, words_folder
from genaug.case import Case
from genaug.cohort import Cohort
from genaug.errors import Cancelled, GenaugError, Reason
from genaug.package import load_package, read_info
from genaug.parameters import SynthesisParameters, TranslationParameters
from genaug.progress import Silent
from genaug.recipe import FOLDER, Recipe, list_recipes, load_recipe
from genaug.record import Record
from genaug.synthesis import remake as make_again
from genaug.synthesis import synthesize
from genaug.training import train
from genaug.translation import remake as translate_again
from genaug.translation import translate

EVERY = [(recipe, dimension) for recipe in list_recipes() for dimension in recipe.dimensions]
STEPS = 2


@pytest.fixture(scope="module")
def cohorts(tmp_path_factory) -> dict[tuple[int, bool], Cohort]:
    """By dimension, and whether it is for a U-Net, which needs more voxels."""
    made = {}
    for dimension in (2, 3):
        flat = dimension == 2
        for wide in (False, True):
            folder = tmp_path_factory.mktemp("data")
            made[dimension, wide] = blob_cohort(folder, 3, 32 if flat else 16, flat, long=wide and not flat)
    return made


@pytest.fixture
def encoder(tmp_path, monkeypatch) -> Path:
    monkeypatch.setattr("genaug.text._open", lambda folder: Words())
    return words_folder(tmp_path / "words")


class StopAfter(Silent):
    """Asks the training to stop once, after its first step."""

    def __init__(self) -> None:
        self.asked = False

    def progress(self, done: int, total: int, note: str = "") -> None:
        if ":" in note and not self.asked:
            self.asked = True
            raise Cancelled()


def data_for(recipe: Recipe, dimension: int, cohorts: dict[tuple[int, bool], Cohort]) -> Cohort:
    cohort = cohorts[dimension, recipe.task in ("translation", "infill")]
    if "images" not in recipe.conditions:
        return cohort
    first, *others = cohort.cases
    lacking = first.model_copy(update={"images": {n: path for n, path in first.images.items() if n != "C"}})
    return cohort.with_cases([lacking, *others])


def weights(package: Path) -> dict[str, torch.Tensor]:
    systems = load_package(package).systems
    return {f"{stage}.{key}": v for stage, system in systems.items() for key, v in system.state_dict().items()}


@pytest.mark.parametrize(("recipe", "dimension"), EVERY, ids=[f"{recipe.name}-{d}d" for recipe, d in EVERY])
def test_a_recipe_trains_resumes_packages_makes_cases_and_makes_them_again(
    recipe, dimension, cohorts, encoder, tmp_path
):
    data = data_for(recipe, dimension, cohorts)
    reads_text = "text" in recipe.conditions
    options = tiny_options(recipe.name, STEPS, **({"text_encoder": encoder} if reads_text else {}))
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
    made, given = make(recipe, package, data, tmp_path / "made", encoder)
    record = Record.read(made.record)
    assert record.weights is not None and record.weights.recipe == recipe.name
    again = (translate_again if recipe.task == "translation" else make_again)(record, package, given)
    for name in info.roles.target:
        voxels = made.volume(name).array
        assert np.isfinite(voxels).all()
        assert np.array_equal(again[name].array, voxels)
    if info.roles.generate_labels:
        assert np.array_equal(again["label"].array, made.label_map().array)


def make(recipe: Recipe, package: Path, data: Cohort, output: Path, encoder: Path) -> tuple[Case, Case | None]:
    """A case, and the one that it was made from."""
    first = data.cases[0]
    if recipe.task == "translation":
        made = translate(package, data.with_cases([first]), output, TranslationParameters(overlap=0), 5, "cpu")
        return made.cases[0], first
    given = data if "label_map" in recipe.conditions or recipe.task == "infill" else None
    text = {"text_encoder": encoder} if "text" in recipe.conditions else {}
    parameters = SynthesisParameters(count=1, **text)
    return synthesize(package, output, parameters, 5, "cpu", given=given).cases[0], first if given else None


@pytest.mark.parametrize("recipe", list_recipes(), ids=lambda recipe: recipe.name)
def test_a_recipe_is_short_and_tells_what_it_is_and_suits(recipe):
    assert len((FOLDER / f"{recipe.name}.toml").read_text(encoding="utf-8").splitlines()) <= 56
    assert all((recipe.title, recipe.citation, recipe.distinct, recipe.suits, recipe.unsuited))


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
