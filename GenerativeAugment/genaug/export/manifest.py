"""Writing the account of an export, see genaug.account."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from genaug.account import MANIFEST, ExportManifest, ManifestCase, ManifestLeftOut, ManifestReview
from genaug.export.folds import Fold, folds_of
from genaug.export.layouts import Layout
from genaug.export.nnunet import SPLITS, dataset_name
from genaug.export.selection import Chosen
from genaug.files import sha256_file, write_json, writing

TABLE = "manifest.csv"


def write_manifest(layout: Layout, seed: int) -> ExportManifest:
    """Write manifest.csv and then manifest.json into the export."""
    cases = [_case(layout, chosen) for chosen in layout.selection.kept]
    _write_table(layout.folder / TABLE, cases)
    manifest = ExportManifest(
        name=layout.parameters.name,
        layout=layout.parameters.layout,
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        seed=seed,
        parameters=layout.parameters.model_dump(mode="json"),
        channels=layout.selection.channels,
        label_names=layout.label_names(),
        counts=layout.selection.counts(),
        notes=[*layout.selection.notes, *_fold_notes(layout)],
        cases=cases,
        left_out=[
            ManifestLeftOut(
                id=one.case.id, origin=one.case.origin, patient=one.case.patient, cause=one.cause, detail=one.detail
            )
            for one in layout.selection.left_out
        ],
        sha256={
            path.relative_to(layout.folder).as_posix(): sha256_file(path)
            for path in sorted(layout.folder.rglob("*"))
            if path.is_file()
        },
    )
    write_json(layout.folder / MANIFEST, manifest.model_dump(mode="json"))
    return manifest


def _case(layout: Layout, chosen: Chosen) -> ManifestCase:
    record, review = chosen.record, chosen.review
    made: dict[str, Any] = {}
    if record is not None:
        made = {
            "kind": record.kind,
            "seed": record.seed,
            "recipe": record.weights.recipe if record.weights else None,
            "weights_sha256": record.weights.sha256 if record.weights else None,
            "parameters": record.parameters,
            "draws": record.draws,
            "checks": record.checks,
        }
    said: dict[str, Any] = review.model_dump(include=set(ManifestReview.model_fields) - {"state"}) if review else {}
    return ManifestCase(
        name=chosen.name,
        id=chosen.case.id,
        origin=chosen.case.origin,
        patient=chosen.case.patient,
        part=chosen.part,
        training_folds=folds_of(chosen.name, layout.folds),
        validation_folds=[n for n, fold in enumerate(layout.folds) if chosen.name in fold.validation],
        parents=record.parents if record else chosen.case.parents,
        patients=sorted(chosen.ancestors),
        covariates=chosen.case.covariates,
        review=ManifestReview(state=chosen.state, **said),
        files={role: layout.relative(chosen.name, role) for role in layout.files[chosen.name]},
        **made,
    )


def _fold_notes(layout: Layout) -> list[str]:
    if layout.parameters.layout == "datalist":
        return _datalist_notes(layout)
    if layout.parameters.layout != "nnunet":
        return []
    folds: list[Fold] = list(layout.folds)
    if not folds:
        return [
            "No cross-validation split: fewer than two real patients are for training. nnU-Net would split at random"
            " and validate on synthetic cases, too; train its fold 'all'."
        ]
    dataset = dataset_name(layout.parameters.dataset_id, layout.parameters.name)
    notes = [
        f"Copy {SPLITS} to nnUNet_preprocessed/{dataset}/{SPLITS} after nnUNetv2_plan_and_preprocess and before"
        " nnUNetv2_train. Without it nnU-Net splits at random: it trains on patients who are held out and on synthetic"
        " cases made from them, and validates on synthetic cases."
    ]
    different = len({tuple(fold.validation) for fold in folds})
    if layout.selection.real("validation"):
        notes.append(
            f"All {len(folds)} folds are the same, the validation part of the cohort: nnU-Net splits at random where"
            " the file lacks a fold. To train one of them is enough."
        )
    elif different < len(folds):
        notes.append(
            f"There are {different} patients for training and so {different} different folds; those from {different} on"
            " repeat them, because nnU-Net splits at random where the file lacks a fold."
        )
    unused = [chosen.name for chosen in layout.selection.synthetic() if not folds_of(chosen.name, folds)]
    if unused:
        notes.append(
            f"{len(unused)} synthetic cases are in no fold's training, because they descend from validation patients of"
            " every fold. They count only when training on all cases. To use them in validation, split the real cohort"
            " into train and validation patients, and make the synthetic cases from the train patients alone."
        )
    return notes


def _datalist_notes(layout: Layout) -> list[str]:
    """A datalist can say whom to validate on, but not who must then be left out of training."""
    if layout.selection.real("validation") or not layout.selection.synthetic():
        return []
    return [
        "The datalist has no validation part. MONAI's Auto3DSeg would split its training part at random: it would train"
        " on synthetic cases made from patients it validates on, and validate on synthetic cases. Split the real cohort"
        " into train and validation patients, and make the synthetic cases from the train patients alone."
    ]


def _write_table(path: Path, cases: Iterable[ManifestCase]) -> None:
    """The same cases, one a line, for a spreadsheet; draws and parameters stay in the JSON."""
    columns = (
        "name",
        "id",
        "origin",
        "patient",
        "part",
        "training_folds",
        "validation_folds",
        "parents",
        "patients",
        "kind",
        "seed",
        "recipe",
        "weights_sha256",
    )
    with writing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow([*columns, "checks_passed", "review", "reviewer", "difficulty"])
        for case in cases:
            cells = [getattr(case, column) for column in columns]
            passed = all(check.passed for check in case.checks) if case.checks else ""
            review = (case.review.state, case.review.reviewer, case.review.difficulty)
            writer.writerow([*map(_cell, cells), _cell(passed), *map(_cell, review)])


def _cell(value: object) -> str:
    if value is None:
        return ""
    return "; ".join(map(str, value)) if isinstance(value, list) else str(value)
