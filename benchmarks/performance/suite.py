"""All rows, in the order of the table."""

from __future__ import annotations

from benchmarks.performance import cold_start, exchange, export, lesion, metrics, preprocessing, training_step
from benchmarks.performance.row import Spec

SPECS: tuple[Spec, ...] = (
    training_step.SPEC,
    preprocessing.SPEC,
    lesion.SPEC,
    exchange.SPEC,
    export.SPEC,
    metrics.SPEC,
    cold_start.SPEC,
)
