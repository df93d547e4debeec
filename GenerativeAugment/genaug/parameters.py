"""What each job of the engine can be told: plain, validated, torch-free; the same in job.json, console and CLI."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import ByteSize, Field

from genaug.nested import Nested
from genaug.strict import Strict

FileFormat = Annotated[Literal["nii.gz", "nrrd"], Field(description="of the images that are written")]
MemorySize = Annotated[ByteSize, Field(gt=0)]
"""Bytes, or a text such as "2GB" (10^9 bytes each) or "1.5GiB" (2^30)."""
Millimetres = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Acceleration = Literal["auto", "off"]
"""Whether a device's faster arithmetic may be chosen, see `genaug.acceleration`."""


class TrainingOptions(Strict):
    """The few settings of a training that matter; everything else stands in the recipe."""

    recipe: str = Field(description="name of a recipe or path of a .toml file")
    channels: list[str] = Field(default_factory=list, description="image channels to generate; all when left out")
    source_channels: list[str] = Field(default_factory=list, description="input channels of a translation")
    covariates: list[str] = Field(
        default_factory=list, description="class and numbers to condition on; all of the cohort when left out"
    )
    text: str | None = Field(default=None, description="covariate whose sentences to condition on")
    text_encoder: Path | None = Field(default=None, description="folder of a sentence-transformers model, for `text`")
    with_labels: bool | None = Field(
        default=None, description="generate label maps too; as the recipe says when left out"
    )
    dimension: Literal[2, 3] | None = Field(default=None, description="2 or 3; as the cohort when left out")
    spacing: tuple[Millimetres, Millimetres, Millimetres] | None = Field(
        default=None, description="mm; the cohort's median when left out"
    )
    window: tuple[int, int, int] | None = Field(default=None, description="training window of a translation in voxels")
    max_voxels: int | None = Field(
        default=None, ge=512, description="coarsen the spacing until the volume has no more voxels"
    )
    iterations: dict[str, int] = Field(
        default_factory=dict,
        description="of a stage, such as vae=2000; 0 keeps what `initial` gives it; the recipe's when left out",
    )
    minutes: float | None = Field(
        default=None, gt=0, description="stop after this much training time, shared by the stages"
    )
    batch_size: int | None = Field(default=None, ge=1, description="cases a step; the recipe's when left out")
    learning_rate: float | None = Field(default=None, gt=0, description="the recipe's when left out")
    overrides: Nested = Field(default_factory=dict, description="any key of the recipe, such as sampler.steps=50")
    initial: Path | None = Field(default=None, description="package whose weights to start from")
    checkpoint_every: int = Field(default=500, ge=1, description="iterations from one checkpoint to the next")
    preview_every: int = Field(default=500, ge=1, description="iterations from one preview to the next")
    precision: Literal["auto", "32-true", "bf16-mixed", "16-mixed"] = Field(
        default="auto", description="of the arithmetic; auto is half precision on a CUDA GPU, 32 bits elsewhere"
    )
    acceleration: Acceleration = Field(
        default="auto", description="faster arithmetic of the device that differs in rounding; off is plain arithmetic"
    )
    devices: int = Field(default=1, ge=1, description="GPUs to train on, each by its own process")
    threads: int | None = Field(default=None, ge=1, description="CPU threads; all cores when left out")
    seed: int = 0


class SamplerChoice(Strict):
    """How a model is to draw, where not as its package says."""

    sampler: str | None = Field(default=None, description="name of a sampler; the package's when left out")
    steps: int | None = Field(default=None, ge=1, description="of the sampler; the package's when left out")
    sampler_options: Nested = Field(default_factory=dict, description="numbers of the sampler, such as eta")
    guidance: float | None = Field(default=None, ge=0, description="how closely to follow the conditions; 1 is plainly")
    truncation: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="of a GAN's or VAE's noise; below 1 cases follow what is asked for more closely and vary less",
    )


class SynthesisParameters(SamplerChoice):
    """Which cases to synthesise from a package."""

    count: int = Field(default=1, ge=1, description="number of cases")
    start: int = Field(default=0, ge=0, description="index of the first case; case 17 is the same alone or in a series")
    workers: int = Field(
        default=1, ge=1, description="processes that make the cases, on the CPU, each with its share of the threads"
    )
    conditions: dict[str, float | str] = Field(
        default_factory=dict, description="covariates to ask for; others are drawn from those of a training case"
    )
    text_encoder: Path | None = Field(default=None, description="the one the model was trained with, to read a text")
    acceleration: Acceleration = Field(
        default="auto", description="faster arithmetic of a GPU that differs in rounding; off is plain arithmetic"
    )
    max_memory: MemorySize | None = Field(
        default=None, description="such as 2GB: keep to it by decoding in slabs, or refuse before the start"
    )
    keep_islands: bool = Field(
        default=False, description="keep pieces of a label that are smaller than any in training"
    )
    prefix: str | None = Field(default=None, description="start of the case ids; the package's name when left out")
    file_format: FileFormat = "nii.gz"


class TranslationParameters(SamplerChoice):
    """How to translate whole volumes."""

    overlap: float = Field(default=0.5, ge=0, lt=1, description="of neighbouring windows, as a fraction of the window")
    modality: str | None = Field(default=None, description="of the input, when the file does not say")
    conditions: dict[str, float | str] = Field(
        default_factory=dict, description="covariates to ask for instead of the case's own: the patient as he would be"
    )
    difference: bool = Field(
        default=False, description="also write input minus result, which shows a lesion that the model has taken away"
    )
    acceleration: Acceleration = Field(
        default="auto", description="faster arithmetic of the device that differs in rounding; off is plain arithmetic"
    )
    max_memory: MemorySize | None = Field(
        default=None, description="such as 2GB: keep to it by smaller batches of windows, or refuse before the start"
    )
    prefix: str | None = Field(default=None, description="start of the case ids; the package's name when left out")
    file_format: FileFormat = "nii.gz"


class EvaluationParameters(Strict):
    """What to compare and how."""

    task: Literal["synthesis", "translation"] = Field(
        default="synthesis", description="new cases, or images beside the real ones of the same patients"
    )
    channel: str | None = Field(default=None, description="image channel to score; the first common one when left out")
    features: list[str] = Field(
        default_factory=list, description="names of feature extractors; those for the dimension when left out"
    )
    spacing: tuple[Millimetres, Millimetres, Millimetres] | None = Field(
        default=None, description="mm, to compare cases at; their median when left out"
    )
    reference_part: Literal["train", "validation", "test", "all"] = Field(
        default="train", description="part of the real cohort that the synthetic cases are to resemble"
    )
    held_out_part: Literal["validation", "test"] = Field(
        default="test",
        description="part of the real cohort whose distance to the training cases is the measure for copies",
    )
    seed: int = 0


class ExportParameters(Strict):
    """How to lay out the augmented cohort."""

    layout: Literal["nnunet", "datalist", "plain"] = Field(
        default="nnunet", description="nnU-Net dataset, MONAI datalist or plain folders"
    )
    name: str = Field(default="Augmented", description="of the dataset")
    dataset_id: int = Field(default=501, ge=1, le=999, description="number of an nnU-Net dataset")
    require_review: bool = Field(default=False, description="leave out synthetic cases nobody accepted")
    require_checks: bool = Field(default=True, description="leave out synthetic cases whose automatic checks failed")
    check: bool = Field(default=True, description="look at every voxel before anything is written")
    file_format: FileFormat = "nii.gz"
