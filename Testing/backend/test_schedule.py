"""Noise schedules agree with MONAI's, their conversions are exact, and unusable ones are refused."""

from __future__ import annotations

import json
from itertools import pairwise, product
from typing import get_args

import numpy as np
import pytest
import torch
from genaug.errors import GenaugError, Reason
from genaug.schedule import Schedule, Spacing
from monai.networks.schedulers import DDPMScheduler

KINDS = ("linear", "scaled_linear", "cosine", "flow", "geometric")
BETAS = ("linear", "scaled_linear")
PREDICTIONS = ("epsilon", "v", "x0", "flow")


def noisy_batch(schedule: Schedule) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """x0, noise, t from end to end, x_t."""
    generator = torch.Generator().manual_seed(1)
    t = torch.linspace(0, schedule.steps - 1, 8).long()
    x0, noise = torch.randn(2, 8, 2, 3, 4, 5, generator=generator, dtype=torch.float64)
    return x0, noise, t, schedule.add_noise(x0, noise, t)


@pytest.mark.parametrize(
    ("values", "monai"),
    [
        (
            {"kind": "linear", "steps": 1000, "beta_start": 1e-4, "beta_end": 0.02},
            {"schedule": "linear_beta", "beta_start": 1e-4, "beta_end": 0.02},
        ),
        (
            {"kind": "scaled_linear", "steps": 500, "beta_start": 0.003, "beta_end": 0.04},
            {"schedule": "scaled_linear_beta", "beta_start": 0.003, "beta_end": 0.04},
        ),
        ({"kind": "cosine", "steps": 1000}, {"schedule": "cosine"}),
    ],
)
def test_alpha_bar_is_that_of_monai(values, monai):
    schedule = Schedule.from_dict(values)
    expected = DDPMScheduler(num_train_timesteps=values["steps"], **monai).alphas_cumprod
    # MONAI multiplies up to 1000 factors in float32, the cosine's from differences of nearly equal numbers.
    torch.testing.assert_close(schedule.alpha_bar.float(), expected, rtol=1e-4, atol=0)
    assert schedule.alpha_bar.dtype == torch.float64


def test_defaults_are_written_out_and_read_back():
    for kind in KINDS:
        schedule = Schedule.from_dict({"kind": kind})
        values = json.loads(json.dumps(schedule.to_dict()))
        assert ("beta_end" in values) == (kind in BETAS)
        assert torch.equal(Schedule.from_dict(values).sigmas, schedule.sigmas)


@pytest.mark.parametrize("kind", KINDS)
def test_add_noise_keeps_unit_variance_and_falls_into_ve_coordinates(kind):
    schedule = Schedule.from_dict({"kind": kind})
    x0, noise, t, x_t = noisy_batch(schedule)
    alpha_bar, sigma = (table[t].reshape(-1, 1, 1, 1, 1) for table in (schedule.alpha_bar, schedule.sigmas))
    torch.testing.assert_close(x_t / alpha_bar.sqrt(), x0 + sigma * noise)
    ones = torch.ones_like(x0)
    signal, spread = schedule.add_noise(ones, 0 * ones, t), schedule.add_noise(0 * ones, ones, t)
    torch.testing.assert_close(signal**2 + spread**2, ones)


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_target_gives_back_image_and_noise(prediction):
    schedule = Schedule.from_dict({})
    x0, noise, t, x_t = noisy_batch(schedule)
    target = schedule.target(prediction, x0, noise, t)
    torch.testing.assert_close(schedule.x0_from(prediction, target, x_t, t), x0)
    torch.testing.assert_close(schedule.noise_from(prediction, target, x_t, t), noise)


@pytest.mark.parametrize(("source", "wanted"), list(product(PREDICTIONS, PREDICTIONS)))
def test_conversions_round_trip(source, wanted):
    schedule = Schedule.from_dict({"kind": "linear"})
    x0, noise, t, x_t = noisy_batch(schedule)
    output = schedule.target(source, x0, noise, t) + 0.1 * noise  # no network is exact
    other = schedule.convert(output, x_t, t, source, wanted)
    torch.testing.assert_close(schedule.convert(other, x_t, t, wanted, source), output)
    assert torch.equal(other, output) == (source == wanted)


def test_v_target_is_that_of_monai():
    schedule = Schedule.from_dict({"kind": "linear"})
    x0, noise, t, _ = noisy_batch(schedule)
    monai = DDPMScheduler(num_train_timesteps=1000, schedule="linear_beta")
    expected = monai.get_velocity(x0.float(), noise.float(), t)
    torch.testing.assert_close(schedule.target("v", x0.float(), noise.float(), t), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_timestep_of_sigma_is_exact_at_and_monotone_between_timesteps(kind):
    schedule = Schedule.from_dict({"kind": kind, "steps": 200, **({"beta_end": 0.2} if kind in BETAS else {})})
    found = [schedule.timestep_of(float(sigma)) for sigma in schedule.sigmas]
    np.testing.assert_allclose(found, np.arange(200), atol=1e-9)
    middle = float((schedule.sigmas[70] * schedule.sigmas[71]).sqrt())
    assert schedule.timestep_of(middle) == pytest.approx(70.5, abs=1e-9)
    torch.testing.assert_close(schedule.sigma_of(torch.tensor([70.5])).item(), middle)


@pytest.mark.parametrize("sigma", [0.0, 1e-3, 1e4, float("nan")])
def test_a_noise_level_that_was_never_trained_is_not_clamped(sigma):
    with pytest.raises(ValueError, match="outside the trained range"):
        Schedule.from_dict({"kind": "linear"}).timestep_of(sigma)


@pytest.mark.parametrize(("spacing", "steps"), list(product(get_args(Spacing), (1, 2, 7, 1000))))
def test_sampling_levels_fall_from_the_last_timestep_to_zero(spacing, steps):
    schedule = Schedule.from_dict({})
    sigmas = schedule.sigmas_for(steps, spacing)
    assert sigmas.dtype == torch.float64 and sigmas.shape == (steps + 1,)
    assert all(a > b for a, b in pairwise(sigmas.tolist())) and sigmas[-1] == 0
    torch.testing.assert_close(sigmas[0], schedule.sigmas[-1])
    if steps > 1 and spacing not in ("trailing", "flow"):
        torch.testing.assert_close(sigmas[-2], schedule.sigmas[0])


def test_all_uniform_steps_are_the_training_schedule_reversed():
    schedule = Schedule.from_dict({"steps": 300, "beta_end": 0.1})
    torch.testing.assert_close(schedule.sigmas_for(300)[:-1], schedule.sigmas.flip(0))


def test_spacings_differ_as_their_names_say():
    schedule = Schedule.from_dict({"kind": "linear"})
    levels = {spacing: schedule.sigmas_for(9, spacing)[:-1] for spacing in ("uniform", "karras", "quadratic")}
    timesteps = [schedule.timestep_of(float(sigma)) for sigma in levels["uniform"]]
    np.testing.assert_allclose(np.diff(timesteps), -999 / 8, rtol=1e-9)
    np.testing.assert_allclose(np.diff(levels["karras"].numpy() ** (1 / 7), n=2), 0, atol=1e-9)
    assert levels["quadratic"][4] < levels["uniform"][4]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"kind": "linear", "beta_start": 0.1, "beta_end": 1.0, "steps": 10}, "zero terminal SNR"),
        ({"kind": "linear", "beta_end": 0.9}, "zero terminal SNR"),
        ({"kind": "linear", "steps": 100}, "of the image left"),
        ({"kind": "linear", "beta_start": 0.03, "beta_end": 0.02}, "must not exceed"),
        ({"kind": "cosine", "beta_end": 0.02}, "leave out"),
        ({"kind": "sigmoid"}, "kind"),
        ({"steps": 0}, "steps"),
        ({"kind": "linear", "beta_max": 20}, "beta_max"),
    ],
)
def test_unusable_schedules_are_refused_with_the_reason(values, said):
    with pytest.raises(GenaugError) as caught:
        Schedule.from_dict(values)
    assert caught.value.reason == Reason.BAD_RECIPE
    assert said in str(caught.value)


@pytest.mark.parametrize(("steps", "spacing"), [(0, "uniform"), (1001, "karras"), (10, "cubic")])
def test_unusable_sampling_steps_are_refused(steps, spacing):
    with pytest.raises(GenaugError) as caught:
        Schedule.from_dict({}).sigmas_for(steps, spacing)
    assert caught.value.reason == Reason.BAD_PARAMETER


@pytest.mark.parametrize("t", [torch.tensor([-1, 3]), torch.tensor([1.0, 2.0]), torch.tensor([3])])
def test_timesteps_that_would_be_misread_are_refused(t):
    with pytest.raises(ValueError, match="integers in"):
        Schedule.from_dict({}).add_noise(torch.zeros(2, 1, 4, 4), torch.zeros(2, 1, 4, 4), t)


@pytest.mark.parametrize("timestep", [-0.5, 999.5, float("nan")])
def test_timesteps_beyond_the_schedule_have_no_noise_level(timestep):
    with pytest.raises(ValueError, match="lie outside"):
        Schedule.from_dict({}).sigma_of(torch.tensor([3.0, timestep]))


@pytest.mark.parametrize("steps", [1, 2, 4, 8])
def test_half_as_many_trailing_steps_stop_at_every_second_level(steps):
    schedule = Schedule.from_dict({"kind": "cosine", "steps": 1024})
    torch.testing.assert_close(schedule.sigmas_for(2 * steps, "trailing")[::2], schedule.sigmas_for(steps, "trailing"))
    torch.testing.assert_close(
        schedule.sigmas_for(steps, "trailing")[:-1], schedule.sigmas[1024 // steps - 1 :: 1024 // steps].flip(0)
    )


def test_a_flow_walks_its_own_time_in_even_steps():
    schedule = Schedule.from_dict({"kind": "flow", "steps": 999})
    torch.testing.assert_close(schedule.sigmas / (1 + schedule.sigmas), torch.arange(1, 1000).double() / 1000)
    sigmas = schedule.sigmas_for(9, "flow")
    torch.testing.assert_close(sigmas / (1 + sigmas), 0.999 * torch.linspace(1, 0, 10, dtype=torch.float64))


def test_levels_of_the_geometric_schedule_have_one_ratio_to_the_next():
    sigmas = Schedule.from_dict({"kind": "geometric"}).sigmas
    np.testing.assert_allclose(np.diff(np.log(sigmas.numpy())), np.log(5000) / 999, rtol=1e-6)
    assert float(sigmas[0]) == pytest.approx(0.01) and float(sigmas[-1]) == pytest.approx(50)


@pytest.mark.parametrize("steps", [2, 10, 50])
def test_levels_by_variance_are_a_schedule_whose_variances_rise_linearly(steps):
    training = Schedule.from_dict({"kind": "linear"})
    kept = 1 / (1 + training.sigmas_for(steps, "variance")[:-1].flip(0) ** 2)
    variances = 1 - kept / torch.cat([kept.new_ones(1), kept[:-1]])
    np.testing.assert_allclose(np.diff(variances.numpy(), n=2), 0, atol=1e-8)
    assert float(variances[0]) == pytest.approx(1e-4) and float(variances[-1]) < 1


def test_all_steps_by_variance_are_the_linear_schedule_itself():
    training = Schedule.from_dict({"kind": "linear"})
    torch.testing.assert_close(training.sigmas_for(1000, "variance"), training.sigmas_for(1000), rtol=1e-6, atol=0)
