"""A cohort from one annotated template: every subject is a deformation, every channel an acquisition.

The first channel is the template's real image, deformed. The others are rendered from the deformed tissue
probabilities and carry over the anatomy that three tissues cannot express (deep nuclei, sulci, vessels) from the real
image's residual, in the sense of the rendered contrast: what is too dark for its tissue in T1 is too bright in T2.

All subjects descend from one anatomy. They serve to try things out and to pretrain; a score on such a cohort says
nothing about patients.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from genaug.cohort import Case, Cohort, write_case
from genaug.errors import GenaugError, Reason
from genaug.files import writing_folder
from genaug.progress import Reporter, Silent
from genaug.record import Check, Output, Record, case_seed, software_versions
from genaug.templates.acquisition import AcquisitionDraws, AcquisitionRanges, acquire, draw_acquisition
from genaug.templates.brain import Template, most_probable
from genaug.templates.deformation import AffineRanges, DeformationDraws, displacement, draw_deformation, warp
from genaug.templates.label_to_image import BRAIN_CONTRASTS, BrainContrast, ContrastDraws, draw_contrast, render
from genaug.volume import Volume

RANDOM_PREFIX = "random"
"""A channel of this name, or beginning with it, gets a contrast without any prior."""

# How much of the real image's residual a rendered channel carries. Less than all of it, because the residual also holds
# what the averaging of the template blurred.
_DETAIL = 0.7


class SubjectRanges(BaseModel):
    """From where a subject is drawn."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    amplitude_mm: float = Field(default=2.5, ge=0)
    smoothness_mm: float = Field(default=36.0, gt=0)
    affine: AffineRanges = AffineRanges()
    acquisition: AcquisitionRanges = AcquisitionRanges()


class SubjectDraws(BaseModel):
    """Everything that was drawn for one subject.

    Attributes:
        deformation: of the template.
        real: name of the channel that shows the template's own image, and its acquisition.
        rendered: by channel, the contrasts of the others.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    deformation: DeformationDraws
    real: tuple[str, AcquisitionDraws]
    rendered: dict[str, ContrastDraws]


def draw_subject(
    rng: np.random.Generator, template: Template, contrasts: Sequence[str], ranges: SubjectRanges | None = None
) -> SubjectDraws:
    """Draw one subject.

    Args:
        rng: source of the draws.
        template: the anatomy.
        contrasts: channel names; the first shows the template's image, each other is a preset of BRAIN_CONTRASTS or
            begins with "random".
        ranges: None for the default ones.

    Raises:
        GenaugError: BAD_PARAMETER for an unknown contrast, or a preset whose tissues the template lacks.
    """
    ranges = ranges or SubjectRanges()
    shape, spacing = template.image.shape, template.image.spacing
    deformation = draw_deformation(rng, shape, spacing, ranges.amplitude_mm, ranges.smoothness_mm, ranges.affine)
    acquisition = draw_acquisition(rng, shape, spacing, ranges.acquisition)
    rendered = {
        name: draw_contrast(rng, _tissues(template, name), shape, spacing, ranges.acquisition) for name in contrasts[1:]
    }
    return SubjectDraws(deformation=deformation, real=(contrasts[0], acquisition), rendered=rendered)


def make_subject(template: Template, draws: SubjectDraws) -> tuple[dict[str, Volume], Volume]:
    """Apply the draws: the same ones give the same voxels.

    Returns:
        The images by channel and the label map, int16 and uint8, all on the template's grid.
    """
    spacing = template.image.spacing
    field = displacement(draws.deformation, template.image.shape, spacing)
    tissue = {label: warp(volume, field, 1) for label, volume in template.tissue.items()}
    label = most_probable(tissue)
    real = warp(template.image, field, 3)
    images = {draws.real[0]: real.with_array(acquire(real.array, spacing, draws.real[1], label.array > 0))}
    if draws.rendered:
        means = _tissue_means(template)
        residual = real.array - sum(mean * tissue[value].array for value, mean in means.items())
        for name, contrast in draws.rendered.items():
            images[name] = render(tissue, contrast, _DETAIL * _slope(template, means, contrast) * residual)
    return {name: image.with_array(np.rint(image.array).astype(np.int16)) for name, image in images.items()}, label


def template_cohort(
    template: Template,
    output: Path,
    count: int,
    seed: int,
    contrasts: Sequence[str] = ("T1", "T2"),
    ranges: SubjectRanges | None = None,
    reporter: Reporter | None = None,
) -> Path:
    """Make a cohort and write it, all or nothing.

    Args:
        template: the anatomy.
        output: folder for `cohort.json` and one folder per subject; new or empty.
        count: number of subjects.
        seed: subject i is drawn with `case_seed(seed, i)`, so it does not depend on `count`.
        contrasts: channel names, see `draw_subject`.
        ranges: None for the default ones.
        reporter: is told after each subject and may stop the work.

    Returns:
        `output`. Every subject has a Record of kind "template" whose draws `make_subject` turns into its voxels again.

    Raises:
        GenaugError: BAD_PARAMETER for contrasts or an output folder that is not empty; CANCELLED; DISK_FULL.
    """
    ranges, reporter = ranges or SubjectRanges(), reporter or Silent()
    if count < 1 or not contrasts or len(set(contrasts)) != len(contrasts):
        raise GenaugError(
            Reason.BAD_PARAMETER,
            "template cohort",
            f"{count} subjects with channels {', '.join(contrasts) or 'none'}",
            "at least one subject and one channel, every channel once",
            "Correct the number of subjects or the channels.",
        )
    with writing_folder(output) as working:
        cases = []
        for index in range(count):
            reporter.progress(index, count, f"subject {index + 1} of {count}")
            cases.append(_write_subject(template, working, index, case_seed(seed, index), contrasts, ranges))
        cohort = Cohort(
            name=f"{template.name} template cohort",
            root=working,
            channels=dict.fromkeys(contrasts, template.image.modality),
            label_names={value: name for value, name in template.label_names.items() if value != 0},
            cases=cases,
            notes=[f"Every subject is a deformation of {template.name}: for trying out, not for evidence."],
        )
        cohort.write(working)
    reporter.progress(count, count)
    reporter.product("cohort", output)
    return output


def _write_subject(
    template: Template, folder: Path, index: int, seed: int, contrasts: Sequence[str], ranges: SubjectRanges
) -> Case:
    draws = draw_subject(np.random.Generator(np.random.PCG64(seed)), template, contrasts, ranges)
    images, label = make_subject(template, draws)
    case_id = f"subject-{index:03d}"
    touching = _touching(label.array)
    record = Record(
        case_id=case_id,
        kind="template",
        seed=seed,
        parameters={
            "template": template.name,
            "arguments": dict(template.arguments),
            "contrasts": list(contrasts),
            "ranges": ranges.model_dump(mode="json"),
        },
        draws=draws.model_dump(mode="json"),
        parents=[template.name],
        patients=list(template.patients),
        inputs={"template": Output.of(template.image, template.name)},
        checks=[
            Check(name="inside_field_of_view", passed=touching == 0, value=touching, limit="0 voxels at the border")
        ],
        versions=software_versions(),
    )
    # Two cohorts have a subject-000 each, who are not the same person: one may be held out where the other was learnt.
    return write_case(folder, case_id, f"{case_id}-{seed % 16**8:08x}", images, label, record)


def _tissues(template: Template, contrast: str) -> Sequence[int] | BrainContrast:
    """What draw_contrast is asked for: the name of a preset, or the tissues of a contrast without prior."""
    if contrast.startswith(RANDOM_PREFIX):
        return tuple(template.tissue)
    if contrast not in BRAIN_CONTRASTS or not set(BRAIN_CONTRASTS[contrast]) <= set(template.tissue):
        raise GenaugError(
            Reason.BAD_PARAMETER,
            "contrasts",
            f"{contrast!r} for a template with tissues {', '.join(map(str, template.tissue))}",
            f"one of {', '.join(BRAIN_CONTRASTS)} for a brain with tissues 1, 2, 3, or a name that begins with"
            f" {RANDOM_PREFIX!r}",
            "Rename the channel; the first channel, which shows the template's own image, may have any name.",
        )
    return cast(BrainContrast, contrast)


def _tissue_means(template: Template) -> dict[int, float]:
    """The intensity of each pure tissue in the template's image, by least squares over all mixed voxels."""
    maps = np.stack([volume.array.ravel() for volume in template.tissue.values()], axis=1).astype(np.float64)
    means = np.linalg.lstsq(maps, template.image.array.ravel().astype(np.float64), rcond=None)[0]
    # Rounded, so that the order in which a solver sums cannot reach a voxel.
    return dict(zip(template.tissue, np.round(means, 2).tolist(), strict=True))


def _slope(template: Template, means: Mapping[int, float], contrast: ContrastDraws) -> float:
    """How the rendered contrast changes per unit of the real one: slope of the line through the tissues' means."""
    weights = np.array([float(template.tissue[label].array.sum()) for label in contrast.labels])
    weights /= weights.sum()
    real: npt.NDArray[np.float64] = np.array([means[label] for label in contrast.labels])
    drawn: npt.NDArray[np.float64] = np.array(contrast.means)
    real, drawn = real - np.sum(weights * real), drawn - np.sum(weights * drawn)
    return round(float(np.sum(weights * real * drawn) / max(np.sum(weights * real**2), 1e-9)), 4)


def _touching(label: npt.NDArray[np.integer]) -> int:
    """How many labelled voxels lie on the border of the array."""
    inner = tuple(slice(1, -1) for _ in label.shape)
    return int(np.count_nonzero(label) - np.count_nonzero(label[inner]))
