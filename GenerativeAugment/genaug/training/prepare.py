"""The training cases in model space, on disk."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn, cast

import numpy as np
import numpy.typing as npt

from genaug.cohort import Case
from genaug.covariates import encode
from genaug.errors import GenaugError, Reason
from genaug.files import writing_folder
from genaug.grid import Grid
from genaug.progress import Reporter
from genaug.tensors import Roles, Side, StoreWriter
from genaug.text import TextReader
from genaug.volume import Volume


def sides_of(case: Case, roles: Roles) -> dict[Side, list[str]]:
    """The channels that are read of a case, on one grid each; of an unpaired one, by the sides that it has whole.

    Raises:
        GenaugError: UNPAIRED for a case without what it needs.
    """
    names = list(dict.fromkeys([*roles.target, *roles.source]))
    if not roles.unpaired:
        if roles.missing and not any(name in case.images for name in roles.source):
            case.image(roles.source[0])
        lacking = {name for name in roles.source if roles.missing and name not in case.images}
        return {"both": [name for name in names if name not in lacking]}
    groups: dict[Side, list[str]] = {"target": roles.target}
    if not roles.findings:
        groups["source"] = roles.source
    held = {side: group for side, group in groups.items() if all(name in case.images for name in group)}
    if not held:
        case.image(next(name for name in names if name not in case.images))
    return held


def prepare(
    cases: Sequence[Case],
    grid: Grid,
    roles: Roles,
    folder: Path,
    reporter: Reporter,
    *,
    sliding: bool = False,
    text_encoder: Path | None = None,
) -> None:
    """Map every case into model space and write them all, or nothing.

    Args:
        cases: whose files.
        grid: the model's space.
        roles: what is read of them and what for.
        folder: for a TensorStore.
        reporter: told of every case.
        sliding: whether windows are cut from the volumes, which may then be larger than the grid.
        text_encoder: reads the sentences that a text is given as.

    Raises:
        GenaugError: UNPAIRED when there are no cases of one of the sides; what reading and mapping raise.
    """
    texts = TextReader(text_encoder)
    with writing_folder(folder, replace=True) as working:
        writer = StoreWriter(working, roles, grid.dimension)
        written: set[Side] = set()
        for done, case in enumerate(cases):
            vector = encode(roles.covariates, case.covariates, texts.read(roles.covariates, case.covariates))
            for side, names in sides_of(case, roles).items():
                written |= _write_entry(case, side, names, vector, grid, roles, sliding, writer)
            reporter.progress(done + 1, len(cases), "preparing")
        if roles.findings and len(written) < 2:
            _refuse_one_side(cases[0], grid.dimension, next(iter(written)))
        writer.finish()


def _write_entry(
    case: Case,
    side: Side,
    names: Sequence[str],
    vector: npt.NDArray[np.float32],
    grid: Grid,
    roles: Roles,
    sliding: bool,
    writer: StoreWriter,
) -> set[Side]:
    """One case, or one side of it; returns the sides that were written."""
    images = {name: case.volume(name) for name in names}
    placement = grid.place(next(iter(images.values())), images, whole=sliding)
    mapped = {name: grid.map_in(image, placement, name) for name, image in images.items()}
    absent = np.zeros_like(next(iter(mapped.values())))
    wanted = [*roles.target, *roles.source] if side == "both" else names
    stacked = np.stack([mapped.get(name, absent) for name in wanted])
    labels = grid.map_in(label_of(case), placement, None) if roles.label_values or roles.findings else None
    field = (placement.before, placement.resampled)
    if labels is None or not roles.findings:
        writer.add(case.id, stacked, labels, field, vector, [name in mapped for name in roles.source], side)
        return {side}
    found = labels.any(axis=(0, 1)) if grid.dimension == 2 else np.array([labels.any()])
    written: set[Side] = set()
    for one, planes in (("source", np.flatnonzero(found)), ("target", np.flatnonzero(~found))):
        if len(planes):
            only = planes.tolist() if grid.dimension == 2 else None
            marked = labels if one == "source" else None
            writer.add(case.id, stacked, marked, field, vector, (), cast(Side, one), only)
            written.add(cast(Side, one))
    return written


def _refuse_one_side(case: Case, dimension: int, side: Side) -> NoReturn:
    what = "planes" if dimension == 2 else "cases"
    raise GenaugError(
        Reason.UNPAIRED,
        case.id,
        f"only {what} {'with' if side == 'source' else 'without'} a label, here and in all other training cases",
        f"{what} with a label, the source, and {what} without any, the target",
        "Add cases whose label map is empty" + ("." if dimension == 2 else ", or train in 2D: --dimension 2."),
    )


def label_of(case: Case) -> Volume:
    """The label map of a case that has one."""
    label = case.label_map()
    assert label is not None  # the roles have labels only where every case has a label map
    return label
