"""Model package: a MONAI bundle folder that holds all a model needs, and loads without running anything it contains.

<package>/configs/metadata.json   MONAI's description of the bundle
          configs/genaug.json     recipe, Grid, roles, shapes, code scale, training cohort, scores (PackageInfo)
          models/<stage>.safetensors
          docs/README.md          model card
          LICENSE
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from genaug.card import model_card
from genaug.convolution import route_convolutions
from genaug.errors import GenaugError, Reason
from genaug.files import read_json, sha256_file, write_bytes, write_json, write_text, writing_folder
from genaug.generation import CodeScale
from genaug.graphs import graph_denoisers
from genaug.grid import Grid
from genaug.networks import Signature, System, build_system
from genaug.recipe import Recipe
from genaug.record import software_versions
from genaug.strict import PathText
from genaug.tensors import Roles

INFO = "configs/genaug.json"
METADATA = "configs/metadata.json"

_CACHED = 3
"""Models a warm worker keeps loaded."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class LabelRange(_Strict):
    """Volume of one label over the training cases, in mm3, and its connected pieces."""

    value: int
    name: str
    smallest: float
    mean: float
    largest: float
    smallest_piece: float | None = Field(default=None, description="mm3; None where the label never occurred")
    most_pieces: int | None = Field(default=None, description="of one case")


class TrainedOn(_Strict):
    """The cohort behind the weights; what every case made with them descends from."""

    cohort: str
    sha256: str = Field(description="of the cohort's manifest content")
    cases: int
    patients: list[str]
    modalities: dict[str, str]
    labels: list[LabelRange] = []
    seen: list[dict[str, float | str]] = Field(
        default=[], description="covariates of the training cases that the model is conditioned on, in no order"
    )


class TrainedStage(_Strict):
    """One network of the package."""

    file: PathText | Literal[""] = Field(description="relative to the package; empty before it is written")
    sha256: str
    signature: dict[str, Any]
    iterations: int
    seconds: float
    device: str

    @field_validator("signature")
    @classmethod
    def _can_be_built_for(cls, signature: dict[str, Any]) -> dict[str, Any]:
        try:
            Signature.from_dict(signature)
        except (LookupError, TypeError) as error:
            raise ValueError(f"no shapes to build a network for: {error}") from error
        return signature


class PackageInfo(_Strict):
    """Everything but the weights."""

    schema_version: Literal[1] = 1
    name: str
    title: str
    recipe: Recipe
    grid: Grid
    roles: Roles
    stages: dict[str, TrainedStage]
    code_scale: CodeScale | None = None
    trained_on: TrainedOn
    seed: int
    versions: dict[str, str] = Field(default_factory=software_versions)
    scores: list[dict[str, Any]] = []
    note: str = ""
    licence: str = "Apache-2.0"

    @model_validator(mode="after")
    def _stages_are_the_recipes(self) -> PackageInfo:
        if list(self.stages) != list(self.recipe.stages):
            raise ValueError(f"stages are {', '.join(self.stages)}, of the recipe {', '.join(self.recipe.stages)}")
        return self


class Package:
    """A loaded package: `info`, and the systems on a device, in evaluation mode."""

    def __init__(self, folder: Path, info: PackageInfo, device: str, weights: str) -> None:
        self.folder, self.info, self.device, self.sha256 = folder, info, torch.device(device), weights
        self.systems = {name: self._load(name) for name in info.stages}

    @property
    def system(self) -> System:
        """The network that makes cases: the last stage's."""
        return self.systems[list(self.systems)[-1]]

    def _load(self, name: str) -> System:
        stage = self.info.stages[name]
        system = build_system(self.info.recipe.stages[name].network, Signature.from_dict(stage.signature))
        path = self.folder / stage.file
        try:
            weights = {key: value.float() for key, value in load_file(path).items()}
            system.load_state_dict(weights)
        except (SafetensorError, RuntimeError, OSError) as error:
            raise GenaugError(
                Reason.BAD_PACKAGE,
                path,
                str(error).splitlines()[0],
                f"the weights of a {self.info.recipe.stages[name].network.kind}",
                "Get the package again from where it came.",
            ) from error
        route_convolutions(system)
        if self.device.type == "cuda":
            graph_denoisers(system)
        return system.to(self.device).eval().requires_grad_(False)


def write_package(
    folder: Path,
    info: PackageInfo,
    systems: dict[str, System],
    *,
    half: bool = False,
    replace: bool = False,
) -> Path:
    """Write a package atomically.

    Args:
        folder: where to; must not exist or be empty, unless `replace`.
        info: its `stages` are filled in with file names and hashes here.
        systems: the networks, averaged weights.
        half: store weights as float16, half the size, where they fit; they are computed with in float32.
        replace: overwrite an existing package.

    Raises:
        GenaugError: BAD_PARAMETER for a folder that is not empty; DISK_FULL, NO_PERMISSION.
    """
    with writing_folder(folder, replace=replace) as temporary:
        stages = {}
        for name, system in systems.items():
            file = f"models/{name}.safetensors"
            state = {
                key: (_halved(value) if half and value.is_floating_point() else value).contiguous().cpu()
                for key, value in system.state_dict().items()
            }
            # One key only: safetensors writes several in random order, and the hash must depend on the weights alone.
            write_bytes(temporary / file, save(state, metadata={"format": "pt"}))
            stages[name] = info.stages[name].model_copy(update={"file": file, "sha256": sha256_file(temporary / file)})
        info = info.model_copy(update={"stages": stages})
        write_json(temporary / INFO, info.model_dump(mode="json"))
        write_json(temporary / METADATA, _metadata(info))
        write_text(temporary / "docs" / "README.md", model_card(info.model_dump(mode="json")))
        write_text(temporary / "LICENSE", f"{info.licence}\n")
    return folder


def _halved(value: Tensor) -> Tensor:
    """In float16, unless a number is too large for that: a count of how often a code was used may be."""
    halved = value.half()
    return halved if halved.isfinite().all() else value


def read_info(folder: Path) -> PackageInfo:
    """The description of a package, without its weights.

    Raises:
        GenaugError: BAD_PACKAGE when the folder is none or its description is damaged.
    """
    if not (folder / INFO).is_file():
        raise GenaugError(
            Reason.BAD_PACKAGE,
            folder,
            "no configs/genaug.json",
            "a model package folder",
            "Choose the folder that `genaug train` wrote.",
        )
    return read_json(folder / INFO, PackageInfo, Reason.BAD_PACKAGE)


def weights_sha256(info: PackageInfo) -> str:
    """One hash for all weights of a package: SHA-256 over the stages' names and file hashes."""
    lines = [f"{name} {stage.sha256}\n" for name, stage in sorted(info.stages.items())]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def verify(folder: Path, info: PackageInfo) -> None:
    """Raise BAD_PACKAGE unless every weight file has the hash its description names."""
    for stage in info.stages.values():
        path = folder / stage.file
        if not path.resolve().is_relative_to(folder.resolve()):
            raise GenaugError(
                Reason.BAD_PACKAGE, path, "a file outside the package", "files inside it", "Do not use this package."
            )
        found = sha256_file(path) if path.is_file() else "no such file"
        if found != stage.sha256:
            raise GenaugError(
                Reason.BAD_PACKAGE,
                path,
                f"SHA-256 {found[:16]}" if path.is_file() else found,
                f"SHA-256 {stage.sha256[:16]}, as the package's description says",
                "The weights were changed or damaged: get the package again from where it came.",
            )


_loaded: OrderedDict[tuple[str, str, tuple[tuple[str, int, int], ...]], Package] = OrderedDict()
_lock = threading.Lock()


def load_package(folder: Path, device: str = "cpu") -> Package:
    """Load and verify a package; the last few stay loaded, and are verified anew when a file of theirs has changed.

    Raises:
        GenaugError: BAD_PACKAGE.
    """
    info = read_info(folder)
    key = (str(folder.resolve()), device, _stamps(folder, info))
    with _lock:
        if key in _loaded:
            _loaded.move_to_end(key)
            return _loaded[key]
    verify(folder, info)
    package = Package(folder, info, device, weights_sha256(info))
    with _lock:
        _loaded[key] = package
        while len(_loaded) > _CACHED:
            _loaded.popitem(last=False)
    return package


def unload_packages() -> None:
    """Forget the packages that stay loaded, so that their memory can be given back; those in use live on."""
    with _lock:
        _loaded.clear()


def _stamps(folder: Path, info: PackageInfo) -> tuple[tuple[str, int, int], ...]:
    stamps = []
    for file in [INFO, *(stage.file for stage in info.stages.values())]:
        path = folder / file
        if path.is_file():
            status = path.stat()
            stamps.append((file, status.st_mtime_ns, status.st_size))
    return tuple(stamps)


def _metadata(info: PackageInfo) -> dict[str, Any]:
    """MONAI's bundle description; keys as its metadata schema of 2024 names them."""
    signature = next(iter(info.stages.values())).signature
    channels = [*info.roles.target, *(["label map, one-hot"] if info.roles.generate_labels else [])]
    image = {
        "type": "image",
        "format": "magnitude",
        "modality": ", ".join(sorted(set(info.trained_on.modalities.values()))),
        "num_channels": signature["image_channels"] + signature["label_channels"],
        "spatial_shape": list(info.grid.size),
        "dtype": "float32",
        "value_range": [-1, 1],
        "is_patch_data": info.recipe.task == "translation",
        "channel_def": {str(i): name for i, name in enumerate(channels)},
    }
    return {
        "schema": "https://github.com/Project-MONAI/MONAI-extra-test-data/releases/download/0.8.1/meta_schema_20240725.json",
        "version": "1.0.0",
        "changelog": {"1.0.0": "trained by genaug"},
        "monai_version": info.versions.get("monai", ""),
        "pytorch_version": info.versions.get("torch", ""),
        "numpy_version": info.versions.get("numpy", ""),
        "required_packages_version": {},
        "name": info.name,
        "task": info.recipe.title,
        "description": info.recipe.distinct,
        "authors": "made with GenerativeAugment",
        "copyright": "",
        "intended_use": "Research. Output is synthetic and must not be used for diagnosis.",
        "references": [info.recipe.citation],
        "network_data_format": {"inputs": {"noise": {"type": "tuple"}}, "outputs": {"case": image}},
    }
