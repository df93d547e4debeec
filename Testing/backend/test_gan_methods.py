"""What the GANs' players, games and fields are known to do."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from engine_data import blob_cohort, tiny, tiny_options
from genaug.cohort import Cohort
from genaug.errors import GenaugError
from genaug.networks import Batch, Signature, build_critic, build_system
from genaug.networks.adversarial_autoencoder import AdversarialAutoencoder
from genaug.networks.attention import SelfAttention
from genaug.networks.counterfactual import CounterfactualWarper
from genaug.networks.infill import HoleCritic, HoleFiller
from genaug.networks.mixture import GeneratorMixture, OriginCritic
from genaug.networks.progressive import WHOLE_AT, GrowingPatchCritic, ProgressiveCritic, ProgressiveGenerator
from genaug.networks.segmenter import Segmenter
from genaug.networks.spectral import normalize_spectrum
from genaug.networks.style import StyleGenerator
from genaug.networks.warping import compose, integrate, jacobian_determinant, warp
from genaug.objectives import CRITIC_LOSSES, LOSSES, Play
from genaug.objectives.auxiliary import vector_errors
from genaug.package import load_package
from genaug.parameters import TranslationParameters
from genaug.progress import Silent
from genaug.recipe import Network, Sampler, load_recipe
from genaug.record import Record
from genaug.tensors import TensorStore
from genaug.training import train, training_folder
from genaug.training.checkpoint import load_checkpoint
from genaug.translation import remake, translate
from torch import Tensor, nn

KNOWN = (("class", 3), ("number", 2))
PLAIN = Signature(2, (16, 16), 1, 0, 0)
TOLD = Signature(2, (16, 16), 1, 0, 5, KNOWN)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def shaken(module: nn.Module, scale: float = 0.3) -> nn.Module:
    """The module with weights that are nowhere zero, as after training."""
    generator = seeded(7)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(scale * torch.randn(parameter.shape, generator=generator))
    return module.eval()


def batch_for(signature: Signature, cases: int = 2, labels: int = 0) -> Batch:
    vector = torch.tensor([[0.0, 1, 0, 1, 0.5], [1, 0, 0, 1, -1]])[:cases] if signature.vector else None
    maps = None
    if labels:
        inside = torch.zeros(cases, *signature.window, dtype=torch.long)
        inside[:, 4:9, 5:10] = 1
        maps = F.one_hot(inside, labels).movedim(-1, 1).float()
    return Batch(torch.rand(cases, signature.channels, *signature.window) * 2 - 1, label_map=maps, vector=vector)


def play(signature: Signature, critics: dict[str, nn.Module] | None = None) -> Play:
    return Play(signature, critics or {}, seeded(), 0)


# Truncation

GENERATORS = {
    "latent_generator": {"latent": 8, "start": 8, "channels": [16, 8]},
    "generator_mixture": {"generators": 2, "latent": 8, "start": 8, "channels": [16, 8]},
    "vector_autoencoder": {"latent": 8, "start": 8, "channels": [16, 8], "encoder_channels": [8, 8]},
}


@pytest.mark.parametrize("kind", GENERATORS)
def test_cases_are_the_more_alike_the_nearer_their_noise_is_to_the_middle(kind):
    """Cases of the middle itself are one and the same."""
    system = build_system(Network(kind=kind, options=GENERATORS[kind]), TOLD)
    shaken(system, 0.05)
    batch = replace(batch_for(TOLD), vector=torch.tensor([[0.0, 1, 0, 1, 0.5]] * 16), target=torch.zeros(16, 1, 16, 16))
    noise = torch.randn(16, *system.noise_shape(), generator=seeded())
    code = system.code_length()
    # What is no code stays as it was drawn; here it is the same for all cases.
    noise[:, code:] = noise[:1, code:]

    def spread(scale: float) -> float:
        made = system.sample(lambda: noise, batch, Sampler(truncation=scale))
        return made.std(dim=0).mean().item()

    assert spread(0) == pytest.approx(0, abs=1e-6)
    assert 0 < spread(0.25) < spread(0.5) < spread(1)


def test_truncation_leaves_the_choice_of_a_generator_as_it_was_drawn():
    system = build_system(Network(kind="generator_mixture", options=GENERATORS["generator_mixture"]), TOLD)
    noise = torch.randn(16, *system.noise_shape(), generator=seeded())
    assert torch.equal(system.chosen(system.truncated(noise, 0.1)), system.chosen(noise))


def test_what_is_asked_for_decides_more_where_noise_says_less():
    """At the middle of the code two cases differ in nothing but what they were asked to be."""
    system = build_system(Network(kind="latent_generator", options=GENERATORS["latent_generator"]), TOLD)
    shaken(system, 0.05)
    batch, noise = batch_for(TOLD), torch.randn(2, *system.noise_shape(), generator=seeded())
    first, second = system.sample(lambda: noise, batch, Sampler(truncation=0))
    assert (first - second).abs().max() > 1e-3


# Spectra and attention


def test_the_largest_singular_value_of_a_normalised_weight_is_one():
    torch.manual_seed(0)
    layers = normalize_spectrum(nn.Sequential(nn.Conv2d(4, 8, 3), nn.Flatten(), nn.Linear(8 * 36, 5)))
    for _ in range(30):
        layers(torch.randn(2, 4, 8, 8))
    for layer in (layers[0], layers[2]):
        assert torch.linalg.matrix_norm(layer.weight.flatten(1), 2).item() == pytest.approx(1, abs=0.01)


def test_an_averaged_power_iteration_normalises_as_well():
    """The average of vectors of length one is shorter than one."""
    layer = normalize_spectrum(nn.Sequential(nn.Linear(6, 5)))[0].eval()
    whole = layer.weight.detach().clone()
    layer.parametrizations.weight[0].left.mul_(0.2)
    torch.testing.assert_close(layer.weight, whole)


def test_a_spectrum_is_normalised_in_single_precision_under_autocast():
    torch.manual_seed(0)
    layer = normalize_spectrum(nn.Sequential(nn.Linear(64, 32)))[0].eval()
    with torch.autocast("cpu", torch.bfloat16):
        half = layer.weight
    torch.testing.assert_close(half, layer.weight)


def test_a_generator_of_normalised_spectra_hears_its_noise():
    """Where the noise is no louder than the bias of the layer that takes it, all cases end as one."""
    torch.manual_seed(0)
    signature = Signature(2, (48, 64), 1, 3, 0)
    first = build_system(Network(kind="attention_generator"), signature).up.first
    heard = first(torch.randn(64, 64, generator=seeded()))
    assert heard.std(dim=0).mean() > 3 * first.bias.std()


def test_attention_adds_nothing_at_first_and_does_not_care_where_places_are():
    attention = SelfAttention(8, 2)
    x = torch.randn(2, 8, 4, 4, generator=seeded())
    assert torch.equal(attention(x), x)
    shaken(attention)
    order = torch.randperm(16, generator=seeded())
    moved = x.flatten(2)[..., order].unflatten(2, (4, 4))
    torch.testing.assert_close(attention(moved), attention(x).flatten(2)[..., order].unflatten(2, (4, 4)))
    assert not torch.allclose(attention(x), x)


# Games


def test_clipped_weights_stay_in_their_box(tmp_path):
    data = blob_cohort(tmp_path / "data", 3, flat=True)
    options = tiny_options("wgan", 3, learning_rate=0.05)
    package = train(data, options, tmp_path / "wgan", "cpu", Silent())
    state = load_checkpoint(training_folder(package) / "gan.checkpoint.pt")
    largest = max(value.abs().max().item() for value in state["critics"]["critic"].values())
    assert largest == pytest.approx(0.02)
    assert max(value.abs().max().item() for value in state["network"].values()) > 0.02


def test_the_errors_of_a_vector_are_those_of_its_parts():
    wanted = torch.tensor([[0.0, 1, 0, 1, 0.5], [0, 0, 0, 0, 0]])
    answer = torch.zeros(2, 5)
    answer[1] = 9
    unsure = (math.log(3) + 0.25) / 2
    assert vector_errors(answer, wanted, TOLD).item() == pytest.approx(unsure)
    sure = torch.tensor([[-99.0, 99, -99, 0, 0.5], [5, 5, 5, 5, 5]])
    assert vector_errors(sure, wanted, TOLD).item() == pytest.approx(0)


def test_nothing_is_learnt_from_what_is_not_known_of_a_case():
    wanted = torch.tensor([[0.0, 1, 0, 1, 0.5], [0, 0, 0, 1, 1]])
    answer = torch.zeros(2, 5, requires_grad=True)
    vector_errors(answer, wanted, TOLD).backward()
    assert answer.grad[0, :3].abs().min() > 0 and not answer.grad[1, :3].any()
    assert answer.grad[:, 4].abs().min() > 0 and not answer.grad[:, 3].any()


def test_the_auxiliary_head_pulls_the_fake_towards_what_was_asked_for():
    critic = build_critic(Network(kind="auxiliary_critic", options={"channels": [8, 8]}), TOLD)
    batch = batch_for(TOLD)
    fake = batch.target.clone().requires_grad_(True)
    term = LOSSES["auxiliary"]({"generated": fake}, batch, play(TOLD, {"critic": critic}))
    (slope,) = torch.autograd.grad(term, fake)
    with torch.no_grad():
        outputs = {"generated": fake - 0.01 * slope / slope.norm()}
        assert LOSSES["auxiliary"](outputs, batch, play(TOLD, {"critic": critic})) < term
    for fakes in (True, False):
        critic.zero_grad()
        CRITIC_LOSSES["auxiliary"](critic, {"generated": fake}, batch, play(TOLD), fakes=fakes).backward()
        assert critic.known[0].weight.grad.any() and critic.last[0].weight.grad is None
        assert fake.grad is None


def test_the_auxiliary_critic_is_not_told_what_it_has_to_tell():
    critic = build_critic(Network(kind="auxiliary_critic", options={"channels": [8, 8]}), TOLD).eval()
    x = torch.rand(2, 6, 16, 16)
    other = x.clone()
    other[:, 1:] = 7
    assert torch.equal(critic(x, answer="vector"), critic(other, answer="vector"))


def test_a_projection_critic_gives_a_case_one_direction_in_what_it_may_be_told():
    """The form of log p(vector | case): linear in the vector, with a slope that is the case's own."""
    critic = build_critic(Network(kind="projection_critic", options={"channels": [8, 8]}), TOLD).eval()
    generator = torch.Generator().manual_seed(0)
    case = torch.rand(1, 1, 16, 16, generator=generator)
    other = torch.rand(1, 1, 16, 16, generator=generator)
    first, second = torch.rand(2, 5, generator=generator)

    def score(image: torch.Tensor, vector: torch.Tensor) -> torch.Tensor:
        return critic(torch.cat([image, vector.view(1, -1, 1, 1).expand(1, -1, 16, 16)], dim=1))

    nothing = score(case, torch.zeros(5))
    half = score(case, (first + second) / 2)
    torch.testing.assert_close(half, (score(case, first) + score(case, second)) / 2)
    assert not torch.allclose(score(case, first), nothing)
    slopes = [score(image, first) - score(image, torch.zeros(5)) for image in (case, other)]
    assert not torch.allclose(*slopes)


class Recording(nn.Module):
    """Notes the shapes of what it is shown."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))
        self.seen: list[tuple[int, ...]] = []

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append(tuple(x.shape))
        return self.weight * x.flatten(1).mean(1, keepdim=True)


def test_the_critic_of_codes_sees_codes_and_its_game_reaches_the_encoder():
    system = AdversarialAutoencoder(TOLD, False, 4, 8, [8, 8], encoder_channels=[8, 8])
    batch, judge = batch_for(TOLD), Recording()
    outputs = system(batch, seeded())
    options = {"game": "bce", "fake": "code"}
    LOSSES["adversarial"](outputs, batch, play(TOLD, {"codes": judge}), critic="codes", **options).backward()
    assert system.posterior.weight.grad.any()
    CRITIC_LOSSES["adversarial"](judge, outputs, batch, play(TOLD), real="prior", **options)
    assert judge.seen == [(2, 4)] * 3


@pytest.mark.parametrize(
    ("name", "stage", "reaches"),
    [("vae-gan", "vae", False), ("alpha-gan", "gan", False), ("alpha-wgan-gp", "gan", True)],
)
def test_the_game_of_reconstructions_is_the_decoders_alone_where_the_paper_has_it_so(name, stage, reaches):
    part = load_recipe(name).resolve(2, tiny(name)).stages[stage]
    system = shaken(build_system(part.network, PLAIN))
    critics = {key: shaken(build_critic(one, PLAIN)) for key, one in part.critics.items()}
    batch = batch_for(PLAIN)
    outputs = system(batch, seeded())
    assert torch.equal(outputs.get("shown", outputs["generated"]), outputs["generated"])
    learns = {}
    for key, term in part.loss.items():
        system.zero_grad()
        loss = LOSSES[term.kind or key](outputs, batch, play(PLAIN, critics), **term.options)
        loss.backward(retain_graph=True)
        players = system.posterior.weight, system.up.first.weight
        learns[key] = tuple(one.grad is not None and bool(one.grad.any()) for one in players)
    assert learns["adversarial"] == (reaches, True) and learns["sampled"] == (False, True)
    assert learns["l1"] == (True, True)
    assert learns.get("feature_matching", (True, True)) == (True, True)


def test_a_code_is_the_encoders_answer_or_drawn_from_its_posterior():
    for stochastic in (False, True):
        system = AdversarialAutoencoder(PLAIN, stochastic, 4, 8, [8, 8], encoder_channels=[8, 8])
        batch = batch_for(PLAIN)
        first, second = (system(batch, seeded(seed)) for seed in (1, 2))
        assert torch.equal(first["code"], second["code"]) is not stochastic
        assert not torch.equal(first["prior"], second["prior"])


def test_samples_of_the_prior_know_nothing_of_the_batch():
    system = shaken(AdversarialAutoencoder(PLAIN, True, 4, 8, [8, 8], encoder_channels=[8, 8]))
    first, second = (system(batch_for(PLAIN), seeded()) for _ in range(2))
    assert torch.equal(first["sampled"], second["sampled"])
    assert not torch.equal(first["generated"], second["generated"])


def test_a_segmenter_learns_from_real_cases_and_teaches_the_fakes():
    signature = Signature(2, (16, 16), 1, 0, 2)
    segmenter, batch = Segmenter(signature, [8, 8]), batch_for(signature, labels=2)
    fake = batch.target.clone().requires_grad_(True)
    outputs = {"generated": fake}
    CRITIC_LOSSES["segmentation"](segmenter, outputs, batch, play(signature)).backward()
    assert fake.grad is None and all(one.grad is not None for one in segmenter.parameters())
    LOSSES["segmentation"](outputs, batch, play(signature, {"segmenter": segmenter})).backward()
    assert fake.grad.any()
    blind = torch.cat([batch.target, torch.zeros(2, 2, 16, 16)], dim=1)
    assert torch.equal(segmenter(blind), segmenter(torch.cat([batch.target, batch.label_map], dim=1)))


@pytest.mark.parametrize("dimension", [2, 3])
@pytest.mark.parametrize("labels", [2, 3, 5])
def test_a_segmenter_finds_any_number_of_labels(dimension, labels):
    segmenter = Segmenter(Signature(dimension, (16,) * dimension, 1, 0, labels))
    assert segmenter(torch.randn(2, 1 + labels, *(16,) * dimension)).shape == (2, labels, *(16,) * dimension)


# Growing


GROWING_CRITICS = {
    "whole": lambda signature: ProgressiveCritic(signature, [8, 8, 8], haar_levels=1),
    "patches": lambda signature: GrowingPatchCritic(signature, 3, 8, 1, haar_levels=1),
}


def growing(dimension: int, maps: int = 0, critic: str = "whole") -> tuple[ProgressiveGenerator, nn.Module]:
    signature = Signature(dimension, (16,) * dimension, 1, 0, maps)
    generator = shaken(ProgressiveGenerator(signature, 4, 8, [8, 8, 8], haar_levels=1))
    return generator, shaken(GROWING_CRITICS[critic](signature))


def test_at_first_a_growing_generator_has_no_more_freedom_than_its_coarsest_level():
    generator, _ = growing(2)
    z = torch.randn(12, 4, generator=seeded())
    generator.grow(0.0)
    with torch.no_grad():
        coarse = generator.generate(z, Batch(z)) - generator.head.template
        weight = generator.parts[0]
        cells = torch.eye(4).view(4, 1, 2, 2)
        shapes = F.interpolate(cells, size=(16, 16), mode="bilinear", align_corners=False).flatten(1)
        assert weight.out_channels == 1
        left = coarse.flatten(1) - coarse.flatten(1) @ torch.linalg.pinv(shapes) @ shapes
        assert left.abs().max() < 1e-4 * coarse.abs().max()
        generator.grow(1.0)
        fine = (generator.generate(z, Batch(z)) - generator.head.template).flatten(1)
        assert (fine - fine @ torch.linalg.pinv(shapes) @ shapes).abs().max() > 0.1


@pytest.mark.parametrize("judge", list(GROWING_CRITICS))
@pytest.mark.parametrize("dimension", [2, 3])
def test_grown_players_are_the_plain_ones_and_nothing_jumps_on_the_way(dimension, judge):
    generator, critic = growing(dimension, critic=judge)
    z = torch.randn(2, 4, generator=seeded())
    x = torch.randn(2, 1, *[16] * dimension, generator=seeded())

    def seen(progress: float | None) -> tuple[Tensor, Tensor]:
        for player in (generator, critic):
            if progress is not None:
                player.grow(progress)
        with torch.no_grad():
            return generator.generate(z, Batch(z)), critic(x)

    plain = seen(None)
    for progress in [WHOLE_AT * share for share in (0, 0.25, 0.5, 0.75, 1)]:
        for before, after in zip(seen(max(0.0, progress - 1e-6)), seen(progress + 1e-6)):
            torch.testing.assert_close(before, after, atol=1e-3, rtol=1e-3)
    assert all(torch.equal(one, other) for one, other in zip(seen(1.0), plain))
    assert not torch.allclose(seen(0.0)[0], plain[0], atol=0.1)


@pytest.mark.parametrize("judge", list(GROWING_CRITICS))
def test_a_critic_that_has_not_grown_sees_no_detail(judge):
    _, critic = growing(2, critic=judge)
    x = torch.randn(2, 1, 16, 16, generator=seeded())
    blurred = F.interpolate(F.avg_pool2d(x, 8), scale_factor=8, mode="nearest")
    critic.grow(0.0)
    torch.testing.assert_close(critic(x), critic(blurred))
    critic.grow(1.0)
    assert not torch.allclose(critic(x), critic(blurred), atol=1e-2)


def test_how_far_a_network_has_grown_is_kept_with_its_weights():
    """What minutes have ended is packaged as it was trained; a package of before that was kept is whole."""
    generator, _ = growing(2)
    z = torch.randn(2, 4, generator=seeded())
    whole = generator.generate(z, Batch(z))
    weights = generator.state_dict()
    old = {key: value for key, value in weights.items() if key != "growth._extra_state"}
    generator.grow(0.3)
    trained = generator.generate(z, Batch(z))
    assert not torch.allclose(trained, whole, atol=0.1)
    other, _ = growing(2)
    other.load_state_dict(generator.state_dict())
    assert torch.equal(other.generate(z, Batch(z)), trained)
    other.load_state_dict(old)
    assert torch.equal(other.generate(z, Batch(z)), whole)


def test_every_level_of_a_growing_generator_is_told_the_label_map():
    generator, _ = growing(2, maps=2)
    batch = batch_for(generator.signature, labels=2)
    other = Batch(batch.target, label_map=batch.label_map.flip(2))
    z = torch.zeros(2, 4)
    for progress in (0.0, 1.0):
        generator.grow(progress)
        assert not torch.allclose(generator.generate(z, batch), generator.generate(z, other), atol=1e-2)


# Styles and mixtures


def test_a_style_is_a_direction_and_grain_is_another_matter():
    generator = shaken(StyleGenerator(PLAIN, 4, 2, [8, 8], haar_levels=1))
    noise = torch.randn(2, *generator.noise_shape(), generator=seeded())
    batch = batch_for(PLAIN)
    longer, grained = noise.clone(), noise.clone()
    longer[:, :4] *= 3
    grained[:, 4:] *= -1
    made = generator.generate(noise, batch)
    torch.testing.assert_close(generator.generate(longer, batch), made, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(generator.generate(grained, batch), made, atol=1e-2)
    with torch.no_grad():
        for level in generator.levels:
            level.noise.zero_()
        torch.testing.assert_close(generator.generate(grained, batch), generator.generate(noise, batch))


@pytest.mark.parametrize("kind", ["style_generator", "generator_mixture", "deconvolution_generator", "dense_generator"])
def test_a_case_does_not_depend_on_its_neighbours(kind):
    system = shaken(build_system(Network(kind=kind), TOLD))
    batch = batch_for(TOLD)
    noise = torch.randn(2, *system.noise_shape(), generator=seeded())
    alone = Batch(batch.target[1:], vector=batch.vector[1:])
    made = system.generate(noise, batch)[1:]
    torch.testing.assert_close(system.generate(noise[1:], alone), made, atol=1e-4, rtol=1e-4)


def test_every_generator_of_a_mixture_makes_as_many_cases():
    mixture = shaken(GeneratorMixture(PLAIN, 3, 4, 8, [8, 8]))
    noise = torch.randn(3000, 5, generator=seeded())
    counts = mixture.chosen(noise).bincount()
    assert (counts - 1000).abs().max() < 100
    which = mixture.chosen(noise[:6])
    made = mixture.generate(noise[:6], Batch(noise[:6]))
    for index, one in enumerate(which.tolist()):
        own = mixture.generators[one].generate(noise[index : index + 1, :-1], Batch(noise[:1]))
        torch.testing.assert_close(made[index : index + 1], own, atol=1e-4, rtol=1e-4)


def test_generators_of_a_mixture_are_rewarded_for_being_told_apart():
    mixture = shaken(GeneratorMixture(PLAIN, 2, 4, 8, [8, 8]), 0.05).train()
    critic = OriginCritic(PLAIN, 2, [8, 8])
    critic.load_state_dict(shaken(critic, 0.05).state_dict())
    batch = Batch(torch.zeros(8, 1, 16, 16))
    play = Play(PLAIN, {"origin": critic}, seeded(), 0)

    def told_apart() -> float:
        outputs = mixture(batch, seeded(3))
        return CRITIC_LOSSES["origin"](critic, outputs, batch, play).item()

    assert told_apart() == pytest.approx(math.log(2), abs=0.1)
    players = torch.optim.Adam([*mixture.parameters(), *critic.parameters()], lr=5e-3)
    for step in range(60):
        outputs = mixture(batch, seeded(step))
        # The same term for both: here the game has no loser.
        loss = LOSSES["origin"](outputs, batch, play)
        players.zero_grad()
        loss.backward()
        players.step()
    assert told_apart() < 0.1


# Holes


def test_noise_matters_in_the_hole_and_nowhere_else_is_judged_by_the_critic_of_holes():
    signature = Signature(2, (32, 32), 1, 0, 3)
    filler = shaken(HoleFiller(signature, [4, 4, 4, 4, 4, 4]), 0.1)
    batch = batch_for(signature, labels=2)
    batch.source = batch.target * batch.label_map[:, :1]
    whole = Batch(batch.target, source=batch.target, label_map=torch.zeros(2, 2, 32, 32))
    whole.label_map[:, 0] = 1
    first, second = (torch.randn(2, *filler.noise_shape(), generator=seeded(seed)) for seed in (1, 2))
    assert not torch.allclose(filler.generate(first, batch), filler.generate(second, batch), atol=1e-4)
    assert torch.equal(filler.generate(first, whole), filler.generate(second, whole))
    critic = HoleCritic(signature, 8, 1).eval()
    hole = 1 - batch.label_map[:, :1]
    elsewhere, inside = batch.target + (1 - hole), batch.target + hole
    scores = [critic(torch.cat([x, batch.condition], dim=1)) for x in (batch.target, elsewhere, inside)]
    assert torch.equal(scores[0], scores[1]) and not torch.allclose(scores[0], scores[2])


@pytest.mark.parametrize(("name", "stage", "labels"), [("mcgan", "filler", 2), ("cae-acgan", "translator", 0)])
def test_covariates_reach_what_is_made_and_not_by_the_edge_of_the_window_alone(name, stage, labels):
    signature = Signature(2, (32, 32), 1, 0, 1 + labels + 5, KNOWN)
    torch.manual_seed(0)
    system = shaken(build_system(load_recipe(name).resolve(2).stages[stage].network, signature), 0.02)
    for module in system.modules():
        if isinstance(module, nn.Conv2d):
            # Without an edge: zeros beyond it would show where a constant channel is.
            module.padding_mode = "circular"
            module._reversed_padding_repeated_twice = [n for n in reversed(module.padding) for _ in range(2)]
    batch = batch_for(signature, labels=labels)
    batch.source = torch.rand(2, 1, 32, 32, generator=seeded(1)) * 2 - 1
    base = batch.source if getattr(system, "translator", system).from_source else 0
    noise = torch.randn(2, *system.noise_shape(), generator=seeded())
    with torch.no_grad():
        made, others = (
            system.generate(noise, replace(batch, vector=vector)) for vector in (batch.vector, batch.vector.flip(0))
        )
    assert (made - others).abs().mean() > 0.1 * (made - base).std()


# Fields


def smooth_velocity(dimension: int) -> Tensor:
    size = (24, 32) if dimension == 2 else (24, 24, 32)
    coarse = 1.2 * torch.randn(2, dimension, *[n // 8 for n in size], generator=seeded())
    return F.interpolate(coarse, size=size, mode="bilinear" if dimension == 2 else "trilinear", align_corners=False)


@pytest.mark.parametrize("dimension", [2, 3])
def test_the_field_of_the_opposite_velocity_undoes_a_field_and_neither_folds(dimension):
    velocity = smooth_velocity(dimension)
    there, back = integrate(velocity), integrate(-velocity)
    inner = (..., *[slice(6, -6)] * dimension)
    assert there[inner].abs().max() > 1.5
    assert compose(there, back)[inner].abs().max() < 0.15
    assert jacobian_determinant(there).min() > 0 and jacobian_determinant(back).min() > 0


def test_a_constant_velocity_moves_by_itself_and_a_linear_one_by_its_exponential():
    still = torch.ones(1, 2, 24, 24) * torch.tensor([2.0, -1.0]).view(1, 2, 1, 1)
    torch.testing.assert_close(integrate(still), still, atol=1e-4, rtol=0)
    places = torch.arange(33.0) - 16
    growth = torch.stack(torch.meshgrid(places, places, indexing="ij"))[None] * 0.2
    wanted = growth / 0.2 * (math.exp(0.2) - 1)
    torch.testing.assert_close(integrate(growth)[..., 8:-8, 8:-8], wanted[..., 8:-8, 8:-8], atol=0.02, rtol=0)
    exact = torch.full((17, 17), math.exp(0.4))
    torch.testing.assert_close(jacobian_determinant(integrate(growth))[0, 8:-8, 8:-8], exact, atol=0.01, rtol=0)


def test_smoothness_is_nothing_for_a_shift_and_the_squared_slope_for_a_ramp():
    ramp = torch.zeros(1, 2, 8, 8)
    ramp[0, 0] = 3 * torch.arange(8.0).view(8, 1)
    batch = Batch(torch.zeros(1, 1, 8, 8))
    assert LOSSES["smoothness"]({"velocity": torch.full((1, 2, 8, 8), 5.0)}, batch, play(PLAIN)) == 0
    # One of two components, along one of two axes.
    assert LOSSES["smoothness"]({"velocity": ramp}, batch, play(PLAIN)).item() == pytest.approx(9 / 4)


@pytest.mark.parametrize("dimension", [2, 3])
def test_a_counterfactual_starts_as_the_case_and_never_folds_whatever_its_weights(dimension):
    signature = Signature(dimension, (16,) * dimension, 1, 0, 6, KNOWN)
    warper = CounterfactualWarper(signature, [8, 8, 8])
    batch = batch_for(signature)
    batch.source = batch.target
    made = warper(batch, seeded(1))
    torch.testing.assert_close(made["generated"], batch.source, atol=1e-4, rtol=0)
    shaken(warper, 1.0)
    velocity = warper.velocity(batch)
    assert velocity.abs().max() > 0.5
    assert jacobian_determinant(integrate(velocity)).min() > 0
    torch.testing.assert_close(warp(batch.source, 0 * velocity), batch.source, atol=1e-4, rtol=0)


def test_a_counterfactual_is_trained_for_the_covariates_of_another_case():
    signature = Signature(2, (16, 16), 1, 0, 6, KNOWN)
    batch = batch_for(signature)
    batch.source = batch.target
    asked = [CounterfactualWarper(signature, [8, 8])(batch, seeded(seed))["wanted"] for seed in range(4)]
    assert any(torch.equal(one, batch.vector.flip(0)) for one in asked)
    assert all(one.sort(dim=0).values.equal(batch.vector.sort(dim=0).values) for one in asked)


@pytest.fixture(scope="module")
def flat(tmp_path_factory) -> Cohort:
    return blob_cohort(tmp_path_factory.mktemp("data"), 24, flat=True)


def test_a_patient_is_translated_to_the_covariates_that_are_asked_for(flat, tmp_path):
    options = tiny_options("countersynth", 4, learning_rate=0.02, channels=["A"], source_channels=["A"])
    package = train(flat, options, tmp_path / "package", "cpu", Silent())
    one = flat.with_cases(flat.cases[:1])

    def made(name: str, **conditions: float | str):
        parameters = TranslationParameters(conditions=conditions)
        return translate(package, one, tmp_path / name, parameters, device="cpu").cases[0]

    own, larger = made("own"), made("larger", radius=4.9, kind="large")
    assert own.covariates == flat.cases[0].covariates
    assert larger.covariates == {"radius": 4.9, "kind": "large"}
    assert (own.volume("A").array != larger.volume("A").array).any()
    again = remake(Record.read(larger.record), package, flat.cases[0])
    assert (again["A"].array == larger.volume("A").array).all()
    with pytest.raises(GenaugError, match="colour"):
        made("none", colour="blue")


# Learning


def discrepancy(x: Tensor, y: Tensor) -> float:
    """Squared maximum mean discrepancy with a Gaussian kernel as wide as the median distance."""
    both = torch.cat([x, y]).flatten(1)
    squared = torch.cdist(both, both).square()
    kernel = torch.exp(-squared / squared[: len(x), : len(x)].median().clamp(min=1e-6))
    n = len(x)
    return float(kernel[:n, :n].mean() + kernel[n:, n:].mean() - 2 * kernel[:n, n:].mean())


def test_an_autoencoder_between_critics_comes_nearer_to_the_cohort_than_its_mean(flat, tmp_path):
    options = tiny_options("alpha-gan", 1000, learning_rate=1e-3, batch_size=8, with_labels=False)
    package = train(flat, options, tmp_path / "package", "cpu", Silent())
    system = load_package(package).system
    assert isinstance(system, AdversarialAutoencoder)
    store = TensorStore(training_folder(package) / "tensors", system.signature.window)
    real = store.batch(range(len(store)), np.random.default_rng(0)).target
    noise = torch.randn(len(store), *system.noise_shape(), generator=seeded())
    with torch.no_grad():
        made = torch.tanh(system.generate(noise, Batch(torch.zeros_like(real))))
    smooth = [F.avg_pool2d(x, 2) for x in (real, made, store.mean().expand_as(real))]
    trained, untrained = (discrepancy(smooth[0], other) for other in smooth[1:])
    assert trained < 0.8 * untrained
