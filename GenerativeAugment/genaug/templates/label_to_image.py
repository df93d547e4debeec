"""An image from a label map: one Gaussian of intensities per tissue (SynthSeg; Billot et al., Med. Image Anal. 2023).

With tissue probabilities in place of a label map every voxel is the mixture of its tissues, so borders have the partial
volume that makes a rendered image look measured.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, model_validator

from genaug.templates.acquisition import AcquisitionDraws, AcquisitionRanges, acquire, draw_acquisition
from genaug.templates.lattice import Shape
from genaug.volume import AnyArray, Volume, require_same_grid

BrainContrast = Literal["T1", "T2"]

CSF, GREY_MATTER, WHITE_MATTER = 1, 2, 3
"""Labels of the brain presets."""

BRAIN_CONTRASTS: Mapping[str, Mapping[int, tuple[float, float]]] = MappingProxyType(
    {
        "T1": MappingProxyType({CSF: (50.0, 6.0), GREY_MATTER: (140.0, 5.0), WHITE_MATTER: (200.0, 5.0)}),
        "T2": MappingProxyType({CSF: (235.0, 8.0), GREY_MATTER: (128.0, 5.0), WHITE_MATTER: (88.0, 4.0)}),
    }
)
"""By contrast and label: mean intensity, 0 to 255, and the standard deviation of that mean between subjects."""

# Spread of intensities inside a tissue of a brain preset, as a range of standard deviations.
_PRESET_SPREAD = (1.0, 3.0)

# SynthSeg's uniform priors, narrowed so that no tissue is lost in the black of the background.
_RANDOM_MEAN = (25.0, 240.0)
_RANDOM_SPREAD = (2.0, 20.0)


class ContrastDraws(BaseModel):
    """One drawn contrast.

    Attributes:
        labels: the tissues; every other label, and 0, is background.
        means: mean intensity of each, about 0 to 255.
        spreads: standard deviation inside each.
        texture_seed: seed of the voxelwise draws inside the tissues.
        acquisition: what the scanner adds.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    labels: tuple[int, ...]
    means: tuple[float, ...]
    spreads: tuple[float, ...]
    texture_seed: int
    acquisition: AcquisitionDraws

    @model_validator(mode="after")
    def _consistent(self) -> ContrastDraws:
        if not 0 < len(self.labels) == len(self.means) == len(self.spreads):
            raise ValueError("labels, means and spreads must be equally many, at least one")
        return self


def draw_contrast(
    rng: np.random.Generator,
    labels: Sequence[int] | BrainContrast,
    shape: Shape,
    spacing: Sequence[float],
    ranges: AcquisitionRanges | None = None,
) -> ContrastDraws:
    """Draw the intensities of each tissue and an acquisition.

    Args:
        rng: source of the draws.
        labels: a brain preset, whose means vary a little between subjects, or the labels of the tissues for a contrast
            without any prior, as SynthSeg trains on.
        shape: of the image to be rendered.
        spacing: its voxel edge lengths in mm.
        ranges: of the acquisition, None for the default ones.
    """
    if isinstance(labels, str):
        preset = BRAIN_CONTRASTS[labels]
        values = tuple(preset)
        means = np.array([rng.normal(*preset[label]) for label in values])
        spreads = rng.uniform(*_PRESET_SPREAD, len(values))
    else:
        values = tuple(label for label in labels if label != 0)
        means = rng.uniform(*_RANDOM_MEAN, len(values))
        spreads = rng.uniform(*_RANDOM_SPREAD, len(values))
    return ContrastDraws(
        labels=values,
        means=tuple(np.round(means, 3).tolist()),
        spreads=tuple(np.round(spreads, 3).tolist()),
        texture_seed=int(rng.integers(2**31)),
        acquisition=draw_acquisition(rng, shape, spacing, ranges),
    )


def render(tissue: Volume | Mapping[int, Volume], draws: ContrastDraws, detail: AnyArray | None = None) -> Volume:
    """Render an image.

    Args:
        tissue: a label map, or by label the probability in [0, 1] of each tissue, all on one grid.
        draws: the contrast; a tissue it does not name stays black.
        detail: added to the ideal image before it is measured, in its intensities: anatomy that the labels do not have,
            for instance from a real image of the same subject.

    Returns:
        float32 volume of modality MR on the same grid, exactly 0 where background prevails.
    """
    if isinstance(tissue, Volume):
        tissue = {label: tissue.with_array((tissue.array == label).astype(np.float32)) for label in draws.labels}
    grid = tissue[draws.labels[0]]
    for label in draws.labels[1:]:
        require_same_grid(grid, tissue[label])
    rng = np.random.Generator(np.random.PCG64(draws.texture_seed))
    ideal = np.zeros(grid.shape, dtype=np.float32)
    share = np.zeros(grid.shape, dtype=np.float32)
    for label, mean, spread in zip(draws.labels, draws.means, draws.spreads, strict=True):
        ideal += tissue[label].array * (mean + spread * rng.standard_normal(grid.shape, dtype=np.float32))
        share += tissue[label].array
    if detail is not None:
        ideal += detail
    measured = acquire(ideal, grid.spacing, draws.acquisition, share > 0.5)
    return Volume(measured, grid.affine, "MR", ({"step": "render"},))
