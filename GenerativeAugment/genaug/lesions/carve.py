"""Real lesions cut out of annotated cases: a small texture and a signed distance, ready for any host grid."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from genaug.errors import GenaugError, Reason
from genaug.lesions.blend import SUPPORT_MM, Surroundings, surroundings
from genaug.lesions.local import (
    Box,
    Float32Array,
    Unfit,
    Vector,
    as_index,
    as_vector,
    crop,
    crop_edge,
    mask_box,
    most_touched,
    require_orthogonal,
)
from genaug.strict import Strict
from genaug.volume import AnyArray, BoolArray, Volume, require_same_grid

FEWEST_VOXELS = 4
"""Components with fewer voxels are annotation noise rather than lesions with a shape and a texture."""

_FINE = 3
_HALO_OUTLIER = 2.5


class LesionReference(Strict):
    """Which lesion of which case: what a Record needs to find it again.

    Attributes:
        case_id: the annotated case.
        patient: whose lesion it is.
        derived_from: further patients whose images made it, for a synthetic case.
        value: label value of the lesion.
        centre_ras: centroid in mm.
        volume_mm3: of all its voxels.
    """

    case_id: str
    patient: str
    derived_from: tuple[str, ...] = ()
    value: int
    centre_ras: Vector
    volume_mm3: float

    @property
    def diameter_mm(self) -> float:
        """Diameter of the sphere of the same volume."""
        return float((6 / np.pi * self.volume_mm3) ** (1 / 3))


class CarveDraws(Strict):
    """How a lesion of the bank is taken.

    Attributes:
        lesion: which one.
        level_mm: signed distance at which it is cut; negative cuts inside the annotation.
        mirror: left and right are swapped.
        contrast: mean lesion minus tissue in contrast units; None keeps the contrast it was carved with.
        tissue: label value of the tissue it was compared with in its case; None in Records that do not name it.
    """

    source: Literal["bank"] = "bank"
    lesion: LesionReference
    level_mm: float
    mirror: bool
    contrast: float | None
    tissue: int | None = None

    @property
    def diameter_mm(self) -> float:
        """Diameter of the lesion as it is annotated."""
        return self.lesion.diameter_mm


@dataclass(frozen=True, eq=False)
class LesionPatch:
    """One lesion and its neighbourhood, cut out of its case.

    Attributes:
        texture: intensities of the source, (I, J, K) float32.
        signed: distance to the annotation's border in mm, negative inside, (I, J, K) float32.
        affine: (4, 4), index of this patch to RAS mm relative to the lesion's centroid.
        around: statistics of the tissue around the lesion in its case.
        tissue: label value of that tissue there.
        reference: where it came from.
        extent_mm: radius around the centroid that holds the lesion.
        modality: of the source.
    """

    texture: Float32Array
    signed: Float32Array
    affine: npt.NDArray[np.float64]
    around: Surroundings
    tissue: int
    reference: LesionReference
    extent_mm: float
    modality: str

    @property
    def depth_mm(self) -> float:
        """Largest distance of a lesion voxel from the border."""
        return float(-self.signed.min())

    def volume_mm3(self, level_mm: float = 0.0) -> float:
        """Volume of the lesion when it is cut at `level_mm`: all of it, or for a negative level the part inside."""
        if level_mm >= 0:
            return self.reference.volume_mm3
        deep = _fine(self.signed) <= level_mm
        return float(deep.sum() / _FINE**3 * abs(np.linalg.det(self.affine[:3, :3])))

    def sample(self, positions: Float32Array, mirror: bool = False) -> tuple[Float32Array, Float32Array, float]:
        """The patch on another grid, in the same orientation of the patient.

        The mask of the result is where the linearly interpolated distance is not positive: nearest neighbour without
        its steps. Beyond the patch the distance goes on growing; a patch of one slice is as thick as that slice.

        Args:
            positions: (3, ...) mm RAS relative to the lesion's centroid.
            mirror: swap left and right.

        Returns:
            Signed distance in mm and texture in the source's intensities, float32 of shape positions.shape[1:], and the
            standard deviation of the source's noise that interpolation has left in that texture.
        """
        from scipy import ndimage

        flip = np.array([-1.0 if mirror else 1.0, 1.0, 1.0])
        inverse = np.linalg.inv(self.affine)
        index = np.tensordot(inverse[:3, :3] * flip, positions.astype(np.float64), axes=1)
        index += inverse[:3, 3].reshape(3, *[1] * (positions.ndim - 1))
        signed = self._distance_at(index)
        texture = ndimage.map_coordinates(self.texture, index, order=1, mode="nearest")
        share = index - np.floor(index)
        # White noise averaged with weights (1 - f, f) keeps (1 - f)**2 + f**2 of its variance along each axis.
        kept = np.prod((1 - share) ** 2 + share**2, axis=0).mean()
        return signed.astype(np.float32), texture.astype(np.float32), self.around.noise * float(np.sqrt(kept))

    def _distance_at(self, index: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """The signed distance at voxel coordinates (3, ...), also beyond the patch."""
        from scipy import ndimage

        spacing = np.linalg.norm(self.affine[:3, :3], axis=0)
        held = [np.clip(at, 0, size - 1) for at, size in zip(index, self.signed.shape)]
        signed = ndimage.map_coordinates(self.signed, held, order=1, output=np.float64)
        beyond = [np.abs(at - near) * step for at, near, step in zip(index, held, spacing)]
        thin = [size == 1 for size in self.signed.shape]
        signed += np.sqrt(sum(b**2 for b, single in zip(beyond, thin) if not single))
        for axis in np.flatnonzero(thin):
            signed = np.maximum(signed, beyond[axis] - 0.5 * spacing[axis])
        return np.asarray(signed)


@dataclass(frozen=True, eq=False)
class Component:
    """One connected lesion of a label map: its mask, the box that mask stands on, and what identifies it."""

    mask: BoolArray
    box: Box
    reference: LesionReference


def components(
    label: Volume, value: int = 1, case_id: str = "", patient: str = "", derived_from: tuple[str, ...] = ()
) -> list[Component]:
    """The lesions of a label map, largest first; diagonal neighbours belong together.

    Lesions below FEWEST_VOXELS are left out. Case and patients are what the references shall say.
    """
    from scipy import ndimage

    mask = label.array == value
    if not mask.any():
        return []
    box = mask_box(mask)
    numbered, _ = ndimage.label(mask[box.slices], structure=np.ones((3, 3, 3)))
    voxel_mm3 = abs(float(np.linalg.det(label.affine[:3, :3])))
    found = []
    for number, slices in enumerate(ndimage.find_objects(numbered), start=1):
        part = numbered[slices] == number
        count = int(part.sum())
        if count < FEWEST_VOXELS:
            continue
        lower = [low + s.start for low, s in zip(box.lower, slices)]
        own = Box(as_index(lower), as_index([low + n for low, n in zip(lower, part.shape)]))
        centre = label.affine @ [*(np.argwhere(part).mean(axis=0) + own.lower), 1.0]
        reference = LesionReference(
            case_id=case_id,
            patient=patient,
            derived_from=derived_from,
            value=value,
            centre_ras=as_vector(centre[:3]),
            volume_mm3=count * voxel_mm3,
        )
        found.append(Component(part, own, reference))
    return sorted(found, key=lambda c: -c.reference.volume_mm3)


def carve(
    image: Volume,
    label: Volume,
    value: int = 1,
    component: int | Literal["largest"] | np.random.Generator = "largest",
    case_id: str = "",
    patient: str = "",
    other_lesions: Collection[int] = (),
) -> LesionPatch:
    """Cut one lesion out of an annotated image.

    Args:
        image: the annotated image.
        label: its lesions, on the same grid.
        value: label value of the lesions.
        component: position in the order of size, "largest", or a generator that draws one.
        case_id: the annotated case, for the Record.
        patient: whose lesion it is, for the Record.
        other_lesions: further values that are no tissue to compare a lesion with.

    Raises:
        GenaugError: GEOMETRY_MISMATCH; WRONG_LABELS when there is no such lesion or none of 4 voxels; NOT_FINITE;
            FIELD_OF_VIEW when too little tissue is seen around it.
    """
    require_same_grid(image, label)
    found = components(label, value, case_id, patient)
    subject = case_id or str(label.source or "label map")
    if not found:
        raise _nothing_to_carve(label, value, subject)
    if isinstance(component, np.random.Generator):
        number = int(component.integers(len(found)))
    else:
        number = 0 if component == "largest" else component
    if not 0 <= number < len(found):
        raise GenaugError(
            Reason.BAD_PARAMETER,
            f"component of {subject}",
            str(number),
            f"0 to {len(found) - 1}, the largest lesion first",
            "Choose one of the lesions there are.",
        )
    return carve_component(image, label, found[number], other_lesions)


def carve_component(
    image: Volume, label: Volume, component: Component, other_lesions: Collection[int] = ()
) -> LesionPatch:
    """Cut the given lesion out of its case; see `carve`.

    Raises:
        Unfit: FIELD_OF_VIEW when too little tissue is seen around it.
        GenaugError: GEOMETRY_MISMATCH, NOT_FINITE.
    """
    from scipy import ndimage

    require_orthogonal(image)
    spacing = np.array(image.spacing)
    thickness = ndimage.distance_transform_edt(np.pad(component.mask, 1), sampling=spacing).max()
    pad = np.where(np.array(image.shape) > 1, np.ceil((thickness + SUPPORT_MM) / spacing) + 1, 0).astype(int)
    box = Box(as_index(np.array(component.box.lower) - pad), as_index(np.array(component.box.upper) + pad))
    mask = np.pad(component.mask, [(p, p) for p in pad])
    signed = _signed_distance(mask, spacing)
    texture = _finite_texture(image, box, component.reference.case_id)
    value, tissue = _neighbourhood(image, label, box, mask, signed, {component.reference.value, *other_lesions})
    around = surroundings(texture, tissue, image.spacing)
    if value is None or around is None:
        raise Unfit(
            Reason.FIELD_OF_VIEW,
            component.reference.case_id or image.source or "image",
            f"{int(tissue.sum())} voxels of tissue within {SUPPORT_MM:g} mm around the lesion",
            "20 or more, to know how the lesion differs from it",
            "Leave this lesion out, or give an image that shows its surroundings.",
        )
    # Around the annotation nothing is carried over that is not like the tissue: a ventricle stays where it is.
    halo = signed > 0
    limits = around.mean - _HALO_OUTLIER * around.spread, around.mean + _HALO_OUTLIER * around.spread
    texture[halo] = np.clip(texture[halo], *limits)
    affine = image.affine.copy()
    affine[:3, 3] = (image.affine @ [*box.lower, 1.0])[:3] - component.reference.centre_ras
    corners = np.linalg.norm(affine[:3, :3] @ np.argwhere(mask).T + affine[:3, 3:4], axis=0)
    extent = float(corners.max()) + 0.5 * float(np.linalg.norm(spacing))
    return LesionPatch(texture, signed, affine, around, value, component.reference, extent, image.modality)


def draw_carve(
    rng: np.random.Generator,
    patch: LesionPatch,
    margin: Literal["carvemix", "none"],
    mirror: bool,
    contrast: float | None,
) -> CarveDraws:
    """Draw how a lesion is cut: CarveMix's level, half from [-depth/2, 0] and half from [0, depth] (Zhang et al. 2023).

    Args:
        rng: the case's generator.
        patch: the lesion.
        margin: "none" cuts at the annotation.
        mirror: swap left and right in half of the draws.
        contrast: what its contrast shall be, None for its own.
    """
    inwards, share, swap = rng.uniform() < 0.5, rng.uniform(), rng.uniform() < 0.5
    level = 0.0
    if margin == "carvemix":
        level = -0.5 * patch.depth_mm * share if inwards else min(patch.depth_mm, SUPPORT_MM) * share
    return CarveDraws(
        lesion=patch.reference, level_mm=level, mirror=mirror and swap, contrast=contrast, tissue=patch.tissue
    )


def _signed_distance(mask: BoolArray, spacing: npt.NDArray[np.float64]) -> Float32Array:
    """Distance to the border, which lies about halfway between the last voxel inside and the first outside.

    Interpolation rounds the corners of a voxelised border off, which costs a small lesion up to a third of its volume.
    The border is moved outwards by what keeps the volume the same between the voxels too.
    """
    from scipy import ndimage

    half = 0.5 * float(spacing.min())
    outside = ndimage.distance_transform_edt(~mask, sampling=spacing)
    inside = ndimage.distance_transform_edt(mask, sampling=spacing)
    signed = np.where(mask, half - inside, outside - half).astype(np.float32)
    fine = _fine(signed)
    wanted = int(mask.sum()) * _FINE**3
    return np.asarray(signed - np.partition(fine.ravel(), wanted)[wanted], dtype=np.float32)


def _fine(signed: Float32Array) -> Float32Array:
    """The distance inside, at _FINE points a voxel along every axis, as `LesionPatch.sample` interpolates it."""
    tight = mask_box(signed <= 0)
    fine = signed[tuple(slice(max(0, s.start - 2), s.stop + 2) for s in tight.slices)]
    # Linear interpolation in 3D is one along each axis after the other.
    for axis, size in enumerate(fine.shape):
        points = np.clip((np.arange(size * _FINE) + 0.5) / _FINE - 0.5, 0, size - 1)
        below = np.minimum(points.astype(int), max(size - 2, 0))
        above = np.minimum(below + 1, size - 1)
        share = (points - below).astype(np.float32).reshape([-1 if a == axis else 1 for a in range(3)])
        fine = np.take(fine, below, axis) * (1 - share) + np.take(fine, above, axis) * share
    return np.asarray(fine, dtype=np.float32)


def _neighbourhood(
    image: Volume, label: Volume, box: Box, mask: BoolArray, signed: Float32Array, lesions: Collection[int]
) -> tuple[int | None, BoolArray]:
    """The tissue that a lesion lies in, as far as one can tell without a tissue map: its label value and its voxels.

    It is what the largest part of the border touches of all that is no lesion, be it an organ or not annotated at all.
    Its voxels lie beyond the lesion's soft border, inside the image, and are not like background: their intensity is
    the commonest there, because a lesion mostly lies within one tissue.
    """
    from scipy import ndimage

    labels, inside = crop(np.asarray(label.array), box), _inside(box, image.shape)
    lesion = inside & np.isin(labels, list(lesions))
    # A lesion inside another one, as a core in its oedema, lies in what both lie in.
    grown, _ = ndimage.label(lesion | mask, structure=np.ones((3, 3, 3)))
    value = most_touched(labels, np.isin(grown, np.unique(grown[mask])), inside & ~lesion, image.spacing)
    near = (signed > 0.5 * max(image.spacing)) & (signed <= SUPPORT_MM) & inside & ~lesion & (labels == value)
    values = crop_edge(image.array, box)[near].astype(np.float64)
    if values.size < 20:
        return value, near
    low, high = _densest_half(values)
    near[near] = (values >= low) & (values <= high)
    return value, near


def _densest_half(values: npt.NDArray[np.float64]) -> tuple[float, float]:
    """The shortest range with half of the values, widened on both sides to about 2.4 sigma of a normal distribution."""
    ordered = np.sort(values)
    half = ordered.size // 2
    start = int(np.argmin(ordered[half:] - ordered[: ordered.size - half]))
    low, high = float(ordered[start]), float(ordered[start + half])
    return low - 1.25 * (high - low), high + 1.25 * (high - low)


def _inside(box: Box, shape: tuple[int, int, int]) -> BoolArray:
    i, j, k = (
        (np.arange(low, high) >= 0) & (np.arange(low, high) < n) for low, high, n in zip(box.lower, box.upper, shape)
    )
    return np.asarray(i[:, None, None] & j[None, :, None] & k[None, None, :])


def _finite_texture(image: Volume, box: Box, case_id: str) -> Float32Array:
    texture = crop_edge(image.array, box).astype(np.float32)
    bad = int((~np.isfinite(texture)).sum())
    if bad:
        raise GenaugError(
            Reason.NOT_FINITE,
            case_id or image.source or "image",
            f"{bad} voxels that are not finite at or around the lesion",
            "finite intensities",
            "Repair the image, or leave this case out of the bank.",
        )
    return texture


def _nothing_to_carve(label: Volume, value: int, subject: str) -> GenaugError:
    count = int((label.array == value).sum())
    values: AnyArray = np.unique(label.array)
    return GenaugError(
        Reason.WRONG_LABELS,
        subject,
        f"{count} voxels of value {value} and no connected group of {FEWEST_VOXELS} (values there:"
        f" {', '.join(f'{v:g}' for v in values[:12])})",
        f"a lesion of value {value} with {FEWEST_VOXELS} or more voxels",
        "Name the label value of the lesions, or leave this case out.",
    )
