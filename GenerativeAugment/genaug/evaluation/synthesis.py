"""Evaluation of a synthetic cohort against real cases: everything, with floors and intervals, in one call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from genaug.errors import GenaugError, Reason
from genaug.evaluation.anatomy import AnatomyFeatures
from genaug.evaluation.arrays import CaseSource, checked_cases
from genaug.evaluation.copies import copy_check, deviations
from genaug.evaluation.coverage import NEAREST
from genaug.evaluation.features import Standardisation, default_features, make_extractor
from genaug.evaluation.floors import Split, real_splits
from genaug.evaluation.label_scores import label_scores
from genaug.evaluation.realism import (
    Features,
    coverage_scores,
    enough_for_coverage,
    few_patients,
    frechet_score,
    kid_score,
)
from genaug.evaluation.resampling import group_indices, pair_mean_interval
from genaug.evaluation.scores import NAMED, CopyCheck, Evaluation, Score
from genaug.evaluation.survey import Plan, Survey, survey
from genaug.progress import Part, Reporter, Silent
from genaug.volume import FloatArray

FEWEST_REAL_PATIENTS = 4
FEWEST_SYNTHETIC = 2

SURVEY_SHARE = 0.8
"""Of the progress bar: reading and describing cases takes most of the time."""


@dataclass(frozen=True)
class _Surveys:
    real: Survey
    synthetic: Survey
    training: Survey | None
    held_out: Survey | None


def evaluate_synthesis(
    real: CaseSource,
    synthetic: CaseSource,
    training: CaseSource | None = None,
    held_out: CaseSource | None = None,
    features: Sequence[str] | None = None,
    labels: Mapping[int, str] | None = None,
    seed: int = 0,
    reporter: Reporter | None = None,
) -> Evaluation:
    """Score `synthetic` cases against `real` ones, and look for copies of `training` cases.

    Each source is passed over once (`real` twice when `labels` is None), one case in memory at a time; passing the same
    object as `real` and `held_out` reads it once.

    Args:
        real: reference cases, best those that the model was not trained on.
        synthetic: generated cases; each counts as independent.
        training: cases the model was trained on; None leaves out the copy check.
        held_out: real cases the model never saw, from other patients than `training`; None lets the copy check list
            the nearest pairs without a claim.
        features: names in `features.FEATURES`; None takes `features.default_features`.
        labels: label value → name; None takes the values found in the real label maps; empty ignores label maps.
        seed: of the bootstrap, the splits and the sample of images.
        reporter: told of every case.

    Returns:
        Scores of each extractor (kid, frechet, precision, recall, density, coverage), ms_ssim, label volumes, copies.

    Raises:
        GenaugError: EMPTY_COHORT with fewer than 4 real patients or 2 synthetic cases; LEAK when a held-out patient is
            in the training cases; BAD_PARAMETER for unknown features; and those of `survey.survey`.
    """
    reporter = reporter or Silent()
    plan, names = _plan(real, features, labels, seed)
    surveys = _surveys(real, synthetic, training, held_out, plan, Part(reporter, 0, SURVEY_SHARE))
    _require_enough(surveys)
    _require_no_leak(surveys)
    rng = np.random.Generator(np.random.PCG64(seed))
    splits = real_splits(len(surveys.real.ids), len(surveys.synthetic.ids), rng, surveys.real.patients)
    few = few_patients(surveys.real.patients)
    notes = [f"kid: {few}"] if few else []
    notes += [_seen_by(extractor, names) for extractor in plan.extractors if isinstance(extractor, AnatomyFeatures)]
    scores: list[Score] = []
    rest = Part(reporter, SURVEY_SHARE, 1 - SURVEY_SHARE)
    for done, extractor in enumerate(plan.extractors):
        rest.progress(done, len(plan.extractors) + 2, f"scores on {extractor.name}")
        scores += _feature_scores(extractor.name, surveys, splits, rng, notes)
    rest.progress(len(plan.extractors), len(plan.extractors) + 2, "diversity")
    scores += _diversity_scores(surveys, rng, notes)
    if surveys.real.volumes is not None and surveys.synthetic.volumes is not None:
        volumes = surveys.real.volumes, surveys.synthetic.volumes
        unit = "mm³" if len(plan.shape) == 4 else "mm²"
        scores += label_scores(*volumes, names, surveys.real.patients, splits, rng, unit)
    rest.progress(len(plan.extractors) + 1, len(plan.extractors) + 2, "copies")
    copies = _copies(surveys)
    if training is None:
        notes.append("copies were not looked for: no training cases were given")
    rest.progress(1, 1, "evaluated")
    return Evaluation(kind="synthesis", seed=seed, scores=scores, copies=copies, notes=notes)


def _plan(
    real: CaseSource, features: Sequence[str] | None, labels: Mapping[int, str] | None, seed: int
) -> tuple[Plan, dict[int, str]]:
    first = next(iter(checked_cases(real(), "real")), None)
    if first is None:
        raise _too_few("real", "none", FEWEST_REAL_PATIENTS)
    if labels is None:
        labels = {} if first.label is None else {value: f"label {value}" for value in _values(real)}
    names = dict(labels) if first.label is not None else {}
    dims = first.image.ndim - 1
    extractors = [make_extractor(name, dims, sorted(names)) for name in features or default_features(dims)]
    return Plan(extractors, sorted(names), first.image.shape, seed), names


def _seen_by(extractor: AnatomyFeatures, names: Mapping[int, str]) -> str:
    labels = [f"{names[value]} ({value})" for value in extractor.labels[:NAMED]]
    more = len(extractor.labels) - len(labels)
    listed = f"labels {', '.join(labels)}{f' and {more} more' if more else ''}" if labels else "no labels"
    return f"{extractor.name} looked at the images and at {listed}"


def _values(real: CaseSource) -> list[int]:
    """Label values found in the real cases, without background."""
    found: set[int] = set()
    for case in real():
        if case.label is not None:
            found.update(int(value) for value in np.unique(case.label))
    return sorted(found - {0})


def _surveys(
    real: CaseSource,
    synthetic: CaseSource,
    training: CaseSource | None,
    held_out: CaseSource | None,
    plan: Plan,
    reporter: Reporter,
) -> _Surveys:
    of_real = survey(real, "real", plan, Part(reporter, 0, 0.25), keep_images=True)
    of_synthetic = survey(synthetic, "synthetic", plan, Part(reporter, 0.25, 0.25), keep_images=True)
    of_training = survey(training, "training", plan, Part(reporter, 0.5, 0.25)) if training is not None else None
    if held_out is None or training is None:
        of_held_out = None
    elif held_out is real:
        of_held_out = of_real
    else:
        of_held_out = survey(held_out, "held-out", plan, Part(reporter, 0.75, 0.25))
    return _Surveys(of_real, of_synthetic, of_training, of_held_out)


def _require_enough(surveys: _Surveys) -> None:
    patients = len(set(surveys.real.patients))
    if patients < FEWEST_REAL_PATIENTS:
        raise _too_few("real", f"{patients} patients", FEWEST_REAL_PATIENTS)
    if len(surveys.synthetic.ids) < FEWEST_SYNTHETIC:
        raise _too_few("synthetic", f"{len(surveys.synthetic.ids)} case", FEWEST_SYNTHETIC)


def _too_few(role: str, found: str, needed: int) -> GenaugError:
    return GenaugError(
        Reason.EMPTY_COHORT,
        f"{role} cases",
        found,
        f"at least {needed} {'patients' if role == 'real' else 'cases'}",
        "Add cases: a distribution cannot be compared on so few.",
    )


def _require_no_leak(surveys: _Surveys) -> None:
    if surveys.training is None or surveys.held_out is None:
        return
    shared = sorted(set(surveys.training.patients) & set(surveys.held_out.patients))
    if shared:
        raise GenaugError(
            Reason.LEAK,
            "held-out cases",
            f"{len(shared)} patients that are also in the training cases ({', '.join(shared[:5])})",
            "patients that the model never saw",
            "Split by patient before training, and give those left out as held-out cases.",
        )


def _feature_scores(
    name: str, surveys: _Surveys, splits: Sequence[Split], rng: np.random.Generator, notes: list[str]
) -> list[Score]:
    real, synthetic = surveys.real, surveys.synthetic
    features = Features(name, real.features[name], synthetic.features[name], real.patients, splits)
    scores = [kid_score(features, rng), frechet_score(features, rng)]
    if enough_for_coverage(features):
        return scores + coverage_scores(features, rng)
    notes.append(
        f"precision, recall, density and coverage on {name} left out: {len(real.ids)} real and {len(synthetic.ids)}"
        f" synthetic cases, but each half of the real cases and the synthetic ones must exceed k = {NEAREST}"
    )
    return scores


def _diversity_scores(surveys: _Surveys, rng: np.random.Generator, notes: list[str]) -> list[Score]:
    from genaug.evaluation.diversity import pairwise_ms_ssim, scale_plan

    shape = surveys.real.images[0].shape[1:]
    if min(shape) < 3:
        notes.append(f"ms_ssim left out: an axis of {min(shape)} voxels is shorter than the smallest window, 3")
        return []
    plan = scale_plan(shape)
    real = pairwise_ms_ssim(surveys.real.images, plan)
    synthetic = pairwise_ms_ssim(surveys.synthetic.images, plan)
    group = group_indices(surveys.real.image_patients, len(surveys.real.images))
    apart = group[real.pairs[:, 0]] != group[real.pairs[:, 1]]
    counts = len(surveys.real.images), len(surveys.synthetic.images)
    known = bool(apart.any())
    if not known:
        notes.append(f"ms_ssim has no floor: the {counts[0]} real cases drawn for it are all of one patient")
    note = f"mean over pairs of {counts[0]} real and of {counts[1]} synthetic cases; {plan}"
    interval = pair_mean_interval(synthetic.pairs, synthetic.values, counts[1], rng)
    floor_interval = pair_mean_interval(
        real.pairs[apart], real.values[apart], counts[0], rng, surveys.real.image_patients
    )
    return [
        Score(
            name="ms_ssim",
            value=float(synthetic.values.mean()),
            interval=interval,
            floor=float(real.values[apart].mean()) if known else None,
            floor_interval=floor_interval,
            better="match",
            n_real=len(surveys.real.ids),
            n_synthetic=len(surveys.synthetic.ids),
            note=f"{note}; the floor is the real cases' own value, and a higher one means less diversity",
        )
    ]


def _copies(surveys: _Surveys) -> list[CopyCheck]:
    if surveys.training is None:
        return []
    names = list(surveys.training.features)
    return [_copies_in(space, surveys, surveys.training) for space in ("image", *names)]


def _copies_in(space: str, surveys: _Surveys, training: Survey) -> CopyCheck:
    standardise = Standardisation(training.thumbnails if space == "image" else training.features[space])

    def rows(of: Survey) -> FloatArray:
        if space == "image":
            return deviations(of.thumbnails, training.thumbnails)
        return standardise(of.features[space])

    held_out = None if surveys.held_out is None else rows(surveys.held_out)
    synthetic = surveys.synthetic
    return copy_check(space, rows(training), rows(synthetic), held_out, training.ids, synthetic.ids)
