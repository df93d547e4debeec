"""A CPU trains in bfloat16 only for those who ask, where it can, and where a trial is sound."""

import pytest
import torch
from genaug import half_precision
from genaug.errors import GenaugError
from genaug.parameters import TrainingOptions
from genaug.training.run import chosen_precision

ANSWER = torch.tensor([1.0, -2.0])


@pytest.fixture(autouse=True)
def forgotten():
    half_precision.problem.cache_clear()
    yield
    half_precision.problem.cache_clear()


@pytest.mark.parametrize(("half", "words"), [(0.01, ""), (0.5, "differs"), (torch.nan, "differs")])
def test_a_trial_must_be_sound(half, words):
    found = half_precision.compare(ANSWER, ANSWER + half)
    assert words in found and bool(found) == bool(words)


@pytest.mark.parametrize(("seconds", "words"), [(2.0, "2e+03 ms instead of 1e+03 ms"), (0.5, None)])
def test_a_slower_one_is_told(monkeypatch, recwarn, seconds, words):
    monkeypatch.setattr(half_precision, "instructions", lambda: ["amx_bf16"])
    monkeypatch.setattr(half_precision, "_trial", lambda network, x, on: (seconds if on else 1.0, ANSWER))
    assert half_precision.problem() == ""
    assert [words in str(one.message) for one in recwarn] == ([] if words is None else [True])


def test_a_cpu_without_the_instructions_is_refused_with_the_reason(monkeypatch):
    monkeypatch.setattr(half_precision, "instructions", list)
    monkeypatch.setattr(half_precision, "_trial", lambda *given: pytest.fail("tried"))
    with pytest.raises(GenaugError, match="avx512_bf16"):
        chosen_precision(TrainingOptions(recipe="vae", precision="bf16-mixed"), "cpu")


def test_it_is_granted_but_never_chosen(monkeypatch):
    monkeypatch.setattr(half_precision, "problem", lambda: "")
    assert chosen_precision(TrainingOptions(recipe="vae", precision="bf16-mixed"), "cpu") == "bf16-mixed"
    assert chosen_precision(TrainingOptions(recipe="vae"), "cpu") == "32-true"
    with pytest.raises(GenaugError, match="32-true"):
        chosen_precision(TrainingOptions(recipe="vae", precision="16-mixed"), "cpu")


@pytest.mark.skipif(not half_precision.instructions(), reason="a CPU without bfloat16")
def test_the_trial_tells_a_difference_of_half_precision_and_no_more():
    network, x = half_precision._probe()
    single, half = (half_precision._trial(network, x, on)[1] for on in (False, True))
    difference = (half - single).abs().max() / single.abs().max()
    assert 0 < difference < half_precision.TOLERANCE
