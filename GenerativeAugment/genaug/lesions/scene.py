"""A host in work: one lesion at a time is worked out on its own box and painted into image, mask and label map."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from genaug.errors import GenaugError, Reason
from genaug.lesions.bank import LesionBank
from genaug.lesions.blend import (
    SUPPORT_MM,
    Surroundings,
    composite,
    ramp_reach_mm,
    soft_alpha,
    surroundings,
    to_type,
)
from genaug.lesions.carve import CarveDraws
from genaug.lesions.local import (
    Box,
    Canvas,
    Float32Array,
    Index,
    TooLarge,
    TooSmall,
    Vector,
    box_around,
    positions_mm,
    whole,
)
from genaug.lesions.parameters import ContrastUnit
from genaug.lesions.procedural import ProceduralDraws, render_texture, signed_distance
from genaug.lesions.region import Region
from genaug.record import Check, hash_voxels
from genaug.volume import BoolArray, Volume

_CORE_ALPHA = 0.9


@dataclass
class Scene:
    """A host and what has been changed so far.

    Attributes:
        host: the unchanged image.
        region: where lesions may lie.
        image: the host's voxels with the lesions.
        mask: 1 in the lesions.
        label: the updated label map, if one was given.
        label_volume: that label map as it was given.
        lesion_value: value of the lesions in it.
        unit: what contrasts are measured in; never "auto".
        keep_to_tissue: change no voxel outside the region.
        lesions: boxes of the lesions painted so far.
    """

    host: Volume
    region: Region
    image: Canvas
    mask: Canvas
    label: Canvas | None
    label_volume: Volume | None
    lesion_value: int
    unit: ContrastUnit
    keep_to_tissue: bool
    lesions: list[Box] = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class LocalLesion:
    """A lesion on the host's grid, not yet anywhere.

    Attributes:
        box: voxels relative to the centre's voxel.
        mask: the lesion's voxels.
        cut: signed distance in mm to where the soft border runs; the mask's border, or CarveMix's level around it.
        difference: lesion minus surrounding tissue in contrast units.
        noise: standard deviation of the noise in `difference`.
        volume_mm3: volume asked for.
    """

    box: Box
    mask: BoolArray
    cut: Float32Array
    difference: Float32Array
    noise: float
    volume_mm3: float

    @property
    def diameter_mm(self) -> float:
        """Diameter of the sphere of the asked volume."""
        return float((6 / np.pi * self.volume_mm3) ** (1 / 3))


def local_lesion(
    scene: Scene, drawn: ProceduralDraws | CarveDraws, edge_mm: float, offset: Vector, bank: LesionBank | None
) -> LocalLesion:
    """Put a drawn lesion onto the host's grid, its centre `offset` voxels beside a voxel's centre.

    Its box holds its soft border of sigma `edge_mm`, and the tissue around that is looked at.

    Raises:
        TooSmall: BAD_PARAMETER when it holds no voxel.
        GenaugError: MISSING_FILE without its bank, WRONG_MODALITY for a bank of another modality.
    """
    margin = max(SUPPORT_MM, ramp_reach_mm(edge_mm, scene.host.spacing))
    if isinstance(drawn, ProceduralDraws):
        return _procedural(scene.host, drawn, margin, offset)
    if bank is None:
        raise GenaugError(
            Reason.MISSING_FILE,
            f"case {drawn.lesion.case_id}",
            "no lesion bank",
            "the annotated cases that the lesions were carved from",
            "Give the cohort that was used when the lesions were inserted.",
        )
    return _carved(scene, drawn, margin, offset, bank)


def paint(scene: Scene, lesion: LocalLesion, centre: Index, edge_mm: float, name: str) -> tuple[str, list[Check]]:
    """Paint a lesion into the scene.

    Returns:
        The hash of the voxels it was painted over, and what the finished lesion measures.

    Raises:
        TooLarge: NO_ROOM when there is too little tissue around to compare it with.
        GenaugError: NOT_FINITE, or BAD_PARAMETER when the tissue around gives no contrast unit.
    """
    box = lesion.box.moved(centre)
    visible = box.intersection(whole(scene.host.shape))
    cut = visible.within(box)
    mask, spacing = lesion.mask[cut], scene.host.spacing
    stored = scene.image.read(visible)
    host = _finite(stored.astype(np.float32), scene.host, name)
    tissue, compared = scene.region.crop(visible), scene.region.around(visible, mask)
    alpha = soft_alpha(lesion.cut, spacing, edge_mm)[cut]
    if scene.keep_to_tissue:
        alpha = np.where(tissue, alpha, np.float32(0))
    inside = float(tissue[mask].mean()) if mask.any() else 0.0
    # Where a lesion is allowed to leave the tissue, what it covers is treated as if it were tissue.
    outside = ~tissue & (alpha > 0)
    tissue = tissue | outside
    around = _around(host, compared | outside, tissue, spacing, name)
    unit = around.unit(scene.unit, name)
    target = np.float32(around.mean) + np.float32(unit) * lesion.difference[cut]
    blended = composite(host, target, alpha, tissue, spacing, around, lesion.noise * unit)
    # Where nothing was blended the stored bits stay, whatever the type.
    result = np.where(alpha > 0, to_type(blended, stored), stored)
    scene.image.write(visible, result)
    scene.mask.write(visible, np.maximum(scene.mask.read(visible), mask))
    if scene.label is not None:
        scene.label.write(visible, np.where(mask, scene.lesion_value, scene.label.read(visible)))
    checks = _checks(scene, lesion, int(mask.sum()), inside, name)
    checks.append(_contrast_check(result, lesion.difference[cut], alpha, mask, around, unit, scene.unit, name))
    scene.region.take(visible, mask)
    scene.lesions.append(visible)
    return hash_voxels(stored), checks


def _procedural(host: Volume, drawn: ProceduralDraws, margin_mm: float, offset: Vector) -> LocalLesion:
    box = box_around(host, drawn.extent_mm + margin_mm)
    signed = signed_distance(drawn, positions_mm(host, box, offset))
    difference = render_texture(drawn, signed, host.spacing)
    return LocalLesion(box, signed <= 0, signed, difference, 0.0, drawn.volume_mm3)


def _carved(scene: Scene, drawn: CarveDraws, margin_mm: float, offset: Vector, bank: LesionBank) -> LocalLesion:
    host, patch = scene.host, bank.patch(drawn.lesion)
    if patch.modality != host.modality:
        raise GenaugError(
            Reason.WRONG_MODALITY,
            f"case {drawn.lesion.case_id}",
            f"a lesion carved from {patch.modality}",
            f"{host.modality}, as the host",
            "Carve the lesions from the channel that the host shows.",
        )
    box = box_around(host, patch.extent_mm + max(drawn.level_mm, 0.0) + margin_mm)
    signed, texture, noise = patch.sample(positions_mm(host, box, offset), drawn.mirror)
    mask = signed <= min(drawn.level_mm, 0.0)
    if not mask.any():
        raise TooSmall(
            Reason.BAD_PARAMETER,
            f"lesion of case {drawn.lesion.case_id}",
            f"{drawn.lesion.diameter_mm:.1f} mm, less than a voxel of the host",
            "a lesion of at least one voxel",
            "Ask for larger lesions, or insert into an image of finer spacing.",
        )
    unit = patch.around.unit(scene.unit, f"case {drawn.lesion.case_id}")
    difference = (texture - np.float32(patch.around.mean)) / np.float32(unit)
    noise /= unit
    if drawn.contrast is not None:
        own = float(difference[mask].mean())
        gain = drawn.contrast / own if abs(own) > 1e-6 else 0.0
        difference, noise = difference * np.float32(gain), noise * abs(gain)
    return LocalLesion(
        box, mask, signed - np.float32(drawn.level_mm), difference, noise, patch.volume_mm3(drawn.level_mm)
    )


def _finite(values: Float32Array, host: Volume, name: str) -> Float32Array:
    bad = int((~np.isfinite(values)).sum())
    if bad:
        raise GenaugError(
            Reason.NOT_FINITE,
            host.source or "host",
            f"{bad} voxels that are not finite around {name}",
            "finite intensities",
            "Repair the image, or place the lesion elsewhere.",
        )
    return values


def _around(host: Float32Array, compared: BoolArray, tissue: BoolArray, spacing: Vector, name: str) -> Surroundings:
    """Statistics of the tissue that a lesion is compared with; of all tissue there, where that is too little."""
    around = surroundings(host, compared, spacing) or surroundings(host, tissue, spacing)
    if around is None:
        raise TooLarge(
            Reason.NO_ROOM,
            name,
            f"{int(tissue.sum())} voxels of tissue around it",
            "20 or more, to know how bright it has to be",
            "Give a tissue map that covers the surroundings of the lesion.",
        )
    return around


def _checks(scene: Scene, lesion: LocalLesion, count: int, inside: float, name: str) -> list[Check]:
    """That the lesion lies in the tissue, where it has to, and has the volume asked for; `count` voxels can be seen."""
    keeps = scene.keep_to_tissue
    checks = [
        Check(
            name=f"{name} inside tissue",
            passed=inside == 1.0 or not keeps,
            value=inside,
            limit="1" if keeps else "any, as it may lie outside",
        )
    ]
    if 1 not in scene.host.shape:
        voxel = float(np.prod(scene.host.spacing))
        # Half a voxel's width more or less all over the border is what the grid alone can do to a small lesion; across
        # thick slices that is half a slice.
        slack = 0.05 + min(1.0, 0.5 * max(scene.host.spacing) * 6 / lesion.diameter_mm * 0.35)
        # Beyond the image nothing can be seen of a lesion that may lie outside, nor is that asked of it.
        total = int(lesion.mask.sum())
        wanted = lesion.volume_mm3 * count / total
        checks.append(
            Check(
                name=f"{name} volume",
                passed=abs(total * voxel / lesion.volume_mm3 - 1) <= slack,
                value=count * voxel,
                limit=f"{wanted:.1f} mm3 within {100 * slack:.0f} %",
            )
        )
    return checks


def _contrast_check(
    result: np.ndarray[tuple[int, int, int], np.dtype[np.generic]],
    difference: Float32Array,
    alpha: Float32Array,
    mask: BoolArray,
    around: Surroundings,
    unit: float,
    unit_name: str,
    name: str,
) -> Check:
    """That the lesion differs from the tissue as asked, measured where it is not blended with it."""
    core = mask & (alpha >= min(_CORE_ALPHA, float(alpha[mask].max(initial=0.0))))
    wanted = float(difference[core].mean()) if core.any() else 0.0
    found = float(result[core].astype(np.float64).mean() - around.mean) / unit if core.any() else 0.0
    slack = 0.2 * abs(wanted) + (around.noise + 0.5) / unit / np.sqrt(max(int(core.sum()), 1))
    return Check(
        name=f"{name} contrast",
        passed=bool(core.any()) and abs(found - wanted) <= slack,
        value=found,
        limit=f"{wanted:.3g} {unit_name} within {slack:.2g}",
    )
