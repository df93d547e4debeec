"""Whether a recipe names only what there is: networks, critics, terms, samplers, their options and their outputs.

`genaug methods FILE` and the plan of a training ask before anything else is done. It needs the registries and so torch;
the recipes themselves, and what lists them, do not.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, get_type_hints

import torch
from pydantic import TypeAdapter, ValidationError

from genaug.covariates import Covariate
from genaug.errors import GenaugError, Reason
from genaug.grid.plan import round_up
from genaug.networks import CRITICS, SYSTEMS, Outputs, System, Unfit
from genaug.objectives import CRITIC_LOSSES, LOSSES
from genaug.objectives.base import Lacking
from genaug.peak import peak_bytes
from genaug.recipe import Recipe, Stage, Term, listed
from genaug.samplers import SAMPLERS
from genaug.schedule import Spacing
from genaug.stage_shapes import StageShapes, stages_on_shapes
from genaug.tensors import Roles

ONE_PASS = "one_pass"

WINDOWS = {2: 128, 3: 64}
"""Voxels along an axis of the window on which outputs are looked for, by dimension; rounded up as the recipe asks."""

GIVEN = {"loss": 3, "critic_loss": 4}
"""How many of a term's arguments the training gives; the others are its options."""


def check_recipe(recipe: Recipe, dimension: int, subject: str | Path, roles: Roles | None = None) -> None:
    """Refuse a recipe that names what there is not.

    Which outputs a network leaves is looked up by a training pass on shapes alone. Where the window or a network that
    asks for values stops that, its outputs are not known here, and the training itself says what it lacks.

    Args:
        recipe: resolved for the dimension.
        dimension: 2 or 3.
        subject: the file that an error names.
        roles: of the training's channels; None takes as many of each kind as the recipe needs at least.

    Raises:
        GenaugError: BAD_RECIPE, with the stage and the key, the known names, and the nearest of them first.
    """
    for name, stage in recipe.stages.items():
        _check_stage(f"stages.{name}", stage, subject)
    systems = [SYSTEMS[stage.network.kind] for stage in recipe.stages.values()]
    _check_sampler(recipe, systems, subject)
    window = (round_up(WINDOWS[dimension], recipe.multiple_of),) * dimension
    stages = list(recipe.stages)
    built: list[System] = []
    try:
        for shapes in stages_on_shapes(recipe, dimension, window, roles or fewest_roles(recipe)):
            _check_outputs(f"stages.{shapes.name}", shapes, subject)
            built.append(shapes.system)
    except Unfit:
        # For a window that nobody asked for; the training has its own, and refuses it in words.
        return
    except GenaugError as error:
        if error.subject == str(subject):
            raise
        found = f"stages.{stages[len(built)]}: {error.subject}: {error.found}"
        raise GenaugError(error.reason, subject, found, error.expected, error.remedy) from error
    stepped = [system for system in built if system.stepped]
    if stepped and not any(system.suits(recipe.sampler) for system in stepped):
        raise _bad(
            subject,
            f"sampler: {recipe.sampler.steps} steps of {recipe.sampler.name}",
            "as many steps as the network's `levels`, of a sampler whose spacing is trailing",
            "Correct `steps` or `name` of the sampler, or the network's `levels`.",
        )


def fewest_roles(recipe: Recipe) -> Roles:
    """Channels of a training as the recipe needs them at least: what a cohort has beyond them is not known."""
    told = []
    if "covariates" in recipe.conditions:
        told.append(Covariate(name="covariate", kind="number"))
    if "text" in recipe.conditions:
        told.append(Covariate(name="text", kind="text", width=8))
    translation, hole = recipe.task == "translation", recipe.task == "infill"
    given = "label_map" in recipe.conditions or hole
    made = (
        not given and not translation and (recipe.with_labels or any(s.makes != "all" for s in recipe.stages.values()))
    )
    several = "images" in recipe.conditions
    # What is unpaired needs one channel, with findings in some of the cases.
    source = ["source", "another source"] if several else ["target"] if recipe.unpaired else ["source"]
    return Roles(
        target=["target"],
        source=source if translation else [],
        generate_labels=made,
        given_labels=given,
        label_values=[0, 1] if made or given else [],
        covariates=told,
        hole=hole,
        offsets=list(recipe.offsets),
        missing=several,
        unpaired=recipe.unpaired,
    )


def _check_stage(where: str, stage: Stage, subject: str | Path) -> None:
    """Networks, critics and terms against their registries, and their options against what these take."""
    kind = stage.network.kind
    _require_known(kind, SYSTEMS, f"{where}.network.kind", "network", subject)
    _check_options(SYSTEMS[kind], 1, stage.network.options, f"{where}.network.options", kind, subject)
    for key, critic in stage.critics.items():
        at = f"{where}.critics.{key}"
        _require_known(critic.kind, CRITICS, f"{at}.kind", "critic", subject)
        _check_options(CRITICS[critic.kind], 1, critic.options, f"{at}.options", critic.kind, subject)
    for key, term in stage.loss.items():
        _check_term(f"{where}.loss.{key}", key, term, LOSSES, GIVEN["loss"], subject)
        _check_critic_of(f"{where}.loss.{key}", key, term, stage, subject)
    for critic_name, terms in stage.critic_loss.items():
        for key, term in terms.items():
            at = f"{where}.critic_loss.{critic_name}.{key}"
            _check_term(at, key, term, CRITIC_LOSSES, GIVEN["critic_loss"], subject)


def _check_term(
    at: str, key: str, term: Term, terms: Mapping[str, Callable[..., Any]], given: int, subject: str | Path
) -> None:
    kind = term.kind or key
    whose = "term of a network" if terms is LOSSES else "term of a critic"
    _require_known(kind, terms, at if term.kind is None else f"{at}.kind", whose, subject)
    _check_options(terms[kind], given, term.options, f"{at}.options", kind, subject)


def _check_critic_of(at: str, key: str, term: Term, stage: Stage, subject: str | Path) -> None:
    """The critic that a term of the network asks, by its option or by default."""
    asked = inspect.signature(LOSSES[term.kind or key]).parameters.get("critic")
    if asked is None:
        return
    critic = term.options.get("critic", asked.default)
    if critic is not None and critic not in stage.critics:
        raise _bad(
            subject,
            f"{at}.options.critic: {critic!r}" + ("" if "critic" in term.options else ", the default"),
            f"a critic of the stage: {listed(critic, stage.critics)}",
            "Name one of these critics, or add the critic with its critic_loss.",
        )


def _check_sampler(recipe: Recipe, systems: Sequence[type[System]], subject: str | Path) -> None:
    sampler, stepped = recipe.sampler, [system for system in systems if system.stepped]
    if not stepped:
        if sampler.name != ONE_PASS:
            raise _bad(
                subject,
                f"sampler.name: {sampler.name!r}, with networks that make a case in one pass",
                ONE_PASS,
                "Leave the sampler's name, steps and options out.",
            )
        _require_options(sampler.options, {}, "sampler.options", ONE_PASS, subject)
        return
    _require_known(sampler.name, SAMPLERS, "sampler.name", "sampler", subject)
    entry = SAMPLERS[sampler.name]
    hints = get_type_hints(entry.function)
    known = {"spacing": Spacing, **{name: hints[name] for name in entry.options}}
    known |= {name: float for system in stepped for name in system.sampler_options}
    _require_options(sampler.options, known, "sampler.options", sampler.name, subject)


def _check_outputs(where: str, shapes: StageShapes, subject: str | Path) -> None:
    """Every term on what a training pass leaves, of which it may take only what there is."""
    left: Outputs = {}
    play = shapes.play()
    if not _runs(lambda: left.update(_Left(shapes.system(shapes.batch, play.generator)))):
        return
    for key, term in shapes.stage.loss.items():
        run = partial(LOSSES[term.kind or key], _Left(left), shapes.batch, play, **term.options)
        _check_lacks_nothing(f"{where}.loss.{key}", term, run, subject)
    for name, terms in shapes.stage.critic_loss.items():
        for key, term in terms.items():
            judge = partial(CRITIC_LOSSES[term.kind or key], shapes.critics[name])
            run = partial(judge, _Left(left), shapes.batch, play, **term.options)
            _check_lacks_nothing(f"{where}.critic_loss.{name}.{key}", term, run, subject)


class _Left(dict[str, torch.Tensor]):
    """Outputs that say which one was asked for in vain."""

    def __missing__(self, name: str) -> torch.Tensor:
        raise Lacking(f"there is no {name!r} among the outputs {', '.join(self)}", name, self)


def _check_lacks_nothing(at: str, term: Term, run: Callable[[], object], subject: str | Path) -> None:
    try:
        _runs(run)
    except Lacking as error:
        if not error.name:
            raise _bad(
                subject, f"{at}: {error}", "a term that fits its stage", "Correct or remove the term."
            ) from error
        option = next((f".options.{key}" for key, value in term.options.items() if value == error.name), "")
        raise _bad(
            subject,
            f"{at}{option}: {error.name!r}, which the network does not leave",
            f"an output of the network: {listed(error.name, error.known)}",
            "Name one of these, or take another term or network.",
        ) from error


def _runs(run: Callable[[], object]) -> bool:
    """Whether it can be run on shapes alone; not where the window is too small or values are asked for.

    Raises:
        Lacking: where something is missing, whatever the shapes are.
    """
    try:
        peak_bytes(run)
    except Lacking:
        raise
    except (RuntimeError, ValueError, TypeError):
        return False
    return True


def _check_options(
    built: Callable[..., Any], given: int, options: Mapping[str, Any], at: str, kind: str, subject: str | Path
) -> None:
    known, whole = _taken(built, given)
    named = options if whole else {name: value for name, value in options.items() if name in known}
    _require_options(named, known, at, kind, subject)


def _taken(built: Callable[..., Any], given: int) -> tuple[dict[str, Any], bool]:
    """Names and types of what a term or a network can be told, and whether these are all.

    What a class passes on, its parent takes; what it passes on to a network inside it, building it shows.
    """
    owners = [one for one in built.__mro__ if "__init__" in vars(one)] if isinstance(built, type) else [built]
    taken: dict[str, Any] = {}
    for owner in owners:
        if owner is System:
            return taken, False
        hints = get_type_hints(owner.__init__ if isinstance(owner, type) else owner)  # type: ignore[misc]
        parameters = list(inspect.signature(owner).parameters.values())[given:]
        named = [one.name for one in parameters if one.kind is not one.VAR_KEYWORD]
        taken = {**{name: hints[name] for name in named}, **taken}
        if len(named) == len(parameters):
            break
    return taken, True


def _require_options(
    options: Mapping[str, Any], known: Mapping[str, Any], at: str, kind: str, subject: str | Path
) -> None:
    for name, value in options.items():
        if name not in known:
            raise _bad(
                subject,
                f"{at}.{name}, which {kind} does not take",
                f"one of {listed(name, known)}" if known else "no options",
                "Correct or remove the option.",
            )
        try:
            TypeAdapter(known[name]).validate_python(value, strict=True)
        except ValidationError as error:
            wanted = error.errors(include_url=False)[0]["msg"].lower()
            raise _bad(subject, f"{at}.{name}: {value!r}", wanted, "Correct the option's value.") from error


def _require_known(name: str, known: Iterable[str], at: str, what: str, subject: str | Path) -> None:
    if name not in known:
        raise _bad(
            subject,
            f"{at}: {name!r}, which is no {what}",
            f"one of {listed(name, known)}",
            "Correct the name.",
        )


def _bad(subject: str | Path, found: str, expected: str, remedy: str) -> GenaugError:
    return GenaugError(Reason.BAD_RECIPE, subject, found, expected, remedy)
