"""Trainings that are kept from run to run, as long as nothing is asked of them but what was asked before."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from genaug.cohort import Cohort
from genaug.files import write_json
from genaug.parameters import TrainingOptions
from genaug.recipe import load_recipe
from genaug.training import train, training_folder

from benchmarks.table import read_kept


def trained(package: Path, cohort: Cohort, options: TrainingOptions, reporter: Any) -> Path:
    """The package of that training: as it is, gone on with, or anew where another recipe, budget or seed was asked for.

    What was asked for stands beside the package, because a package only knows what became of it.
    """
    asked = {"recipe": load_recipe(options.recipe).model_dump(mode="json"), "options": options.model_dump(mode="json")}
    note = package.with_name(f"{package.name}.asked.json")
    if read_kept(note) != asked:
        for folder in (package, training_folder(package)):
            shutil.rmtree(folder, ignore_errors=True)
        write_json(note, asked)
    if not package.is_dir():
        train(cohort, options, package, "auto", reporter)
    return package
