"""Tables whose keys have points in them."""

from __future__ import annotations

import pytest
from genaug.nested import unfolded
from genaug.parameters import SynthesisParameters, TrainingOptions
from pydantic import ValidationError


def test_a_script_may_name_a_recipes_key_as_the_command_line_does() -> None:
    """The same words mean the same training, whoever says them."""
    tables = {"sampler": {"steps": 50}, "stages": {"vae": {"training": {"batch_size": 2, "clip": 1}}}}
    keys = {"sampler.steps": 50, "stages.vae": {"training.batch_size": 2}, "stages": {"vae.training.clip": 1}}
    assert TrainingOptions(recipe="vae", overrides=keys) == TrainingOptions(recipe="vae", overrides=tables)


@pytest.mark.parametrize("twice", [{"a.b": 1, "a": {"b": 2}}, {"a": 1, "a.b": 2}, {"a": {"b": {"c": 1}}, "a.b": 2}])
def test_what_is_given_twice_is_refused_and_not_lost(twice: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match="is given twice"):
        TrainingOptions(recipe="vae", overrides=twice)


def test_what_is_no_table_is_left_for_parsing_to_refuse() -> None:
    assert unfolded([{"a.b": 1}]) == [{"a.b": 1}]
    with pytest.raises(ValidationError, match="valid dictionary"):
        SynthesisParameters(sampler_options="eta=1")
