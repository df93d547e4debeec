"""Make a case again and compare."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from genaug.jobs.expected import state_replay
from genaug.jobs.schema import Task
from genaug.progress import Reporter
from genaug.record import Record
from genaug.replay import case_files, find_record, replay
from genaug.sources import read_sources


def run(task: Task, reporter: Reporter) -> Mapping[str, Any]:
    """Inputs: case (its folder or Record), and where they are not found by themselves, what it was made from."""
    sources = {role: paths[0] for role, paths in task.inputs.items() if role != "case"}
    path = find_record(task.input("case"))
    record = Record.read(path)
    package = {**read_sources(path.parent.parent), **sources}.get("package")
    state_replay(record, [file.path for file in case_files(record, path)[0].values()], package, reporter)
    result = replay(task.input("case"), task.output, reporter, sources)
    return {**result.model_dump(mode="json"), "text": "\n".join(result.lines())}
