"""What docs/METHODS_RESULTS.md says of the rows."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click import ClickException
from click.testing import CliRunner
from genaug.case import write_case
from genaug.cohort import Cohort
from genaug.files import write_json
from genaug.methods import find_method
from genaug.parameters import TrainingOptions
from genaug.progress import Silent
from genaug.recipe import list_recipes, load_recipe
from genaug.volume import LABEL, Volume
from numpy.typing import NDArray

from benchmarks import findings
from benchmarks.methods import RESULTS, TRAINED_AS, Plan, contrast, main, plan_of
from benchmarks.methods_table import DOCUMENT, MEASURED, write_tables
from benchmarks.packages import trained
from benchmarks.segmentation import _augmented
from benchmarks.suites import Suite


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


def augmented(folder: Path, name: str, dice: NDArray[np.float64]) -> None:
    """A row of (seeds, patients)."""
    seeds = {str(i + 1): {"by_patient": {f"p{j}": float(d) for j, d in enumerate(of)}} for i, of in enumerate(dice)}
    content = {"row": name, "dice": float(dice.mean()), "seeds": seeds}
    (folder / f"low-data-{name.replace(' ', '-')}.json").write_text(json.dumps(content))


def verdicts(folder: Path) -> dict[str, str]:
    lines = findings.low_data(folder).splitlines()[2:]
    return {line.split("|")[1].strip(): line.split("|")[-2].strip() for line in lines}


def test_what_is_gone_of_a_lesion_is_told_by_patient_and_the_longest_training_is_shown(tmp_path):
    """The mean and the range are over patients, each against its own lesions."""
    for minutes, after in ((8, 60.0), (32, 20.0)):
        errors = {"one": (100.0, after, 5.0), "other": (400.0, after, 7.0)}
        row = {"row": f"ant-gan-{minutes}", "budget_minutes": minutes, "iterations": {"cycle": 1800}, "errors": errors}
        write_json(tmp_path / "removal" / f"{row['row']}.json", row)
    picture, _, _, _, short, long = findings.removal(tmp_path / "removal").splitlines()
    assert picture.endswith("(../benchmarks/results/removal/ant-gan-32.jpg)")
    assert short == "| 8 | 1,800 | 2 | 250 | 60 | 62 (40 to 85) | 6 |"
    assert long == "| 32 | 1,800 | 2 | 250 | 20 | 88 (80 to 95) | 6 |"


def test_a_method_helps_where_most_patients_gain(tmp_path):
    rng = np.random.default_rng(1)
    real = rng.normal(0.7, 0.1, (3, 50))
    augmented(tmp_path, "real alone", real)
    augmented(tmp_path, "good", real + 0.05 + rng.normal(0, 0.05, (3, 50)))
    augmented(tmp_path, "bad", real - 0.05 + rng.normal(0, 0.05, (3, 50)))
    # One patient of fifty gains a lot: a mean above that of the real cases, and no reason to expect it of the next.
    lucky = real.copy()
    lucky[:, 0] += 3
    augmented(tmp_path, "lucky", lucky + rng.normal(0, 0.02, (3, 50)))
    assert verdicts(tmp_path) == {"real alone": "", "lucky": "undecided", "good": "helps", "bad": "harms"}


def test_methods_without_effect_seldom_help(tmp_path):
    """Nine of them, of which each is tested: the chance that any is said to help or harm stays near 5 %."""
    rng = np.random.default_rng(2)
    said = 0
    for _ in range(20):
        for name in ("real alone", *(f"method {i}" for i in range(9))):
            augmented(tmp_path, name, rng.normal(0.7, 0.05, (3, 50)))
        said += any(verdict in ("helps", "harms") for verdict in verdicts(tmp_path).values())
    assert said <= 3


def test_what_was_not_measured_is_said_not_to_be(tmp_path):
    for section in (findings.covariates, findings.removal, findings.sampling, findings.low_data, findings.brainspade):
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


def test_what_is_left_of_a_finding_is_its_contrast_with_what_lies_around(tmp_path):
    """Half of it, where the image was brought half way to its surroundings; what lies far away does not count."""
    affine = np.diag([2.0, 2.0, 5.0, 1.0])
    marked = np.zeros((48, 48, 4), np.uint8)
    marked[20:26, 20:26, 1:3] = 1
    image = np.zeros(marked.shape, np.float32)
    image[4:44, 4:44] = 100.0
    image[4:12, 4:44] = 180.0
    before, after = image.copy(), image.copy()
    before[marked > 0], after[marked > 0] = 300.0, 200.0
    cases = {}
    for name, array in (("one", before), ("made-one", after)):
        volume = Volume(array, affine, "MR")
        cases[name] = write_case(tmp_path, name, "one", {"t1": volume}, Volume(marked, affine, LABEL))
    cohort = Cohort(name="real", root=tmp_path, channels={"t1": "MR"}, cases=[cases["one"]])
    found = contrast(Suite("findings", cohort, {}, "t1"), cohort.with_cases([cases["made-one"]]))
    assert found == {"one": (200.0, 100.0)}


def test_a_longer_training_needs_the_row_that_it_prolongs(tmp_path, monkeypatch):
    monkeypatch.setattr("benchmarks.methods.RESULTS", tmp_path)
    told = CliRunner().invoke(main, ["--only", "syndiff", "--longer", "4"])
    assert told.exit_code == 1
    assert "syndiff.json: no measured row; measure it without --longer first" in told.output
    assert CliRunner().invoke(main, ["--longer", "4"]).exit_code == 2


def test_a_package_is_kept_for_what_was_asked_and_trained_anew_for_anything_else(tmp_path, monkeypatch):
    """A row of four minutes must not show what eight have made."""
    trainings = []

    def train(cohort: Cohort, options: TrainingOptions, package: Path, *rest: object) -> None:
        trainings.append(options)
        package.mkdir(parents=True)

    monkeypatch.setattr("benchmarks.packages.train", train)
    package, cohort = tmp_path / "vae", Cohort(name="none", root=tmp_path, channels={}, cases=[])
    asked = TrainingOptions(recipe="vae", iterations={"vae": 8}, seed=1)
    for options in (
        asked,
        asked,
        asked.model_copy(update={"iterations": {"vae": 4}}),
        asked.model_copy(update={"seed": 2}),
    ):
        assert trained(package, cohort, options, Silent()) == package
    assert [(options.iterations["vae"], options.seed) for options in trainings] == [(8, 1), (4, 1), (8, 2)]


def test_a_turn_of_the_segmenters_augmentation_keeps_shapes():
    """A disc stays a disc, whatever the sides of the image."""
    first, second = np.mgrid[:48, :64]
    disc = torch.from_numpy(((first - 23.5) ** 2 + (second - 31.5) ** 2 < 14**2).astype(np.int64))[None, None]
    many = disc.repeat(16, 1, 1, 1)
    _, moved = _augmented(many.float(), many, np.random.default_rng(3))
    sides = [np.linalg.eigvalsh(np.cov(np.argwhere(mask).T)) for mask in moved[:, 0].numpy()]
    assert np.mean([short / long for short, long in sides]) > 0.96


def test_other_seeds_are_given_what_the_first_was(tmp_path, monkeypatch):
    """Eight minutes hold more or less on another day; from seed to seed nothing but the seed is to differ."""
    monkeypatch.setattr("benchmarks.methods.RESULTS", tmp_path)
    row = {"row": "ldm", "budget_minutes": 8, "iterations": {"autoencoder": 800, "denoiser": 3200}, "core_minutes": 7.9}
    write_json(tmp_path / "ldm.json", row)
    assert plan_of("ldm", 8) == Plan(row["iterations"], 7.9)
    for name, minutes in (("ldm", 4), ("lsgan", 8)):
        with pytest.raises(ClickException, match="measure seed 1 first"):
            plan_of(name, minutes)
