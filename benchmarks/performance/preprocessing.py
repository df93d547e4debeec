"""An epoch of prepared training items from the second on: our store beside MONAI's CacheDataset and PersistentDataset.

Every way runs in a process of its own, so that its peak memory is its own. The first epoch, in which the images are
read from NIfTI and prepared, is timed apart.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from genaug.case import Case
from genaug.networks import Batch
from genaug.progress import Silent
from genaug.tensors import TensorStore
from genaug.training import TrainingOptions, TrainingPlan, make_plan
from genaug.training.plan import TENSORS
from monai.data import CacheDataset, DataLoader, PersistentDataset
from monai.transforms import (
    AsDiscreted,
    Compose,
    EnsureChannelFirstd,
    LoadImaged,
    Orientationd,
    ResizeWithPadOrCropd,
    ScaleIntensityd,
    Spacingd,
)

from benchmarks.data import hippocampus
from benchmarks.performance.child import Outcome, in_child
from benchmarks.performance.row import Result, Spec
from benchmarks.performance.timing import Times

CASES = 150
BATCH = 8
EPOCHS = 12
PASSES = 3
"""Processes of each way, in turn; the median epoch of all of them counts."""

Kind = Literal["cache", "persistent"]


def training_cases() -> list[Case]:
    """Those whose epochs are timed."""
    cohort = hippocampus()
    return cohort.part("train")[:CASES]


def ours(folder: str) -> dict[str, Any]:
    """Prepare the cases in `folder` and read them epoch by epoch, in batches, as the trainer does."""
    cohort = hippocampus()
    cohort = cohort.with_cases(cohort.part("train")[:CASES])
    started = time.perf_counter()
    plan = make_plan(cohort, TrainingOptions(recipe="ldm"), Path(folder), Silent())
    return read(store_of(plan, Path(folder)), time.perf_counter() - started)


def read_again(folder: str) -> dict[str, Any]:
    """The epochs alone, of cases that an earlier process has prepared: what a resumed training does."""
    return read(store_of(TrainingPlan.read(Path(folder)), Path(folder)), 0.0)


def store_of(plan: TrainingPlan, folder: Path) -> TensorStore:
    """The prepared cases, without the recipe's random shifts, of which the peers have none."""
    return TensorStore(folder / TENSORS, plan.grid.size)


def read(store: TensorStore, prepared: float) -> dict[str, Any]:
    """Epochs of shuffled batches."""
    rng = np.random.default_rng(0)

    def epoch() -> int:
        order = rng.permutation(len(store)).tolist()
        return sum(_voxels(store.batch(order[first : first + BATCH], rng)) for first in range(0, len(order), BATCH))

    return timed_epochs(epoch, prepared)


def monai(kind: Kind, size: list[int], spacing: list[float], labels: int, folder: str) -> dict[str, Any]:
    """The same with MONAI's data sets: the same voxel size, window and channels of a batch, without random shifts."""
    files = [{"image": str(next(iter(case.images.values()))), "label": str(case.label)} for case in training_cases()]
    keys = ("image", "label")
    prepare = Compose(
        [
            LoadImaged(keys),
            EnsureChannelFirstd(keys),
            Orientationd(keys, axcodes="RAS"),
            Spacingd(keys, pixdim=spacing, mode=("bilinear", "nearest")),
            ScaleIntensityd("image", minv=-1, maxv=1),
            ResizeWithPadOrCropd(keys, size),
            AsDiscreted("label", to_onehot=labels),
        ]
    )
    started = time.perf_counter()
    if kind == "cache":
        data: Any = CacheDataset(files, prepare, num_workers=0, progress=False)
    else:
        data = PersistentDataset(files, prepare, cache_dir=folder)
        for item in range(len(data)):
            data[item]
    prepared = time.perf_counter() - started
    loader = DataLoader(data, batch_size=BATCH, shuffle=True, num_workers=0)
    return timed_epochs(
        lambda: sum(int(torch.cat([batch["image"], batch["label"]], dim=1).numel()) for batch in loader), prepared
    )


def timed_epochs(epoch: Callable[[], int], prepared: float) -> dict[str, Any]:
    """Seconds of the epochs that follow the first, and of the preparation."""
    torch.manual_seed(0)
    epoch()
    seconds = []
    for _ in range(EPOCHS):
        started = time.perf_counter()
        voxels = epoch()
        seconds.append(time.perf_counter() - started)
    return {"seconds": seconds, "prepared": prepared, "voxels": voxels}


def _voxels(batch: Batch) -> int:
    return int(batch.target.numel())


def measure() -> list[Result]:
    """Both peers."""
    with tempfile.TemporaryDirectory() as folder:
        first = in_child("benchmarks.performance.preprocessing:ours", folder=f"{folder}/ours")
        plan = TrainingPlan.read(Path(folder) / "ours")
        told = {
            "size": list(plan.grid.size),
            "spacing": list(plan.grid.spacing),
            "labels": len(plan.roles.label_values),
        }
        return [_row(kind, folder, first, told) for kind in ("cache", "persistent")]


def _row(kind: Literal["cache", "persistent"], folder: str, first: Outcome, told: dict[str, Any]) -> Result:
    mine, theirs = [], []
    for _ in range(PASSES):
        mine.append(in_child("benchmarks.performance.preprocessing:read_again", folder=f"{folder}/ours"))
        theirs.append(
            in_child("benchmarks.performance.preprocessing:monai", kind=kind, folder=f"{folder}/monai", **told)
        )
    if mine[0].value["voxels"] != theirs[0].value["voxels"]:
        raise RuntimeError("the two ways read different numbers of values")
    times = [Times(seconds=[s for one in ways for s in one.value["seconds"]]) for ways in (mine, theirs)]
    memory = [statistics.median(one.peak_bytes for one in ways) / 1e6 for ways in (mine, theirs)]
    window = "×".join(map(str, told["size"]))
    mapped = sum(path.stat().st_size for path in (Path(folder) / "ours" / TENSORS).rglob("*.npy")) / 1e6
    note = (
        f"Peak memory {memory[0]:.0f} MB against {memory[1]:.0f} MB; {mapped:.0f} MB of ours are prepared files,"
        " mapped, of which the system may take any page back at any time, and no training needs to hold them."
    )
    return Result(
        row=f"preprocessing-{kind}",
        title=f"an epoch of {CASES} prepared cases of {window} with their label maps, from the second on",
        peer_title=f"MONAI {'CacheDataset' if kind == 'cache' else 'PersistentDataset'}, DataLoader",
        kind="exact",
        ours=times[0].median,
        peer=times[1].median,
        ratio=times[1].median / times[0].median,
        goal=1.0,
        ours_spread=times[0].spread,
        peer_spread=times[1].spread,
        repetitions=PASSES * EPOCHS,
        detail={
            "peak_mb": {"ours": memory[0], "peer": memory[1]},
            "no_more_memory": memory[0] <= memory[1],
            "preparing_s": {"ours": first.value["prepared"], "peer": theirs[0].value["prepared"]},
            "batch": BATCH,
            "ours_also": ["where the case was scanned"],
            "mapped_mb": mapped,
        },
        note=note,
    )


SPEC = Spec("preprocessing", ("preprocessing-cache", "preprocessing-persistent"), measure)
