"""The embedded default: the ICBM 2009a brain with its grey- and white-matter maps, from the nilearn wheel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from genaug.errors import GenaugError, Reason
from genaug.grid.geometry import Size, resample_image, resampled_size
from genaug.templates.label_to_image import CSF, GREY_MATTER, WHITE_MATTER
from genaug.volume import LABEL, AnyArray, Volume

ICBM_NAME = "ICBM152-2009a"
_ICBM_FILES = {part: f"mni_icbm152_{part}_tal_nlin_sym_09a_converted.nii.gz" for part in ("t1", "gm", "wm")}

BRAIN_LABELS: Mapping[int, str] = MappingProxyType(
    {0: "background", CSF: "cerebrospinal fluid", GREY_MATTER: "grey matter", WHITE_MATTER: "white matter"}
)


@dataclass(frozen=True)
class Template:
    """One annotated anatomy from which subjects are made.

    Attributes:
        name: what the Records call it.
        image: the real image.
        tissue: by label, the probability of the tissue in [0, 1]; background is what is missing to 1.
        label: the most probable tissue of every voxel.
        label_names: what the labels mean.
        patients: whom the template shows, if it is a patient's case; nobody in particular for an average.
        arguments: what the function that made the template was told, for whoever has to make it again.
    """

    name: str
    image: Volume
    tissue: Mapping[int, Volume]
    label: Volume
    label_names: Mapping[int, str]
    patients: tuple[str, ...] = ()
    arguments: Mapping[str, float] = field(default_factory=dict)


def brain_template(spacing_mm: float = 2.0, margin_mm: float = 14.0) -> Template:
    """The average T1 brain of 152 subjects, skull-stripped, with tissue probabilities.

    It is the symmetric nonlinear ICBM 2009a template (Fonov et al., NeuroImage 2011), 1 mm, resampled with
    anti-aliasing. Cerebrospinal fluid is what the brain mask holds besides grey and white matter.

    Args:
        spacing_mm: voxel edge length.
        margin_mm: empty space around the brain, room for deformation.

    Returns:
        Image of 0 to 255, labels 0 background, 1 cerebrospinal fluid, 2 grey matter, 3 white matter.

    Raises:
        GenaugError: MISSING_DEPENDENCY when nilearn is not installed; BAD_PARAMETER for a spacing below 1 mm.
    """
    if spacing_mm < 1.0:
        raise GenaugError(
            Reason.BAD_PARAMETER,
            "spacing_mm",
            f"{spacing_mm:g}",
            "at least 1, the template's own spacing",
            "Choose 1 mm or more.",
        )
    image, affine = _read("t1")
    grey, white = (_read(part)[0] / np.float32(255) for part in ("gm", "wm"))
    mask = _brain_mask(image, grey + white)
    fluid = np.clip(mask - grey - white, 0, 1)
    box, corner = _bounding_box(mask > 0, round(margin_mm))
    affine[:3, 3] += affine[:3, :3] @ corner
    parts = [_coarsened(_cut(part, box, corner), affine, spacing_mm) for part in (image * mask, fluid, grey, white)]
    tissue = dict(zip((CSF, GREY_MATTER, WHITE_MATTER), _normalised(parts[1:]), strict=True))
    return Template(
        ICBM_NAME,
        parts[0],
        MappingProxyType(tissue),
        most_probable(tissue),
        BRAIN_LABELS,
        arguments=MappingProxyType({"spacing_mm": spacing_mm, "margin_mm": margin_mm}),
    )


def most_probable(tissue: Mapping[int, Volume]) -> Volume:
    """The label map of the most probable tissue where tissue is more probable than background (0)."""
    maps = np.stack([volume.array for volume in tissue.values()])
    values = np.array(list(tissue), dtype=np.uint8)
    label = np.where(maps.sum(axis=0) > 0.5, values[maps.argmax(axis=0)], np.uint8(0))
    return Volume(label, next(iter(tissue.values())).affine, LABEL)


def _read(part: str) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float64]]:
    """Voxels and RAS affine of one file; the folder is found without importing nilearn, which takes seconds."""
    spec = find_spec("nilearn")
    if spec is None or spec.origin is None:
        raise GenaugError(
            Reason.MISSING_DEPENDENCY,
            "nilearn",
            "not installed",
            "the Python package nilearn, which contains the brain template",
            "Install it with: pip install genaug[demo]",
        )
    import nibabel

    file = nibabel.load(Path(spec.origin).parent / "datasets" / "data" / _ICBM_FILES[part])
    return np.asarray(file.dataobj, dtype=np.float32), np.array(file.affine, dtype=np.float64)


def _brain_mask(image: AnyArray, tissue: AnyArray) -> npt.NDArray[np.float32]:
    """1 inside the brain, ventricles and sulci included."""
    from scipy import ndimage

    return np.asarray(ndimage.binary_fill_holes((image > 0) | (tissue > 0.5)), dtype=np.float32)


def _bounding_box(mask: AnyArray, margin: int) -> tuple[Size, AnyArray]:
    """Size in voxels of the box around a mask and its first corner, which may lie outside the array."""
    inside = np.argwhere(mask)
    corner = inside.min(axis=0) - margin
    i, j, k = (int(n) for n in inside.max(axis=0) + margin + 1 - corner)
    return (i, j, k), corner


def _cut(array: AnyArray, box: Size, corner: AnyArray) -> AnyArray:
    """The box out of an array, 0 where it reaches beyond."""
    result = np.zeros(box, dtype=array.dtype)
    first = np.maximum(corner, 0)
    last = np.minimum(corner + box, array.shape)
    into = tuple(slice(a - c, b - c) for a, b, c in zip(first, last, corner, strict=True))
    result[into] = array[tuple(slice(a, b) for a, b in zip(first, last, strict=True))]
    return result


def _coarsened(array: AnyArray, affine: npt.NDArray[np.float64], spacing_mm: float) -> Volume:
    """A volume of 1 mm voxels with voxels of `spacing_mm` about the same centre."""
    i, j, k = (resampled_size(n, spacing_mm) for n in array.shape)
    voxels = resample_image(array, (i, j, k), (spacing_mm, spacing_mm, spacing_mm))
    result = affine.copy()
    result[:3, :3] *= spacing_mm
    result[:3, 3] += affine[:3, :3] @ (np.array(array.shape) - 1) / 2 - result[:3, :3] @ (np.array([i, j, k]) - 1) / 2
    return Volume(np.clip(voxels, 0, None), result, "MR")


def _normalised(maps: list[Volume]) -> list[Volume]:
    """Probabilities in [0, 1] whose sum does not exceed 1, which interpolation may have broken."""
    total = np.maximum(np.sum([volume.array for volume in maps], axis=0), 1)
    return [volume.with_array(volume.array / total) for volume in maps]
