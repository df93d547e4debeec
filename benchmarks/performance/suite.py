"""All rows, in the order of the table."""

from __future__ import annotations

from benchmarks.performance import cold_start, exchange, export, lesion, metrics
from benchmarks.performance.row import Spec

SPECS: tuple[Spec, ...] = (
    lesion.SPEC,
    exchange.SPEC,
    export.SPEC,
    metrics.SPEC,
    cold_start.SPEC,
)
