"""The norm that leaves channels last where they are gives what torch's gives, and does not copy."""

import pytest
import torch
import torch.nn.functional as F
from genaug import instance_norm
from genaug.instance_norm import ChannelsLastNorm3d, keep_order
from torch import nn

SIZE = (40, 24, 24)
"""More voxels than are summed up at once, and no multiple of them."""


@pytest.fixture(autouse=True)
def forgotten():
    """Every test finds out by itself, and so does whatever comes after."""
    instance_norm.problem.cache_clear()
    yield
    instance_norm.problem.cache_clear()


def maps(kind):
    random = torch.randn(2, 6, *SIZE, generator=torch.Generator().manual_seed(0))
    body = F.interpolate((random[:, :1, ::10, ::8, ::8] > 0.8).float(), size=SIZE)
    return {
        "texture": random,
        "a nearly constant map": 1 + 1e-3 * random,
        "a body in nothing": 3 + body * random,
        "a constant": torch.full_like(random, 2.5),
        "one case unlike the other": random * torch.tensor([1.0, 100.0]).view(2, 1, 1, 1, 1),
    }[kind]


def norm(affine=True):
    torch.manual_seed(1)
    module = nn.InstanceNorm3d(6, affine=affine)
    for parameter in module.parameters():
        nn.init.normal_(parameter)
    return module


def last(x):
    return x.contiguous(memory_format=torch.channels_last_3d)


@pytest.mark.parametrize(
    "kind", ["texture", "a nearly constant map", "a body in nothing", "a constant", "one case unlike the other"]
)
@pytest.mark.parametrize("affine", [True, False])
@torch.no_grad()
def test_the_values_are_those_of_double_precision_and_the_order_stays(kind, affine):
    x, usual = maps(kind), norm(affine)
    expected = usual.double()(x.double())
    own = usual.float()
    keep_order(own)
    assert isinstance(own, ChannelsLastNorm3d)
    found = own(last(x))
    assert found.is_contiguous(memory_format=torch.channels_last_3d)
    torch.testing.assert_close(found.double(), expected, rtol=2e-4, atol=2e-4)


def test_sums_of_half_a_million_voxels_keep_their_figures():
    """Added up one after another in single precision they are wrong in the third figure."""
    x = 1 + 1e-3 * torch.randn(1, 2, 128, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        found = ChannelsLastNorm3d(2)(last(x))
    torch.testing.assert_close(found.double(), F.instance_norm(x.double()), rtol=2e-4, atol=2e-4)


@torch.no_grad()
def test_what_is_not_channels_last_is_left_to_torch_to_the_bit(monkeypatch):
    monkeypatch.setattr(instance_norm, "normalised", None)
    own = norm()
    keep_order(own)
    assert torch.equal(own(maps("texture")), norm()(maps("texture")))
    keep_order(own.half())
    assert own(last(maps("texture")).half()).dtype == torch.float16


def test_gradients_are_left_to_torch(monkeypatch):
    monkeypatch.setattr(instance_norm, "normalised", None)
    own = norm()
    keep_order(own)
    x = last(maps("texture")).requires_grad_(True)
    (own(x) ** 3).sum().backward()
    again = last(maps("texture")).requires_grad_(True)
    (norm()(again) ** 3).sum().backward()
    torch.testing.assert_close(x.grad, again.grad)


def test_norms_of_other_kinds_are_left_alone():
    class Own(nn.InstanceNorm3d):
        pass

    network = nn.Sequential(Own(6), nn.InstanceNorm2d(6), nn.BatchNorm3d(6))
    keep_order(network)
    assert [type(one) for one in network] == [Own, nn.InstanceNorm2d, nn.BatchNorm3d]


@torch.no_grad()
def test_a_torch_without_the_internal_function_takes_its_own_way_and_says_so(monkeypatch):
    monkeypatch.delattr(torch, "batch_norm_update_stats")
    own = norm()
    keep_order(own)
    with pytest.warns(RuntimeWarning, match="cannot be called.*batch_norm_update_stats"):
        found = own(last(maps("texture")))
    assert torch.equal(found, norm()(last(maps("texture"))))


@torch.no_grad()
def test_a_machine_where_it_differs_takes_torchs_own_way_and_says_so(monkeypatch):
    monkeypatch.setattr(instance_norm, "_moments", lambda rows: (rows.mean(0), rows.var(0) * 1.1))
    own = norm()
    keep_order(own)
    with pytest.warns(RuntimeWarning, match="differs by"):
        found = own(last(maps("texture")))
    assert torch.equal(found, norm()(last(maps("texture"))))
