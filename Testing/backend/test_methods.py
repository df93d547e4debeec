"""What is said of the methods: in the list, on their pages, in the documents, and only what was measured."""

import json
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from genaug.cli import main
from genaug.errors import GenaugError, Reason
from genaug.files import write_json
from genaug.methods import Measured, Method, find_method, list_methods, measured
from genaug.recipe import list_recipes, load_recipe, parse_recipe

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "Testing"))
import methodsTable  # noqa: E402


def genaug(*arguments: str) -> str:
    done = CliRunner().invoke(main, ["methods", *arguments])
    assert done.exit_code == 0, done.output
    return done.stdout


def test_every_recipe_is_a_method_and_so_is_what_needs_no_training():
    names = [method.name for method in list_methods()]
    assert len(set(names)) == len(names) == len(list_recipes()) + 1
    assert find_method("carvemix").command and find_method("vae").command is None


def test_the_list_tells_task_conditions_and_sizes():
    rows = {line.split()[0]: line for line in genaug().splitlines() if line.startswith("  ")}
    assert "translation" in rows["pgan"] and "image, neighbours" in rows["pgan"]
    assert "2D" in rows["pgan"] and "3D" not in rows["pgan"] and "2D 3D" in rows["pix2pix"]
    assert "no training" in rows["carvemix"]


def test_what_was_not_measured_is_said_not_to_be(monkeypatch):
    monkeypatch.setattr("genaug.methods.measured", dict)
    list_methods.cache_clear()
    assert "not measured" in genaug("vae") and "not measured" in genaug()
    list_methods.cache_clear()


def test_what_was_measured_is_shown(tmp_path, monkeypatch):
    row = Measured(suite="volumes", score="kid", value=0.0123, seconds_per_case=0.25, budget_minutes=5)
    write_json(tmp_path / "measured.json", {"vae": row.model_dump()})
    found = measured(tmp_path / "measured.json")
    monkeypatch.setattr("genaug.methods.measured", lambda: found)
    list_methods.cache_clear()
    page = " ".join(genaug("vae").split())
    assert "kid 0.0123, 0.25 s per case, on volumes after 5 minutes" in page
    described = {one["name"]: one for one in json.loads(genaug("--json"))}
    assert described["vae"]["measured"]["value"] == 0.0123 and described["ldm"]["measured"] is None
    list_methods.cache_clear()


def test_what_ships_was_measured_of_recipes_that_ship():
    assert set(measured()) <= {recipe.name for recipe in list_recipes()}


def test_nothing_is_measured_where_there_is_no_file(tmp_path):
    assert measured(tmp_path / "measured.json") == {}


def test_a_method_without_training_says_what_to_run():
    assert "genaug insert" in genaug("carvemix")
    assert json.loads(genaug("carvemix", "--json"))["name"] == "carvemix"


@pytest.mark.parametrize("layer", [{"stages": 3}, {"stages": {"vae": 3}}, {"stages": {"vae": {"network": 3}}}])
def test_an_override_that_is_no_table_is_told_with_its_place(layer):
    with pytest.raises(GenaugError, match="found 3") as caught:
        load_recipe("vae").resolve(3, layer)
    assert caught.value.reason is Reason.BAD_RECIPE
    with pytest.raises(GenaugError):
        load_recipe("progressive-distillation").resolve(3, layer)


def test_a_method_without_training_is_no_recipe_to_train():
    with pytest.raises(GenaugError, match="genaug methods carvemix"):
        load_recipe("carvemix")


def test_an_unknown_method_names_the_known_ones():
    with pytest.raises(GenaugError, match="carvemix") as caught:
        find_method("gan9000")
    assert caught.value.reason is Reason.BAD_RECIPE or "carvemix" in caught.value.expected


def test_the_table_of_the_document_is_that_of_the_recipes():
    text = methodsTable.DOCUMENT.read_text(encoding="utf-8")
    assert methodsTable.renewed(text) == text, "run python Testing/methodsTable.py"


def test_the_documents_example_is_a_recipe_of_less_than_twenty_lines(tmp_path):
    text = methodsTable.DOCUMENT.read_text(encoding="utf-8")
    example = text.split("```toml\n")[1].split("```")[0]
    assert len(example.splitlines()) < 20
    path = tmp_path / "my-method.toml"
    path.write_text(example)
    recipe = load_recipe(path)
    assert set(recipe.stages["translator"].loss) == {"l1", "adversarial", "style"}
    assert Method.of(recipe).name == "my-method" and "style" in genaug(str(path))


def test_a_term_may_stand_under_another_name_than_its_own():
    recipe = load_recipe("cyclegan")
    assert recipe.stages["cycle"].loss["reverse"].kind == "adversarial"


def test_only_a_translation_can_be_unpaired():
    data = load_recipe("vae").model_dump()
    with pytest.raises(GenaugError, match="unpaired"):
        parse_recipe({**data, "unpaired": True}, "vae")
