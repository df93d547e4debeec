"""Decoding in slabs gives what decoding at once gives, and takes less memory."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from genaug.networks.autoencoders import SpatialAutoencoder
from genaug.networks.base import Batch, Signature
from genaug.slabs import PLANS, SlabPlan, decode_in_slabs, in_slabs, slab_plan
from genaug.slabs.convolving import ALONE, convolve, phase_weights
from genaug.slabs.moments import Moments
from genaug.spill import SpillFile
from monai.networks.nets import AutoencoderKL
from torch import Tensor, nn

SMALLEST = 1
"""Bytes of a slab that make it as thin as it gets."""


def _autoencoder(dimension: int, **options: object) -> AutoencoderKL:
    torch.manual_seed(3)
    settings: dict[str, object] = {
        "num_res_blocks": (1, 2, 1),
        "channels": (8, 16, 16),
        "attention_levels": (False, False, False),
        "latent_channels": 3,
        "norm_num_groups": 4,
        "with_encoder_nonlocal_attn": False,
        "with_decoder_nonlocal_attn": False,
    }
    network = AutoencoderKL(dimension, 1, 2, **{**settings, **options}).eval()
    for parameter in network.parameters():
        parameter.data += 0.05 * torch.randn(parameter.shape)
    return network


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("slab_bytes", [SMALLEST, 30_000, 1 << 24])
@pytest.mark.parametrize("dimension", [2, 3])
def test_slabs_decode_what_monai_decodes_at_once(plan: SlabPlan, slab_bytes: int, dimension: int) -> None:
    """Whatever the height of the slabs, where borders fall, and where fields are kept."""
    network = _autoencoder(dimension)
    codes = torch.randn(2, 3, *(5, 4, 3)[:dimension])
    with torch.no_grad():
        expected = network.decode(codes)
    found = decode_in_slabs(network, codes, plan.model_copy(update={"slab_bytes": slab_bytes}))
    torch.testing.assert_close(found, expected, atol=2e-5, rtol=1e-5)


@pytest.mark.parametrize(
    "options",
    [
        {"use_convtranspose": True},
        {"attention_levels": (False, False, True), "with_decoder_nonlocal_attn": True},
        {"num_res_blocks": (0, 1, 2)},
        {"channels": (8,), "num_res_blocks": (1,), "attention_levels": (False,)},
    ],
    ids=["transposed", "attention", "no-last-block", "one-level"],
)
@pytest.mark.parametrize("plan", PLANS)
def test_every_kind_of_decoder_goes_in_slabs(options: dict[str, object], plan: SlabPlan) -> None:
    """Transposed convolutions, attention, levels without blocks."""
    network = _autoencoder(3, **options)
    codes = torch.randn(1, 3, 4, 3, 5)
    with torch.no_grad():
        expected = network.decode(codes)
    found = decode_in_slabs(network, codes, plan.model_copy(update={"slab_bytes": SMALLEST}))
    torch.testing.assert_close(found, expected, atol=2e-5, rtol=1e-5)


def test_a_case_is_the_same_bits_in_any_batch() -> None:
    """Cases are decoded one after another."""
    network = _autoencoder(3)
    codes = torch.randn(3, 3, 4, 4, 4)
    plan = SlabPlan(slab_bytes=20_000)
    together = decode_in_slabs(network, codes, plan)
    assert torch.equal(together[1:2], decode_in_slabs(network, codes[1:2], plan))


def test_moments_of_slabs_are_those_of_the_whole() -> None:
    """Far from zero too, where a sum of squares in single precision would be lost."""
    field = 1000 + torch.randn(1, 6, 9, 5, 4, generator=torch.Generator().manual_seed(1))
    norm = nn.GroupNorm(3, 6)
    norm.weight.data, norm.bias.data = torch.rand(6) + 0.5, torch.randn(6)
    moments = Moments()
    for rows in field.split([1, 5, 3], dim=2):
        moments.add(rows)
    scale, shift = (vector.double().view(1, -1, 1, 1, 1) for vector in moments.normalising(norm))
    expected = norm.double()(field.double())
    torch.testing.assert_close(field.double() * scale + shift, expected, atol=2e-3, rtol=1e-4)


@pytest.mark.parametrize("dimension", [2, 3])
def test_phases_are_nearest_neighbour_and_kernel(dimension: int) -> None:
    """The kernels of 2 hold all of the kernel of 3, each voxel its own."""
    weight = torch.randn(2, 3, *[3] * dimension)
    phases = list(phase_weights(weight))
    assert len(phases) == 2**dimension
    for _, kernel in phases:
        assert kernel.shape == (2, 3, *[2] * dimension)
        torch.testing.assert_close(kernel.flatten(2).sum(2), weight.flatten(2).sum(2), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("lines", [6, 7])
@pytest.mark.parametrize("kernel", [2, 3])
def test_two_halves_convolve_like_one(lines: int, kernel: int) -> None:
    """Small volumes go to the fast convolution in two halves."""
    rows = torch.randn(1, 4, 5, lines, 6)
    weight, bias, padding = torch.randn(3, 4, kernel, kernel, kernel), torch.randn(3), (0, *[kernel // 2] * 2)
    assert rows[..., 0].numel() <= ALONE
    expected = torch.nn.functional.conv3d(rows, weight, bias, padding=padding)
    torch.testing.assert_close(convolve(rows, weight, bias, padding), expected, atol=1e-5, rtol=1e-5)


def test_a_row_that_was_never_written_is_no_row() -> None:
    """A file that is too short is an error, not zeros."""
    file = SpillFile((2, 2))
    file.write(1, np.ones((1, 2, 2), np.float32))
    assert file.read(1, 2).sum() == 4
    with pytest.raises(EOFError):
        file.read(1, 3)


def _spatial(deform: bool, haar_levels: int) -> tuple[SpatialAutoencoder, Tensor, Batch]:
    torch.manual_seed(1)
    signature = Signature(3, (16, 24, 16), 1, 2, 0)
    system = SpatialAutoencoder(signature, channels=(8, 16), haar_levels=haar_levels, deform=deform).eval()
    for parameter in system.parameters():
        parameter.data += 0.05 * torch.randn(parameter.shape)
    codes = torch.randn(2, *system.noise_shape())
    return system, codes, Batch(torch.zeros(2, 3, 16, 24, 16))


@pytest.mark.parametrize("deform", [False, True])
@pytest.mark.parametrize("haar_levels", [0, 1, 2])
def test_the_autoencoder_decodes_in_slabs_what_it_decodes_at_once(deform: bool, haar_levels: int) -> None:
    """With its head: Haar bands, interpolation, and the template that is bent."""
    system, codes, batch = _spatial(deform, haar_levels)
    with torch.no_grad():
        expected = system.generate(codes, batch)
        for plan in PLANS:
            with in_slabs(plan.model_copy(update={"slab_bytes": SMALLEST})):
                torch.testing.assert_close(system.generate(codes, batch), expected, atol=2e-4, rtol=1e-4)


def test_training_is_not_done_in_slabs() -> None:
    """Gradients need everything at once."""
    with in_slabs(PLANS[0]):
        assert slab_plan() is None
        with torch.no_grad():
            assert slab_plan() == (PLANS[0], None)
    with torch.no_grad():
        assert slab_plan() is None
