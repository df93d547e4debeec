"""What docs/METHODS_RESULTS.md says of the rows."""

import json
from pathlib import Path
from typing import Any

import pytest
from genaug.methods import find_method
from genaug.recipe import list_recipes, load_recipe

from benchmarks import findings
from benchmarks.methods import RESULTS, TRAINED_AS
from benchmarks.methods_table import DOCUMENT, MEASURED, write_tables


def row(recipe: str, seed: int, frechet: float) -> dict[str, Any]:
    scores = [{"name": "kid", "value": 1.0}, {"name": "frechet", "value": frechet}]
    return {"recipe": recipe, "seed": seed, "evaluation": {"scores": scores}}


def test_the_order_of_the_review_is_told_as_it_was_found():
    rows = [row("ldm", 1, 300), row("vae-gan", 1, 400), row("lsgan", 1, 350)]
    rows += [row("ldm", 2, 320), row("vae-gan", 2, 410), row("lsgan", 2, 310)]
    told = findings.ordering(rows)
    assert "`ldm` is below `vae-gan` with 2 of 2 seeds" in told
    assert "`ldm` is below `lsgan` with 1 of 2 seeds" in told
    # A seed that one of the three lacks compares nothing.
    assert "seed 3" not in findings.ordering([*rows, row("ldm", 3, 1)])
    assert findings.ordering(rows[:2]) == findings.NOTHING


def augmented(folder: Path, name: str, dice: dict[str, float]) -> None:
    content = {"row": name, "dice": sum(dice.values()) / len(dice), "seeds": {s: {"dice": d} for s, d in dice.items()}}
    (folder / f"low-data-{name.replace(' ', '-')}.json").write_text(json.dumps(content))


def test_a_method_helps_only_when_it_does_with_every_seed(tmp_path):
    augmented(tmp_path, "real alone", {"1": 0.5, "2": 0.6})
    augmented(tmp_path, "good", {"1": 0.6, "2": 0.61})
    augmented(tmp_path, "lucky", {"1": 0.7, "2": 0.59})
    augmented(tmp_path, "bad", {"1": 0.4, "2": 0.5})
    lines = findings.low_data(tmp_path).splitlines()
    verdicts = {line.split("|")[1].strip(): line.split("|")[-2].strip() for line in lines}
    assert verdicts["good"] == "helps" and verdicts["lucky"] == "undecided" and verdicts["bad"] == "harms"
    assert [line.split("|")[1].strip() for line in lines[2:]] == ["real alone", "lucky", "good", "bad"]


def test_what_was_not_measured_is_said_not_to_be(tmp_path):
    for section in (findings.covariates, findings.sampling, findings.low_data, findings.brainspade):
        assert section(tmp_path) == findings.NOTHING


@pytest.mark.parametrize(("name", "base"), TRAINED_AS.items())
def test_recipes_that_share_a_training_differ_in_the_sampler_alone(name, base):
    """Otherwise a row would be of a model that the recipe does not train."""
    one, other = load_recipe(name), load_recipe(base)
    assert (one.stages, one.conditions, one.dimensions) == (other.stages, other.conditions, other.dimensions)
    assert one.sampler != other.sampler
    assert base in {recipe.name for recipe in list_recipes()} and find_method(name).name == name


def test_the_document_is_made_of_the_rows_that_are_there(tmp_path, monkeypatch):
    copy = tmp_path / "document.md"
    copy.write_text(DOCUMENT.read_text(encoding="utf-8"), encoding="utf-8")
    monkeypatch.setattr("benchmarks.methods_table.MEASURED", tmp_path / "measured.json")
    write_tables(RESULTS, copy)
    assert copy.read_text(encoding="utf-8") == DOCUMENT.read_text(encoding="utf-8"), "run make bench-methods --table"
    written = MEASURED.read_text(encoding="utf-8") if MEASURED.is_file() else "{}"
    assert json.loads((tmp_path / "measured.json").read_text(encoding="utf-8")) == json.loads(written)
