"""Lay out a cohort for training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from genaug.export import export_cohort
from genaug.jobs.handlers import parameters_of
from genaug.jobs.schema import Task
from genaug.parameters import ExportParameters
from genaug.progress import Reporter
from genaug.readers import read_cohort


def run(task: Task, reporter: Reporter) -> Mapping[str, Any]:
    """Inputs: real (a cohort), any number of synthetic cohorts and of review files. The output folder gets the set."""
    real = task.optional("real")
    dataset, manifest = export_cohort(
        read_cohort(real) if real is not None else None,
        [read_cohort(path) for path in task.inputs.get("synthetic", ())],
        task.output,
        parameters_of(task.parameters, ExportParameters),
        reporter,
        seed=task.job.seed,
        reviews=task.inputs.get("reviews", ()),
    )
    return {
        "dataset": str(dataset),
        "counts": manifest.counts,
        "left_out": [one.model_dump(mode="json") for one in manifest.left_out],
        "text": "\n".join([str(dataset), *manifest.lines()]),
    }
