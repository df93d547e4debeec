"""Jobs about whole cohorts: describe one, train on one, export several. Everything is decided here, at Apply."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from GenerativeAugmentLib.cohorts import (
    FrozenCohort,
    SceneCase,
    manifestPath,
    readCohort,
    realPatients,
    safeName,
)
from GenerativeAugmentLib.cohortSplit import isDivisible, splitPatients
from GenerativeAugmentLib.errors import JobError, _
from GenerativeAugmentLib.files import userPath
from GenerativeAugmentLib.jobCenter import PlannedJob
from GenerativeAugmentLib.jobs import Job, newJobFolder
from GenerativeAugmentLib.parameters import CohortSource, DataParameters, ExportParameters, TrainParameters, isSet
from GenerativeAugmentLib.recipes import RecipeInfo
from GenerativeAugmentLib.steps import Preparation

SMALLEST_VOLUME = 512
"""Voxels; the worker takes no smaller limit."""

TRAINING_SUFFIX = ".training"
"""Of the folder beside a model in which its training keeps checkpoints, curves and previews."""

PLAN = "plan.json"


def fingerprintJob(
    parameters: DataParameters, cases: Sequence[SceneCase] = (), device: str = "auto", cohort: Path | None = None
) -> PlannedJob:
    """Describe a cohort and recommend a recipe; a cohort of the scene is written first.

    Args:
        parameters: where the cohort comes from, or goes to, and which shares of its patients are kept apart; of too few
            patients nobody is.
        cases: of the scene, for that source.
        device: that a training would have.
        cohort: of the disk, instead of the one in `parameters`.

    Raises:
        JobError: as `cohorts.FrozenCohort` and `cohortSplit.splitPatients`.
    """
    preparation = None
    if cohort is None and parameters.source is CohortSource.SCENE:
        cohort = userPath(parameters.outputFolder) / safeName(parameters.name)
        patients, shares = realPatients(cases), (parameters.validationShare, parameters.testShare)
        split = splitPatients(patients, *shares, parameters.splitSeed) if isDivisible(patients, *shares) else {}
        frozen = FrozenCohort(cases, parameters.name.strip(), parameters.fileFormat, split)
        preparation = Preparation(frozen.writing(cohort), frozen.bytes)
        name = parameters.name.strip()
    else:
        cohort = userPath(cohort or parameters.cohortFolder)
        name = cohortTitle(cohort)
    job = Job(
        "fingerprint",
        newJobFolder("fingerprint"),
        {"task": parameters.purpose.value or None},
        {"cohort": cohort},
        device=device,
        title=_("Fingerprint of {cohort}").format(cohort=name),
    )
    return PlannedJob(job, preparation=preparation, context={"cohort": str(cohort)})


def trainJob(
    parameters: TrainParameters, recipe: RecipeInfo, device: str = "auto", initial: Path | None = None
) -> PlannedJob:
    """Train a recipe on a cohort. The same model folder again goes on where its training stopped.

    Args:
        parameters: what the Train panel says; 0 and "" stand for what recipe or cohort says.
        recipe: the one that `parameters` names.
        device: to train on.
        initial: folder of a model to start from.

    Raises:
        JobError: "bad_parameter" for a translation without source channels, or too few voxels.
    """
    if recipe.needsSources and not listedNames(parameters.sourceChannels):
        raise JobError(
            "bad_parameter",
            recipe.title,
            _("no source channel"),
            _("the channels that the translation starts from"),
            _("Say which the source channels are."),
        )
    if 0 < parameters.maximumVoxels < SMALLEST_VOLUME:
        raise JobError(
            "bad_parameter",
            _("largest volume"),
            _("{count} voxels").format(count=parameters.maximumVoxels),
            _("at least {count}, or 0 for no limit").format(count=SMALLEST_VOLUME),
            _("Enter a larger number."),
        )
    output = modelFolder(parameters)
    job = Job(
        "train",
        newJobFolder("train"),
        _trainingOptions(parameters, recipe),
        {"cohort": parameters.cohortFolder, **({} if initial is None else {"initial": initial})},
        seed=parameters.seed,
        device=device,
        output=str(output),
        title=_("Training of {name}").format(name=output.name),
    )
    return PlannedJob(job, context={"model": str(output)})


def modelFolder(parameters: TrainParameters) -> Path:
    """Where the model goes."""
    name = parameters.name.strip() or f"{cohortTitle(parameters.cohortFolder)}-{parameters.recipe}"
    return userPath(parameters.outputFolder) / safeName(name)


def trainingFolder(model: Path) -> Path:
    """Where the training of a model keeps checkpoints, curves and previews."""
    return model.with_name(model.name + TRAINING_SUFFIX)


def isUnfinished(model: Path) -> bool:
    """Whether a training of this model was begun, which the next one continues."""
    return (trainingFolder(model) / PLAN).is_file()


def exportJob(parameters: ExportParameters, device: str = "auto") -> PlannedJob:
    """Lay out real and accepted synthetic cases for training. The review logs beside the cohorts count."""
    inputs: dict[str, Path | list[Path]] = {}
    if parameters.realCohort != Path():
        inputs["real"] = parameters.realCohort
    if parameters.syntheticCohorts:
        inputs["synthetic"] = [Path(path) for path in parameters.syntheticCohorts]
    job = Job(
        "export",
        newJobFolder("export"),
        {
            "layout": parameters.layout.value,
            "name": parameters.name.strip(),
            "dataset_id": parameters.datasetId,
            "require_review": parameters.requireReview,
            "require_checks": parameters.requireChecks,
            "file_format": parameters.fileFormat,
        },
        inputs,
        seed=parameters.seed,
        device=device,
        output=str(userPath(parameters.outputFolder)),
        title=_("Export of {name}").format(name=parameters.name.strip()),
    )
    return PlannedJob(job)


def evaluateJob(
    real: Path, synthetic: Path, task: str = "synthesis", channel: str = "", seed: int = 0, device: str = "auto"
) -> PlannedJob:
    """Score synthetic cases against real ones.

    Args:
        real: cohort of real cases.
        synthetic: cohort of synthetic ones.
        task: "synthesis" or "translation".
        channel: to score; the first common one by default.
        seed: of what the scores draw.
        device: to compute on.
    """
    title = _("Evaluation of {cohort}").format(cohort=cohortTitle(synthetic))
    job = Job(
        "evaluate",
        newJobFolder("evaluate"),
        {"task": task, "channel": channel or None, "seed": seed},
        {"real": Path(real), "synthetic": Path(synthetic)},
        seed=seed,
        device=device,
        title=title,
    )
    return PlannedJob(job)


def listedNames(text: str) -> list[str]:
    """The names in a text in which commas separate them, each once."""
    return list(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))


def cohortTitle(cohort: Path) -> str:
    """What to call a cohort: the name in its manifest, else that of its folder."""
    manifest = manifestPath(cohort)
    if not manifest.is_file() or manifest.suffix != ".json":
        return Path(cohort).name
    try:
        return str(readCohort(manifest).get("name") or manifest.parent.name)
    except JobError:
        # Another kind of list, which only the worker reads.
        return Path(cohort).stem


def _trainingOptions(parameters: TrainParameters, recipe: RecipeInfo) -> dict[str, Any]:
    """The parameters of a training as genaug.parameters.TrainingOptions has them; what is not said is left out."""
    options: dict[str, Any] = {
        "recipe": recipe.name,
        "channels": listedNames(parameters.channels),
        "source_channels": listedNames(parameters.sourceChannels) if recipe.task == "translation" else [],
        "preview_every": parameters.previewEvery,
        "checkpoint_every": parameters.checkpointEvery,
    }
    if "covariates" in recipe.conditions and parameters.covariates:
        options["covariates"] = list(parameters.covariates)
    if "text" in recipe.conditions and parameters.text:
        options["text"] = parameters.text
    if "text" in recipe.conditions and isSet(parameters.textEncoder):
        options["text_encoder"] = str(userPath(parameters.textEncoder))
    if recipe.dimensions == (2,):
        # Volumes are taken plane by plane; the worker would see that they are 3D.
        options["dimension"] = 2
    if parameters.spacing:
        options["spacing"] = [parameters.spacing] * 3
    if parameters.maximumVoxels:
        options["max_voxels"] = parameters.maximumVoxels
    if parameters.iterations:
        options["iterations"] = dict.fromkeys(recipe.iterations, parameters.iterations)
    if parameters.minutes:
        options["minutes"] = parameters.minutes
    if parameters.batchSize:
        options["batch_size"] = parameters.batchSize
    if parameters.learningRate:
        options["learning_rate"] = parameters.learningRate
    return options
