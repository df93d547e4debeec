"""The slope that is fitted, and the operations that are counted."""

from __future__ import annotations

import pytest
import torch
from genaug.generation import generate
from genaug.networks import Batch

from benchmarks.performance import arithmetic, growth


def test_the_exponent_is_that_of_the_power() -> None:
    sizes = [1.0, 2.0, 4.0, 8.0]
    curve = growth.Curve(what="a", grows="b", sizes=sizes, seconds=[3 * size**1.5 for size in sizes])
    assert curve.exponent == pytest.approx(1.5)
    assert growth.table([curve])[1][0][2] == "**1.50**"


def test_products_are_counted_twice_and_numbers_once_each_way() -> None:
    a, b = torch.zeros(10, 20, device="meta"), torch.zeros(20, 30, device="meta")
    work = arithmetic.counted("a product", lambda: (a @ b).view(-1))
    assert (work.flops, work.numbers, work.operations) == (2 * 10 * 20 * 30, 200 + 600 + 300, 1)
    low, high = work.seconds("bf16")
    assert 0 < low < high


def test_work_grows_with_the_volume_and_a_case_is_its_steps_and_a_decode() -> None:
    call, decode, case, *others = arithmetic.expected([(32, 32, 32), (64, 64, 64)], (32, 32, 32))
    assert others[0].flops >= 8 * call.flops
    assert others[1].flops == pytest.approx(8 * decode.flops, rel=0.05)
    assert (case.flops - decode.flops) % call.flops == 0
    assert others[-1].flops > 2 * 8 * call.flops, "a batch of eight, forwards and backwards"


def test_the_timed_networks_make_cases() -> None:
    recipe, autoencoder, denoiser = arithmetic.ldm_systems((32, 32, 32))
    assert recipe.sampler is not None
    sampler = recipe.sampler.model_copy(update={"steps": 2})
    systems = dict(zip(recipe.stages, (autoencoder, denoiser)))
    batch = Batch(torch.zeros(1, 1, 32, 32, 32))
    made = generate(recipe, systems, None, [torch.Generator().manual_seed(0)], batch, arithmetic.ROLES, sampler)
    assert made.shape == (1, 1, 32, 32, 32)
    assert torch.isfinite(made).all()
