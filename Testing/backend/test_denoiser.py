"""One model in any parameterisation is one denoiser, and guidance is linear extrapolation in one call."""

from __future__ import annotations

import pytest
import torch
from genaug.denoiser import Denoiser, guided
from genaug.errors import GenaugError, Reason
from genaug.schedule import Schedule

MEAN, SPREAD = 0.7, 0.4
SCHEDULE = Schedule.from_dict({"kind": "linear"})


def exact_denoiser(x, sigma):
    """E[x0 | x] for x0 ~ N(MEAN, SPREAD^2), in VE coordinates."""
    return (SPREAD**2 * x + sigma**2 * MEAN) / (SPREAD**2 + sigma**2)


def exact_network(prediction):
    """The same model as a network of VP coordinates and timesteps, of which it may only use the first of a batch."""

    def network(x_vp, timesteps, conditions):
        assert timesteps.shape == x_vp.shape[:1] and timesteps.dtype == x_vp.dtype
        sigma = float(SCHEDULE.sigma_of(timesteps[:1]))
        alpha_bar = 1 / (1 + sigma**2)
        x = x_vp / alpha_bar**0.5
        x0 = exact_denoiser(x, sigma)
        noise = (x - x0) / sigma
        v = alpha_bar**0.5 * noise - (1 - alpha_bar) ** 0.5 * x0
        return {"x0": x0, "epsilon": noise, "v": v, "flow": noise - x0}[prediction]

    return network


@pytest.mark.parametrize("prediction", ["epsilon", "v", "x0", "flow"])
@pytest.mark.parametrize("sigma", [float(SCHEDULE.sigmas[0]), 0.3, 2.0, float(SCHEDULE.sigmas[-1])])
def test_every_parameterisation_of_a_model_is_the_same_denoiser(prediction, sigma):
    x = torch.linspace(-3, 3, 24, dtype=torch.float64).reshape(2, 1, 3, 4) * sigma
    denoise = Denoiser(exact_network(prediction), SCHEDULE, prediction)
    torch.testing.assert_close(denoise(x, sigma), exact_denoiser(x, sigma), rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("prediction", ["epsilon", "v", "x0", "flow"])
def test_a_network_of_unit_input_stays_accurate_in_float32_at_the_highest_noise(prediction):
    sigma = float(SCHEDULE.sigmas[-1])
    x = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(0)) * sigma
    found = Denoiser(exact_network(prediction), SCHEDULE, prediction)(x, sigma)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, exact_denoiser(x, sigma), rtol=0, atol=2e-4)


def test_half_precision_answers_are_scaled_in_the_sample_precision():
    # 157 * 0.5 is exact in float16 only to 1/16: an image in [-1, 1] would drown in it.
    noise = torch.full((1, 1, 4, 4), 0.1234, dtype=torch.float16)
    sigma = float(SCHEDULE.sigmas[-1])
    x = torch.full((1, 1, 4, 4), 20.0)
    found = Denoiser(lambda x, t, c: noise, SCHEDULE, "epsilon")(x, sigma)
    torch.testing.assert_close(found, x - sigma * noise.float(), rtol=0, atol=1e-5)


def test_the_network_sees_fractional_timesteps():
    seen = []

    def network(x, timesteps, conditions):
        seen.append(timesteps)
        return x

    sigma = float(SCHEDULE.sigma_of(torch.tensor(856.5)))
    Denoiser(network, SCHEDULE, "v")(torch.zeros(3, 1, 4, 4), sigma)
    torch.testing.assert_close(seen[0], torch.full((3,), 856.5))


class Recorder:
    """A linear network that reads its conditions: 0.1 x + sum of every condition, broadcast."""

    def __init__(self):
        self.batches = []

    def __call__(self, x, timesteps, conditions):
        self.batches.append(x.shape[0])
        seg, age = conditions["seg"], conditions["covariates"]["age"]
        assert seg.shape[0] == age.shape[0] == timesteps.shape[0] == x.shape[0]
        return 0.1 * x + seg + age.reshape(-1, 1, 1, 1)


def conditions(value):
    generator = torch.Generator().manual_seed(value)
    return {
        "seg": torch.randn(2, 1, 4, 4, generator=generator),
        "covariates": {"age": torch.randn(2, 1, generator=generator)},
    }


@pytest.mark.parametrize("scale", [0.0, 1.0, 3.0])
@pytest.mark.parametrize("prediction", ["epsilon", "v", "x0", "flow"])
def test_guidance_is_linear_extrapolation_in_one_call(scale, prediction):
    network = Recorder()
    denoiser = Denoiser(network, SCHEDULE, prediction)
    given, null = conditions(1), conditions(2)
    x, sigma = torch.randn(2, 1, 4, 4, generator=torch.Generator().manual_seed(3)), 1.5
    with_given, with_null = denoiser(x, sigma, given), denoiser(x, sigma, null)
    network.batches.clear()
    found = guided(denoiser, given, null, scale)(x, sigma)
    assert network.batches == ([2] if scale == 1.0 else [4])
    torch.testing.assert_close(found, with_null + scale * (with_given - with_null))


def test_the_guided_image_is_held_to_its_range_and_its_parts_are_not():
    shift = {"seg": torch.full((1, 1, 4, 4), 2.0)}, {"seg": torch.full((1, 1, 4, 4), 1.5)}
    denoiser = Denoiser(lambda x, t, c: c["seg"], SCHEDULE, "x0", hold=lambda x0: x0.clamp(-1, 1))
    x = torch.zeros(1, 1, 4, 4)
    assert denoiser(x, 1.0, shift[0]).unique().tolist() == [1]
    # 1.5 - 2 * 0.5 = 0.5; had the parts been held to 1 first, it would be 1.
    assert guided(denoiser, *shift[::-1], scale=3.0)(x, 1.0).unique().tolist() == [0.5]
    assert guided(denoiser, *shift, scale=3.0)(x, 1.0).unique().tolist() == [1]


@pytest.mark.parametrize(
    ("given", "null", "scale"),
    [({}, {}, 2.0), (conditions(1), None, 2.0), (conditions(1), conditions(2), float("inf"))],
)
def test_guidance_without_a_learnt_null_is_refused(given, null, scale):
    with pytest.raises(GenaugError) as caught:
        guided(Denoiser(Recorder(), SCHEDULE, "epsilon"), given, null, scale)
    assert caught.value.reason == Reason.BAD_PARAMETER


def test_conditions_that_do_not_match_are_named():
    denoiser, given, null = Denoiser(Recorder(), SCHEDULE, "epsilon"), conditions(1), conditions(2)
    with pytest.raises(ValueError, match="seg has shape"):
        guided(denoiser, given, {**null, "seg": null["seg"][:1]}, 2.0)
    with pytest.raises(ValueError, match="null conditions"):
        guided(denoiser, given, {"seg": null["seg"]}, 2.0)
    with pytest.raises(ValueError, match="covariates is a"):
        guided(denoiser, given, {**null, "covariates": null["seg"]}, 2.0)
    with pytest.raises(ValueError, match="of batch 2, x of batch 3"):
        guided(denoiser, given, null, 2.0)(torch.zeros(3, 1, 4, 4), 1.0)
