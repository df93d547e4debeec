"""From a cohort and a few options to everything a training needs, written down before it starts.

The plan and the prepared tensors stand in one folder, so that the training itself needs neither the cohort nor
SimpleITK: the folder can be carried to a machine with a GPU and trained there.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from genaug.case import safe_name
from genaug.cohort import Case, Cohort
from genaug.covariates import Covariate
from genaug.errors import GenaugError, Reason
from genaug.files import read_json, write_json
from genaug.grid import Grid, IntensityMap
from genaug.grid.geometry import axes_towards
from genaug.imageio import read_header
from genaug.package import LabelRange, TrainedOn, read_info, weights_sha256
from genaug.parameters import TrainingOptions
from genaug.pieces import piece_volumes
from genaug.progress import Reporter
from genaug.recipe import Recipe, load_recipe, recipe_path
from genaug.recipe_check import check_recipe
from genaug.tensors import Roles, TensorStore
from genaug.text import encoder_sha256, text_covariate
from genaug.training.inputs import FileState, contents, file_states
from genaug.training.prepare import label_of, prepare, sides_of
from genaug.volume import Volume, label_volumes

PLAN = "plan.json"
TENSORS = "tensors"


class TrainingPlan(BaseModel):
    """What will be trained, on what, and how.

    `key` tells one training from another; `files` are those that were read, so that a later look at them is cheap.
    """

    model_config = ConfigDict(extra="forbid")

    options: TrainingOptions
    recipe: Recipe
    grid: Grid
    roles: Roles
    trained_on: TrainedOn
    key: str
    files: dict[str, FileState] = {}

    @classmethod
    def read(cls, folder: Path) -> TrainingPlan:
        """The plan of a training folder."""
        return read_json(folder / PLAN, cls)


def make_plan(cohort: Cohort, options: TrainingOptions, folder: Path, reporter: Reporter) -> TrainingPlan:
    """Write the plan and the prepared tensors into `folder`, or find them there.

    Only cases of the cohort's training part are read. Nothing is left in `folder` when the training is refused.

    Raises:
        GenaugError: what the cohort's check finds; BAD_RECIPE when the recipe names what there is not; LEAK when a
            case, or the package that is the start, descends from a patient outside the training part; BAD_PARAMETER
            when the folder holds another training.
    """
    cohort.require_no_leak()
    cases = cohort.part("train")
    if not cases:
        raise GenaugError(
            Reason.EMPTY_COHORT,
            cohort.name,
            "no case in the training part",
            "at least one",
            "Check the split: every case may have been put into validation or test.",
        )
    recipe, roles, dimension = _choose(cohort, cases, options)
    check_recipe(recipe, dimension, recipe_path(options.recipe), roles)
    _require_something_to_train(recipe, options)
    _require_enough(recipe, cohort, cases)
    ancestors = _ancestors(cohort, options.initial)
    former = TrainingPlan.read(folder) if (folder / PLAN).is_file() else None
    files = file_states(
        cases,
        [*roles.target, *roles.source],
        bool(roles.label_values) or roles.findings,
        former.files if former is not None else {},
    )
    key = _key(cohort, options, recipe, files)
    if former is not None:
        _require_same(former, key, folder)
        return former
    grid, labels = _measure(cohort, cases, roles, dimension, recipe, options, reporter)
    own = {patient for case in cases for patient in [case.patient, *case.derived_from]}
    plan = TrainingPlan(
        options=options,
        recipe=recipe,
        grid=grid,
        roles=roles,
        trained_on=TrainedOn(
            cohort=cohort.name,
            sha256=cohort.sha256(),
            cases=len(cases),
            patients=sorted(own | ancestors),
            modalities={name: cohort.channels[name] for name in [*roles.target, *roles.source]},
            labels=labels,
            seen=_seen(cases, roles, options.seed),
        ),
        key=key,
        files=files,
    )
    prepare(
        cases,
        grid,
        roles,
        folder / TENSORS,
        reporter,
        sliding=recipe.task == "translation",
        text_encoder=options.text_encoder,
    )
    unused = TensorStore(folder / TENSORS, grid.size).unused
    if unused:
        reporter.log(
            f"nothing is learnt from {len(unused)} of {len(cases)} cases, whose images show something together in no"
            f" plane: {', '.join(unused)}"
        )
    write_json(folder / PLAN, plan.model_dump(mode="json"))
    return plan


def _seen(cases: Sequence[Case], roles: Roles, seed: int) -> list[dict[str, float | str]]:
    """What of the cases' covariates the model is told, shuffled: enough to draw a plausible case from."""
    names = [covariate.name for covariate in roles.covariates]
    seen = [{name: case.covariates[name] for name in names if name in case.covariates} for case in cases]
    return [seen[int(i)] for i in np.random.default_rng(seed).permutation(len(seen))] if names else []


def _ancestors(cohort: Cohort, initial: Path | None) -> set[str]:
    """The patients that weights taken from `initial` descend from, none of whom may be held out here.

    Raises:
        GenaugError: LEAK, BAD_PACKAGE.
    """
    if initial is None:
        return set()
    patients = read_info(initial).trained_on.patients
    for patient in patients:
        part = cohort.part_of(patient)
        if part != "train":
            raise GenaugError(
                Reason.LEAK,
                initial,
                f"weights that were trained on patient '{patient}', who is in the {part} part of {cohort.name}",
                "weights trained on none of its validation and test patients",
                "Start from another package or from none; or, if this is someone else of the same name, rename the"
                " patients of the cohort.",
            )
    return set(patients)


def _choose(cohort: Cohort, cases: Sequence[Case], options: TrainingOptions) -> tuple[Recipe, Roles, Literal[2, 3]]:
    """The recipe resolved for this cohort, and what each channel is for."""
    recipe = load_recipe(options.recipe)
    _require_channels(cohort, "channels", options.channels)
    _require_channels(cohort, "source_channels", options.source_channels)
    asked = [*options.channels, *options.source_channels] or list(cohort.channels)
    dimension: Literal[2, 3] = options.dimension or _dimension(cases, asked)
    resolved = recipe.resolve(dimension, options.overrides, _settings(recipe, options))
    _require_conditions_fit(resolved, options, dimension)
    translation = resolved.task == "translation"
    source = list(options.source_channels)
    if translation and not source and 0 not in resolved.offsets:
        # From the planes beside a plane: what is to be made is not among what is given.
        source = list(options.channels or cohort.channels)
    if translation and not source:
        raise GenaugError(
            Reason.BAD_PARAMETER,
            "source_channels",
            "none",
            f"the input of the translation, one of {', '.join(cohort.channels)}",
            "Name source and target, for instance source_channels T1 and channels T2.",
        )
    target = options.channels or (
        [name for name in cohort.channels if name not in source] if options.source_channels else list(cohort.channels)
    )
    if not target:
        raise GenaugError(
            Reason.BAD_PARAMETER,
            "source_channels",
            f"{', '.join(source)}, all channels of the cohort",
            "a channel besides them to make, or the name of the one to make in channels",
            "Name fewer sources, or name the target.",
        )
    hole = resolved.task == "infill"
    given = "label_map" in resolved.conditions or hole
    if given:
        _require_labels(cases, f"a label map for every case, which {resolved.name} is conditioned on")
    generate = _generates_labels(resolved, cases, options.with_labels, possible=not given and not translation)
    if not generate and any(stage.makes != "all" for stage in resolved.stages.values()):
        _require_labels(cases, f"a label map for every case: {resolved.name} makes one first and the image for it")
        generate = True
    values = sorted({0, *cohort.label_names}) if generate or given else []
    roles = Roles(
        target=target,
        source=source,
        generate_labels=generate,
        given_labels=given,
        label_values=values,
        covariates=_covariates(resolved, cases, options),
        hole=hole,
        offsets=list(resolved.offsets),
        missing="images" in resolved.conditions,
        unpaired=resolved.unpaired,
    )
    if roles.findings:
        _require_labels(cases, "a label map for every case: what has a label is the source, what has none the target")
    elif roles.unpaired:
        _require_bothsides_of(cases, roles)
    return resolved, roles, dimension


def _dimension(cases: Sequence[Case], channels: Sequence[str]) -> Literal[2, 3]:
    """2 where the images of these channels are single planes, 3 where they are volumes.

    Not every case need have every channel.

    Raises:
        GenaugError: BAD_PARAMETER where both are among them: which model is wanted cannot be told.
    """
    paths = [case.images[name] for case in cases for name in channels if name in case.images]
    found: dict[Literal[2, 3], Path] = {}
    for path in paths or [cases[0].image(channels[0])]:
        found.setdefault(2 if min(read_header(path).shape) == 1 else 3, path)
    if len(found) > 1:
        raise GenaugError(
            Reason.BAD_PARAMETER,
            found[2],
            f"a single plane, where {found[3]} is a volume",
            "cases that are all planes or all volumes",
            "Say which model is wanted (--dimension 2 learns planes, of the volumes too), or leave such cases out.",
        )
    return next(iter(found))


def _require_channels(cohort: Cohort, option: str, names: Sequence[str]) -> None:
    """Raise BAD_PARAMETER unless these are channels of the cohort, each once, after which files can be called."""
    for place, name in enumerate(names):
        if name not in cohort.channels or name in names[:place]:
            raise GenaugError(
                Reason.BAD_PARAMETER,
                option,
                f"channel {name!r}" + (" twice" if name in cohort.channels else ""),
                f"one of {', '.join(cohort.channels)}, each once",
                "Name channels of the cohort.",
            )
        if safe_name(name) != name:
            raise GenaugError(
                Reason.BAD_PARAMETER,
                option,
                f"'{name}', after which the model's files could not be called",
                "letters, digits and . _ + -",
                f"Rename the channel in the cohort's manifest, for instance to '{safe_name(name)}'.",
            )


def _require_bothsides_of(cases: Sequence[Case], roles: Roles) -> None:
    """An unpaired translation needs cases of either side, and a case that has neither is a mistake."""
    held = [sides_of(case, roles) for case in cases]
    for side, names in (("target", roles.target), ("source", roles.source)):
        if not any(side in one for one in held):
            raise GenaugError(
                Reason.UNPAIRED,
                cases[0].id,
                f"no training case with {', '.join(names)}, the {side}",
                "some cases with the source and some with the target, whether or not of the same patients",
                "Add cases, or correct the channels.",
            )


def _require_conditions_fit(recipe: Recipe, options: TrainingOptions, dimension: int) -> None:
    """Refuse options that the recipe has no use for, and offsets where there are no planes."""
    has_text = "text" in recipe.conditions
    for name, given, condition, fits in (
        ("covariates", bool(options.covariates), "covariates", "covariates" in recipe.conditions),
        ("text", options.text is not None, "text", has_text),
        ("text_encoder", options.text_encoder is not None, "text", has_text),
        ("source_channels", bool(options.source_channels), "images, a translation", recipe.task == "translation"),
    ):
        if given and not fits:
            raise GenaugError(
                Reason.BAD_PARAMETER,
                name,
                f"{name} for {recipe.name}",
                f"a recipe conditioned on {condition}",
                "Leave it out, or choose another recipe; `genaug methods` tells what each is conditioned on.",
            )
    if recipe.offsets != (0,) and dimension == 3:
        raise GenaugError(
            Reason.BAD_RECIPE,
            recipe.name,
            "offsets of planes in 3D",
            "a recipe for 2D, which sees planes beside its own",
            "Train it in 2D: --dimension 2.",
        )


def _covariates(recipe: Recipe, cases: Sequence[Case], options: TrainingOptions) -> list[Covariate]:
    """What the model is told of a case, as the recipe asks and the training cases have it."""
    found = []
    if "covariates" in recipe.conditions:
        every = sorted({name for case in cases for name in case.covariates} - {options.text})
        names = options.covariates or every
        if not names:
            raise GenaugError(
                Reason.BAD_PARAMETER,
                "covariates",
                "none in the cohort",
                f"a class or a number for every case, which {recipe.name} is conditioned on",
                "Add them to the cohort: columns of its CSV table, or `genaug cohort --covariates`.",
            )
        found = [
            Covariate.of(name, [case.covariates[name] for case in cases if name in case.covariates]) for name in names
        ]
    if "text" in recipe.conditions:
        found.append(text_covariate(options.text, options.text_encoder))
    return found


def _generates_labels(recipe: Recipe, cases: Sequence[Case], asked: bool | None, possible: bool) -> bool:
    """Whether label maps are made together with the images: as asked, else as the recipe says where there are any.

    Label maps of some cases only are an error and never a silent change of what the model makes.
    """
    if not possible:
        if asked:
            raise GenaugError(
                Reason.BAD_PARAMETER,
                "with_labels",
                "true",
                f"false or nothing: {recipe.name} makes images for what it is given, whose label maps are carried over",
                "Leave with_labels out.",
            )
        return False
    wanted = recipe.with_labels if asked is None else asked
    if not wanted or (asked is None and all(case.label is None for case in cases)):
        return False
    _require_labels(cases, "a label map for every case, or for none")
    return True


def _require_labels(cases: Sequence[Case], expected: str) -> None:
    missing = [case.id for case in cases if case.label is None]
    if missing:
        named = ", ".join(missing[:10]) + (", ..." if len(missing) > 10 else "")
        raise GenaugError(
            Reason.UNPAIRED,
            missing[0],
            f"no label map for {len(missing)} of {len(cases)} training cases: {named}",
            expected,
            "Add the label maps or leave these cases out; to train a model of images alone, choose an unconditional"
            " recipe with with_labels false.",
        )


def _require_enough(recipe: Recipe, cohort: Cohort, cases: Sequence[Case]) -> None:
    """The distribution of one code is that code: its cases would be the training case."""
    fitted = [name for name, stage in recipe.stages.items() if stage.space == "latent" and not stage.loss]
    if fitted and len(cases) < 2:
        raise GenaugError(
            Reason.EMPTY_COHORT,
            cohort.name,
            "1 training case",
            f"at least 2, to fit the {fitted[0]} of {recipe.name} to",
            "Add cases, or make some of this one by deformation or label-to-image drawing.",
        )


def _require_something_to_train(recipe: Recipe, options: TrainingOptions) -> None:
    """Stages of no iterations are taken over as they are, so there must be some to take, and another one to train."""
    kept = [name for name, stage in recipe.stages.items() if not stage.training.iterations]
    if kept and (options.initial is None or len(kept) == len(recipe.stages)):
        raise GenaugError(
            Reason.BAD_PARAMETER,
            "iterations",
            f"0 for {', '.join(kept)}" + (" without initial weights" if options.initial is None else ""),
            "at least 1, or initial weights to keep and another stage to train",
            "Give the package to start from, or more iterations.",
        )


def _settings(recipe: Recipe, options: TrainingOptions) -> dict[str, Any]:
    """The options with a name of their own that change the recipe, in its own form."""
    training: dict[str, dict[str, Any]] = {name: {} for name in recipe.stages}
    for name, iterations in options.iterations.items():
        if name not in training:
            raise GenaugError(
                Reason.BAD_PARAMETER,
                "iterations",
                f"stage {name!r}",
                f"one of {', '.join(recipe.stages)}",
                f"Name stages of {recipe.name}.",
            )
        training[name]["iterations"] = iterations
    for values in training.values():
        if options.batch_size is not None:
            values["batch_size"] = options.batch_size
        if options.learning_rate is not None:
            values["learning_rate"] = options.learning_rate
    return {"stages": {name: {"training": values} for name, values in training.items() if values}}


def _measure(
    cohort: Cohort,
    cases: Sequence[Case],
    roles: Roles,
    dimension: Literal[2, 3],
    recipe: Recipe,
    options: TrainingOptions,
    reporter: Reporter,
) -> tuple[Grid, list[LabelRange]]:
    """One pass over the cases: geometry, intensities, label values and volumes.

    Label values are looked at here, before resampling can lose a few voxels of a wrong one.
    """
    names = list(dict.fromkeys([*roles.target, *roles.source]))
    maps = {name: IntensityMap.for_modality(cohort.channels[name]) for name in names}
    headers, volumes, pieces = [], [], []
    drawn = [value for value in roles.label_values if value != 0]
    fitted: dict[str, list[Any]] = {name: [] for name in names}
    for done, case in enumerate(cases):
        for side in sides_of(case, roles).values():
            for name in side:
                volume = case.volume(name)
                fitted[name].append(maps[name].fit(volume))
            headers.append((volume.shape, volume.affine))
        if roles.label_values:
            label = label_of(case)
            _require_known(label, roles.label_values)
            for seen in _as_seen(label, dimension):
                volumes.append(label_volumes(seen, roles.label_values))
                pieces.append(piece_volumes(seen, drawn))
        reporter.progress(done + 1, len(cases), "measuring the cohort")
    grid = Grid.plan(
        headers,
        maps,
        roles.label_values,
        fitted=fitted,
        dimension=dimension,
        spacing=options.spacing,
        multiple_of=recipe.multiple_of,
        max_voxels=options.max_voxels,
        window=_window(recipe, options, dimension),
        # Nobody asked for it: one that the largest volume alone fills is padding to all others.
        typical=options.window is None,
    )
    table = np.array(volumes)
    ranges = [
        LabelRange(
            value=value,
            name=cohort.label_names.get(value, "background" if value == 0 else f"label {value}"),
            smallest=float(table[:, i].min()),
            mean=float(table[:, i].mean()),
            largest=float(table[:, i].max()),
            **_of_pieces([case[drawn.index(value)] for case in pieces]),
        )
        for i, value in enumerate(roles.label_values)
        if value != 0
    ]
    return grid, ranges


def _as_seen(label: Volume, dimension: int) -> Iterator[Volume]:
    """What a model makes of a label map at a time: all of it, or in 2D a plane after the other."""
    if dimension == 3 or min(label.shape) == 1:
        yield label
        return
    axes, _ = axes_towards(label.affine, "RAS")
    for plane in range(label.shape[axes[2]]):
        yield replace(label, array=label.array.take([plane], axis=axes[2]))


def _of_pieces(cases: Sequence[Sequence[float]]) -> dict[str, Any]:
    """What a LabelRange says of a label's pieces, from their volumes in every case."""
    every = [volume for case in cases for volume in case]
    return {"smallest_piece": min(every), "most_pieces": max(map(len, cases))} if every else {}


def _window(recipe: Recipe, options: TrainingOptions, dimension: int) -> tuple[int, ...] | None:
    """A translation is learnt on windows and applied by sliding them; everything else sees whole volumes."""
    if recipe.task != "translation":
        if options.window is not None:
            raise GenaugError(
                Reason.BAD_PARAMETER,
                "window",
                f"a window for the {recipe.task} recipe {recipe.name}",
                "none: it generates whole volumes",
                "Leave the window out; use spacing or max_voxels to make volumes smaller.",
            )
        return None
    if options.window is not None:
        return options.window[:dimension]
    return recipe.window or ((128, 128) if dimension == 2 else (64, 64, 32))


def _require_known(label: Volume, values: Sequence[int]) -> None:
    known = np.isin(label.array, values)
    if not known.all():
        unknown = np.unique(label.array[~known]).tolist()
        raise GenaugError(
            Reason.WRONG_LABELS,
            label.source or "label map",
            f"label values {', '.join(map(str, unknown[:10]))} in {int(np.count_nonzero(~known))} voxels",
            f"the values that the cohort names: {', '.join(map(str, values))}",
            "Name these labels in the cohort (genaug cohort --label VALUE=NAME), or correct the label map.",
        )


def _key(cohort: Cohort, options: TrainingOptions, recipe: Recipe, files: dict[str, FileState]) -> str:
    """Tells one training from another, by what decides the outcome and not by where it lies.

    How often it saves or looks does not matter, nor on which device and how long it runs.
    """
    told = options.model_dump(
        mode="json",
        exclude={
            "acceleration",
            "checkpoint_every",
            "devices",
            "initial",
            "minutes",
            "precision",
            "preview_every",
            "threads",
        },
    )
    # By what they hold: a recipe's content is among the parts, and a text is what its encoder makes of it.
    told["recipe"] = recipe.name
    if options.text_encoder is not None:
        told["text_encoder"] = encoder_sha256(options.text_encoder)
    start = None if options.initial is None else weights_sha256(read_info(options.initial))
    parts = [cohort.sha256(), told, recipe.model_dump(mode="json"), start, contents(files)]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _require_same(plan: TrainingPlan, key: str, folder: Path) -> None:
    if plan.key != key:
        raise GenaugError(
            Reason.BAD_PARAMETER,
            folder,
            "a training of another cohort or with other options, or images, weights or a recipe that have changed",
            "the same training, to resume it",
            "Choose another output folder, or remove this one.",
        )
