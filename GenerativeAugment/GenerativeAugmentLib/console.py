"""The module's jobs for the Python console: node in, node out.

Every function waits for its result by default while the application goes on living; with `waitForCompletion=False` it
returns the job's id at once, and `outcome(jobId)` waits later.
"""

from __future__ import annotations

import enum
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import slicer
from slicer.parameterNodeWrapper import FloatRange

from GenerativeAugmentLib.catalogue import Catalogue, describePackage
from GenerativeAugmentLib.catalogueFile import ModelEntry, entryOf
from GenerativeAugmentLib.cohorts import FrozenCohort, SceneCase, realPatients
from GenerativeAugmentLib.cohortSplit import splitPatients
from GenerativeAugmentLib.environment import Environment
from GenerativeAugmentLib.errors import JobError, _
from GenerativeAugmentLib.files import userPath
from GenerativeAugmentLib.jobBuilders import (
    evaluateJob,
    exportJob,
    fingerprintJob,
    lesionsJob,
    synthesizeJob,
    trainJob,
    translateJob,
)
from GenerativeAugmentLib.jobCenter import JobCenter, Outcome, PlannedJob
from GenerativeAugmentLib.jobRunner import POLL_BUDGET_S
from GenerativeAugmentLib.labelMaps import nodeValues, segmentNames
from GenerativeAugmentLib.modelFit import INFO
from GenerativeAugmentLib.parameters import (
    ContrastUnit,
    DataParameters,
    ExportParameters,
    InputModality,
    Layout,
    LesionShape,
    LesionSource,
    LesionsParameters,
    Placement,
    Purpose,
    SynthesizeParameters,
    TrainParameters,
    TranslateParameters,
)
from GenerativeAugmentLib.recipes import findRecipe
from GenerativeAugmentLib.results import ImportedResult
from GenerativeAugmentLib.reviewQueue import ReviewQueue
from GenerativeAugmentLib.steps import Result, Steps

Choice = TypeVar("Choice", bound=enum.Enum)
Pack = TypeVar("Pack")

MOST_INPUTS = 3
"""Volumes that a translation takes."""


class Console:
    """What scripts can do.

    Args:
        environment: the Python of the worker.
        catalogue: the models.
        jobs: runs them.

    Example:
        >>> "pix2pix" in [model.name for model in logic.models("translation")]
        True
        >>> logic.jobs.busy
        False
    """

    def __init__(self, environment: Environment, catalogue: Catalogue, jobs: JobCenter) -> None:
        self.environment = environment
        self.catalogue = catalogue
        self.jobs = jobs

    def models(self, task: str | None = None) -> list[ModelEntry]:
        """The installed models, or those of one task: "synthesis", "translation" or "label_to_image"."""
        return self.catalogue.models(task)

    def synthesize(
        self,
        model: str | Path,
        count: int = 1,
        seed: int = 0,
        labelNode: Any = None,
        imageNode: Any = None,
        conditions: Mapping[str, float | str] | None = None,
        textEncoder: str | Path = "",
        steps: int = 0,
        guidance: float = 0.0,
        truncation: float = 0.0,
        outputFolder: str | Path = "",
        device: str = "auto",
        waitForCompletion: bool = True,
    ) -> ImportedResult | str:
        """New cases by a model, in the scene; their segmentations are hidden, and the views show what they did.

        Args:
            model: name in the catalog, or folder of a package.
            count: number of cases.
            seed: the same one gives the same cases again.
            labelNode: segmentation or label map to follow, for a model that makes images for label maps.
            imageNode: volume to fill within the label map, for a model that does so.
            conditions: covariate to value to ask for, such as {"age": 60}; others are as a training case had them.
            textEncoder: folder of the one that the model was trained with, to ask for a text.
            steps: of the sampler; 0 for the model's own number.
            guidance: how closely a diffusion model follows what is asked for, 1 to about 4; 0 for the model's own.
            truncation: of a GAN's or VAE's noise, up to 1: the smaller, the closer to what is asked for and the more
                alike; 0 for the model's own.
            outputFolder: keeps the cases, in a new folder in this one; the temporary folder by default.
            device: "auto", "cpu", "cuda" or "mps".
            waitForCompletion: return the result, else the job's id.

        Raises:
            JobError: whatever is wrong, with what to do about it.

        Example:
            >>> result = logic.synthesize("vae", count=2, seed=7)
            >>> len(result.volumes), len(result.segmentations)
            (2, 2)
            >>> result.volumes[0].GetAttribute("GenerativeAugment.synthetic")
            'true'
        """
        entry = self._model(model)
        _requireUse(entry.title, labelNode=labelNode is None or entry.followsLabels)
        _requireUse(entry.title, imageNode=imageNode is None or entry.task == "infill")
        _requireKnown("conditions", conditions or {}, [covariate.name for covariate in entry.covariates])
        parameters = _pack(
            SynthesizeParameters,
            model=entry.name,
            count=count,
            seed=seed,
            steps=steps,
            guidance=guidance,
            truncation=truncation,
            labelNode=labelNode,
            imageNode=imageNode,
            conditions={name: str(value) for name, value in (conditions or {}).items()},
            textEncoder=textEncoder,
            outputFolder=outputFolder,
        )
        outcome = self._run(synthesizeJob(parameters, entry, device), waitForCompletion)
        return outcome if isinstance(outcome, str) else outcome.imported

    def translate(
        self,
        volumeNode: Any | Sequence[Any],
        model: str | Path,
        modality: str = "",
        overlap: float = 0.5,
        seed: int = 0,
        outputFolder: str | Path = "",
        device: str = "auto",
        waitForCompletion: bool = True,
    ) -> Any:
        """A volume in another contrast or modality, on the same voxels.

        Args:
            volumeNode: the input, or a sequence of up to three for a model of several source channels, in its order;
                None stands for a channel that is missing, where the model can do without.
            model: name in the catalog, or folder of a package.
            modality: "MR" or "CT" where the scene does not know.
            overlap: of neighboring windows, as a fraction of a window.
            seed: as for `synthesize`, as are the others.
            outputFolder: keeps the result.
            device: where to compute.
            waitForCompletion: return the volume node, else the job's id.

        Raises:
            JobError: "wrong_modality", "field_of_view", ...

        Example:
            >>> translated = logic.translate(volumeNode, "pix2pix")
            >>> translated.GetImageData().GetDimensions() == volumeNode.GetImageData().GetDimensions()
            True
        """
        entry = self._model(model)
        given = list(volumeNode) if isinstance(volumeNode, (list, tuple)) else [volumeNode]
        if len(given) > MOST_INPUTS:
            raise JobError(
                "bad_parameter",
                "volumeNode",
                _("{count} volumes").format(count=len(given)),
                _("at most {count}").format(count=MOST_INPUTS),
                _("Give one volume for each source channel of the model."),
            )
        first, second, third = given + [None] * (MOST_INPUTS - len(given))
        parameters = _pack(
            TranslateParameters,
            dict.fromkeys(("firstInput", "secondInput", "thirdInput"), "volumeNode"),
            model=entry.name,
            firstInput=first,
            secondInput=second,
            thirdInput=third,
            modality=_choice(InputModality, modality, "modality"),
            overlap=overlap,
            seed=seed,
            outputFolder=outputFolder,
        )
        outcome = self._run(translateJob(parameters, entry, device), waitForCompletion)
        return outcome if isinstance(outcome, str) else outcome.imported.volumes[0]

    def insertLesions(
        self,
        volumeNode: Any,
        tissueNode: Any,
        tissueSegment: str | int = "",
        count: int = 1,
        diameter: tuple[float, float] = (8.0, 20.0),
        contrast: tuple[float, float] | None = (-6.0, -3.0),
        contrastUnit: str = "spread",
        shape: str = "irregular",
        bank: str | Path = "",
        model: str | Path = "",
        lesionLabel: int = 1,
        pointsNode: Any = None,
        margin: float = 2.0,
        seed: int = 0,
        modality: str = "",
        outputFolder: str | Path = "",
        device: str = "auto",
        waitForCompletion: bool = True,
    ) -> Any:
        """A copy of a volume with lesions, and the segmentation of these, which is hidden.

        Args:
            volumeNode: the host; it is not changed.
            tissueNode: segmentation, or label map on the host's voxels, of the tissue to lie in.
            tissueSegment: id of the segment, or label value; the first one by default.
            count: number of lesions; with `pointsNode` there is one for each point.
            diameter: smallest and largest, mm.
            contrast: smallest and largest, lesion minus tissue; None keeps that of a bank's lesions.
            contrastUnit: "spread" (standard deviations of the tissue), "fraction" (of its mean) or "intensity".
            shape: of drawn lesions: "ellipsoid", "irregular", "confluent" or "spiculated".
            bank: folder of annotated cases to take lesions from, instead of drawing them.
            model: lesion model to take them from, instead of a bank.
            lesionLabel: value of the lesions in the label maps of bank or model.
            pointsNode: point list with the lesions' centers.
            margin: least distance from the border of the tissue, mm.
            seed: as for `synthesize`, as are the others.
            modality: "MR" or "CT" where the scene does not know.
            outputFolder: keeps the result.
            device: where a lesion model computes.
            waitForCompletion: return (volume node, segmentation node), else the job's id.

        Raises:
            JobError: "no_room" when no place is large enough, ...

        Example:
            >>> volume, lesions = logic.insertLesions(volumeNode, tissueNode, diameter=(4, 6), seed=1)
            >>> lesions.GetSegmentation().GetNthSegment(0).GetName()
            'lesion'
            >>> logic.undoLast().jobTitle
            'Lesions in head'
        """
        source = LesionSource.MODEL if model else LesionSource.BANK if bank else LesionSource.PROCEDURAL
        entry = self._model(model) if model else None
        low, high = (0.0, 0.0) if contrast is None else _interval(contrast, "contrast")
        parameters = _pack(
            LesionsParameters,
            {"hostVolume": "volumeNode", "bankFolder": "bank", "bankValue": "lesionLabel", "points": "pointsNode"},
            hostVolume=volumeNode,
            tissueNode=tissueNode,
            source=source,
            shape=_choice(LesionShape, shape, "shape"),
            bankFolder=bank,
            bankValue=lesionLabel,
            model=entry.name if entry is not None else "",
            # A new one: the default belongs to all packs.
            diameter=FloatRange(*_interval(diameter, "diameter")),
            ownContrast=contrast is None,
            contrastLow=low,
            contrastHigh=high,
            contrastUnit=_choice(ContrastUnit, contrastUnit, "contrastUnit"),
            margin=margin,
            count=count,
            placement=Placement.AUTOMATIC if pointsNode is None else Placement.POINTS,
            points=pointsNode,
            modality=_choice(InputModality, modality, "modality"),
            seed=seed,
            outputFolder=outputFolder,
        )
        parameters.tissueSegment = _segmentOf(tissueNode, str(tissueSegment))
        valid, reason = parameters.isValid()
        if not valid:
            raise JobError("bad_parameter", "insertLesions", _("incomplete parameters"), _("a complete set"), reason)
        outcome = self._run(lesionsJob(parameters, entry, device), waitForCompletion)
        if isinstance(outcome, str):
            return outcome
        return outcome.imported.volumes[0], outcome.imported.segmentations[0]

    def trainModel(
        self,
        cohort: str | Path,
        recipe: str,
        outputFolder: str | Path,
        name: str = "",
        channels: str | Sequence[str] = (),
        sourceChannels: str | Sequence[str] = (),
        covariates: str | Sequence[str] = (),
        text: str = "",
        textEncoder: str | Path = "",
        iterations: int = 0,
        minutes: float = 0.0,
        maximumVoxels: int = 0,
        batchSize: int = 0,
        initialModel: str | Path = "",
        seed: int = 0,
        device: str = "auto",
        waitForCompletion: bool = True,
    ) -> Path | str:
        """A model package, trained on a cohort; the same call again goes on where a training was stopped.

        Args:
            cohort: folder of the cohort.
            recipe: name of the method, such as "ldm"; `fingerprint` recommends one.
            outputFolder: gets a folder with the package.
            name: of that folder.
            channels: to generate; all by default.
            sourceChannels: that a translation starts from; another recipe refuses them.
            covariates: class and numbers to condition on, for a recipe that does so; all of the cohort by default.
            text: covariate whose sentences to condition on, for a recipe that reads text.
            textEncoder: folder of the model of sentence-transformers that reads them.
            iterations: of every stage; 0 for the recipe's.
            minutes: to stop after; 0 for no limit.
            maximumVoxels: coarsens the spacing until a volume has no more; 0 for no limit.
            batchSize: 0 for the recipe's.
            initialModel: model whose weights to start from.
            seed: of all that is drawn.
            device: "auto", "cpu", "cuda" or "mps".
            waitForCompletion: return the package's folder, else the job's id.

        Raises:
            JobError: whatever is wrong, with what to do about it.

        Example:
            >>> package = logic.trainModel(cohortFolder, "vae", workFolder, "tiny", ["A"], iterations=1)
            >>> len(logic.synthesize(package, count=2).volumes)
            2
            >>> package = logic.trainModel(
            ...     cohortFolder, "cvae", workFolder, "sized", ["A"], covariates=["radius"], iterations=1
            ... )
            >>> len(logic.synthesize(package, conditions={"radius": 4}).volumes)
            1
        """
        method = findRecipe(recipe)
        _requireUse(method.title, sourceChannels=not sourceChannels or method.task == "translation")
        _requireUse(method.title, covariates=not covariates or "covariates" in method.conditions)
        _requireUse(method.title, text=not text or "text" in method.conditions)
        parameters = _pack(
            TrainParameters,
            {"cohortFolder": "cohort"},
            cohortFolder=cohort,
            recipe=recipe,
            outputFolder=outputFolder,
            name=name,
            channels=", ".join(_several(channels)),
            sourceChannels=", ".join(_several(sourceChannels)),
            covariates=_several(covariates),
            text=text,
            textEncoder=textEncoder,
            iterations=iterations,
            minutes=minutes,
            maximumVoxels=maximumVoxels,
            batchSize=batchSize,
            seed=seed,
        )
        initial = self._model(initialModel).folder if initialModel else None
        outcome = self._run(trainJob(parameters, method, device, initial), waitForCompletion)
        return outcome if isinstance(outcome, str) else Path(outcome.summary["package"])

    def fingerprint(
        self, cohort: str | Path, purpose: str = "", device: str = "auto", waitForCompletion: bool = True
    ) -> dict[str, Any] | str:
        """The statistics of a cohort and the recipe that suits it.

        Args:
            cohort: folder of the cohort.
            purpose: "synthesis", "translation", "lesions" or "conditioned"; decided by the cohort by default.
            device: that a training would have.
            waitForCompletion: return {"fingerprint": ..., "recommendation": ...}, else the job's id.

        Example:
            >>> found = logic.fingerprint(cohortFolder, "translation")
            >>> found["fingerprint"]["cases"]
            6
            >>> found["recommendation"]["recipe"] in ("pix2pix", "unet-l1")
            True
        """
        parameters = DataParameters(purpose=_choice(Purpose, purpose, "purpose"))
        planned = fingerprintJob(parameters, device=device, cohort=Path(cohort))
        outcome = self._run(planned, waitForCompletion)
        return outcome if isinstance(outcome, str) else outcome.summary

    def evaluate(
        self,
        real: str | Path,
        synthetic: str | Path,
        task: str = "synthesis",
        channel: str = "",
        seed: int = 0,
        device: str = "auto",
        waitForCompletion: bool = True,
    ) -> dict[str, Any] | str:
        """Scores of synthetic cases against real ones.

        Args:
            real: cohort of real cases.
            synthetic: cohort of synthetic ones.
            task: "synthesis" or "translation".
            channel: to score; the first common one by default.
            seed: of what the scores draw.
            device: to compute on.
            waitForCompletion: return {"evaluation": ..., "text": ...}, else the job's id.

        Example:
            >>> made = logic.synthesize("vae", count=4, outputFolder=workFolder)
            >>> scores = logic.evaluate(cohortFolder, next(workFolder.glob("Synthesis-*")))
            >>> len(scores["text"]) > 0
            True
        """
        planned = evaluateJob(Path(real), Path(synthetic), task, channel, seed, device)
        outcome = self._run(planned, waitForCompletion)
        return outcome if isinstance(outcome, str) else outcome.summary

    def exportCohort(
        self,
        outputFolder: str | Path,
        real: str | Path = "",
        synthetic: str | Path | Sequence[str | Path] = (),
        layout: str = "plain",
        name: str = "Augmented",
        datasetId: int = 501,
        requireReview: bool = True,
        requireChecks: bool = True,
        fileFormat: str = "nii.gz",
        waitForCompletion: bool = True,
    ) -> dict[str, Any] | str:
        """Real and synthetic cases laid out for training, with a manifest.

        Args:
            outputFolder: gets the dataset.
            real: cohort of real cases.
            synthetic: cohorts of synthetic ones.
            layout: "nnunet", "datalist" or "plain".
            name: of the dataset.
            datasetId: number of an nnU-Net dataset.
            requireReview: leave out synthetic cases that nobody accepted.
            requireChecks: leave out synthetic cases whose automatic checks failed.
            fileFormat: "nii.gz" or "nrrd".
            waitForCompletion: return {"dataset": folder, "counts": ..., "left_out": ..., "notes": ...}, else the
                job's id.

        Example:
            >>> exported = logic.exportCohort(workFolder / "export", real=cohortFolder, layout="datalist")
            >>> exported["left_out"]
            []
        """
        parameters = _pack(
            ExportParameters,
            {"realCohort": "real"},
            realCohort=real,
            syntheticCohorts=[Path(cohort) for cohort in _several(synthetic)],
            layout=_choice(Layout, layout, "layout"),
            name=name,
            datasetId=datasetId,
            requireReview=requireReview,
            requireChecks=requireChecks,
            fileFormat=fileFormat,
            outputFolder=outputFolder,
        )
        outcome = self._run(exportJob(parameters), waitForCompletion)
        return outcome if isinstance(outcome, str) else outcome.summary

    def cohortFromScene(
        self,
        cases: Sequence[SceneCase],
        folder: str | Path,
        name: str = "",
        fileFormat: str = "nrrd",
        validationShare: int = 0,
        testShare: int = 0,
        splitSeed: int = 0,
    ) -> Path:
        """Write volumes and segmentations of the scene as a cohort; returns its folder.

        Args:
            cases: volumes and segmentations that belong together.
            folder: for the cohort; new or empty.
            name: of the cohort; the folder's by default.
            fileFormat: "nrrd", raw, or "nii.gz".
            validationShare: percent of the patients to keep apart for validation.
            testShare: for the test, which no training sees; all cases of a patient stay together.
            splitSeed: of the draw of patients.

        Raises:
            JobError: "empty_cohort" for fewer patients than parts, ...

        Example:
            >>> from GenerativeAugmentLib.cohorts import SceneCase
            >>> case = SceneCase("patient1", "case1", {"A": volumeNode}, tissueNode, {"A": "MR"})
            >>> logic.cohortFromScene([case], workFolder / "from scene").name
            'from scene'
            >>> cases = [
            ...     SceneCase(f"patient{n}", f"case{n}", {"A": volumeNode}, covariates={"age": 50 + n})
            ...     for n in range(5)
            ... ]
            >>> cohort = logic.cohortFromScene(cases, workFolder / "divided", testShare=20)
            >>> logic.fingerprint(cohort)["fingerprint"]["parts"]["test"]
            1
        """
        isDivided = validationShare > 0 or testShare > 0
        split = splitPatients(realPatients(cases), validationShare, testShare, splitSeed) if isDivided else {}
        return _doneLively(FrozenCohort(cases, name, fileFormat, split).writing(userPath(folder)))

    def reviewQueue(self, cohortFolder: str | Path, reviewer: str) -> ReviewQueue:
        """The synthetic cases of a cohort, to decide about one after the other; decisions are kept on disk.

        Example:
            >>> result = logic.synthesize("vae", count=2, outputFolder=workFolder)
            >>> cohort = next(workFolder.glob("Synthesis-*"))
            >>> queue = logic.reviewQueue(cohort, "AB")
            >>> queue.decide("accepted").decision
            'accepted'
            >>> queue.counts()["unreviewed"]
            1
        """
        return ReviewQueue(userPath(cohortFolder), reviewer)

    def outcome(self, jobId: str) -> Outcome:
        """The outcome of a job that was started with `waitForCompletion=False`, once it is there.

        Raises:
            JobError: why it failed.

        Example:
            >>> jobId = logic.synthesize("vae", waitForCompletion=False)
            >>> logic.outcome(jobId).summary["cases"]
            ['vae-0000']
        """
        return self.jobs.waitForCompletion(jobId)

    def cancel(self) -> None:
        """Stop the running job and those that wait; a training saves its checkpoint first, unless called twice."""
        self.jobs.cancel()

    def undoLast(self) -> ImportedResult | None:
        """Remove from the scene exactly what the last job added; None when there is nothing."""
        return self.jobs.undoLast()

    def shutdown(self) -> None:
        """Stop all jobs and the worker; the next job starts another one."""
        self.jobs.shutdown()

    def _model(self, model: str | Path) -> ModelEntry:
        """A model by its name or its folder, whose license allows its use."""
        folder = userPath(model)
        if (folder / INFO).is_file():
            entry = entryOf(describePackage(folder), folder, False)
        else:
            entry = self.catalogue.entry(str(model))
        self.catalogue.requireLicence(entry)
        return entry

    def _run(self, planned: PlannedJob, wait: bool) -> Outcome | str:
        jobId = self.jobs.start(planned)
        return self.jobs.waitForCompletion(jobId) if wait else jobId


def _choice(kind: type[Choice], value: str, name: str) -> Choice:
    """The member with that value; raises JobError with the values there are."""
    try:
        return kind(value)
    except ValueError as error:
        known = ", ".join(f'"{one.value}"' for one in kind)
        raise JobError(
            "bad_parameter", name, f'"{value}"', _("one of {known}").format(known=known), _("Correct it.")
        ) from error


def _pack(kind: type[Pack], called: Mapping[str, str] | None = None, /, **values: Any) -> Pack:
    """A pack of parameters.

    Args:
        kind: of the pack.
        called: parameter to the argument that it comes from, where that has another name.
        values: of its parameters; paths may be texts.

    Raises:
        JobError: "bad_parameter", naming the argument, for a value of a wrong type or out of its range.
    """
    pack = kind()
    for name, value in values.items():
        try:
            setattr(pack, name, Path(value or "") if isinstance(getattr(pack, name), Path) else value)
        except (TypeError, ValueError) as error:
            raise _wrong((called or {}).get(name, name), error) from error
    return pack


def _wrong(argument: str, error: Exception) -> JobError:
    return JobError(
        "bad_parameter",
        argument,
        _("what it cannot be ({error})").format(error=error),
        _("a value of the kind and range that the function's help names"),
        _("Correct it."),
    )


def _interval(values: tuple[float, float], name: str) -> tuple[float, float]:
    """The smallest and the largest of something."""
    try:
        low, high = map(float, values)
    except (TypeError, ValueError) as error:
        raise _wrong(name, error) from error
    if low > high:
        raise JobError("bad_parameter", name, f"{low:g}, {high:g}", _("the smallest first"), _("Swap them."))
    return low, high


def _several(names: Any) -> list[Any]:
    """A list of names or paths; one of them may stand for a list of one."""
    return [names] if isinstance(names, (str, Path)) else list(names)


def _requireUse(title: str, **arguments: bool) -> None:
    """Refuse an argument that would be ignored: nobody would notice that the result is not what was asked for."""
    for name, isUsed in arguments.items():
        if not isUsed:
            raise JobError(
                "bad_parameter",
                name,
                _("a value, for which {title} has no use").format(title=title),
                _("none"),
                _("Leave it out, or choose another model or recipe."),
            )


def _requireKnown(argument: str, asked: Iterable[str], known: Sequence[str]) -> None:
    unknown = [name for name in asked if name not in known]
    if unknown:
        expected = _("one of {known}").format(known=", ".join(known)) if known else _("none")
        raise JobError("bad_parameter", argument, ", ".join(unknown), expected, _("Correct it."))


def _doneLively(steps: Steps[Result]) -> Result:
    """Do all that is left, in portions between which the application handles its events; its result."""
    try:
        while True:
            deadline = time.monotonic() + POLL_BUDGET_S
            while time.monotonic() < deadline:
                next(steps)
            slicer.app.processEvents()
    except StopIteration as end:
        return end.value
    finally:
        # An interrupt from the keyboard leaves nothing behind.
        steps.close()


def _segmentOf(tissueNode: Any, asked: str) -> str:
    """The id of a segment, or a label value: what was asked for, by default the first one.

    Raises:
        JobError: "wrong_labels" for one that the tissue does not have.
    """
    if tissueNode is None:
        return ""
    known: dict[str, str]
    if tissueNode.IsA("vtkMRMLSegmentationNode"):
        known = segmentNames(tissueNode.GetSegmentation())
    else:
        known = {str(value): "" for value in nodeValues(tissueNode)}
    if asked and asked not in known:
        offered = [f'"{key}" ({name})' if name else key for key, name in known.items()]
        raise JobError(
            "wrong_labels",
            tissueNode.GetName(),
            f'tissueSegment "{asked}"',
            _("one of {known}").format(known=", ".join(offered)) if offered else _("a tissue with segments or labels"),
            _("Give the id of a segment, or a label value."),
        )
    return asked or next(iter(known), "")
