"""Channels-last networks give what the usual ones give, and are used only where that holds and where it pays."""

import copy

import pytest
import torch
from genaug import channels_last
from genaug.channels_last import to_layout
from torch import nn


@pytest.fixture(autouse=True)
def forgotten():
    """Every test finds out by itself, and so does whatever comes after."""
    for known in (channels_last.problem, channels_last.faster_layout):
        known.cache_clear()
    yield
    for known in (channels_last.problem, channels_last.faster_layout):
        known.cache_clear()


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv3d(3, 8, 3, padding=1), nn.InstanceNorm3d(8, affine=True), nn.LeakyReLU(0.1), nn.Conv3d(8, 2, 3)
    )


def volumes(requires_grad=False):
    return torch.randn(2, 3, 9, 8, 7, generator=torch.Generator().manual_seed(1)).requires_grad_(requires_grad)


def test_values_and_gradients_stay_and_so_do_the_names_of_the_weights():
    usual = network()
    last = copy.deepcopy(usual)
    to_layout(last, "channels_last")
    assert last[0].weight.is_contiguous(memory_format=torch.channels_last_3d)
    assert list(last.state_dict()) == list(usual.state_dict())
    results = []
    for one in (usual, last):
        x = volumes(requires_grad=True)
        y = one(x)
        (y**2).sum().backward()
        results.append([y, x.grad, *[parameter.grad for parameter in one.parameters()]])
    for expected, found in zip(*results, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)


def test_the_way_back_is_exact():
    usual = network()
    there = copy.deepcopy(usual)
    to_layout(there, "channels_last")
    to_layout(there, "contiguous")
    assert there[0].weight.is_contiguous()
    assert torch.equal(there(volumes()), usual(volumes()))


def test_only_a_clear_gain_counts():
    assert channels_last.choose(1.0, 0.5) == "channels_last"
    assert channels_last.choose(1.0, 0.95) == "contiguous"
    assert channels_last.choose(1.0, 2.0) == "contiguous"


def test_a_machine_where_the_results_differ_keeps_the_usual_layout_and_says_so(monkeypatch):
    monkeypatch.setattr(channels_last, "TOLERANCE", -1.0)
    with pytest.warns(RuntimeWarning, match="slower than they could be"):
        assert channels_last.faster_layout() == "contiguous"
    assert channels_last.problem()


@pytest.mark.parametrize(("seconds", "layout"), [([3.0, 1.0], "channels_last"), ([1.0, 3.0], "contiguous")])
def test_the_faster_layout_is_taken(monkeypatch, seconds, layout):
    monkeypatch.setattr(channels_last, "_seconds", lambda one, x: seconds[not one[0].weight.is_contiguous()])
    assert channels_last.faster_layout() == layout
