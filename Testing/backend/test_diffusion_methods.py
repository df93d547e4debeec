"""Denoisers beyond the plain one: students, diffusion GANs, wavelets, control, deformation; noise through windows."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from genaug.generation import at_codes, generate, maker
from genaug.networks import Batch, Signature
from genaug.networks.control import ControlledDenoiser
from genaug.networks.cycle import CyclePair
from genaug.networks.deformable import DeformableDenoiser
from genaug.networks.denoising import DenoisingSystem, conditions_of
from genaug.networks.diffusion_gan import DiffusionGan, StepCritic
from genaug.networks.syndiff import SynDiff
from genaug.networks.wavelets import WaveletDenoiser, to_bands, to_images
from genaug.objectives import LOSSES, Play
from genaug.objectives.distillation import leap
from genaug.recipe import Sampler, load_recipe
from genaug.samplers import CaseNoise, WindowNoise
from genaug.tensors import Roles
from genaug.windows import apply_windows, plan_windows

TINY = {"channels": (8, 8), "attention": (False, True), "groups": 4, "head_channels": 4}
MEAN, SPREAD = 0.2, 0.3


def shapes(dimension, labels=0, vector=0, source=0, images=1, side=8):
    parts = (("number", vector),) if vector else ()
    return Signature(dimension, (side,) * dimension, images, 0, labels + vector + source, parts)


def batch_for(signature, labels=0, vector=0, source=0, count=2, seed=0):
    generator = torch.Generator().manual_seed(seed)
    size = (count, signature.channels, *signature.window)
    one_hot = None
    if labels:
        chosen = torch.randint(labels, (count, *signature.window), generator=generator)
        one_hot = torch.nn.functional.one_hot(chosen, labels).movedim(-1, 1).float()
    return Batch(
        torch.rand(size, generator=generator) * 2 - 1,
        source=torch.rand(count, source, *signature.window, generator=generator) if source else None,
        label_map=one_hot,
        vector=torch.rand(count, vector, generator=generator) if vector else None,
    )


def stirred(system, seed=0):
    """The system with weights that are nowhere zero, as no trained ones are."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in system.parameters():
            if not parameter.any():
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return system.eval()


def test_every_block_is_told_what_a_case_is_made_for():
    """Neither the channels joined at the front, of which norms leave little, nor attention must be needed for it."""
    signature = shapes(2, vector=2)
    system = stirred(DenoisingSystem(signature, **TINY))
    x, timesteps = torch.randn(1, 1, 8, 8), torch.tensor([500])
    told = [conditions_of(Batch(x, vector=torch.tensor([[1.0, value]]))) for value in (-1.0, 1.0)]
    blocks = [module for module in system.network.modules() if type(module).__name__.endswith("ResnetBlock")]
    seen = []
    for block in blocks:
        block.register_forward_hook(lambda module, inputs, output: seen.append(inputs[1].clone()))
    with torch.no_grad():
        for one in told:
            system.predict(x, timesteps, one)
    assert len(seen) == 2 * len(blocks) > 4
    assert all(not torch.equal(a, b) for a, b in zip(seen[: len(blocks)], seen[len(blocks) :], strict=True))


class Exact(DenoisingSystem):
    """The exact network for voxels that are all N(MEAN, SPREAD^2), whatever its weights."""

    def predict(self, x, timesteps, conditions):
        alpha_bar = self.schedule.alpha_bar[timesteps].view(-1, *[1] * (x.ndim - 1)).to(x)
        sigma2 = (1 - alpha_bar) / alpha_bar
        x0 = (SPREAD**2 * x / alpha_bar.sqrt() + sigma2 * MEAN) / (SPREAD**2 + sigma2)
        return self.schedule.convert(x0, x, timesteps, "x0", self.prediction)


@pytest.mark.parametrize("prediction", ["v", "x0", "flow"])
@pytest.mark.parametrize("levels", [8, 2, 1])
def test_a_student_that_learns_its_target_goes_in_one_step_where_its_teacher_goes_in_two(levels, prediction):
    schedule = {"kind": "cosine", "steps": 64}
    teacher = Exact(shapes(2), **TINY, schedule=schedule, prediction=prediction)
    sigmas = teacher.schedule.sigmas_for(2 * levels, "trailing")
    generator = torch.Generator().manual_seed(0)
    stride = 64 // levels
    for step in range(levels):
        t = torch.full((2,), 64 - step * stride - 1)
        noised = torch.randn(2, 1, 8, 8, generator=generator, dtype=torch.float64)
        x0 = leap(teacher, noised, t, t - stride, Batch(noised))
        start, middle, end = sigmas[2 * step : 2 * step + 3]
        x = noised * (1 + start**2).sqrt()

        def denoise(at, sigma):
            timesteps = torch.full((2,), round(teacher.schedule.timestep_of(sigma)))
            return teacher.clean(at / (1 + sigma**2) ** 0.5, timesteps, Batch(at))

        # Two steps of DDIM; the last one of all ends in the clean image.
        between = torch.lerp(denoise(x, float(start)), x, middle / start)
        arrived = torch.lerp(denoise(between, float(middle)), between, end / middle)
        torch.testing.assert_close(torch.lerp(x0, x, end / start), arrived)


def test_distillation_is_zero_for_the_student_that_is_right_and_needs_a_teacher():
    schedule = {"kind": "cosine", "steps": 64}
    teacher = Exact(shapes(2), **TINY, schedule=schedule)
    student = DenoisingSystem(shapes(2), **TINY, schedule=schedule, levels=4)
    batch = batch_for(student.signature)
    generator = torch.Generator().manual_seed(0)
    outputs = student(batch, generator)
    assert set(outputs["timesteps"].tolist()) <= {15, 31, 47, 63}
    x0 = leap(teacher, outputs["noised"], outputs["timesteps"], outputs["following"], batch)
    right = teacher.schedule.convert(x0, outputs["noised"], outputs["timesteps"], "x0", "v")
    play = Play(student.signature, {}, generator, 0, teacher)
    assert float(LOSSES["distillation"](outputs, batch, play)) > 0
    assert float(LOSSES["distillation"]({**outputs, "prediction": right}, batch, play)) == 0
    with pytest.raises(ValueError, match="needs a stage that follows"):
        LOSSES["distillation"](outputs, batch, Play(student.signature, {}, generator, 0))


def test_a_step_without_a_middle_is_refused():
    teacher = Exact(shapes(2), **TINY, schedule={"kind": "cosine", "steps": 64})
    with pytest.raises(ValueError, match="no middle"):
        leap(teacher, torch.zeros(1, 1, 8, 8), torch.tensor([63]), torch.tensor([62]), Batch(torch.zeros(1, 1, 8, 8)))


def test_a_denoiser_without_attention_at_its_levels_still_has_its_middle():
    system = DenoisingSystem(shapes(2), **{**TINY, "attention": (False, False)})
    batch = batch_for(system.signature)
    assert system(batch, torch.Generator().manual_seed(0))["prediction"].shape == batch.target.shape


def test_levels_that_do_not_divide_the_schedule_are_refused():
    with pytest.raises(ValueError, match="do not divide"):
        DenoisingSystem(shapes(2), **TINY, levels=7)


def test_a_denoiser_that_is_not_shown_the_noise_makes_the_same_of_the_same_source_whatever_the_seed():
    """What it learns from is its source alone: nothing of the target gets in by the noisy image."""
    signature = shapes(2, source=1)
    options = {**TINY, "prediction": "x0", "levels": 1, "schedule": {"kind": "linear"}}
    blind, seeing = (stirred(DenoisingSystem(signature, **options, sees_noise=sees)) for sees in (False, True))
    sampler = Sampler(name="ddim", options={"spacing": "trailing"})
    batch = batch_for(signature, source=1)
    for system, differs in ((blind, False), (seeing, True)):
        noises = (CaseNoise.from_seeds([seed, seed + 9], system.noise_shape()) for seed in (1, 2))
        first, second = (system.sample(noise, batch, sampler) for noise in noises)
        assert bool((first != second).any()) == differs
    outputs = blind(batch, torch.Generator().manual_seed(0))
    other = blind(Batch(-batch.target, source=batch.source), torch.Generator().manual_seed(1))
    torch.testing.assert_close(outputs["prediction"], other["prediction"])


@pytest.mark.parametrize("wrong", [{"levels": 2}, {"levels": None}, {"prediction": "v"}, {"source": 0}])
def test_a_denoiser_that_needs_the_noisy_image_is_shown_it(wrong):
    options = {**TINY, "prediction": "x0", "levels": 1, "source": 1, **wrong}
    with pytest.raises(ValueError, match="needs no noisy image"):
        DenoisingSystem(shapes(2, source=options.pop("source")), **options, sees_noise=False)


def test_the_steps_asked_for_choose_the_student_and_other_samplers_the_teacher():
    recipe = load_recipe("progressive-distillation").resolve(2)
    schedule = {"kind": "cosine", "steps": 64}
    systems = {
        name: DenoisingSystem(shapes(2), **TINY, schedule=schedule, levels=stage.network.options.get("levels"))
        for name, stage in recipe.stages.items()
    }
    chain = list(systems)
    for steps in (8, 4, 2, 1):
        assert maker(recipe, chain, systems, Sampler(name="distilled", steps=steps)) == f"student_{steps}"
    assert maker(recipe, chain, systems, Sampler(name="distilled", steps=3)) == "denoiser"
    assert maker(recipe, chain, systems, Sampler(name="dpmpp_2m", steps=4)) == "denoiser"
    assert maker(recipe, chain, systems, Sampler(name="ddim", steps=4, options={"spacing": "trailing"})) == "student_4"


def syndiff(**changes):
    pair = {"features": (4,) * 6, "norm": "group"}
    signature = shapes(2, source=1, side=32)
    return CyclePair(signature, **pair), SynDiff(signature, **{**pair, **changes}, diffusion={"latent": 2, **TINY})


def test_a_syndiff_learns_from_what_the_cycle_before_it_goes_back_to():
    cycle, system = syndiff()
    system.follow(cycle)
    batch = batch_for(system.signature, source=1)
    draws = torch.Generator().manual_seed
    expected = cycle(batch, draws(0))["reversed"]
    outputs = system(batch, draws(1))
    alone = system.diffusion(Batch(batch.target, source=expected), draws(1))
    assert all(torch.equal(outputs[name], alone[name]) for name in alone)
    # The batch's own source is of another patient.
    other = Batch(batch.target, source=-batch.source)
    assert torch.equal(system(other, draws(1))["generated"], outputs["generated"])
    outputs["generated"].sum().backward()
    assert all(parameter.grad is None for parameter in system.back.parameters())
    assert any(parameter.grad is not None for parameter in system.diffusion.parameters())


def test_the_cycle_that_a_syndiff_follows_stays_as_it_is_while_it_trains():
    _, system = syndiff(norm="batch", dropout=0.5)
    before = {key: value.clone() for key, value in system.back.state_dict().items()}
    batch = batch_for(system.signature, source=1)
    one, two = (system.train()(batch, torch.Generator().manual_seed(1))["generated"] for _ in range(2))
    assert torch.equal(one, two)
    assert all(torch.equal(before[key], value) for key, value in system.back.state_dict().items())


def test_a_syndiff_is_refused_without_a_cycle_or_with_other_norms():
    cycle, system = syndiff(norm="instance")
    with pytest.raises(ValueError, match="InstanceNorm2d, where the stage that it follows has GroupNorm with 4 groups"):
        system.follow(cycle)
    with pytest.raises(ValueError, match="needs the translator back of a cycle_pair"):
        system.follow(DenoisingSystem(shapes(2), **TINY))


def test_a_teacher_of_one_pass_does_not_make_cases_step_by_step():
    recipe = load_recipe("syndiff").resolve(2)
    systems = dict(zip(recipe.stages, syndiff(), strict=True))
    for sampler in (recipe.sampler, Sampler(name="posterior", steps=3), Sampler(name="ddim", steps=20)):
        assert maker(recipe, list(systems), systems, sampler) == "syndiff"


class Knowing(DiffusionGan):
    """A generator that always draws the right clean image."""

    truth: torch.Tensor

    def drawn(self, noised, timesteps, z, batch):
        return torch.atanh(self.truth)


def test_a_step_to_the_right_image_is_a_step_as_it_was():
    # (x_s, x_t) of both have the same law: means, variances and covariance, at every level of noise.
    system = Knowing(shapes(2, side=64), latent=2, **TINY, schedule={"kind": "linear"})
    system.truth = torch.full((64, 1, 64, 64), 0.4)
    outputs = system(Batch(system.truth), torch.Generator().manual_seed(0))
    at = outputs["step_real"][:, 2, 0, 0]
    assert set(at.tolist()) == {0.25, 0.5, 0.75, 1.0}
    for level in at.unique():
        real, fake = (outputs[name][at == level][:, :2].movedim(1, 0).flatten(1) for name in ("step_real", "step_fake"))
        torch.testing.assert_close(real.mean(1), fake.mean(1), atol=0.03, rtol=0)
        torch.testing.assert_close(torch.cov(real), torch.cov(fake), atol=0.03, rtol=0)
        # The image before is the same; the last step ends in the clean image itself.
        assert torch.equal(real[1], fake[1])
    last = outputs["step_fake"][at == 0.25][:, 0]
    torch.testing.assert_close(last, torch.full_like(last, 0.4))
    # What is given holds this share of the clean image, besides its noise.
    noised = outputs["step_real"][:, 1].flatten(1)
    torch.testing.assert_close(noised.mean(1), 0.4 * outputs["signal"].sqrt(), atol=0.06, rtol=0)
    torch.testing.assert_close(noised.var(1), 1 - outputs["signal"], atol=0.08, rtol=0)


def test_only_the_image_after_a_step_has_a_slope():
    signature = shapes(2, labels=2)
    critic = StepCritic(signature, channels=(8, 8))
    batch = batch_for(signature, labels=2)
    seen = torch.cat([torch.randn(2, 3, 8, 8), batch.condition], dim=1).requires_grad_(True)
    (slope,) = torch.autograd.grad(critic(seen).sum(), seen)
    assert slope[:, :1].any() and not slope[:, 1:].any()


def test_a_diffusion_gan_starts_at_the_mean_and_draws_by_z():
    system = DiffusionGan(shapes(2), latent=2, **TINY, schedule={"kind": "linear"})
    mean = torch.rand(1, 8, 8) - 0.5
    system.start_at(mean)
    for parameter in system.network.out[-1].parameters():
        torch.nn.init.zeros_(parameter)
    made = system(batch_for(system.signature), torch.Generator().manual_seed(0))["generated"]
    torch.testing.assert_close(made, mean.expand(2, -1, -1, -1))
    noised, t = torch.zeros(1, 1, 8, 8), torch.tensor([999])
    one, two = (stirred(system).drawn(noised, t, z, Batch(noised)) for z in (torch.zeros(1, 2), torch.ones(1, 2)))
    assert not torch.allclose(one, two)


@pytest.mark.parametrize("dimension", [2, 3])
def test_a_control_starts_as_the_frozen_denoiser_and_leaves_it_as_it_is(dimension):
    teacher = stirred(DenoisingSystem(shapes(dimension), **TINY))
    signature = shapes(dimension, labels=2, vector=3)
    system = ControlledDenoiser(signature, **TINY, control_channels=4)
    system.follow(teacher)
    batch = batch_for(signature, labels=2, vector=3)
    outputs = system(batch, torch.Generator().manual_seed(1))
    alone = teacher(Batch(batch.target), torch.Generator().manual_seed(1))
    torch.testing.assert_close(outputs["prediction"], alone["prediction"])
    assert torch.equal(system.control.conv_in.conv.weight, system.network.conv_in.conv.weight)
    outputs["prediction"].sum().backward()
    assert all(parameter.grad is None for parameter in system.network.parameters())
    assert any(parameter.grad is not None and parameter.grad.any() for parameter in system.control.parameters())


def test_a_control_without_anything_to_control_by_is_refused():
    with pytest.raises(ValueError, match="needs a condition"):
        ControlledDenoiser(shapes(2), **TINY)


@pytest.mark.parametrize("dimension", [2, 3])
@pytest.mark.parametrize("levels", [1, 2])
def test_bands_are_in_the_range_of_images_and_lose_nothing(dimension, levels):
    system = WaveletDenoiser(shapes(dimension, side=16), levels, **TINY)
    x = torch.rand(2, 1, *(16,) * dimension) * 2 - 1
    bands = to_bands(x, levels)
    assert bands.shape[1:] == system.noise_shape() == ((2**dimension) ** levels, *(16 // 2**levels,) * dimension)
    torch.testing.assert_close(to_images(bands, levels), x)
    low = (
        torch.nn.functional.avg_pool2d(x, 2**levels) if dimension == 2 else torch.nn.functional.avg_pool3d(x, 2**levels)
    )
    torch.testing.assert_close(bands[:, :1], low)


@pytest.mark.parametrize("levels", [1, 2])
def test_an_estimate_of_bands_is_held_to_what_images_can_be(levels):
    inner = WaveletDenoiser(shapes(2, side=16), levels, **TINY).inner
    x = torch.rand(2, 1, 16, 16) * 4 - 2
    torch.testing.assert_close(to_images(inner.held(to_bands(x, levels)), levels), x.clamp(-1, 1))


def test_errors_of_bands_keep_their_size_as_images():
    signature = shapes(2, labels=2, vector=3, source=1)
    system = stirred(WaveletDenoiser(signature, 1, **TINY))
    batch = batch_for(signature, labels=2, vector=3, source=1)
    outputs = system(batch, torch.Generator().manual_seed(2))
    inner = system.inner(system._in_bands(batch), torch.Generator().manual_seed(2))
    error, in_bands = ((o["prediction"] - o["truth"]).pow(2).mean() for o in (outputs, inner))
    assert outputs["prediction"].shape == batch.target.shape
    torch.testing.assert_close(error, in_bands)


@pytest.mark.parametrize("dimension", [2, 3])
def test_a_share_of_the_code_is_a_share_of_the_way(dimension):
    signature = shapes(dimension, source=1, side=16)
    system = stirred(DeformableDenoiser(signature, field_channels=(4, 4), **TINY))
    batch = batch_for(signature, source=1)
    noise = partial(CaseNoise.from_seeds, [1, 2], system.noise_shape())
    made = {
        amplitude: system.sample(noise(), batch, Sampler(name="ddim", steps=2, options={"amplitude": amplitude}))
        for amplitude in (0.0, 0.5, 1.0)
    }
    plain = system.sample(noise(), batch, Sampler(name="ddim", steps=2))
    torch.testing.assert_close(made[0.0], batch.source)
    assert torch.equal(made[1.0], plain)
    way = [float((made[amplitude] - batch.source).abs().mean()) for amplitude in (0.0, 0.5, 1.0)]
    assert way[0] < way[1] < way[2]


def test_another_number_of_channels_cannot_be_bent():
    with pytest.raises(ValueError, match="2 channels cannot be bent into 1"):
        DeformableDenoiser(shapes(2, source=2), **TINY)


@pytest.mark.parametrize("dimension", [2, 3])
@pytest.mark.parametrize("kind", [DenoisingSystem, partial(ControlledDenoiser, control_channels=4)])
def test_maps_and_vectors_guide_codes_case_by_case(kind, dimension):
    signature = shapes(dimension, labels=2, vector=3, images=4, side=4)
    system = stirred(kind(signature, **TINY))
    codes = torch.zeros(3, 4, *(4,) * dimension)
    whole = Batch(
        torch.zeros(3, 1, *(16,) * dimension),
        label_map=torch.rand(3, 2, *(16,) * dimension, generator=torch.Generator().manual_seed(0)),
        vector=torch.rand(3, 3, generator=torch.Generator().manual_seed(1)),
    )
    batch = at_codes(whole, codes)
    assert batch.label_map.shape == (3, 2, *(4,) * dimension)
    torch.testing.assert_close(batch.label_map.mean(), whole.label_map.mean())

    def made(rows, guidance):
        chosen = Batch(codes[rows], label_map=batch.label_map[rows], vector=batch.vector[rows])
        noise = CaseNoise.from_seeds([5 + row for row in rows], system.noise_shape())
        return system.sample(noise, chosen, Sampler(name="ddim", steps=2, guidance=guidance))

    guided, plain = made([0, 1, 2], 2.0), made([0, 1, 2], 1.0)
    assert not torch.allclose(guided, plain)
    torch.testing.assert_close(made([1], 2.0), guided[1:2], rtol=1e-4, atol=1e-4)
    # Guidance of 0 is the model that is told nothing: both the maps and the vector are hidden from it.
    batch = batch.known_where(torch.zeros(3, dtype=torch.bool))
    torch.testing.assert_close(made([0, 1, 2], 1.0), made([0, 1, 2], 0.0), rtol=1e-4, atol=1e-4)


def test_windows_see_the_same_noise_where_they_overlap():
    windows = plan_windows((12, 8), (8, 8), 0.5)
    assert len(windows) == 2

    def seeded():
        return torch.Generator().manual_seed(3)

    both = WindowNoise(seeded(), (12, 8), windows, (2, 8, 8))
    first, second = both(), both()
    assert torch.equal(first[0, :, 4:], first[1, :, :4]) and not torch.equal(first, second)
    alone = WindowNoise(seeded(), (12, 8), windows[1:], (2, 8, 8))
    assert torch.equal(alone(), first[1:]) and torch.equal(alone(), second[1:])
    style = WindowNoise(seeded(), (12, 8), windows, (5,))()
    assert style.shape == (2, 5) and torch.equal(style[0], style[1])


def test_the_windows_of_a_case_are_drawn_by_the_same_z():
    system = stirred(DiffusionGan(shapes(2, source=1), latent=3, levels=4, **TINY, schedule={"kind": "linear"}))
    windows = plan_windows((12, 8), (8, 8), 0.5)
    seen = []

    def drawn(noised, timesteps, z, batch):
        seen.append(z)
        return DiffusionGan.drawn(system, noised, timesteps, z, batch)

    system.drawn = drawn
    sampler, empty = Sampler(name="posterior", steps=4), torch.zeros(2, 1, 8, 8)
    noise = WindowNoise(torch.Generator().manual_seed(3), (12, 8), windows, system.noise_shape())
    with torch.no_grad():
        system.sample(noise, Batch(empty, source=empty), sampler)
        assert len(seen) == 4 and all(torch.equal(*z) for z in seen) and not torch.equal(seen[0], seen[1])
        cases = [
            system.sample(CaseNoise.from_seeds(seeds, system.noise_shape()), Batch(like, source=like), sampler)
            for seeds, like in (([5, 6], empty), ([6], empty[:1]))
        ]
    torch.testing.assert_close(cases[0][1:], cases[1])
    assert not torch.equal(seen[4][0], seen[4][1])


class Echo(DenoisingSystem):
    """Makes the noise itself."""

    def sample(self, noise, batch, sampler, callback=None):
        return noise()


def test_a_volume_translated_by_windows_is_made_from_one_noise():
    recipe = load_recipe("umm-csgm").resolve(2)
    systems = {"denoiser": Echo(shapes(2), **TINY)}
    roles = Roles(target=["B"], source=["A"])
    volume = torch.zeros(1, 20, 12)
    plan = iter(plan_windows((20, 12), (8, 8), 0.5))

    def function(windows):
        generator = torch.Generator().manual_seed(4)
        noise = partial(WindowNoise, generator, (20, 12), [next(plan) for _ in windows])
        return generate(recipe, systems, None, noise, Batch(windows, source=windows), roles, recipe.sampler)

    made = apply_windows(function, volume, (8, 8), 0.5, 2)
    torch.testing.assert_close(made, torch.randn(1, 20, 12, generator=torch.Generator().manual_seed(4)))
