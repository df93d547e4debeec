"""All rows, in the order of the table."""

from __future__ import annotations

from benchmarks.performance import (
    cohort_workers,
    cold_start,
    decode,
    denoiser,
    exchange,
    export,
    gpu,
    lesion,
    metrics,
    preprocessing,
    training_step,
    translation,
    volume,
)
from benchmarks.performance.row import Spec

SPECS: tuple[Spec, ...] = (
    denoiser.SPEC,
    *volume.SPECS,
    decode.SPEC,
    cohort_workers.SPEC,
    training_step.SPEC,
    preprocessing.SPEC,
    translation.SPEC,
    lesion.SPEC,
    exchange.SPEC,
    export.SPEC,
    metrics.SPEC,
    cold_start.SPEC,
    *gpu.SPECS,
)
