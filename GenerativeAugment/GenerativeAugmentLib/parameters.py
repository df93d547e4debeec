"""What each panel can be told, as typed packs of one parameter node, which is saved with the scene.

A pack knows by itself whether it is complete: `isValid` answers with the reason to show beside the disabled Apply
button. What depends on models or files of the moment is the panels' business.
"""

import enum
from pathlib import Path
from typing import Annotated, Any, Union

from slicer import (
    vtkMRMLLabelMapVolumeNode,
    vtkMRMLMarkupsFiducialNode,
    vtkMRMLScalarVolumeNode,
    vtkMRMLScriptedModuleNode,
    vtkMRMLSegmentationNode,
)
from slicer.parameterNodeWrapper import (
    Choice,
    Default,
    FloatRange,
    RangeBounds,
    WithinRange,
    parameterNodeWrapper,
    parameterPack,
)
from slicer.util import NodeModify

from GenerativeAugmentLib.errors import _
from GenerativeAugmentLib.files import userPath
from GenerativeAugmentLib.recipes import TASKS

MAXIMUM_SEED = 2**31 - 1
MAXIMUM_CASES = 1000
MAXIMUM_LESIONS = 200
LARGEST_LESION_MM = 120.0

LabelNode = Union[vtkMRMLSegmentationNode, vtkMRMLLabelMapVolumeNode, None]  # noqa: UP007 - the wrapper wants it so

Validity = tuple[bool, str]
VALID: Validity = (True, "")

Seed = Annotated[int, WithinRange(0, MAXIMUM_SEED)]

LARGEST_SHARE = 45
Share = Annotated[int, WithinRange(0, LARGEST_SHARE)]
"""Percent of the patients."""


class CohortSource(enum.Enum):
    """Where the Data panel takes its cases from."""

    SCENE = "scene"
    DISK = "disk"

    def label(self) -> str:
        """What to show."""
        return {self.SCENE: _("Cases of the scene"), self.DISK: _("Cohort on disk")}[self]


class Purpose(enum.Enum):
    """What a cohort is for, which decides the recommended recipe."""

    AUTO = ""
    SYNTHESIS = "synthesis"
    TRANSLATION = "translation"
    LESIONS = "lesions"
    CONDITIONED = "conditioned"

    def label(self) -> str:
        """What to show."""
        return {
            self.AUTO: _("Decide by the cohort"),
            self.SYNTHESIS: _("New images"),
            self.TRANSLATION: _("Translation between contrasts"),
            self.LESIONS: _("Lesions"),
            self.CONDITIONED: _("Images for label maps"),
        }[self]


class InputModality(enum.Enum):
    """What an input volume is, when the scene does not know."""

    AUTO = ""
    MR = "MR"
    CT = "CT"

    def label(self) -> str:
        """What to show."""
        return _("As the volume says") if self is InputModality.AUTO else self.value


class LesionSource(enum.Enum):
    """Where lesions come from."""

    PROCEDURAL = "procedural"
    BANK = "bank"
    MODEL = "model"

    def label(self) -> str:
        """What to show."""
        return {
            self.PROCEDURAL: _("Drawn shapes"),
            self.BANK: _("Lesions of annotated cases"),
            self.MODEL: _("Lesion model"),
        }[self]


class LesionShape(enum.Enum):
    """Shapes of drawn lesions."""

    ELLIPSOID = "ellipsoid"
    IRREGULAR = "irregular"
    CONFLUENT = "confluent"
    SPICULATED = "spiculated"

    def label(self) -> str:
        """What to show."""
        return {
            self.ELLIPSOID: _("Smooth ellipsoid"),
            self.IRREGULAR: _("Irregular border"),
            self.CONFLUENT: _("Confluent, like plaques of multiple sclerosis"),
            self.SPICULATED: _("Spiculated, like many tumors of lung and breast"),
        }[self]


class ContrastUnit(enum.Enum):
    """What the contrast of a lesion is measured in."""

    SPREAD = "spread"
    FRACTION = "fraction"
    INTENSITY = "intensity"

    def label(self) -> str:
        """What to show."""
        return {
            self.SPREAD: _("standard deviations of the tissue"),
            self.FRACTION: _("fraction of the tissue's mean"),
            self.INTENSITY: _("intensity (HU in CT)"),
        }[self]


class Placement(enum.Enum):
    """Who chooses a lesion's place."""

    AUTOMATIC = "automatic"
    POINTS = "points"

    def label(self) -> str:
        """What to show."""
        return {self.AUTOMATIC: _("Automatic"), self.POINTS: _("At points I set")}[self]


class Layout(enum.Enum):
    """What an exported cohort looks like."""

    NNUNET = "nnunet"
    DATALIST = "datalist"
    PLAIN = "plain"

    def label(self) -> str:
        """What to show."""
        return {
            self.NNUNET: _("nnU-Net dataset"),
            self.DATALIST: _("MONAI datalist"),
            self.PLAIN: _("Plain folder of images and masks"),
        }[self]


def isSet(path: Path) -> bool:
    """Whether the user has chosen a path; an empty one reads back as the current folder."""
    return path != Path()


def isCohort(path: Path) -> bool:
    """Whether a path is a cohort.json or a folder, which the worker can read as a cohort."""
    return isSet(path) and (userPath(path).is_dir() or userPath(path).is_file())


def frozen(pack: Any) -> Any:
    """A copy of a pack that later changes in the panel do not reach."""
    kind = next(base for base in type(pack).__mro__ if base.__module__ == __name__)
    values = {name: getattr(pack, name) for name in kind.allParameters}
    return kind(**{name: _copied(value) for name, value in values.items()})


def _copied(value: Any) -> Any:
    if isinstance(value, FloatRange):
        return FloatRange(value.minimum, value.maximum)
    if hasattr(value, "append"):
        return list(value)
    if hasattr(value, "keys"):
        return dict(value)
    return value


def _firstReason(*checks: tuple[bool, str]) -> Validity:
    """(True, "") when every check holds, else the reason of the first that does not."""
    reason = next((reason for holds, reason in checks if not holds), "")
    return (not reason, reason)


@parameterPack
class DataParameters:
    """The Data panel: a cohort from the scene or from disk, and which share of its patients is kept apart."""

    source: CohortSource = CohortSource.SCENE
    cohortFolder: Path
    outputFolder: Path
    name: str = "cohort"
    channel: str = "image"
    covariates: str = ""
    fileFormat: Annotated[str, Choice(["nrrd", "nii.gz"])] = "nrrd"
    purpose: Purpose = Purpose.AUTO
    validationShare: Share = 0
    testShare: Share = 20
    splitSeed: Seed = 0

    def isValid(self) -> Validity:
        """Whether the cohort can be written, or read; and what to do if not."""
        if self.source is CohortSource.DISK:
            return _firstReason((isCohort(self.cohortFolder), _("Choose the folder of a cohort.")))
        return _firstReason(
            (bool(self.name.strip()), _("Name the cohort.")),
            (isSet(self.outputFolder), _("Choose a folder for the new cohort.")),
        )


@parameterPack
class TrainParameters:
    """The Train panel; 0, "" and no covariates stand for what the recipe or the cohort says.

    `advice` is recipe to reason, the recommended one first, for the cohort `advisedCohort`.
    """

    cohortFolder: Path
    task: Annotated[str, Choice(list(TASKS))] = TASKS[0]
    recipe: str = ""
    advice: dict[str, str]
    advisedCohort: Path
    outputFolder: Path
    name: str = ""
    channels: str = ""
    sourceChannels: str = ""
    covariates: list[str]
    text: str = ""
    textEncoder: Path
    spacing: Annotated[float, WithinRange(0.0, 20.0)] = 0.0
    maximumVoxels: Annotated[int, WithinRange(0, 2**30)] = 0
    iterations: Annotated[int, WithinRange(0, 10_000_000)] = 0
    minutes: Annotated[float, WithinRange(0.0, 100_000.0)] = 0.0
    batchSize: Annotated[int, WithinRange(0, 256)] = 0
    learningRate: Annotated[float, WithinRange(0.0, 1.0)] = 0.0
    previewEvery: Annotated[int, WithinRange(1, 1_000_000)] = 500
    checkpointEvery: Annotated[int, WithinRange(1, 1_000_000)] = 500
    initialModel: str = ""
    seed: Seed = 0

    def isValid(self) -> Validity:
        """Whether a training can start; and what to do if not."""
        return _firstReason(
            (isCohort(self.cohortFolder), _("Choose the cohort to train on.")),
            (bool(self.recipe), _("Choose a recipe.")),
            (isSet(self.outputFolder), _("Choose a folder for the model.")),
        )


@parameterPack
class SynthesizeParameters:
    """The Synthesize panel; `conditions` is covariate to value, as text, of those that are asked for.

    Of steps, guidance and truncation, 0 leaves to the model what it was made for.
    """

    model: str = ""
    count: Annotated[int, WithinRange(1, MAXIMUM_CASES)] = 1
    seed: Seed = 0
    steps: Annotated[int, WithinRange(0, 1000)] = 0
    guidance: Annotated[float, WithinRange(0.0, 20.0)] = 0.0
    truncation: Annotated[float, WithinRange(0.0, 1.0)] = 0.0
    labelNode: LabelNode
    imageNode: vtkMRMLScalarVolumeNode
    conditions: dict[str, str]
    textEncoder: Path
    outputFolder: Path

    def isValid(self) -> Validity:
        """Whether there is a model; and what to do if not."""
        return _firstReason((bool(self.model), _("Choose a model.")))


@parameterPack
class TranslateParameters:
    """The Translate panel; a model takes up to three source channels, and some models do without a few of them."""

    model: str = ""
    firstInput: vtkMRMLScalarVolumeNode
    secondInput: vtkMRMLScalarVolumeNode
    thirdInput: vtkMRMLScalarVolumeNode
    modality: InputModality = InputModality.AUTO
    overlap: Annotated[float, WithinRange(0.0, 0.9)] = 0.5
    seed: Seed = 0
    outputFolder: Path

    def isValid(self) -> Validity:
        """Whether there are a model and an input; and what to do if not."""
        return _firstReason(
            (bool(self.model), _("Choose a model.")),
            (
                any(volume is not None for volume in (self.firstInput, self.secondInput, self.thirdInput)),
                _("Choose the input volume."),
            ),
        )


@parameterPack
class LesionsParameters:
    """The Lesions panel."""

    hostVolume: vtkMRMLScalarVolumeNode
    tissueNode: LabelNode
    tissueSegment: str = ""
    source: LesionSource = LesionSource.PROCEDURAL
    shape: LesionShape = LesionShape.IRREGULAR
    bankFolder: Path
    bankValue: Annotated[int, WithinRange(1, 65535)] = 1
    model: str = ""
    modelCases: Annotated[int, WithinRange(1, 100)] = 8
    diameter: Annotated[
        FloatRange,
        RangeBounds(0.0, LARGEST_LESION_MM),
        Default(generator=lambda: FloatRange(8.0, 20.0)),
    ]
    ownContrast: bool = False
    contrastLow: Annotated[float, WithinRange(-5000.0, 5000.0)] = -6.0
    contrastHigh: Annotated[float, WithinRange(-5000.0, 5000.0)] = -3.0
    contrastUnit: ContrastUnit = ContrastUnit.SPREAD
    margin: Annotated[float, WithinRange(0.0, 50.0)] = 2.0
    count: Annotated[int, WithinRange(1, MAXIMUM_LESIONS)] = 1
    placement: Placement = Placement.AUTOMATIC
    points: vtkMRMLMarkupsFiducialNode
    allowOutside: bool = False
    lesionName: str = "lesion"
    modality: InputModality = InputModality.AUTO
    seed: Seed = 0
    outputFolder: Path

    def isValid(self) -> Validity:
        """Whether lesions can be inserted; and what to do if not."""
        procedural = self.source is LesionSource.PROCEDURAL
        return _firstReason(
            (self.hostVolume is not None, _("Choose the volume to insert lesions into.")),
            (self.tissueNode is not None, _("Choose the segmentation of the tissue that lesions must lie in.")),
            (bool(self.tissueSegment), _("Choose the segment of the tissue.")),
            (
                self.source is not LesionSource.BANK or isCohort(self.bankFolder),
                _("Choose the folder of annotated cases to take lesions from."),
            ),
            (self.source is not LesionSource.MODEL or bool(self.model), _("Choose a lesion model.")),
            (self.diameter.maximum > 0, _("Choose a size above 0 mm.")),
            (
                (self.ownContrast and not procedural) or self.contrastLow <= self.contrastHigh,
                _("The smallest contrast lies above the largest: swap them."),
            ),
            (bool(self.lesionName.strip()), _("Name the lesion.")),
            (
                self.placement is Placement.AUTOMATIC or self.points is not None,
                _("Choose or add a point list, and set a point where the lesion goes."),
            ),
        )


@parameterPack
class ReviewParameters:
    """The Review panel; the last four are of the blinded real-or-synthetic test."""

    cohortFolder: Path
    reviewer: str = ""
    autoAdvance: bool = True
    realCohort: Path
    casesOfEach: Annotated[int, WithinRange(1, 500)] = 10
    equalizeWindow: bool = True
    seed: Seed = 0

    def isValid(self) -> Validity:
        """Whether a review can start; and what to do if not."""
        return _firstReason(
            (isCohort(self.cohortFolder), _("Choose the folder of a synthetic cohort.")),
            (bool(self.reviewer.strip()), _("Enter the reviewer's name or initials.")),
        )


@parameterPack
class ExportParameters:
    """The Export panel."""

    realCohort: Path
    syntheticCohorts: list[Path]
    layout: Layout = Layout.NNUNET
    name: str = "Augmented"
    datasetId: Annotated[int, WithinRange(1, 999)] = 501
    requireReview: bool = True
    requireChecks: bool = True
    fileFormat: Annotated[str, Choice(["nii.gz", "nrrd"])] = "nii.gz"
    outputFolder: Path
    seed: Seed = 0

    def isValid(self) -> Validity:
        """Whether there is something to export and a place for it; and what to do if not."""
        return _firstReason(
            (
                isCohort(self.realCohort) or len(self.syntheticCohorts) > 0,
                _("Choose a real cohort, or add a synthetic one."),
            ),
            (
                all(isCohort(Path(path)) for path in self.syntheticCohorts),
                _("Remove the synthetic cohorts that are gone from the disk."),
            ),
            (bool(self.name.strip()), _("Name the exported dataset.")),
            (isSet(self.outputFolder), _("Choose a folder for the export.")),
        )


@parameterPack
class ModelsParameters:
    """The Models panel."""

    model: str = ""

    def isValid(self) -> Validity:
        """Whether a model is chosen; and what to do if not."""
        return _firstReason((bool(self.model), _("Choose a model of the list.")))


@parameterNodeWrapper
class GenerativeAugmentParameterNode:
    """Everything the module remembers in a scene."""

    panel: str = ""
    device: Annotated[str, Choice(["auto", "cpu", "cuda", "mps"])] = "auto"
    data: DataParameters
    train: TrainParameters
    synthesize: SynthesizeParameters
    translate: TranslateParameters
    lesions: LesionsParameters
    review: ReviewParameters
    export: ExportParameters
    models: ModelsParameters


def parameterNodeOf(node: Any) -> GenerativeAugmentParameterNode:
    """A node of the scene, typed; what it lacks, because an older version has written it, gets its default.

    Slicer's wrapper looks for the first member of a pack only, and reads the others whether they are there or not.
    """
    whole = vtkMRMLScriptedModuleNode()
    GenerativeAugmentParameterNode(whole)
    # A list, a choice of types or a range of a pack has several names, which belong together.
    present = {_memberOf(name) for name in node.GetParameterNames()}
    missing = [name for name in whole.GetParameterNames() if _memberOf(name) not in present]
    with NodeModify(node):
        for name in missing:
            node.SetParameter(name, whole.GetParameter(name))
    return GenerativeAugmentParameterNode(node)


def _memberOf(name: str) -> str:
    """The parameter, or the member of a pack, that a name in the node is of: "train.text" for "train.text.len"."""
    return ".".join(name.split(".")[:2])
