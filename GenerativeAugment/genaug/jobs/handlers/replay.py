"""Make a case again and compare."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from genaug.jobs.schema import Task
from genaug.progress import Reporter
from genaug.replay import replay


def run(task: Task, reporter: Reporter) -> Mapping[str, Any]:
    """Inputs: case (its folder or Record), and where they are not found by themselves, what it was made from."""
    sources = {role: paths[0] for role, paths in task.inputs.items() if role != "case"}
    result = replay(task.input("case"), task.output, reporter, sources)
    return {**result.model_dump(mode="json"), "text": "\n".join(result.lines())}
