"""What is known about models as data: catalogue.json, its schema, and one entry of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from GenerativeAugmentLib.errors import JobError, _
from GenerativeAugmentLib.files import readJson
from GenerativeAugmentLib.jsonSchema import schemaProblems
from GenerativeAugmentLib.packageFiles import LABEL_MAP, describePackage, verifyPackage

CATALOGUE = "catalogue.json"
SCHEMA = "catalogue.schema.json"


@dataclass(frozen=True)
class Condition:
    """One thing a case can be asked to be.

    Attributes:
        kind: "label_map" to follow; "image" in which the label map is filled; "class", "number" or "text" for a
            covariate.
        name: of the covariate or channel.
        levels: of a class.
        low: smallest value of a number in training.
        high: largest.
    """

    kind: str
    name: str
    levels: tuple[str, ...] = ()
    low: float = 0.0
    high: float = 0.0


@dataclass(frozen=True)
class ModelEntry:
    """One model.

    Attributes:
        name: of the package, unique in the catalog.
        title: what to show.
        task: "synthesis", "translation", "label_to_image" or "infill".
        modality: channel to modality, of all channels the model saw.
        recipe: name of the method; `method` is its title.
        family: "gan", "vae", "diffusion", "translation" or "regression".
        folder: the package; None for a model that the catalog knows and this installation lacks.
        licence: SPDX identifier where there is one.
        sha256: of all weights together, as Records name it.
        inputs: channels a case is made from, "label map" among them; empty for noise.
        outputs: channels that are made, "label map" among them.
        size: voxels of what the network makes or sees at once, 2 or 3 entries.
        spacing: mm.
        seconds: device to measured seconds for one case.
        note: a sentence or two for the user, plain text.
        conditions: what the recipe says that a case is made for, such as "label_map" or "covariates".
        askable: how it can be asked to draw a case: "steps", "guidance", "truncation".
        covariates: of the training cases, which a new one can be asked to have.
        labels: label value to name.
        fieldOfView: smallest and largest seen in training, mm along the model's axes.
        cases: number of training cases.
        bytes: of the weights.
        builtIn: whether it came with the extension and cannot be deleted.
    """

    name: str
    title: str
    task: str
    modality: dict[str, str]
    recipe: str
    method: str
    family: str
    folder: Path | None
    licence: str
    sha256: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    size: tuple[int, ...]
    spacing: tuple[float, float, float]
    seconds: dict[str, float] = field(default_factory=dict)
    note: str = ""
    conditions: tuple[str, ...] = ()
    askable: tuple[str, ...] = ()
    covariates: tuple[Condition, ...] = ()
    labels: dict[int, str] = field(default_factory=dict)
    fieldOfView: tuple[tuple[float, ...], tuple[float, ...]] = ((), ())
    cases: int = 0
    bytes: int = 0
    builtIn: bool = False

    @property
    def makesLabels(self) -> bool:
        """Whether a case comes with a label map of the model's own."""
        return LABEL_MAP in self.outputs

    @property
    def followsLabels(self) -> bool:
        """Whether a case is made for a given label map."""
        return LABEL_MAP in self.inputs

    @property
    def asked(self) -> tuple[Condition, ...]:
        """What a new case can be asked to be, in the order in which a form shows it."""
        given = [Condition("label_map", LABEL_MAP)] if self.followsLabels else []
        filled = [Condition("image", channel) for channel in self.sources] if self.task == "infill" else []
        return (*given, *filled, *self.covariates)

    @property
    def takesAnySources(self) -> bool:
        """Whether it does with some of its source channels, whichever there are."""
        return "images" in self.conditions

    @property
    def sources(self) -> tuple[str, ...]:
        """Image channels a case is made from."""
        return tuple(name for name in self.inputs if name != LABEL_MAP)

    @property
    def targets(self) -> tuple[str, ...]:
        """Image channels that are made."""
        return tuple(name for name in self.outputs if name != LABEL_MAP)


def builtInFolder() -> Path:
    """Resources/Models of the installed module, or of the extension's source tree.

    Raises:
        JobError: "missing_file" for an installation without it.
    """
    module = Path(__file__).resolve().parent.parent
    candidates = [module / "Resources" / "Models", module.parent / "Resources" / "Models"]
    for folder in candidates:
        if (folder / SCHEMA).is_file():
            return folder
    raise JobError(
        "missing_file",
        candidates[0] / SCHEMA,
        _("no such file"),
        _("the models that come with the extension"),
        _("Install the extension again."),
    )


def readCatalogue(path: Path) -> dict:
    """A catalogue.json, checked against its schema.

    Raises:
        JobError: "unreadable_file" with every place at fault; "missing_file".
    """
    catalogue = readJson(path, _("a catalog of models"))
    problems = schemaProblems(catalogue, _schema())
    if problems:
        raise JobError(
            "unreadable_file",
            path,
            "; ".join(problems[:5]),
            _("a catalog as catalogue.schema.json has it"),
            _("Make it again from the packages."),
        )
    return catalogue


def makeCatalogue(folder: Path, seconds: dict[str, dict[str, float]], measuredOn: dict[str, str]) -> dict:
    """The content of a catalogue.json for the packages in a folder.

    Args:
        folder: with one package a folder.
        seconds: name to device to measured seconds for one case; models without a measurement may be missing.
        measuredOn: what the machine was, for instance {"cpu": "2 cores"}.

    Raises:
        JobError: "bad_package" for any that is not sound, weights included.
    """
    models = []
    for package in sorted(path for path in Path(folder).iterdir() if path.is_dir() and not path.name.startswith(".")):
        verifyPackage(package)
        described = describePackage(package)
        models.append({**described, "seconds": dict(seconds.get(described["name"], {}))})
    catalogue = {"$schema": SCHEMA, "schema_version": 1, "measured_on": dict(measuredOn), "models": models}
    problems = schemaProblems(catalogue, _schema())
    if problems:
        raise JobError(
            "bad_package",
            folder,
            "; ".join(problems),
            _("packages that fit catalogue.schema.json"),
            _("Correct the packages or the schema."),
        )
    return catalogue


def checkedDescription(package: Path) -> dict:
    """`describePackage`, checked against the schema of the catalog.

    Raises:
        JobError: "bad_package" naming the keys at fault.
    """
    described = describePackage(package)
    problems = schemaProblems({"schema_version": 1, "models": [described]}, _schema())
    if problems:
        raise JobError(
            "bad_package",
            package,
            "; ".join(problems),
            _("the description of a model package"),
            _("Get the package again from where it came."),
        )
    return described


def _schema() -> dict:
    return readJson(builtInFolder() / SCHEMA, _("the schema of the catalog"))


def entryOf(described: dict, folder: Path | None, builtIn: bool) -> ModelEntry:
    """An entry of a catalog as an object; `folder` is None where the package is not installed."""
    view = described["field_of_view"]
    plain = ("name", "title", "task", "modality", "recipe", "method", "family", "licence", "sha256", "cases", "bytes")
    return ModelEntry(
        **{key: described[key] for key in plain},
        folder=folder,
        inputs=tuple(described["inputs"]),
        outputs=tuple(described["outputs"]),
        size=tuple(described["size"]),
        spacing=tuple(described["spacing"]),
        seconds=dict(described["seconds"]),
        note=described["note"].replace("**", ""),
        conditions=tuple(described["conditions"]),
        # A catalog that was written before there was such a key lists models that are not installed.
        askable=tuple(described.get("askable", ())),
        covariates=tuple(
            Condition(one["kind"], one["name"], tuple(one["levels"]), one["low"], one["high"])
            for one in described.get("covariates", ())
        ),
        labels={int(value): name for value, name in described["labels"].items()},
        fieldOfView=(tuple(view["smallest"]), tuple(view["largest"])),
        builtIn=builtIn,
    )
