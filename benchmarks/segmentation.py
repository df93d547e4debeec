"""The downstream measure: a small U-Net trained on some cases, tested on real patients it has never seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from genaug.case import Case
from genaug.evaluation.cohorts import case_arrays
from genaug.grid import Grid, IntensityMap
from genaug.imageio import read_header
from monai.losses import DiceCELoss
from monai.networks.nets import BasicUNet
from torch import Tensor

SIZE = (48, 64)
"""Voxels of 1 mm that every slice fits into, so that the tests do not depend on what is trained on."""
FEATURES = (16, 16, 32, 64, 64, 16)
ITERATIONS = 400
BATCH = 16
RATE = 2e-3
RESAMPLES = 1000


@dataclass(frozen=True)
class Outcome:
    """Dice of the labels on the test cases, mean over labels, with its 95 % interval over patients.

    `by_patient` is the mean over labels of each, so that two trainings can be compared patient by patient.
    """

    dice: float
    interval: tuple[float, float]
    by_label: dict[int, float]
    by_patient: dict[str, float]


def slice_grid(cases: Sequence[Case], channel: str, labels: Sequence[int]) -> Grid:
    """One grid of SIZE for slices at 1 mm."""
    headers = [(h.shape, h.affine) for h in (read_header(case.image(channel)) for case in cases)]
    maps = {channel: IntensityMap.for_modality("MR")}
    return Grid.plan(headers, maps, list(labels), dimension=2, spacing=(1.0, 1.0, 1.0), size=SIZE, multiple_of=16)


def segment(
    training: Sequence[Case], tests: Sequence[Case], channel: str, labels: Sequence[int], seed: int = 1
) -> Outcome:
    """Train on `training` alone and test on `tests`.

    Every call trains for the same number of iterations, so more cases do not mean more training.
    """
    torch.manual_seed(seed)
    grid = slice_grid([*training, *tests], channel, [0, *labels])
    images, masks = _arrays(training, channel, grid)
    network = BasicUNet(2, 1, 1 + len(labels), features=FEATURES, norm=("instance", {"affine": True}))
    optimizer = torch.optim.AdamW(network.parameters(), lr=RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, ITERATIONS)
    loss = DiceCELoss(to_onehot_y=True, softmax=True)
    rng = np.random.default_rng(seed)
    for _ in range(ITERATIONS):
        chosen = rng.integers(len(images), size=min(BATCH, len(images)))
        x, y = _augmented(images[chosen], masks[chosen], rng)
        optimizer.zero_grad()
        loss(network(x), y).backward()
        optimizer.step()
        schedule.step()
    return _test(network.eval(), tests, channel, grid, labels, rng)


def _arrays(cases: Sequence[Case], channel: str, grid: Grid) -> tuple[Tensor, Tensor]:
    """(N, 1, *S) images in [-1, 1] and label indices."""
    loaded = [case_arrays(case, channel, grid, True) for case in cases]
    masks = [one.label for one in loaded if one.label is not None]
    return (
        torch.from_numpy(np.stack([one.image for one in loaded])),
        torch.from_numpy(np.stack(masks).astype(np.int64))[:, None],
    )


def _augmented(images: Tensor, masks: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """What any training of a segmenter does today: a turn, a change of size, of brightness and contrast, some noise."""
    count = len(images)
    angle, size = rng.uniform(-0.3, 0.3, count), rng.uniform(0.85, 1.15, count)
    # torch gives both axes the length 2, whatever they measure: a turn of millimetres has to know how long they are.
    first, second = images.shape[2:]
    turn = np.zeros((count, 2, 3), dtype=np.float32)
    turn[:, 0, 0], turn[:, 0, 1] = np.cos(angle) * size, -np.sin(angle) * size * first / second
    turn[:, 1, 0], turn[:, 1, 1] = np.sin(angle) * size * second / first, np.cos(angle) * size
    turn[:, :, 2] = rng.uniform(-0.1, 0.1, (count, 2))
    grid = F.affine_grid(torch.from_numpy(turn), list(images.shape), align_corners=False)
    moved = F.grid_sample(images, grid, padding_mode="border", align_corners=False)
    labels = F.grid_sample(masks.float(), grid, mode="nearest", align_corners=False).round().long()
    gain = torch.from_numpy(rng.uniform(0.8, 1.2, (count, 1, 1, 1)).astype(np.float32))
    shift = torch.from_numpy(rng.uniform(-0.2, 0.2, (count, 1, 1, 1)).astype(np.float32))
    noise = torch.from_numpy(rng.normal(0, 0.03, tuple(moved.shape)).astype(np.float32))
    return moved * gain + shift + noise, labels


def _test(
    network: BasicUNet,
    tests: Sequence[Case],
    channel: str,
    grid: Grid,
    labels: Sequence[int],
    rng: np.random.Generator,
) -> Outcome:
    images, masks = _arrays(tests, channel, grid)
    with torch.no_grad():
        found = network(images).argmax(dim=1)
    patients = np.array([case.patient for case in tests])
    # All planes of a patient count as one: alone, a voxel found in a plane without that label would be a Dice of 0.
    names = [str(name) for name in np.unique(patients)]
    own = [torch.from_numpy(patients == name) for name in names]
    scores = np.array([[_dice(found[planes] == v, masks[planes, 0] == v) for v in labels] for planes in own])
    by_patient = np.nanmean(scores, axis=1)
    resampled = [rng.choice(by_patient, len(by_patient)).mean() for _ in range(RESAMPLES)]
    low, high = np.quantile(resampled, [0.025, 0.975])
    means: npt.NDArray[np.float64] = np.nanmean(scores, axis=0)
    return Outcome(
        dice=float(by_patient.mean()),
        interval=(float(low), float(high)),
        by_label=dict(zip(labels, means.tolist())),
        by_patient=dict(zip(names, by_patient.tolist())),
    )


def _dice(found: Tensor, truth: Tensor) -> float:
    """Dice of two masks; not a number when both are empty."""
    whole = int(found.sum() + truth.sum())
    return float("nan") if whole == 0 else 2 * int((found & truth).sum()) / whole
