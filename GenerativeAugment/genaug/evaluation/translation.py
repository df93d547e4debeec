"""Evaluation of translated images against the real ones of the same patients, as scores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from operator import length_hint
from typing import Literal

import numpy as np

from genaug.errors import GenaugError, Reason
from genaug.evaluation.arrays import PairArrays, PairSource, require_finite
from genaug.evaluation.labels import dice, dice_per_label
from genaug.evaluation.masks import BoolArray, body_mask
from genaug.evaluation.paired import BONE_HU, ct_tissues, mae, psnr, ssim, value_range
from genaug.evaluation.resampling import mean_interval
from genaug.evaluation.scores import Evaluation, Score
from genaug.progress import Reporter, Silent
from genaug.volume import AnyArray

Key = tuple[str, str | None]
"""Name and region of a score."""

BETTER: Mapping[str, Literal["lower", "higher", "match"]] = {
    "mae": "lower",
    "ssim": "higher",
    "psnr": "higher",
    "bone_dice": "higher",
    "dice": "higher",
}


@dataclass
class _Table:
    """Per score the values of the cases in which it is defined, and their patients."""

    values: dict[Key, list[float]] = field(default_factory=dict)
    patients: dict[Key, list[str]] = field(default_factory=dict)
    modalities: set[str] = field(default_factory=set)
    cases: int = 0

    def add(self, key: Key, value: float | None, patient: str) -> None:
        if value is not None:
            self.values.setdefault(key, []).append(value)
            self.patients.setdefault(key, []).append(patient)


def evaluate_translation(
    pairs: PairSource,
    repeats: PairSource | None = None,
    labels: Mapping[int, str] | None = None,
    seed: int = 0,
    reporter: Reporter | None = None,
) -> Evaluation:
    """Score translated images inside the body of the reference; the interval is over patients.

    Args:
        pairs: reference and result of each case, of one modality, one pair in memory at a time.
        repeats: two real images of one patient on one grid, the second as `result`: how well reality repeats itself
            is the floor. Without it there is none, since different patients do not pair.
        labels: label value → name, for the error within labels and the Dice of result label maps.
        seed: of the bootstrap.
        reporter: told of every pair.

    Returns:
        mae (whole body, and by tissue in CT or by label), ssim, psnr, bone_dice in CT, dice by label.

    Raises:
        GenaugError: EMPTY_COHORT, GEOMETRY_MISMATCH, NOT_FINITE or WRONG_MODALITY (several in one evaluation), naming
            the pair.
    """
    reporter = reporter or Silent()
    table = _measured(pairs, labels or {}, "pairs", reporter)
    floor = _measured(repeats, labels or {}, "repeats", reporter) if repeats is not None else None
    if floor is not None and floor.modalities != table.modalities:
        raise _mixed("repeats", floor.modalities | table.modalities)
    modality = next(iter(table.modalities))
    rng = np.random.Generator(np.random.PCG64(seed))
    scores = [_score(key, table, floor, modality, rng) for key in table.values]
    notes = [] if floor is not None else ["no floor: repeated real scans of the same patients were not given"]
    return Evaluation(kind="translation", seed=seed, scores=scores, notes=notes)


def _measured(source: PairSource, labels: Mapping[int, str], role: str, reporter: Reporter) -> _Table:
    table = _Table()
    pairs = source()
    expected = length_hint(pairs)
    for pair in pairs:
        _check(pair)
        table.modalities.add(pair.modality)
        if len(table.modalities) > 1:
            raise _mixed(pair.id, table.modalities)
        _measure(pair, labels, table)
        table.cases += 1
        reporter.progress(table.cases, max(expected, table.cases + 1), f"{role}: {table.cases}")
    if table.cases == 0:
        raise GenaugError(Reason.EMPTY_COHORT, role, "none", "at least one pair", "Check the cohort and its pairing.")
    return table


def _measure(pair: PairArrays, labels: Mapping[int, str], table: _Table) -> None:
    reference, result, patient = pair.reference, pair.result, pair.patient
    mask = body_mask(reference, pair.modality)
    limits = value_range(reference, pair.modality, mask)
    table.add(("mae", None), mae(reference, result, mask), patient)
    table.add(("ssim", None), ssim(reference, result, mask, limits), patient)
    table.add(("psnr", None), psnr(reference, result, mask, limits), patient)
    for region, place in _regions(pair, labels, mask).items():
        table.add(("mae", region), mae(reference, result, place), patient)
    if pair.modality == "CT":
        bones = (mask & (image > BONE_HU) for image in (reference, result))
        table.add(("bone_dice", None), dice(*bones), patient)
    if pair.label is not None and pair.result_label is not None:
        for value, overlap in dice_per_label(pair.label, pair.result_label, list(labels)).items():
            table.add(("dice", labels[value]), overlap, patient)


def _regions(pair: PairArrays, labels: Mapping[int, str], mask: BoolArray) -> dict[str, BoolArray]:
    regions = ct_tissues(pair.reference, mask) if pair.modality == "CT" else {}
    if pair.label is not None:
        regions.update({name: pair.label == value for value, name in labels.items()})
    return regions


def _score(key: Key, table: _Table, floor: _Table | None, modality: str, rng: np.random.Generator) -> Score:
    name, region = key
    values, patients = np.array(table.values[key]), table.patients[key]
    floors = np.array(floor.values.get(key, [])) if floor is not None else np.array([])
    return Score(
        name=name,
        value=float(values.mean()),
        interval=mean_interval(values, rng, patients),
        floor=float(floors.mean()) if len(floors) else None,
        better=BETTER[name],
        unit={"mae": "HU" if modality == "CT" else "", "psnr": "dB"}.get(name, ""),
        region=region,
        n_real=len(values),
        n_synthetic=len(values),
        note=f"mean over {len(values)} of {table.cases} pairs, inside the body of the reference",
    )


def _check(pair: PairArrays) -> None:
    others: dict[str, AnyArray | None] = {
        "result": pair.result,
        "label map": pair.label,
        "label map of the result": pair.result_label,
    }
    for what, array in others.items():
        if array is not None and array.shape != pair.reference.shape:
            raise GenaugError(
                Reason.GEOMETRY_MISMATCH,
                f"pair {pair.id}",
                f"a {what} of shape {array.shape}",
                f"shape {pair.reference.shape}, as the reference",
                "Resample it onto the grid of the reference.",
            )
    require_finite(pair.reference, f"reference of pair {pair.id}")
    require_finite(pair.result, f"result of pair {pair.id}")


def _mixed(subject: str, modalities: set[str]) -> GenaugError:
    return GenaugError(
        Reason.WRONG_MODALITY,
        subject,
        f"modalities {', '.join(sorted(modalities))}",
        "one modality for all pairs",
        "Evaluate each target modality by itself: errors in HU and in arbitrary units have no common mean.",
    )
