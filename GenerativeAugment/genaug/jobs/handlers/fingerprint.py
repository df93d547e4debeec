"""Describe a cohort and recommend a method."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from typing import Any

from genaug.fingerprint import fingerprint
from genaug.jobs.expected import DESCRIBING, state_from_sizes
from genaug.jobs.handlers import parameters_of
from genaug.jobs.handlers.inputs import read_given
from genaug.jobs.parameters import FingerprintParameters
from genaug.jobs.schema import Task
from genaug.progress import Reporter
from genaug.recommend import recommend


def run(task: Task, reporter: Reporter) -> Mapping[str, Any]:
    """Inputs: cohort. Nothing is written but the summary: the fingerprint and the recommendation."""
    cohort = read_given(task.input("cohort"))
    state_from_sizes(cohort.cases, DESCRIBING, reporter)
    found = fingerprint(cohort, reporter)
    wanted = parameters_of(task.parameters, FingerprintParameters).task
    recommendation = recommend(found, likely_device(task.job.device), wanted)
    return {"fingerprint": found.model_dump(mode="json"), "recommendation": recommendation.model_dump(mode="json")}


def likely_device(device: str) -> str:
    """The device "auto" will most likely be, without the seconds it takes to ask torch."""
    if device != "auto":
        return device
    return "cuda" if shutil.which("nvidia-smi") else "cpu"
