"""Record: how a case came to be, written beside it as JSON.

A Record holds everything needed to make the case again, voxel for voxel, and to prove afterwards that it was not
changed: the drawn values, not only the seed; the hash of the weights; the patients it descends from.
"""

from __future__ import annotations

import hashlib
import platform
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field

from genaug import __version__
from genaug.files import read_json, write_json
from genaug.strict import Strict
from genaug.volume import AnyArray, Volume, geometry_difference

RECORD_SUFFIX = ".record.json"


class Output(Strict):
    """A file of the case, or one that it was made from.

    `voxels` hashes values, shape and dtype, so compression and headers do not change it; where the voxels are in the
    patient, `shape` and `affine` say. Records of earlier versions do not have these two.
    """

    file: str = Field(description="path relative to the record")
    voxels: str = Field(description="SHA-256 of the voxel array, see hash_voxels")
    modality: str | None = Field(default=None, description="what an input was read as; its file need not say")
    shape: tuple[int, int, int] | None = Field(default=None, description="number of voxels along I, J, K")
    affine: list[list[float]] | None = Field(default=None, description="(4, 4), voxel index to RAS millimetres")

    @classmethod
    def of(cls, volume: Volume, file: str, modality: str | None = None) -> Output:
        """What is recorded of a volume as its file has it."""
        voxels, affine = hash_voxels(volume.array), volume.affine.tolist()
        return cls(file=file, voxels=voxels, modality=modality, shape=volume.shape, affine=affine)

    def moved(self, volume: Volume) -> str:
        """How a volume's grid differs from the recorded one, in words; "" where it does not or none is recorded."""
        if self.shape is None or self.affine is None:
            return ""
        grid = Volume(np.broadcast_to(np.uint8(0), self.shape), np.array(self.affine))
        return geometry_difference(grid, volume)


class Weights(Strict):
    """The model package that made the case."""

    package: str = Field(description="folder name of the package")
    sha256: str = Field(description="SHA-256 over its weight files, see package.weights_sha256")
    recipe: str


class Check(Strict):
    """One automatic check of the finished case, for instance that the label volumes lie in the training range."""

    name: str
    passed: bool
    value: float | str
    limit: str


class Record(Strict):
    """How one case came to be.

    `kind` and `parameters` are the job that makes it again; `draws` are the random values that were drawn before they
    were applied. `parents` are case ids, `patients` the patients any voxel descends from (for a generated case all
    those the model was trained on), which is what keeps test patients out of training.
    """

    schema_version: Literal[1] = 1
    case_id: str
    synthetic: Literal[True] = True
    kind: Literal["synthesize", "translate", "insert", "template"]
    seed: int
    parameters: dict[str, Any]
    draws: dict[str, Any] = Field(default_factory=dict)
    weights: Weights | None = None
    parents: list[str] = Field(default_factory=list)
    patients: list[str] = Field(default_factory=list)
    inputs: dict[str, Output] = Field(default_factory=dict)
    outputs: dict[str, Output] = Field(default_factory=dict)
    checks: list[Check] = Field(default_factory=list)
    versions: dict[str, str] = Field(default_factory=dict)
    machine: dict[str, Any] = Field(default_factory=dict)

    def write(self, path: Path) -> None:
        """Write atomically beside the case."""
        write_json(path, self.model_dump(mode="json"))

    @classmethod
    def read(cls, path: Path) -> Record:
        """Read and validate; raises GenaugError naming the file and the key at fault."""
        return read_json(path, cls)


def hash_voxels(array: AnyArray) -> str:
    """SHA-256 of shape, dtype (little endian) and values in C order."""
    array = np.ascontiguousarray(array)
    array = array.astype(array.dtype.newbyteorder("<"), copy=False)
    digest = hashlib.sha256(f"{array.shape}{array.dtype.str}".encode())
    digest.update(array.data)
    return digest.hexdigest()


def case_seed(seed: int, index: int) -> int:
    """The seed of case `index` of a job, in [0, 2**63): independent of how many cases run or in which batch."""
    digest = hashlib.sha256(f"genaug case {seed} {index}".encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


def software_versions() -> dict[str, str]:
    """Versions of what can change a voxel; read from metadata, so nothing is imported."""
    versions = {"genaug": __version__, "python": platform.python_version()}
    for name in ("torch", "monai", "numpy", "scipy", "SimpleITK"):
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions
