"""One export, written aside and renamed when it is complete."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from genaug.account import ExportManifest
from genaug.cohort import Cohort
from genaug.errors import GenaugError, Reason
from genaug.export.datalist import write_datalist
from genaug.export.folds import make_folds
from genaug.export.layouts import Layout
from genaug.export.manifest import write_manifest
from genaug.export.nnunet import dataset_name, write_nnunet
from genaug.export.plain import write_plain
from genaug.export.selection import select
from genaug.files import writing_folder
from genaug.parameters import ExportParameters
from genaug.progress import Reporter
from genaug.record import RECORD_SUFFIX

LAYOUTS: dict[str, Callable[[Layout], None]] = {
    "nnunet": write_nnunet,
    "datalist": write_datalist,
    "plain": write_plain,
}

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


def export_cohort(
    real: Cohort | None,
    synthetic: Sequence[Cohort],
    output: Path,
    parameters: ExportParameters,
    reporter: Reporter,
    *,
    seed: int = 0,
    reviews: Sequence[Path] = (),
) -> tuple[Path, ExportManifest]:
    """Lay out real and synthetic cases for training a segmentation.

    Args:
        real: its split by patient decides: test cases are kept apart, validation cases are never trained on.
        synthetic: cohorts of generated cases; a reviews.jsonl in their folders counts.
        output: folder to make the dataset in; the dataset is the folder that is returned.
        parameters: layout, name, and what is required of a synthetic case.
        reporter: told after every case.
        seed: of the division into folds.
        reviews: further review files.

    Returns:
        The dataset's folder and its manifest.

    Raises:
        GenaugError: EMPTY_COHORT when nothing is left; BAD_PARAMETER for the name or an output that exists;
            WRONG_LABELS, GEOMETRY_MISMATCH and what reading raises; DISK_FULL, NO_PERMISSION. Nothing is left behind.
    """
    _require_name(parameters.name)
    selection = select(real, synthetic, reviews, parameters)
    named = dataset_name(parameters.dataset_id, parameters.name) if parameters.layout == "nnunet" else parameters.name
    folder = output / named
    with writing_folder(folder) as working:
        folds = make_folds(selection, seed) if parameters.layout == "nnunet" else []
        layout = Layout(working, selection, folds, parameters, reporter)
        _copy_records(layout)
        LAYOUTS[parameters.layout](layout)
        manifest = write_manifest(layout, seed)
    reporter.product("dataset", folder)
    return folder, manifest


def _copy_records(layout: Layout) -> None:
    """The Records of the synthetic cases, unchanged: beside a case that has a folder, else in records/."""
    beside = layout.parameters.layout == "plain"
    for chosen in layout.selection.kept:
        if chosen.case.record is not None:
            target = layout.folder / (chosen.name if beside else "records") / f"{chosen.name}{RECORD_SUFFIX}"
            target.parent.mkdir(exist_ok=True)
            shutil.copyfile(chosen.case.record, target)
            layout.files.setdefault(chosen.name, {})["record"] = target


def _require_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise GenaugError(
            Reason.BAD_PARAMETER, "name", f"'{name}'", "letters, digits, _ and -", "Choose another dataset name."
        )
