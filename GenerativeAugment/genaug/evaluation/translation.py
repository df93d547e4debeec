"""Evaluation of translated images against the real ones of the same patients, as scores.

The floor of such a score is how well a second real scan of the patient repeats the first. Hardly any cohort has second
scans. Where there are none, the real image is compared with itself moved by half a voxel along each axis (mean over the
axes): source and target of a well registered pair may be as far apart, so a score better than that says nothing. It is
no more than that: a second scan would also differ in noise and in what the patient does, and would score worse.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from operator import length_hint
from typing import Literal

import numpy as np

from genaug.errors import GenaugError, Reason
from genaug.evaluation.arrays import PairArrays, PairSource, require_finite
from genaug.evaluation.labels import dice, dice_per_label
from genaug.evaluation.masks import body_mask
from genaug.evaluation.paired import (
    BONE_HU,
    CT_TISSUES_HU,
    ct_tissues,
    half_voxel,
    half_voxel_mask,
    mae,
    psnr,
    ssim,
    value_range,
)
from genaug.evaluation.resampling import mean_interval
from genaug.evaluation.scores import Evaluation, Score, first_names
from genaug.progress import Reporter, Silent
from genaug.volume import AnyArray, BoolArray, FloatArray

Key = tuple[str, str | None]
"""Name and region of a score."""

Values = dict[Key, float | None]
"""Scores of one pair; None where one is not defined."""

BETTER: Mapping[str, Literal["lower", "higher", "match"]] = {
    "mae": "lower",
    "ssim": "higher",
    "psnr": "higher",
    "bone_dice": "higher",
    "dice": "higher",
}

REPEATED = "a second real scan of the same patient against the first"
MOVED = (
    "the real image against itself moved by half a voxel along each axis, as far as a good registration may be off; a"
    " second real scan, of which none was given, would score worse"
)


@dataclass
class _Table:
    """Per score the values of the cases in which it is defined, and their patients; `flat`: pairs without range.

    `partial`: pairs whose other images end within the reference; `unseen`: those of which nothing is left to score.
    """

    values: dict[Key, list[float]] = field(default_factory=dict)
    patients: dict[Key, list[str]] = field(default_factory=dict)
    flat: list[str] = field(default_factory=list)
    partial: list[str] = field(default_factory=list)
    unseen: list[str] = field(default_factory=list)
    modalities: set[str] = field(default_factory=set)
    cases: int = 0

    def add(self, values: Values, patient: str) -> None:
        for key, value in values.items():
            if value is not None:
                self.values.setdefault(key, []).append(value)
                self.patients.setdefault(key, []).append(patient)


@dataclass(frozen=True)
class _Frame:
    """What the reference of a pair decides: where is scored, and in which range of values, if it has any."""

    mask: BoolArray
    limits: tuple[float, float] | None
    regions: dict[str, BoolArray]


def evaluate_translation(
    pairs: PairSource,
    repeats: PairSource | None = None,
    labels: Mapping[int, str] | None = None,
    seed: int = 0,
    reporter: Reporter | None = None,
) -> Evaluation:
    """Score translated images inside the body of the reference, where another image of the case shows something.

    Dice of label maps is over the whole image.

    The interval is over patients.

    Args:
        pairs: reference and result of each case, of one modality, one pair in memory at a time.
        repeats: two real images of one patient on one grid, the second as `result`: how well reality repeats itself
            is the floor. Without it the reference moved by half a voxel stands in, see the module.
        labels: label value → name, for the error within labels and the Dice of result label maps.
        seed: of the bootstrap.
        reporter: told of every pair.

    Returns:
        mae (whole body, and by tissue in CT or by label), ssim, psnr, bone_dice in CT, dice by label. A reference that
        has one value in all of the body, such as a blank plane, has neither ssim nor psnr; a note names it, as another
        does those of which the other images show a part only.

    Raises:
        GenaugError: EMPTY_COHORT, GEOMETRY_MISMATCH, NOT_FINITE or WRONG_MODALITY (several in one evaluation), naming
            the pair.
    """
    reporter = reporter or Silent()
    moved = _Table()
    table = _measured(pairs, labels or {}, "pairs", reporter, moved if repeats is None else None)
    floor = _measured(repeats, labels or {}, "repeats", reporter) if repeats is not None else moved
    if repeats is not None and floor.modalities != table.modalities:
        raise _mixed("repeats", floor.modalities | table.modalities)
    modality = next(iter(table.modalities))
    described = MOVED if repeats is None else f"{REPEATED}, {floor.cases} pairs"
    scores = _scores(table, floor, described, modality, seed)
    notes = [f"the floor is {described}"]
    for role, tried in {"pairs": table, "repeats": floor}.items():
        if tried.flat:
            notes.append(
                f"ssim and psnr left out for {len(tried.flat)} of {tried.cases} {role}, whose reference has one value"
                f" in all of the body ({first_names(tried.flat)})"
            )
        if tried.partial:
            notes.append(
                f"planes in which no other image of the case shows anything are not scored, in {len(tried.partial)} of"
                f" {tried.cases} {role} ({first_names(tried.partial)})"
            )
        if tried.unseen:
            notes.append(
                f"nothing is scored of {len(tried.unseen)} of {tried.cases} {role}: no other image of the case shows"
                f" anything where the reference has a body ({first_names(tried.unseen)})"
            )
    return Evaluation(kind="translation", seed=seed, scores=scores, notes=notes)


def _measured(
    source: PairSource, labels: Mapping[int, str], role: str, reporter: Reporter, moved: _Table | None = None
) -> _Table:
    """The scores of every pair; those of its reference against itself, moved, go into `moved`."""
    table = _Table()
    pairs = source()
    expected = length_hint(pairs)
    for pair in pairs:
        _check(pair)
        table.modalities.add(pair.modality)
        if len(table.modalities) > 1:
            raise _mixed(pair.id, table.modalities)
        frame = _frame(pair, labels)
        if not frame.mask.any():
            table.unseen.append(pair.id)
        elif frame.limits is None:
            table.flat.append(pair.id)
        if pair.scanned is not None and not pair.scanned.all():
            table.partial.append(pair.id)
        table.add(_image_scores(pair, pair.result, frame) | _label_scores(pair, labels), pair.patient)
        if moved is not None:
            moved.add(_moved_scores(pair, labels, frame), pair.patient)
        table.cases += 1
        reporter.progress(table.cases, max(expected, table.cases + 1), f"{role}: {table.cases}")
    if table.cases == 0:
        raise GenaugError(Reason.EMPTY_COHORT, role, "none", "at least one pair", "Check the cohort and its pairing.")
    if len(table.unseen) == table.cases:
        raise GenaugError(
            Reason.EMPTY_COHORT,
            role,
            f"no pair whose other images show anything where the reference has a body ({first_names(table.unseen)})",
            "images of a case that show the same anatomy",
            "Look at them together: they have to be registered, and to have values above their background.",
        )
    return table


def _frame(pair: PairArrays, labels: Mapping[int, str]) -> _Frame:
    scanned = np.ones(pair.reference.shape, dtype=bool) if pair.scanned is None else pair.scanned
    mask = body_mask(pair.reference, pair.modality) & scanned
    regions = ct_tissues(pair.reference, mask) if pair.modality == "CT" else {}
    if pair.label is not None:
        for value, name in labels.items():
            # A label called bone is not the tissue class of that name.
            regions[f"label {name}" if name in regions else name] = (pair.label == value) & scanned
    limits = value_range(pair.reference, pair.modality, mask) if mask.any() else None
    return _Frame(mask, limits, regions)


def _image_scores(pair: PairArrays, result: FloatArray, frame: _Frame) -> Values:
    """Of `result` against the pair's reference."""
    reference, mask, limits = pair.reference, frame.mask, frame.limits
    values: Values = {
        ("mae", None): mae(reference, result, mask),
        ("ssim", None): None if limits is None else ssim(reference, result, mask, limits),
        ("psnr", None): None if limits is None else psnr(reference, result, mask, limits),
    }
    values |= {("mae", region): mae(reference, result, place) for region, place in frame.regions.items()}
    if pair.modality == "CT":
        bones = (mask & (image > BONE_HU) for image in (reference, result))
        values["bone_dice", None] = dice(*bones)
    return values


def _label_scores(pair: PairArrays, labels: Mapping[int, str]) -> Values:
    if pair.label is None or pair.result_label is None:
        return {}
    overlaps = dice_per_label(pair.label, pair.result_label, list(labels))
    return {("dice", labels[value]): overlap for value, overlap in overlaps.items()}


def _moved_scores(pair: PairArrays, labels: Mapping[int, str], frame: _Frame) -> Values:
    """Of the reference against itself moved by half a voxel, the mean over the axes."""
    along: dict[Key, list[float]] = {}
    for axis in (axis for axis, length in enumerate(pair.reference.shape) if length > 1):
        values = _image_scores(pair, half_voxel(pair.reference, axis), frame)
        if pair.label is not None and pair.result_label is not None:
            for value, name in labels.items():
                place = pair.label == value
                values["dice", name] = dice(place, half_voxel_mask(place, axis))
        for key, score in values.items():
            if score is not None:
                along.setdefault(key, []).append(score)
    return {key: float(np.mean(scores)) for key, scores in along.items()}


def _scores(table: _Table, floor: _Table, described: str, modality: str, seed: int) -> list[Score]:
    # Streams of their own, so that a floor does not change the interval of the score beside it.
    rng, floor_rng = (np.random.Generator(np.random.PCG64(entropy)) for entropy in (seed, [seed, 1]))
    return [_score(key, table, floor, described, modality, rng, floor_rng) for key in table.values]


def _score(
    key: Key,
    table: _Table,
    floor: _Table,
    described: str,
    modality: str,
    rng: np.random.Generator,
    floor_rng: np.random.Generator,
) -> Score:
    name, region = key
    values, floors = np.array(table.values[key]), np.array(floor.values.get(key, []))
    known = len(floors) > 0
    return Score(
        name=name,
        value=float(values.mean()),
        interval=mean_interval(values, rng, table.patients[key]),
        floor=float(floors.mean()) if known else None,
        floor_interval=mean_interval(floors, floor_rng, floor.patients[key]) if known else None,
        floor_description=described if known else "",
        better=BETTER[name],
        unit={"mae": "HU" if modality == "CT" else "", "psnr": "dB"}.get(name, ""),
        region=region,
        n_real=len(values),
        n_synthetic=len(values),
        note=f"mean over {len(values)} of {table.cases} pairs, {_place(name, region, modality)}",
    )


def _place(name: str, region: str | None, modality: str) -> str:
    """Where a score looks, in words. A label counts whole: what is marked outside the body is meant to be scored."""
    if name == "dice":
        return "over the whole image"
    if region is None or (modality == "CT" and region in CT_TISSUES_HU):
        return "inside the body of the reference"
    return "within the label, inside the body or not"


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
