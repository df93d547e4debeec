"""A volume from the scene to the worker and back: raw files that are mapped, beside compressed NRRD."""

from __future__ import annotations

import sys
import tempfile
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from genaug.nrrd import map_nrrd, write_nrrd

from benchmarks.data import ROOT
from benchmarks.performance.child import in_child
from benchmarks.performance.row import Result, Spec, timed
from benchmarks.performance.timing import Times, interleaved

SHAPE = (400, 512, 512)
"""(K, J, I)."""


def scan(shape: tuple[int, int, int]) -> np.ndarray[Any, np.dtype[np.int16]]:
    """Tissue in air with the noise of a CT, (K, J, I)."""
    voxels = np.random.default_rng(0).integers(-30, 31, shape, dtype="int8").astype("int16")
    voxels[:, shape[1] // 8 : -shape[1] // 8, shape[2] // 8 : -shape[2] // 8] += 1040
    voxels -= 1000
    return voxels


class Exchange:
    """One volume of a real MRML scene, sent both ways. Needs slicer-core; only for a process of its own.

    Args:
        shape: (K, J, I).
        folder: for the files.
    """

    def __init__(self, shape: tuple[int, int, int], folder: Path) -> None:
        sys.path[:0] = [str(ROOT / "Testing" / "host"), str(ROOT / "GenerativeAugment")]
        # The host has to be there before anything of Slicer is imported.
        import_module("slicerHost.install").install()
        self.slicer = import_module("slicer")
        self.exchange = import_module("GenerativeAugmentLib.exchange")
        self.frozen = import_module("GenerativeAugmentLib.frozen")
        self.folder, self.node = folder, self.slicer.util.addVolumeFromArray(scan(shape))

    def ours(self) -> Any:
        """Scene, raw file, worker, raw file, scene: the node that came back."""
        there, back = self.folder / "there.nrrd", self.folder / "back.nrrd"
        self.frozen.writeVolume(self.node, there)
        write_nrrd(back, map_nrrd(there))
        return self.exchange.readVolume(back, "back")

    def peer(self) -> Any:
        """The same with compressed files: the scene's side by Slicer's storage node, the worker's by SimpleITK."""
        there, back = str(self.folder / "there.z.nrrd"), str(self.folder / "back.z.nrrd")
        storage = self.slicer.vtkMRMLNRRDStorageNode()
        storage.SetUseCompression(1)
        storage.SetFileName(there)
        assert storage.WriteData(self.node)
        sitk.WriteImage(sitk.ReadImage(there), back, useCompression=True)
        node = self.slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "back")
        storage.SetFileName(back)
        assert storage.ReadData(node)
        node.CreateDefaultDisplayNodes()
        return node

    def differing(self) -> tuple[int, int]:
        """Voxels that each way changed."""
        before = self.slicer.util.arrayFromVolume(self.node)
        found = [np.count_nonzero(self.slicer.util.arrayFromVolume(way()) != before) for way in (self.ours, self.peer)]
        return int(found[0]), int(found[1])


def both(shape: tuple[int, int, int], repetitions: int, warm_ups: int) -> dict[str, Any]:
    """For a process of its own: seconds of both ways, voxels changed, and the size of the files."""
    with tempfile.TemporaryDirectory() as name:
        exchanged = Exchange(shape, Path(name))
        remove = exchanged.slicer.mrmlScene.RemoveNode
        times = interleaved(lambda: remove(exchanged.ours()), lambda: remove(exchanged.peer()), repetitions, warm_ups)
        return {
            "ours": times[0].seconds,
            "peer": times[1].seconds,
            "differ": exchanged.differing(),
            "bytes": {path.name: path.stat().st_size for path in Path(name).iterdir()},
        }


def measure() -> list[Result]:
    """One row."""
    found = in_child("benchmarks.performance.exchange:both", shape=SHAPE, repetitions=5, warm_ups=1).value
    assert found["differ"] == [0, 0], found["differ"]
    return [
        timed(
            "exchange-512x512x400",
            "a volume of 512×512×400 int16 from the scene to the worker and back",
            "compressed NRRD both ways, Slicer's storage node and SimpleITK",
            "exact",
            (Times(seconds=found["ours"]), Times(seconds=found["peer"])),
            8,
            error={"voxels that differ": 0},
            detail={"bytes": found["bytes"]},
            note="5 repetitions after one warm-up: the peer takes many seconds.",
        )
    ]


SPEC = Spec("exchange", ("exchange-512x512x400",), measure)
