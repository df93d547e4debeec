"""One handler a kind: translates a Task into the calls of the other rooms, and answers with a summary.

A handler's module is imported when the first job of its kind runs, so the command line stays light.
"""

from __future__ import annotations

from typing import TypeVar

from pydantic import BaseModel

from genaug.errors import GenaugError, Reason

Parameters = TypeVar("Parameters", bound=BaseModel)


def parameters_of(value: BaseModel, kind: type[Parameters], seed: int | None = None) -> Parameters:
    """The task's parameters as the model they are, with the job's seed where the model has one of its own.

    Raises:
        GenaugError: BAD_JOB when the parameters name another seed than the job.
    """
    assert isinstance(value, kind)
    if seed is None or "seed" not in kind.model_fields:
        return value
    found = value.model_dump(include={"seed"}, exclude_unset=True).get("seed", seed)
    if found != seed:
        raise GenaugError(
            Reason.BAD_JOB,
            "parameters.seed",
            str(found),
            f"the job's seed {seed}, or none",
            "Set the seed once, as the job's.",
        )
    return value.model_copy(update={"seed": seed})
