"""The kinds of job: which parameters and inputs each takes, and where its handler stands.

A new kind is one entry here and one file in `handlers`. Models and handlers are named, not imported, so that reading
one kind of job never pays for the rooms of another.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from pydantic import BaseModel

from genaug.importing import collector_off
from genaug.progress import Reporter

Handler = Callable[["Any", Reporter], Mapping[str, Any]]
"""Called with a schema.Task; its answer becomes the summary in result.json."""


@dataclass(frozen=True)
class Kind:
    """One kind of job.

    Attributes:
        parameters: "module:Class" of a pydantic model.
        handler: "module:function", see Handler.
        required: roles that must be given, exactly one path each.
        optional: roles that may be given, one path each.
        repeated: roles that may be given with any number of paths.
        resumes: a second run continues with what the first left in the output folder, instead of starting anew; a
            run that is stopped saves what it has done.
    """

    parameters: str
    handler: str
    required: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    repeated: tuple[str, ...] = ()
    resumes: bool = False

    def parameters_model(self) -> type[BaseModel]:
        """The pydantic model of `parameters`."""
        model: type[BaseModel] = _load(self.parameters)
        return model

    def load_handler(self) -> Handler:
        """The function that does the job."""
        handler: Handler = _load(self.handler)
        return handler

    @property
    def roles(self) -> tuple[str, ...]:
        """Every role the kind knows."""
        return (*self.required, *self.optional, *self.repeated)


KINDS: dict[str, Kind] = {
    "train": Kind(
        "genaug.parameters:TrainingOptions",
        "genaug.jobs.handlers.train:run",
        required=("cohort",),
        optional=("initial",),
        resumes=True,
    ),
    "synthesize": Kind(
        "genaug.parameters:SynthesisParameters",
        "genaug.jobs.handlers.synthesize:run",
        required=("package",),
        optional=("labels",),
    ),
    "translate": Kind(
        "genaug.parameters:TranslationParameters",
        "genaug.jobs.handlers.translate:run",
        required=("package",),
        optional=("cohort",),
        repeated=("image",),
    ),
    "insert": Kind(
        "genaug.insertion:InsertionParameters",
        "genaug.jobs.handlers.insert:run",
        required=("host",),
        optional=("tissue", "bank"),
    ),
    "evaluate": Kind(
        "genaug.parameters:EvaluationParameters",
        "genaug.jobs.handlers.evaluate:run",
        required=("real", "synthetic"),
        optional=("repeats",),
    ),
    "export": Kind(
        "genaug.parameters:ExportParameters",
        "genaug.jobs.handlers.export:run",
        optional=("real",),
        repeated=("synthetic", "reviews"),
    ),
    "fingerprint": Kind(
        "genaug.jobs.parameters:FingerprintParameters", "genaug.jobs.handlers.fingerprint:run", required=("cohort",)
    ),
    "replay": Kind(
        "genaug.jobs.parameters:NoParameters",
        "genaug.jobs.handlers.replay:run",
        required=("case",),
        optional=("package", "given", "host", "tissue", "label", "bank"),
    ),
}


def _load(name: str) -> Any:
    module, _, attribute = name.partition(":")
    with collector_off():
        return getattr(import_module(module), attribute)
