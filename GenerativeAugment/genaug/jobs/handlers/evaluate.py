"""Score a synthetic cohort."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from genaug.evaluation.cohorts import evaluate_cohorts
from genaug.jobs.expected import EVALUATING, evaluation_bytes, state_from_sizes
from genaug.jobs.handlers import parameters_of
from genaug.jobs.handlers.inputs import read_given
from genaug.jobs.schema import Task
from genaug.parameters import EvaluationParameters
from genaug.progress import Reporter

EVALUATION = "evaluation.json"


def run(task: Task, reporter: Reporter) -> Mapping[str, Any]:
    """Inputs: real and synthetic cohort, optionally repeats (real too). The output folder gets evaluation.json."""
    repeats = task.optional("repeats")
    real, synthetic = read_given(task.input("real")), read_given(task.input("synthetic"))
    state_from_sizes([*real.cases, *synthetic.cases], EVALUATING, reporter, held=evaluation_bytes())
    evaluation = evaluate_cohorts(
        real,
        synthetic,
        parameters_of(task.parameters, EvaluationParameters, task.job.seed),
        task.job.seed,
        reporter,
        read_given(repeats) if repeats is not None else None,
    )
    path = task.output / EVALUATION
    evaluation.write(path)
    reporter.product("evaluation", path)
    return {"evaluation": evaluation.model_dump(mode="json"), "text": "\n".join(evaluation.summary_lines())}
