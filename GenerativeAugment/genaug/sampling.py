"""The sampler a case is drawn by: the package's, with what a job asks for instead."""

from __future__ import annotations

from genaug.errors import GenaugError, Reason
from genaug.generation import maker
from genaug.package import Package
from genaug.parameters import SamplerChoice
from genaug.recipe import Sampler
from genaug.samplers import find_sampler
from genaug.stages import chains


def chosen_sampler(package: Package, choice: SamplerChoice) -> Sampler:
    """The package's sampler with what is asked for instead.

    Raises:
        GenaugError: BAD_PARAMETER for a sampler, steps, a guidance or a truncation that the model has no use for.
    """
    default = package.info.recipe.sampler
    guidance = default.guidance if choice.guidance is None else choice.guidance
    if guidance != 1:
        _require_guidance(package, guidance)
    truncation = default.truncation if choice.truncation is None else choice.truncation
    if truncation != 1:
        _require_truncation(package, truncation)
    if default.name == "one_pass":
        _require_no_sampler(package, choice)
    if choice.sampler is None or choice.sampler == default.name:
        chosen = Sampler(
            name=default.name,
            steps=choice.steps or default.steps,
            guidance=guidance,
            truncation=truncation,
            options={**default.options, **choice.sampler_options},
        )
    else:
        entry = find_sampler(choice.sampler)
        chosen = Sampler(
            name=entry.name, steps=choice.steps or entry.steps, guidance=guidance, options=choice.sampler_options
        )
    _require_trained_levels(package, chosen)
    return chosen


def _require_no_sampler(package: Package, choice: SamplerChoice) -> None:
    """What makes a case in one pass takes no steps, and a Record must not say that it took some."""
    default = package.info.recipe.sampler
    steps = [] if choice.steps in (None, default.steps) else [f"{choice.steps} steps"]
    asked = [*([choice.sampler] if choice.sampler else []), *steps, *choice.sampler_options]
    if asked:
        raise GenaugError(
            Reason.BAD_PARAMETER,
            "sampler" if choice.sampler or choice.sampler_options else "steps",
            ", ".join(asked),
            f"none: {package.info.recipe.title} makes a case in one pass",
            "Leave sampler, steps and sampler options out.",
        )


def _require_guidance(package: Package, guidance: float) -> None:
    """Guidance needs what the network does when nothing is known, which it knows only where it was trained to."""
    recipe = package.info.recipe
    last = list(recipe.stages.values())[-1]
    if not recipe.conditions or not last.training.drop_condition or recipe.sampler.name == "one_pass":
        raise GenaugError(
            Reason.BAD_PARAMETER,
            "guidance",
            f"{guidance:g} for {recipe.name}",
            "1: this model was not trained with its conditions left out now and then",
            "Leave guidance out, or train a diffusion recipe whose drop_condition is above 0.",
        )


def _require_truncation(package: Package, truncation: float) -> None:
    """Truncation needs noise that is one point of a code, near whose middle lie the likelier cases."""
    if not package.system.code_length():
        raise GenaugError(
            Reason.BAD_PARAMETER,
            "truncation",
            f"{truncation:g} for {package.info.recipe.name}",
            "1: this model does not make a case from one point of normal noise, as GANs and most VAEs do",
            "Leave truncation out.",
        )


def _require_trained_levels(package: Package, sampler: Sampler) -> None:
    """A network of few noise levels has never seen those in between, and makes something of them all the same."""
    recipe = package.info.recipe
    last = maker(recipe, chains(recipe, package.systems)[-1], package.systems, sampler)
    if not package.systems[last].suits(sampler):
        raise GenaugError(
            Reason.BAD_PARAMETER,
            "steps",
            f"{sampler.steps} of {sampler.name} for {recipe.name}",
            f"the noise levels that it was trained at: {recipe.sampler.steps} steps of {recipe.sampler.name}",
            "Leave sampler and steps out.",
        )
