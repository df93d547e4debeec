"""Inserting lesions into a healthy volume, and doing it again from the Record.

Every lesion is worked out on a small box and kept as a change to the host; the host is copied once, when the finished
image is asked for. Nothing that is random happens after the draws, so the same draws give the same voxels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Annotated

import numpy as np
from pydantic import Field, ValidationError

from genaug.errors import GenaugError, Reason
from genaug.files import invalid
from genaug.lesions.bank import LesionBank
from genaug.lesions.blend import BlendDraws, draw_blend, resolve_unit
from genaug.lesions.carve import CarveDraws
from genaug.lesions.local import Canvas, Index, TooLarge, TooSmall, Unfit, Vector, require_orthogonal
from genaug.lesions.parameters import BankSource, InsertParameters
from genaug.lesions.place import (
    Placement,
    at_voxel,
    check_place,
    draw_place,
    draw_subvoxel,
    footprint,
    nearest_voxel,
    no_room,
)
from genaug.lesions.procedural import ProceduralDraws, draw_procedural
from genaug.lesions.region import Region
from genaug.lesions.scene import LocalLesion, Scene, local_lesion, paint
from genaug.record import Record, software_versions
from genaug.strict import Strict
from genaug.volume import LABEL, Volume, require_same_grid

_TRIES = 5
"""A lesion that fits nowhere or holds no voxel is drawn again until this many have been tried."""


class LesionDraws(Strict):
    """One inserted lesion: what, where, how soft, and the SHA-256 of the host voxels it was laid into."""

    lesion: Annotated[ProceduralDraws | CarveDraws, Field(discriminator="source")]
    place: Placement
    blend: BlendDraws
    host_voxels: str = ""


class InsertDraws(Strict):
    """Record.draws of an insertion."""

    lesions: list[LesionDraws]


@dataclass(frozen=True, eq=False)
class Inserted:
    """A host with lesions.

    Attributes:
        host: the volume without them.
        scene: its changes; `scene.image.write_into(array)` writes only the changed boxes.
        record: how it came to be.
    """

    host: Volume
    scene: Scene
    record: Record

    @cached_property
    def image(self) -> Volume:
        """The host with the lesions, in its own type; voxels away from them are the host's, bit for bit."""
        return self.host.with_array(
            self.scene.image.whole(), step="insert_lesions", case=self.record.case_id, count=len(self.scene.lesions)
        )

    @cached_property
    def mask(self) -> Volume:
        """uint8, 1 in the lesions."""
        return Volume(self.scene.mask.whole(), self.host.affine, LABEL)

    @cached_property
    def label(self) -> Volume | None:
        """The given label map with the lesions in it; None when none was given."""
        if self.scene.label is None or self.scene.label_volume is None:
            return None
        return self.scene.label_volume.with_array(
            self.scene.label.whole(), step="insert_lesions", value=self.scene.lesion_value
        )


def insert_lesions(
    host: Volume,
    tissue: Volume,
    parameters: InsertParameters,
    *,
    label: Volume | None = None,
    bank: LesionBank | None = None,
    case_id: str = "inserted",
    host_id: str = "host",
    host_patients: Sequence[str] = (),
    seed: int | None = None,
) -> Inserted:
    """Insert lesions into a host.

    Args:
        host: the image, any type; its affine may be oblique and anisotropic but not sheared.
        tissue: mask or label map on the same grid; the lesions lie in `parameters.tissue_labels` of it.
        parameters: what to insert.
        label: label map on the same grid to update; its voxels of `lesion_value` are kept clear of.
        bank: where a "bank" source takes its lesions from.
        case_id: id of the new case.
        host_id: id of the host's case.
        host_patients: patients the host descends from.
        seed: instead of `parameters.seed`.

    Raises:
        Unfit: when none of the lesions that were drawn can be used; NO_ROOM with the largest sphere that fits.
        GenaugError: NO_ROOM for a given point outside the image; GEOMETRY_MISMATCH, WRONG_MODALITY, BAD_PARAMETER,
            NOT_FINITE.
    """
    seed = parameters.seed if seed is None else seed
    parameters = parameters.model_copy(update={"seed": seed})
    rng = np.random.Generator(np.random.PCG64(seed))
    scene = _scene(host, tissue, parameters, label)
    drawn, checks = [], []
    for number in range(parameters.count):
        draws, lesion = _draw_lesion(rng, scene, parameters, bank, number)
        voxels, measured = paint(scene, lesion, draws.place.voxel, draws.blend.edge_mm, f"lesion {number + 1}")
        drawn.append(draws.model_copy(update={"host_voxels": voxels}))
        checks += measured
    sources = [d.lesion.lesion for d in drawn if isinstance(d.lesion, CarveDraws)]
    record = Record(
        case_id=case_id,
        kind="insert",
        seed=seed,
        parameters=parameters.model_dump(mode="json"),
        draws=InsertDraws(lesions=drawn).model_dump(mode="json"),
        parents=list(dict.fromkeys([host_id, *(s.case_id for s in sources)])),
        patients=list(dict.fromkeys([*host_patients, *(p for s in sources for p in (s.patient, *s.derived_from))])),
        checks=checks,
        versions=software_versions(),
    )
    return Inserted(host, scene, record)


def reinsert(
    host: Volume, tissue: Volume, label: Volume | None, record: Record, bank: LesionBank | None = None
) -> Inserted:
    """Make an inserted case again from its Record, voxel for voxel, drawing nothing.

    Raises:
        GenaugError: BAD_PARAMETER when the record is of another kind or malformed, or the host's voxels are not those
            the lesions were laid into; MISSING_FILE when its bank is not given.
    """
    if record.kind != "insert":
        raise GenaugError(
            Reason.BAD_PARAMETER,
            f"record of {record.case_id}",
            f"kind '{record.kind}'",
            "kind 'insert'",
            "Replay this case with the job that made it.",
        )
    try:
        parameters = InsertParameters.model_validate(record.parameters)
        draws = InsertDraws.model_validate(record.draws)
    except ValidationError as error:
        raise invalid(error, f"record of {record.case_id}", "record of an insertion", Reason.BAD_PARAMETER) from error
    scene = _scene(host, tissue, parameters, label)
    checks = []
    for number, one in enumerate(draws.lesions, start=1):
        lesion = local_lesion(scene, one.lesion, one.blend.edge_mm, one.place.offset, bank)
        voxels, measured = paint(scene, lesion, one.place.voxel, one.blend.edge_mm, f"lesion {number}")
        if voxels != one.host_voxels:
            raise GenaugError(
                Reason.BAD_PARAMETER,
                host.source or "host",
                f"voxels around lesion {number} of {record.case_id} that hash to {voxels[:12]}",
                f"the voxels it was inserted into, {one.host_voxels[:12]}",
                "Give the unchanged host image that this case was made from.",
            )
        checks += measured
    return Inserted(host, scene, record.model_copy(update={"checks": checks}))


def _scene(host: Volume, tissue: Volume, parameters: InsertParameters, label: Volume | None) -> Scene:
    require_orthogonal(host)
    require_same_grid(host, tissue)
    if label is not None:
        require_same_grid(host, label)
        if tissue is label:
            _require_free_value(parameters)
        # Label maps are as small as what they hold, which the lesions' value need not be.
        kind = np.promote_types(label.array.dtype, np.min_scalar_type(parameters.lesion_value))
        label = replace(label, array=label.array.astype(kind, copy=False))
    return Scene(
        host=host,
        region=Region(tissue, parameters.tissue_labels, (label.array, parameters.lesion_value) if label else None),
        image=Canvas.over(host.array),
        mask=Canvas.zeros(host.shape, np.uint8),
        label=Canvas.over(label.array) if label else None,
        label_volume=label,
        lesion_value=parameters.lesion_value,
        unit=resolve_unit(parameters.contrast_unit, host),
        keep_to_tissue=not parameters.allow_outside,
    )


def _require_free_value(parameters: InsertParameters) -> None:
    if parameters.lesion_value in parameters.tissue_labels:
        raise GenaugError(
            Reason.BAD_PARAMETER,
            "lesion_value",
            f"{parameters.lesion_value}, which is a tissue the lesions lie in",
            "a value of its own",
            "Choose a value that the label map does not use yet.",
        )


def _draw_lesion(
    rng: np.random.Generator, scene: Scene, parameters: InsertParameters, bank: LesionBank | None, number: int
) -> tuple[LesionDraws, LocalLesion]:
    """Draw a lesion and its place: one that fits nowhere again, no larger, and one without a voxel, no smaller."""
    smallest, largest = parameters.diameter_mm
    given = None if parameters.at is None else nearest_voxel(scene.host, parameters.at[number])
    refused: Unfit | None = None
    for _ in range(_TRIES):
        try:
            drawn = _draw_source(rng, parameters, bank, (smallest, largest))
        except Unfit as error:
            refused = error
            continue
        blend = draw_blend(rng, parameters.edge_mm)
        offset = draw_subvoxel(rng, scene.host.shape) if given is None else given[1]
        try:
            lesion = local_lesion(scene, drawn, blend.edge_mm, offset, bank)
            place = _place(rng, scene, parameters, lesion, offset, None if given is None else given[0])
        except TooSmall as error:
            refused, smallest = error, drawn.diameter_mm
            continue
        except TooLarge as error:
            refused, largest = error, drawn.diameter_mm
            continue
        if place is not None:
            return LesionDraws(lesion=drawn, place=place, blend=blend), lesion
        refused, largest = None, drawn.diameter_mm
    raise refused or no_room(scene.region, largest, parameters.margin_mm)


def _place(
    rng: np.random.Generator,
    scene: Scene,
    parameters: InsertParameters,
    lesion: LocalLesion,
    offset: Vector,
    given: Index | None,
) -> Placement | None:
    """Where the lesion goes: the given voxel, if it may, or a drawn one; None when it fits nowhere."""
    shape = footprint(lesion.mask, lesion.box, scene.host, parameters.margin_mm)
    if given is None:
        voxel = draw_place(rng, scene.region, shape)
        return None if voxel is None else at_voxel(scene.host, voxel, offset)
    place = at_voxel(scene.host, given, offset)
    if not parameters.allow_outside:
        check_place(scene.region, shape, place)
    return place


def _draw_source(
    rng: np.random.Generator, parameters: InsertParameters, bank: LesionBank | None, diameter_mm: tuple[float, float]
) -> ProceduralDraws | CarveDraws:
    contrast = None if parameters.contrast is None else float(rng.uniform(*parameters.contrast))
    if isinstance(parameters.source, BankSource):
        if bank is None:
            raise GenaugError(
                Reason.BAD_PARAMETER,
                "source",
                "kind 'bank' without a bank",
                "annotated cases to carve lesions from",
                "Give a cohort of annotated cases, or choose kind 'procedural'.",
            )
        return bank.draw(rng, parameters.source, diameter_mm, contrast)
    low, high = np.log(diameter_mm)
    # The parameters were validated: a procedural source has a contrast.
    return draw_procedural(rng, float(np.exp(rng.uniform(low, high))), float(contrast or 0.0), parameters.source)
