"""On Gaussian data the exact denoiser is known, so what every sampler must reach, and how fast, is known too."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from genaug.denoiser import Denoiser
from genaug.errors import Cancelled, GenaugError, Reason
from genaug.record import case_seed
from genaug.samplers import (
    SAMPLERS,
    CaseNoise,
    ancestral,
    ddim,
    dpmpp_2m,
    draw_initial,
    find_sampler,
    flow_heun,
    heun,
    predictor_corrector,
)
from genaug.schedule import Schedule
from monai.networks.schedulers import DDIMScheduler, DDPMScheduler

MEAN, SPREAD = 0.7, 0.4
SCHEDULE = Schedule.from_dict({"kind": "linear"})


def gaussian(mean=MEAN, spread=SPREAD):
    """The exact denoiser of N(mean, spread^2): the posterior mean of x0."""
    return lambda x, sigma: (spread**2 * x + sigma**2 * mean) / (spread**2 + sigma**2)


def no_noise():
    raise AssertionError("a deterministic sampler drew noise")


class UnitNoise:
    """Draw k is the k-th unit vector, so a linear sampler's result lists its coefficient on every draw."""

    def __init__(self, draws):
        self.draws, self.count = draws, 0

    def __call__(self):
        unit = torch.zeros(self.draws, dtype=torch.float64)
        unit[self.count] = 1
        self.count += 1
        return unit


def reached(sampler, steps, **options):
    """Exact mean and standard deviation of a sampler's output over all noise, without drawing any."""
    run = SAMPLERS[sampler].sample
    mean = run(gaussian(), SCHEDULE, lambda: torch.zeros(1, dtype=torch.float64), steps=steps, **options)
    coefficients = run(gaussian(mean=0), SCHEDULE, UnitNoise(steps + 1), steps=steps, **options)
    return float(mean), float(coefficients.norm())


@pytest.mark.parametrize(
    ("sampler", "steps", "options", "tolerance"),
    [
        ("ancestral", 1000, {}, 0.01),
        ("ddim", 1000, {}, 0.01),
        ("ddim", 1000, {"eta": 0.5}, 0.01),
        ("ddim", 50, {"spacing": "quadratic"}, 0.04),
        ("dpmpp_2m", 20, {}, 0.035),
        ("heun", 18, {}, 0.02),
        ("fastdpm_step", 50, {}, 0.04),
        ("fastdpm_var", 50, {}, 0.07),
        ("flow_euler", 100, {}, 0.04),
        ("flow_heun", 20, {}, 0.02),
        ("distilled", 200, {}, 0.05),
        ("posterior", 500, {}, 0.02),
    ],
)
def test_the_mean_and_variance_of_gaussian_data_are_reached(sampler, steps, options, tolerance):
    mean, spread = reached(sampler, steps, **options)
    assert mean == pytest.approx(MEAN, abs=tolerance)
    assert spread == pytest.approx(SPREAD, rel=tolerance)


def test_ancestral_sampling_narrows_less_with_every_doubling_of_steps():
    errors = [abs(reached("ancestral", steps)[1] / SPREAD - 1) for steps in (125, 250, 500)]
    assert errors[0] > 1.7 * errors[1] > 1.7**2 * errors[2]


@pytest.mark.parametrize(("sampler", "order"), [(ddim, 1), (dpmpp_2m, 2), (heun, 2), (flow_heun, 2)])
def test_the_probability_flow_is_followed_with_the_order_of_the_method(sampler, order):
    first, last = (float(SCHEDULE.sigmas[i]) for i in (-1, 0))
    x = torch.tensor([[-150.0], [3.0], [160.0]], dtype=torch.float64)
    # Along the exact flow (x - mean) / sqrt(spread^2 + sigma^2) is constant; the step to 0 is one call of the denoiser.
    arrived = MEAN + (x - MEAN) * math.sqrt((SPREAD**2 + last**2) / (SPREAD**2 + first**2))
    exact = gaussian()(arrived, last)
    steps = [40, 80, 160, 320]
    errors = [
        float((sampler(gaussian(), x, SCHEDULE.sigmas_for(n, "karras"), noise=no_noise) - exact).abs().max())
        for n in steps
    ]
    slope = -np.polyfit(np.log(steps), np.log(errors), 1)[0]
    assert slope == pytest.approx(order, abs=0.15)


def test_ddim_with_all_the_noise_is_ancestral_sampling():
    denoise, shape = gaussian(), (1, 4, 4)
    sigmas = SCHEDULE.sigmas_for(1000)
    results = []
    for sampler, options in ((ancestral, {}), (ddim, {"eta": 1.0})):
        noise = CaseNoise.from_seeds([3, 4], shape)
        x = draw_initial(noise, float(sigmas[0])).double()
        results.append(sampler(denoise, x, sigmas, noise=noise, **options))
    torch.testing.assert_close(*results, rtol=1e-10, atol=1e-10)


def toy_network():
    """Two small convolutions and a smooth dependence on the timestep, seeded, float64."""
    generator = torch.Generator().manual_seed(0)
    first, second = (torch.randn(4, 1, 3, 3, generator=generator, dtype=torch.float64) / 3 for _ in range(2))

    def network(x, timesteps, conditions=None):
        time = torch.cos(timesteps.double() / 300).reshape(-1, 1, 1, 1)
        hidden = torch.tanh(torch.nn.functional.conv2d(x.double(), first, padding=1) + time)
        return torch.nn.functional.conv_transpose2d(hidden, second, padding=1)

    return network


def in_double(scheduler):
    """MONAI's scheduler with its float32 tables computed again in float64, so that only the formulas are compared."""
    scheduler.betas = torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)
    scheduler.alphas = 1 - scheduler.betas
    scheduler.alphas_cumprod = torch.cumprod(scheduler.alphas, 0)
    scheduler.one = torch.ones((), dtype=torch.float64)
    return scheduler


def double_noise(seeds, shape):
    noise = CaseNoise.from_seeds(seeds, shape)
    return lambda: noise().double()


@pytest.mark.parametrize(("prediction", "monai"), [("epsilon", "epsilon"), ("v", "v_prediction"), ("x0", "sample")])
@pytest.mark.parametrize("steps", [50, 1000])
def test_a_ddim_trajectory_is_that_of_monai(prediction, monai, steps):
    # MONAI steps to t - 1000 // steps but calls the network at rounded, evenly spread timesteps; with this offset the
    # two are the same.
    network, offset = toy_network(), 1000 // steps - 1
    scheduler = in_double(
        DDIMScheduler(1000, schedule="linear_beta", clip_sample=False, prediction_type=monai, steps_offset=offset)
    )
    scheduler.set_timesteps(steps)
    expected = double_noise([1, 2], (1, 8, 8))()
    for t in scheduler.timesteps:
        expected, _ = scheduler.step(network(expected, t.expand(2)), int(t), expected)
    sigmas = torch.cat([SCHEDULE.sigmas[scheduler.timesteps], torch.zeros(1, dtype=torch.float64)])
    x = draw_initial(double_noise([1, 2], (1, 8, 8)), float(sigmas[0]))
    found = ddim(Denoiser(network, SCHEDULE, prediction), x, sigmas, noise=no_noise)
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-8)


def test_an_ancestral_trajectory_is_that_of_monai():
    network, noise = toy_network(), double_noise([5], (1, 8, 8))
    scheduler = in_double(DDPMScheduler(1000, schedule="linear_beta", clip_sample=False))
    x = noise()
    for t in scheduler.timesteps.tolist():
        x0 = network(x, torch.tensor([t]))
        x = scheduler._get_mean(t, x0, x)
        if t > 0:
            x = x + scheduler._get_variance(t).sqrt() * noise()
    denoiser = Denoiser(network, SCHEDULE, "x0")
    found = SAMPLERS["ancestral"].sample(denoiser, SCHEDULE, double_noise([5], (1, 8, 8)))
    torch.testing.assert_close(found, x, rtol=1e-8, atol=1e-8)


def mixture(x, sigma):
    """The exact denoiser of a background, a soft and a bright tissue: three Gaussians of different width."""
    mean, spread, share = torch.tensor([[-1.0, 0.0, 0.6], [0.02, 0.1, 0.2], [0.5, 0.3, 0.2]], dtype=torch.float64)
    variance = spread**2 + sigma**2
    log_share = share.log() - variance.log() / 2 - (x[..., None] - mean) ** 2 / (2 * variance)
    tissue = (spread**2 * x[..., None] + sigma**2 * mean) / variance
    return (log_share.softmax(-1) * tissue).sum(-1)


@pytest.mark.parametrize(
    ("name", "kind", "others"),
    [
        ("dpmpp_2m", "linear", ("uniform", "karras")),
        ("dpmpp_2m", "scaled_linear", ("uniform", "karras")),
        ("dpmpp_2m", "cosine", ("uniform", "karras")),
        ("heun", "linear", ("karras",)),
        ("heun", "scaled_linear", ("karras",)),
        ("heun", "cosine", ("uniform", "karras")),
    ],
)
def test_the_default_spacing_is_the_best_one_for_few_steps(name, kind, others):
    schedule = Schedule.from_dict({"kind": kind})
    x = torch.special.ndtri(torch.linspace(0.01, 0.99, 99, dtype=torch.float64)) * float(schedule.sigmas[-1])
    exact = heun(mixture, x, schedule.sigmas_for(1000, "karras"), noise=no_noise)
    errors = {
        spacing: float((SAMPLERS[name].function(mixture, x, sigmas, noise=no_noise) - exact).abs().mean())
        for spacing in (*others, SAMPLERS[name].spacing)
        for sigmas in [schedule.sigmas_for(SAMPLERS[name].steps, spacing)]
    }
    assert min(errors, key=errors.get) == SAMPLERS[name].spacing
    assert errors[SAMPLERS[name].spacing] < 0.015


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("steps", [1, 12])
def test_network_calls_and_progress_are_as_announced(name, steps):
    calls, reports = [], []

    def denoise(x, sigma):
        calls.append(sigma)
        return gaussian()(x, sigma)

    noise = CaseNoise.from_seeds([1], (1, 4, 4))
    result = SAMPLERS[name].sample(denoise, SCHEDULE, noise, steps=steps, callback=lambda *at: reports.append(at))
    assert len(calls) == SAMPLERS[name].network_calls(steps)
    assert reports == [(done, steps) for done in range(steps + 1)]
    assert result.shape == (1, 1, 4, 4) and result.dtype == torch.float32


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("stop_at", [0, 3])
def test_cancelling_stops_at_once(name, stop_at):
    calls = []

    def denoise(x, sigma):
        calls.append(sigma)
        return x

    def callback(done, total):
        if done == stop_at:
            raise Cancelled

    with pytest.raises(Cancelled):
        SAMPLERS[name].sample(denoise, SCHEDULE, CaseNoise.from_seeds([1], (4,)), steps=12, callback=callback)
    assert len(calls) == stop_at * SAMPLERS[name].calls_per_step


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_case_is_the_same_alone_and_in_a_batch(name):
    seeds = [case_seed(11, index) for index in range(4)]
    network = Denoiser(lambda x, t, c: torch.tanh(x), SCHEDULE, "epsilon")
    batch = SAMPLERS[name].sample(network, SCHEDULE, CaseNoise.from_seeds(seeds, (2, 4, 4)), steps=12)
    alone = SAMPLERS[name].sample(network, SCHEDULE, CaseNoise.from_seeds(seeds[3:], (2, 4, 4)), steps=12)
    assert torch.equal(batch[3:], alone)
    assert not torch.equal(batch[:1], alone)


def test_noise_of_a_case_does_not_depend_on_its_batch_mates():
    batch = CaseNoise.from_seeds([7, 8, 9, 10], (1, 3, 5, 2))
    alone = CaseNoise.from_seeds([10], (1, 3, 5, 2))
    first, second = batch(), batch()
    assert first.shape == (4, 1, 3, 5, 2) and not torch.equal(first, second)
    assert torch.equal(first[3:], alone()) and torch.equal(second[3:], alone())


def test_the_network_first_sees_a_standard_normal():
    seen = []

    def network(x, timesteps, conditions):
        seen.append(x)
        return x

    noise = CaseNoise.from_seeds([1], (1, 8, 8))
    SAMPLERS["ddim"].sample(Denoiser(network, SCHEDULE, "epsilon"), SCHEDULE, noise, steps=1)
    torch.testing.assert_close(seen[0], CaseNoise.from_seeds([1], (1, 8, 8))())


@pytest.mark.parametrize("sampler", [ancestral, ddim, dpmpp_2m, heun, flow_heun, predictor_corrector])
def test_no_gradient_is_kept_and_the_input_is_left_alone(sampler):
    weight = torch.ones(1, requires_grad=True)
    x = torch.ones(1, 1, 4)
    result = sampler(
        lambda x, sigma: weight * x / 2, x, SCHEDULE.sigmas_for(20, "karras"), noise=lambda: torch.ones(1, 1, 4)
    )
    assert not result.requires_grad
    assert torch.equal(x, torch.ones(1, 1, 4))


@pytest.mark.parametrize(
    "sigmas",
    [
        torch.tensor([3.0, 1.0, 0.5], dtype=torch.float64),
        torch.tensor([1.0, 3.0, 0.0], dtype=torch.float64),
        torch.tensor([0.0], dtype=torch.float64),
        torch.tensor([3.0, 1.0, 0.0]),
    ],
)
def test_levels_that_are_not_a_descent_to_zero_are_refused(sigmas):
    with pytest.raises(ValueError, match="fall strictly to 0"):
        ddim(gaussian(), torch.zeros(1), sigmas, noise=no_noise)


def test_steps_too_long_for_heun_are_eulers_and_the_others_still_gain():
    """A cosine schedule starts at sigma 20 000: corrected, its first step would be nothing but error."""
    schedule = Schedule.from_dict({"kind": "cosine"})
    x = torch.special.ndtri(torch.linspace(0.01, 0.99, 99, dtype=torch.float64)) * float(schedule.sigmas[-1])
    exact = heun(mixture, x, schedule.sigmas_for(1000, "karras"), noise=no_noise)

    def error(sampler, steps):
        found = sampler(mixture, x, schedule.sigmas_for(steps, "quadratic"), noise=no_noise)
        return float((found - exact).abs().mean())

    assert error(heun, 18) < 0.8 * error(ddim, 35)
    sigmas = torch.tensor([100.0, 1.0, 0.0], dtype=torch.float64)
    assert torch.equal(heun(mixture, x, sigmas, noise=no_noise), ddim(mixture, x, sigmas, noise=no_noise))


def test_bad_names_and_options_are_refused_with_the_choices():
    noise = CaseNoise.from_seeds([1], (4,))
    with pytest.raises(GenaugError, match="dpmpp_2m") as caught:
        find_sampler("plms")
    assert caught.value.reason == Reason.BAD_PARAMETER
    with pytest.raises(GenaugError, match="the option eta"):
        find_sampler("heun").sample(gaussian(), SCHEDULE, noise, eta=1.0)
    with pytest.raises(GenaugError, match="ancestral"):
        find_sampler("ddim").sample(gaussian(), SCHEDULE, noise, steps=3, eta=1.5)


def test_euler_on_the_straight_paths_of_a_flow_is_ddim():
    sigmas = Schedule.from_dict({"kind": "flow"}).sigmas_for(7, "flow")
    x = torch.linspace(-2, 2, 9, dtype=torch.float64) * float(sigmas[0])
    y = x / (1 + sigmas[0])
    for sigma, following in itertools.pairwise(sigmas.tolist()):
        t, s = sigma / (1 + sigma), following / (1 + following)
        y = y + (s - t) * (y - mixture(y * (1 + sigma), sigma)) / t
    torch.testing.assert_close(ddim(mixture, x, sigmas, noise=no_noise), y)


def test_a_flow_between_points_is_straight_and_one_step_long():
    sigmas = Schedule.from_dict({"kind": "flow"}).sigmas_for(1, "flow")
    point = torch.full((3,), MEAN, dtype=torch.float64)
    assert torch.equal(flow_heun(lambda x, sigma: point, torch.randn(3).double(), sigmas, noise=no_noise), point)


def test_the_predictor_corrector_reaches_gaussian_data_with_the_excess_of_its_corrector():
    # Langevin steps of ratio r about a Gaussian settle at 1 / (1 - r^2) of its variance, at the last level but one.
    noise = double_noise([1, 2, 3, 4], (64, 64))
    made = SAMPLERS["predictor_corrector"].sample(gaussian(), SCHEDULE, noise, steps=200)
    assert float(made.mean()) == pytest.approx(MEAN, abs=0.01)
    assert float(made.std()) == pytest.approx(SPREAD / math.sqrt(1 - 0.16**2), rel=0.02)


@pytest.mark.parametrize("snr", [0.0, 1.0, float("nan")])
def test_a_ratio_that_is_no_langevin_step_is_refused(snr):
    with pytest.raises(GenaugError, match="snr") as caught:
        find_sampler("predictor_corrector").sample(gaussian(), SCHEDULE, CaseNoise.from_seeds([1], (4,)), snr=snr)
    assert caught.value.reason == Reason.BAD_PARAMETER


@pytest.mark.parametrize("steps", [1, 2, 4])
def test_big_steps_are_exact_when_the_clean_image_is_drawn_and_not_averaged(steps):
    # What a denoising diffusion GAN is for: x0 from p(x0 | x) and x_s from q(x_s | x, x0) are one draw of p(x_s | x).
    own = double_noise([11, 12], (128, 128))

    def drawn(x, sigma):
        deviation = SPREAD * sigma / math.sqrt(SPREAD**2 + sigma**2)
        return gaussian()(x, sigma) + deviation * own()

    made = SAMPLERS["posterior"].sample(drawn, SCHEDULE, double_noise([5, 6], (128, 128)), steps=steps)
    assert float(made.mean()) == pytest.approx(MEAN, abs=0.01)
    assert float(made.std()) == pytest.approx(SPREAD, rel=0.015)
    averaged = SAMPLERS["posterior"].sample(gaussian(), SCHEDULE, double_noise([5, 6], (128, 128)), steps=steps)
    assert float(averaged.std()) < 0.85 * SPREAD


def test_the_posterior_of_a_big_step_is_that_of_ddpm():
    # Equation 7 of Ho et al. 2020 with the variances of the four levels.
    sigmas = SCHEDULE.sigmas_for(4, "trailing")
    kept = 1 / (1 + sigmas**2)
    t, s = kept[1], kept[2]
    beta = 1 - t / s
    x0, x_t, fresh = torch.tensor([0.3]).double(), torch.tensor([-0.8]).double(), torch.tensor([1.7]).double()
    mean = s.sqrt() * beta / (1 - t) * x0 + (t / s).sqrt() * (1 - s) / (1 - t) * x_t
    expected = mean + ((1 - s) / (1 - t) * beta).sqrt() * fresh
    levels = torch.stack([sigmas[1], sigmas[2], torch.zeros((), dtype=torch.float64)])
    seen = []

    def denoise(x, sigma):
        seen.append(x)
        return x0

    ancestral(denoise, x_t / t.sqrt(), levels, noise=lambda: fresh)
    torch.testing.assert_close(seen[1] * s.sqrt(), expected)
