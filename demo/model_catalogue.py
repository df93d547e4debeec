"""Write Resources/Models/catalogue.json: what each starter model makes, how long it takes, and its hash.

Everything but the times is read from the packages, so this is run again whenever one of them changes.

    python -m demo.model_catalogue            read the packages, measure one case of each, write the catalogue
    python -m demo.model_catalogue --check    only compare the catalogue with the packages
"""

from __future__ import annotations

import json
import os
import platform
import tempfile
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import click
from genaug.case import Case
from genaug.cohort import Cohort
from genaug.files import write_json
from genaug.imageio import write_volume
from genaug.package import PackageInfo, read_info
from genaug.parameters import SynthesisParameters, TranslationParameters
from genaug.synthesis import synthesize
from genaug.templates.brain import brain_template
from genaug.translation import translate

from demo.starter import MARGIN_MM, MODELS, SPACING_MM

# The Slicer module's own reader, so that the file is what the module takes; that side is not typed.
catalogue_file: Any = import_module("GenerativeAugmentLib.catalogueFile")


def write_catalogue(folder: Path, device: str) -> Path:
    """Measure every package in a folder on one device and write the folder's catalogue.json.

    Times of other devices stay as long as the weights they were measured with are the same.
    """
    path = folder / str(catalogue_file.CATALOGUE)
    before = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {"models": [], "measured_on": {}}
    current = catalogue_file.makeCatalogue(folder, {}, {})
    known = {model["sha256"]: model["seconds"] for model in before["models"]}
    seconds = {}
    for model in current["models"]:
        measured = seconds_for_a_case(folder / model["name"], device)
        print(f"{model['name']}: {'not measured' if measured is None else f'{measured:.2f} s on {device}'}")
        found = {} if measured is None else {device: round(measured, 3)}
        seconds[model["name"]] = {**known.get(model["sha256"], {}), **found}
    machines = {**before["measured_on"], device: machine_name(device)}
    write_json(path, catalogue_file.makeCatalogue(folder, seconds, machines))
    return path


def differences(folder: Path) -> list[str]:
    """Names of models whose entry in the catalogue is not what their package says, or that only one of them has."""
    written = catalogue_file.readCatalogue(folder / catalogue_file.CATALOGUE)["models"]
    expected = {model["name"]: model for model in catalogue_file.makeCatalogue(folder, {}, {})["models"]}
    found = {model["name"]: {**model, "seconds": {}} for model in written}
    return sorted(name for name in {*found, *expected} if found.get(name) != expected.get(name))


def seconds_for_a_case(package: Path, device: str) -> float | None:
    """Time for one case, the model being loaded; None for a model that needs what the template does not have."""
    info = read_info(package)
    with tempfile.TemporaryDirectory() as folder:
        make = _maker(package, info, Path(folder), device)
        if make is None:
            return None
        make(0)
        start = time.perf_counter()
        make(1)
        return time.perf_counter() - start


def machine_name(device: str) -> str:
    """What measured, in a few words."""
    if device.startswith("cuda"):
        import torch

        return str(torch.cuda.get_device_name(device))
    return f"{os.cpu_count()} CPU cores, {platform.machine()}"


def _maker(package: Path, info: PackageInfo, folder: Path, device: str) -> Callable[[int], object] | None:
    if info.recipe.task == "synthesis":
        one = SynthesisParameters(count=1, file_format="nrrd")
        return lambda seed: synthesize(package, folder / str(seed), one, seed, device)
    if info.recipe.task == "translation" and info.roles.source == ["T1"]:
        image = folder / "T1.nii.gz"
        write_volume(image, brain_template(SPACING_MM, MARGIN_MM).image)
        case = Case(id="template", patient="template", images={"T1": image})
        cohort = Cohort(name="template", root=folder, channels={"T1": "MR"}, cases=[case])
        settings = TranslationParameters(modality="MR", file_format="nrrd")
        return lambda seed: translate(package, cohort, folder / str(seed), settings, seed, device)
    return None


@click.command()
@click.option("--device", default="cpu", help="Device to measure on.")
@click.option("--check", is_flag=True, help="Write nothing; fail when the catalogue and the packages differ.")
def main(device: str, check: bool) -> None:
    """Write the catalogue of the starter models."""
    if not check:
        print(f"written: {write_catalogue(MODELS, device)}")
    elif different := differences(MODELS):
        raise click.ClickException(f"run python -m demo.model_catalogue: {', '.join(different)} changed")


if __name__ == "__main__":
    main()
