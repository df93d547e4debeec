"""Distances of 2,000 × 2,000 feature vectors, and how alike 64 volumes are, beside torchmetrics, prdc and MONAI."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import prdc
import torch
from genaug.evaluation.coverage import coverage
from genaug.evaluation.diversity import ScalePlan, pairwise_ms_ssim, scale_plan
from genaug.evaluation.frechet import frechet_distance
from genaug.evaluation.kid import kid
from genaug.volume import FloatArray
from monai.metrics.regression import MultiScaleSSIMMetric
from scipy import ndimage
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.kid import KernelInceptionDistance

from benchmarks.performance.row import Result, Spec, timed
from benchmarks.performance.timing import interleaved

CASES, FEATURES = 2000, 512
NEAREST = 5
VOLUMES, EDGE = 64, 32
TOLERANCE = 1e-4


def features(cases: int = CASES, width: int = FEATURES) -> tuple[FloatArray, FloatArray]:
    """Two float32 cohorts that differ in mean and spread; every feature depends on the others, as a network's do."""
    rng = np.random.default_rng(0)
    mixing = rng.normal(size=(width, width)).astype(np.float32) / np.sqrt(width, dtype=np.float32)
    real, synthetic = rng.normal(size=(2, cases, width)).astype(np.float32)
    return real @ mixing, (1.1 * synthetic + 0.1) @ mixing


def volumes(count: int = VOLUMES, edge: int = EDGE) -> list[FloatArray]:
    """Smooth volumes in [-1, 1] that resemble each other."""
    rng = np.random.default_rng(0)
    noise = [ndimage.gaussian_filter(rng.normal(size=(edge,) * 3), 2.0) for _ in range(count + 1)]
    return [np.clip((noise[0] + n)[None] * 6, -1, 1).astype(np.float32) for n in noise[1:]]


class _Features(torch.nn.Module):
    """The features are given already."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.num_features = width

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return rows


def torchmetrics_kid(real: FloatArray, synthetic: FloatArray) -> float:
    """One subset that holds every case, which is what the definition asks for and ours computes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        metric = KernelInceptionDistance(_Features(real.shape[1]), subsets=1, subset_size=len(real))
    metric.update(torch.from_numpy(real), real=True)
    metric.update(torch.from_numpy(synthetic), real=False)
    return float(metric.compute()[0])


def torchmetrics_frechet(real: FloatArray, synthetic: FloatArray) -> float:
    """In double precision, as ours."""
    metric = FrechetInceptionDistance(_Features(real.shape[1]))
    metric.set_dtype(torch.float64)
    metric.update(torch.from_numpy(real).double(), real=True)
    metric.update(torch.from_numpy(synthetic).double(), real=False)
    return float(metric.compute())


def prdc_package(real: FloatArray, synthetic: FloatArray) -> FloatArray:
    """(4,) precision, recall, density, coverage."""
    with contextlib.redirect_stdout(io.StringIO()):
        found = prdc.compute_prdc(real, synthetic, nearest_k=NEAREST)
    return np.array([found[name] for name in ("precision", "recall", "density", "coverage")])


def monai_ms_ssim(images: list[FloatArray], plan: ScalePlan) -> FloatArray:
    """Every pair once: each volume in one batch with all after it."""
    batch = (torch.from_numpy(np.stack(images)) + 1) / 2
    metric = MultiScaleSSIMMetric(
        3, 1.0, kernel_size=plan.window, kernel_sigma=plan.sigma, weights=plan.weights, reduction="none"
    )
    with torch.no_grad():
        values = [
            metric(batch[i : i + 1].expand(len(batch) - i - 1, -1, -1, -1, -1), batch[i + 1 :]).flatten()
            for i in range(len(batch) - 1)
        ]
    return torch.cat(values).double().numpy()


def measure() -> list[Result]:
    """Four rows."""
    real, synthetic = features()
    images = volumes()
    plan = scale_plan(images[0].shape[1:])
    of = f"{CASES:,} × {CASES:,} feature vectors of {FEATURES} numbers"
    return [
        _row(
            "kid-2000",
            f"KID of {of}",
            "torchmetrics `KernelInceptionDistance`, one subset of all",
            lambda: kid(real, synthetic),
            lambda: torchmetrics_kid(real, synthetic),
        ),
        _row(
            "frechet-2000",
            f"Fréchet distance of {of}",
            "torchmetrics `FrechetInceptionDistance`",
            lambda: frechet_distance(real, synthetic),
            lambda: torchmetrics_frechet(real, synthetic),
        ),
        _row(
            "prdc-2000",
            f"precision, recall, density and coverage of {of}",
            "prdc `compute_prdc`",
            lambda: coverage(real, synthetic).means(),
            lambda: prdc_package(real, synthetic),
        ),
        _row(
            "ms-ssim-64",
            f"MS-SSIM of every pair of {VOLUMES} volumes of {EDGE}³ ({plan})",
            "MONAI `MultiScaleSSIMMetric`, each volume in one batch with all after it",
            lambda: pairwise_ms_ssim(images, plan).values,
            lambda: monai_ms_ssim(images, plan),
        ),
    ]


def difference(ours: Any, peer: Any) -> float:
    """Largest difference, relative to the largest value of the peer."""
    return float(np.max(np.abs(np.asarray(ours) - np.asarray(peer))) / np.max(np.abs(peer)))


def _row(name: str, title: str, peer_title: str, ours: Callable[[], object], peer: Callable[[], object]) -> Result:
    apart = difference(ours(), peer())
    assert apart <= TOLERANCE, f"{name}: results differ by {apart:.2g}"
    times = interleaved(ours, peer)
    return timed(name, title, peer_title, "exact", times, 1.5, error={"relative": apart, "allowed": TOLERANCE})


SPEC = Spec("metrics", ("kid-2000", "frechet-2000", "prdc-2000", "ms-ssim-64"), measure)
