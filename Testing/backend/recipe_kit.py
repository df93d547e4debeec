"""What the tests of every recipe share, on a CPU and on a GPU: data that suits it, a short training, a case of it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from engine_data import Words, blob_cohort, tiny_options, words_folder
from genaug.case import Case
from genaug.cohort import Cohort
from genaug.errors import Cancelled
from genaug.imageio import write_volume
from genaug.package import load_package
from genaug.parameters import SynthesisParameters, TrainingOptions, TranslationParameters
from genaug.progress import Silent
from genaug.recipe import Recipe, list_recipes
from genaug.synthesis import synthesize
from genaug.translation import translate

EVERY = [(recipe, dimension) for recipe in list_recipes() for dimension in recipe.dimensions]
NAMES = [f"{recipe.name}-{dimension}d" for recipe, dimension in EVERY]
STEPS = 2


def recipe_cohorts(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[int, bool], Cohort]:
    """By dimension, and whether it is for a U-Net, which needs more voxels."""
    made = {}
    for dimension in (2, 3):
        flat = dimension == 2
        for wide in (False, True):
            folder = tmp_path_factory.mktemp("data")
            made[dimension, wide] = blob_cohort(folder, 3, 32 if flat else 16, flat, long=wide and not flat)
    return made


def text_encoder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where an encoder of words seems to be."""
    monkeypatch.setattr("genaug.text._open", lambda folder: Words())
    return words_folder(folder / "words")


class StopAfter(Silent):
    """Asks the training to stop once, after its first step."""

    def __init__(self) -> None:
        self.asked = False

    def progress(self, done: int, total: int, note: str = "") -> None:
        if ":" in note and not self.asked:
            self.asked = True
            raise Cancelled()


def data_for(recipe: Recipe, dimension: int, cohorts: dict[tuple[int, bool], Cohort]) -> Cohort:
    # A plane that is made from others needs some beside it.
    cohort = cohorts[dimension if 0 in recipe.offsets else 3, recipe.task in ("translation", "infill")]
    if _takes_findings_away(recipe):
        first, healthy, *others = cohort.cases
        return cohort.with_cases([first, _without_findings(healthy), *others])
    if "images" not in recipe.conditions:
        return cohort
    first, *others = cohort.cases
    lacking = first.model_copy(update={"images": {n: path for n, path in first.images.items() if n != "C"}})
    return cohort.with_cases([lacking, *others])


def _takes_findings_away(recipe: Recipe) -> bool:
    return any("kept" in stage.loss for stage in recipe.stages.values())


def _without_findings(case: Case) -> Case:
    label = case.label_map()
    assert label is not None and case.label is not None
    empty = case.label.with_name(f"empty-{case.label.name}")
    if not empty.exists():
        write_volume(empty, replace(label, array=np.zeros_like(label.array)))
    return case.model_copy(update={"label": empty})


def options_for(recipe: Recipe, dimension: int, encoder: Path, **changes: object) -> TrainingOptions:
    more = {"text_encoder": encoder} if "text" in recipe.conditions else {}
    if _takes_findings_away(recipe):
        more = {"channels": ["A"], "source_channels": ["A"]}
    return tiny_options(recipe.name, STEPS, dimension=dimension, **more, **changes)


def weights(package: Path) -> dict[str, torch.Tensor]:
    systems = load_package(package).systems
    return {f"{stage}.{key}": v for stage, system in systems.items() for key, v in system.state_dict().items()}


def make(
    recipe: Recipe, package: Path, data: Cohort, output: Path, encoder: Path, device: str
) -> tuple[Case, Case | None]:
    """A case, and the one that it was made from."""
    first = data.cases[0]
    if recipe.task == "translation":
        made = translate(package, data.with_cases([first]), output, TranslationParameters(overlap=0), 5, device)
        return made.cases[0], first
    given = data if "label_map" in recipe.conditions or recipe.task == "infill" else None
    text = {"text_encoder": encoder} if "text" in recipe.conditions else {}
    parameters = SynthesisParameters(count=1, **text)
    return synthesize(package, output, parameters, 5, device, given=given).cases[0], first if given else None
