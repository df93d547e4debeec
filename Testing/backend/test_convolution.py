"""The route of convolutions while sampling: the same numbers, only where it is sound, and told where it is not."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
import torch
from engine_data import blob_cohort, tiny_options
from genaug import convolution
from genaug.convolution import RoutedConv2d, RoutedConv3d, current_route, following, route_convolutions, sampling
from genaug.devices import as_recorded, machine
from genaug.package import load_package
from genaug.parameters import SynthesisParameters
from genaug.progress import Silent
from genaug.record import Record
from genaug.replay import replay
from genaug.synthesis import micro_batch, synthesize
from genaug.training import train
from torch import nn

CPU = torch.device("cpu")


class Listener(Silent):
    """Keeps the log."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def log(self, message: str) -> None:
        self.lines.append(message)


@pytest.fixture(autouse=True)
def forget_what_was_measured():
    """The choice is made once a process; every test makes its own."""
    forget()
    yield
    forget()


@pytest.fixture
def calls(monkeypatch):
    """The shapes that went through oneDNN's operator, on a machine where it is the faster one."""
    seen: list[tuple[int, ...]] = []
    genuine = convolution._onednn

    def count(x, *rest):
        seen.append(tuple(x.shape))
        return genuine(x, *rest)

    assert not convolution.problem()
    monkeypatch.setattr(convolution, "_faster", lambda: "onednn")
    monkeypatch.setattr(convolution, "_onednn", count)
    return seen


@pytest.fixture(scope="module")
def package(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("package")
    return train(blob_cohort(folder / "data"), tiny_options("ldm", 2), folder / "ldm", "cpu", Silent())


def forget() -> None:
    convolution.problem.cache_clear()
    convolution._faster.cache_clear()


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv3d(3, 8, 3, padding=1),
        nn.Conv3d(4, 8, 3, stride=2, padding=1, bias=False),
        nn.Conv3d(4, 8, 3, padding=(0, 1, 2), dilation=(1, 1, 2), groups=2),
        nn.Conv3d(4, 2, 1),
        nn.Conv2d(3, 8, 4, stride=2, padding=1),
    ],
)
@torch.no_grad()
def test_routed_convolutions_give_the_same_numbers(layer, calls):
    x = torch.randn(1, layer.in_channels, *[7] * (layer.weight.ndim - 2))
    expected = layer(x)
    route_convolutions(layer)
    assert isinstance(layer, (RoutedConv2d, RoutedConv3d))
    assert torch.equal(layer(x), expected) and not calls, "outside of sampling it is torch's own"
    with sampling():
        found = layer(x)
    assert calls == [tuple(x.shape)]
    assert torch.allclose(found, expected, rtol=0, atol=1e-5 * float(expected.abs().max()))


def test_what_the_operator_does_not_do_is_left_to_torch(calls):
    x = torch.randn(1, 2, 6, 6, 6)
    plain = nn.Conv3d(2, 4, 3, padding=1)
    route_convolutions(plain)
    reflecting, same = (nn.Conv3d(2, 4, 3, padding=p, padding_mode=m) for p, m in ((1, "circular"), ("same", "zeros")))
    transposed = nn.ConvTranspose3d(2, 4, 3)
    for layer in (reflecting, same, transposed):
        route_convolutions(layer)
        with torch.no_grad(), sampling():
            layer(x)
    with sampling():
        assert plain(x).requires_grad, "gradients need torch's own"
        with torch.no_grad():
            plain(x[0])
            plain.double()(x.double())
            plain.float()
            with torch.autocast("cpu", dtype=torch.bfloat16):
                plain(x)
    assert not calls
    with torch.no_grad(), sampling(), following("native"):
        plain(x)
    assert not calls
    with torch.no_grad(), sampling():
        plain(x)
    assert calls == [tuple(x.shape)]


def test_the_weights_of_a_routed_network_are_where_they_were():
    network = nn.Sequential(nn.Conv3d(1, 2, 3), nn.Sequential(nn.Conv2d(2, 3, 1)))
    before = {name: value.data_ptr() for name, value in network.state_dict().items()}
    route_convolutions(network)
    assert {name: value.data_ptr() for name, value in network.state_dict().items()} == before


def absent(*_):
    raise AttributeError("'_OpNamespace' 'aten' object has no attribute 'mkldnn_convolution'")


def wrong(x, weight, bias, padding, stride, dilation, groups):
    return convolution._native(x, weight, bias, padding, stride, dilation, groups) * (1 + 1e-3)


def not_finite(x, weight, bias, padding, stride, dilation, groups):
    return convolution._native(x, weight, bias, padding, stride, dilation, groups) * float("nan")


@pytest.mark.parametrize(
    ("broken", "said"),
    [(absent, "cannot be called"), (wrong, "differs from torch"), (not_finite, "differs from torch")],
)
def test_an_operator_that_is_absent_or_wrong_is_not_used_and_that_is_said(broken, said, package, tmp_path, monkeypatch):
    monkeypatch.setattr(convolution, "_onednn", broken)
    listener = Listener()
    with pytest.warns(RuntimeWarning, match=said):
        made = synthesize(package, tmp_path, SynthesisParameters(count=1), 1, "cpu", listener)
    assert any(said in line for line in listener.lines)
    record = Record.read(made.cases[0].record)
    assert record.machine["convolution"] == "native" and said in record.machine["convolution_problem"]
    assert record.parameters["micro_batch"] == micro_batch(CPU) == 2


def test_a_slower_operator_is_not_used_and_a_sound_faster_one_is(monkeypatch):
    monkeypatch.setattr(convolution, "_seconds", lambda: (1.0, 0.9))
    assert current_route() == "native" and micro_batch(CPU) == 2
    forget()
    monkeypatch.setattr(convolution, "_seconds", lambda: (1.0, 0.3))
    assert current_route() == "onednn" and micro_batch(CPU) == 1
    assert machine(CPU)["convolution"] == "onednn" and "convolution_problem" not in machine(CPU)
    assert micro_batch(torch.device("cuda")) == 2
    assert convolution._faster.cache_info().misses == 1, "measured once a process"


def test_measuring_leaves_the_threads_and_the_random_numbers_as_they_were():
    threads, state = torch.get_num_threads(), torch.get_rng_state()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert current_route() in ("native", "onednn")
    assert torch.get_num_threads() == threads and torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("then", ["native", "onednn"])
def test_a_replay_follows_the_recorded_route(then, package, tmp_path, monkeypatch):
    monkeypatch.setattr(convolution, "_faster", lambda: then)
    case = synthesize(package, tmp_path / "made", SynthesisParameters(count=2), 1, "cpu").cases[1]
    assert Record.read(case.record).machine["convolution"] == then
    monkeypatch.setattr(convolution, "_faster", lambda: "onednn" if then == "native" else "native")
    again = replay(case.record.parent, tmp_path / "again", Silent(), {"package": package})
    assert again.same and not again.notes


def test_a_record_from_before_the_choice_is_followed_too(package, tmp_path, monkeypatch):
    """Two cases a call by torch's own convolutions, which its Record does not name."""
    monkeypatch.setattr(convolution, "_faster", lambda: "native")
    case = synthesize(package, tmp_path / "made", SynthesisParameters(count=2), 1, "cpu").cases[1]
    record = Record.read(case.record)
    del record.machine["convolution"], record.parameters["micro_batch"], record.parameters["synthesis"]["workers"]
    record.write(case.record)
    monkeypatch.setattr(convolution, "_faster", lambda: "onednn")
    again = replay(case.record.parent, tmp_path / "again", Silent(), {"package": package})
    assert again.same and not again.notes


def test_a_recorded_route_that_is_not_here_is_told(package, tmp_path, monkeypatch):
    monkeypatch.setattr(convolution, "_faster", lambda: "onednn")
    case = synthesize(package, tmp_path / "made", SynthesisParameters(count=1), 1, "cpu").cases[0]
    convolution.problem.cache_clear()
    monkeypatch.setattr(convolution, "_onednn", absent)
    with pytest.warns(RuntimeWarning, match="cannot be called"):
        again = replay(case.record.parent, tmp_path / "again", Silent(), {"package": package})
    assert any("convolution was onednn, is native" in note for note in again.notes)


def test_sampling_a_package_goes_through_the_route_and_other_passes_do_not(package, tmp_path, calls):
    synthesize(package, tmp_path, SynthesisParameters(count=1), 1, "cpu")
    assert calls and all(shape[0] == 1 for shape in calls)
    calls.clear()
    system = load_package(package).systems["autoencoder"]
    with torch.no_grad():
        system.decode(torch.zeros(1, *system.noise_shape()))
    assert not calls


def test_as_recorded_ends_with_its_block(monkeypatch):
    monkeypatch.setattr(convolution, "_faster", lambda: "onednn")
    with as_recorded({"device": "cpu", "threads": 1}):
        assert current_route() == "native"
    assert current_route() == "onednn"
