"""The VAE family on data whose answers are known, and its losses beside pythae's on the same numbers."""

import math

import pytest
import torch
from genaug.errors import GenaugError
from genaug.networks import Batch, Signature, build_system
from genaug.networks.hamiltonian import inverse_temperature, leapfrog
from genaug.networks.iaf import InverseAutoregressiveFlow
from genaug.networks.made import Made
from genaug.networks.metric import Metric, uniform
from genaug.networks.riemannian import generalised_leapfrog
from genaug.objectives import LOSSES, Play
from genaug.recipe import Network, load_recipe
from torch.distributions import MultivariateNormal, Normal, kl_divergence

FLAT = Signature(2, (8, 8), 1, 2, 0)
PATH = {"start": 8, "channels": [8, 8], "encoder_channels": [8, 8]}


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def normal(*shape, seed=0, dtype=torch.float32):
    return torch.randn(shape, generator=seeded(seed), dtype=torch.float64).to(dtype)


def build(kind, signature=FLAT, seed=0, **options):
    torch.manual_seed(seed)
    path = PATH if kind.endswith("autoencoder") and kind != "quantised_autoencoder" else {}
    return build_system(Network(kind=kind, options={**path, **options}), signature)


def shaken(module, scale=0.3):
    """Random weights everywhere, those that start at zero too."""
    with torch.no_grad():
        for index, parameter in enumerate(module.parameters()):
            parameter.add_(scale * normal(*parameter.shape, seed=index).to(parameter))
    return module


def cases(count=4, signature=FLAT):
    labels = torch.zeros(count, *signature.window, dtype=torch.long)
    labels[:, 2:5, 2:5] = 1
    hot = torch.nn.functional.one_hot(labels, 2).movedim(-1, 1).float()
    return Batch(torch.cat([normal(count, 1, *signature.window).tanh(), 2 * hot - 1], 1))


def play(signature=FLAT, iteration=0):
    return Play(signature, {}, seeded(), iteration)


def jacobian(function, x):
    return torch.autograd.functional.jacobian(lambda row: function(row[None])[0], x)


# Flows


def test_a_masked_network_looks_back_only():
    made = shaken(Made(5, 16, 3)).double()
    context = normal(1, 3, dtype=torch.float64)
    for part in range(2):
        slope = jacobian(lambda x, part=part: made(x, context)[part], normal(5, dtype=torch.float64))
        assert torch.equal(slope.triu(), torch.zeros(5, 5, dtype=torch.float64))
        assert slope.tril(-1).abs().sum() > 0


def test_the_flow_knows_its_jacobian():
    flow = shaken(InverseAutoregressiveFlow(5, 3, 16, 3)).double()
    x, context = normal(5, dtype=torch.float64), normal(1, 3, seed=1, dtype=torch.float64)
    slope = jacobian(lambda z: flow(z, context)[0], x)
    torch.testing.assert_close(flow(x[None], context)[1][0], torch.linalg.slogdet(slope)[1])


def test_a_flow_prior_goes_there_and_back_and_knows_its_volume():
    prior = shaken(build("flow_prior", Signature(2, (), 4, 0, 0, (("class", 2),)), hidden=16)).double()
    batch = Batch(normal(6, 4, dtype=torch.float64), vector=normal(6, 2, seed=1, dtype=torch.float64))
    noise, log_determinant = prior.to_noise(batch.target, batch)
    torch.testing.assert_close(prior.draw(noise, batch), batch.target)
    first = Batch(batch.target[:1], vector=batch.vector[:1])
    slope = jacobian(lambda x: prior.to_noise(x, first)[0], batch.target[0])
    torch.testing.assert_close(log_determinant[0], torch.linalg.slogdet(slope)[1])


def test_an_untrained_flow_prior_is_the_standard_normal():
    prior = build("flow_prior", Signature(2, (), 4, 0, 0))
    codes = normal(6, 4)
    torch.testing.assert_close(prior.log_density(codes, Batch(codes)), Normal(0, 1).log_prob(codes).sum(1))


def test_the_divergence_of_a_flow_posterior_is_that_of_its_gaussian_when_it_does_not_bend():
    """With steps that do nothing, the sampled divergence is the closed one on average."""
    system = build("flow_autoencoder", latent=6, steps=0)
    batch, found = cases(2), []
    for seed in range(400):
        outputs = system(batch, seeded(seed))
        found.append(LOSSES["sampled_kl"](outputs, batch, play()).item())
    expected = LOSSES["kl"](outputs, batch, play()).item()
    assert sum(found) / len(found) == pytest.approx(expected, abs=5 * torch.tensor(found).std().item() / 20)


# Dynamics


def quartic(z):
    return z**3 + z.roll(1, dims=1) + z.roll(-1, dims=1)


def test_leapfrog_is_reversible_and_keeps_volumes():
    code, momentum = normal(1, 3, dtype=torch.float64), normal(1, 3, seed=1, dtype=torch.float64)
    there = leapfrog(code, momentum, quartic, 0.1)
    back = leapfrog(there[0], -there[1], quartic, 0.1)
    torch.testing.assert_close(back[0], code)
    torch.testing.assert_close(back[1], -momentum)
    both = torch.cat([code[0], momentum[0]])
    slope = jacobian(lambda x: torch.cat(leapfrog(x[:, :3], x[:, 3:], quartic, 0.1), 1), both)
    assert torch.linalg.det(slope).item() == pytest.approx(1, abs=1e-10)


def test_leapfrog_keeps_energy_to_second_order():
    def drift(steps):
        code, momentum = torch.ones(1, 1, dtype=torch.float64), torch.ones(1, 1, dtype=torch.float64)
        for _ in range(steps):
            code, momentum = leapfrog(code, momentum, lambda z: z**3, 1 / steps)
        return abs(float(code**4 / 4 + momentum**2 / 2 - 0.75))

    assert math.log2(drift(20) / drift(40)) == pytest.approx(2, abs=0.1)


def test_cooling_ends_at_one():
    assert inverse_temperature(0, 4, 0.3) == pytest.approx(0.3**0.5)
    assert inverse_temperature(4, 4, 0.3) == 1


def toy(count=5, size=3, temperature=1.2, floor=0.05, dtype=torch.float64):
    factors = normal(count, size, size, seed=1, dtype=dtype).tril() + 0.5 * torch.eye(size, dtype=dtype)
    return Metric(normal(count, size, dtype=dtype), factors, torch.ones(count, dtype=dtype), temperature, floor)


def test_the_metric_is_positive_definite_everywhere():
    metric = toy()
    for far in (0.1, 1.0, 100.0):
        eigenvalues = torch.linalg.eigvalsh(metric.inverse(far * normal(20, 3, seed=2, dtype=torch.float64)))
        assert eigenvalues.min() >= metric.floor * (1 - 1e-9)


def test_the_volume_element_and_its_slopes_are_those_of_the_metric():
    metric = toy()
    z = normal(4, 3, seed=2, dtype=torch.float64).requires_grad_(True)
    rho = normal(4, 3, seed=3, dtype=torch.float64)
    direct = 0.5 * torch.logdet(torch.linalg.inv(metric.inverse(z)))
    torch.testing.assert_close(metric.log_volume(z), direct)
    torch.testing.assert_close(metric.volume_slope(z), torch.autograd.grad(direct.sum(), z)[0])
    kinetic = 0.5 * torch.einsum("bi,bij,bj->", rho, metric.inverse(z), rho)
    torch.testing.assert_close(metric.kinetic_slope(z, rho), torch.autograd.grad(kinetic, z)[0])


def test_generalised_leapfrog_is_reversible_and_keeps_volumes():
    metric, step = toy(), 0.02

    def move(code, momentum):
        moved = generalised_leapfrog(code, momentum, quartic(code), quartic, metric, step)
        return moved[0], moved[1]

    code, momentum = 0.5 * normal(1, 3, seed=2, dtype=torch.float64), normal(1, 3, seed=3, dtype=torch.float64)
    there = move(code, momentum)
    back = move(there[0], -there[1])
    assert (there[0] - code).abs().max() > 1e-3
    torch.testing.assert_close(back[0], code, atol=1e-5, rtol=0)
    torch.testing.assert_close(back[1], -momentum, atol=1e-5, rtol=0)
    slope = jacobian(lambda x: torch.cat(move(x[:, :3], x[:, 3:]), 1), torch.cat([code[0], momentum[0]]))
    assert torch.linalg.det(slope).item() == pytest.approx(1, abs=1e-5)


def test_in_a_flat_metric_the_generalised_leapfrog_is_the_plain_one():
    flat = Metric(torch.zeros(1, 3), torch.zeros(1, 3, 3), torch.ones(1), 1.0, 1.0)
    code, momentum = normal(2, 3), normal(2, 3, seed=1)
    moved = generalised_leapfrog(code, momentum, quartic(code), quartic, flat, 0.1)
    expected = leapfrog(code, momentum, quartic, 0.1)
    torch.testing.assert_close(moved[0], expected[0])
    torch.testing.assert_close(moved[1], expected[1])


def test_a_walk_settles_at_the_inverse_volume_element():
    """Around a single centroid sqrt(det G^-1) is a Gaussian of variance T^2 / latent, whatever its matrix."""
    temperature, size, walkers = 1.3, 2, 3000
    shape = torch.tensor([[2.0, 0.0], [0.7, 0.5]])
    metric = Metric(torch.tensor([[1.0, -2.0]]), shape[None], torch.ones(1), temperature, 1e-9)
    generator = seeded()
    code = metric.walk(lambda: torch.randn(walkers, size + 1, generator=generator), 25, 5, 0.25)
    variance = temperature**2 / size
    torch.testing.assert_close(code.mean(0), metric.centroids[0], atol=4 * (variance / walkers) ** 0.5, rtol=0)
    spread = torch.cov(code.T)
    torch.testing.assert_close(spread, variance * torch.eye(size), atol=4 * variance * (2 / walkers) ** 0.5, rtol=0)


def test_uniform_numbers_are_the_normal_ones_distribution():
    x = torch.linspace(-3, 3, 7, dtype=torch.float64)
    torch.testing.assert_close(uniform(x), Normal(0.0, 1.0).cdf(x))


def test_hamiltonian_steps_bring_codes_to_where_they_explain_the_case():
    system = shaken(build("hamiltonian_autoencoder", latent=4, likelihood=50.0, step=0.05, leapfrog_steps=4, cold=1.0))
    batch = cases()
    outputs = system(batch, seeded())
    with torch.no_grad():
        start = system.encode(batch)
        first = start[0] + (0.5 * start[1]).exp() * torch.randn(4, 4, generator=seeded())
        assert system.potential(outputs["code"], batch).mean() < system.potential(first, batch).mean()


@pytest.mark.parametrize("name", ["hvae", "rhvae"])
def test_dynamics_climb_what_the_objective_asks_for(name):
    stage = load_recipe(name).stages["vae"]
    options, loss = stage.network.options, stage.loss
    assert options["labels"] == loss["cross_entropy"].weight
    assert options["likelihood"] == pytest.approx(options["latent"] / loss["sampled_kl"].weight)


def test_hamiltonian_posterior_without_steps_is_the_gaussian_one():
    system = build("hamiltonian_autoencoder", latent=4, leapfrog_steps=0, cold=1.0)
    batch = cases()
    outputs = system(batch, seeded())
    mean, deviation = outputs["mean"], (0.5 * outputs["log_variance"]).exp()
    code = mean + deviation * torch.randn(4, 4, generator=seeded())
    torch.testing.assert_close(outputs["code"], code)
    log_ratio = Normal(mean, deviation).log_prob(code).sum(1) - Normal(0, 1).log_prob(code).sum(1)
    torch.testing.assert_close(outputs["log_posterior"] - outputs["log_prior"], log_ratio)


def test_a_riemannian_autoencoder_draws_near_the_cases_it_was_told_of():
    system = build("riemannian_autoencoder", latent=2, kept=3, walks=20, floor=1e-3).eval()
    batch = cases(5)
    shaken(system.posterior, 2.0)
    system.remember(Batch(batch.target[first : first + 2]) for first in (0, 2, 4))
    assert system.filled.tolist() == [1, 1, 1]
    torch.testing.assert_close(system.centroids[0], system.codes(batch)[0])
    torch.testing.assert_close(system.centroids[2], system.codes(batch)[4])
    lower = system.factors
    assert torch.equal(lower, lower.tril()) and (lower.diagonal(dim1=1, dim2=2) > 0).all()
    generator = seeded()
    code = system.metric.walk(lambda: torch.randn(200, 3, generator=generator), 20, 5, 0.1)
    nearest = torch.cdist(code, system.centroids).min(1).values
    assert nearest.median() < 1.5 * system.temperature


# Blocks, players, planes


def test_told_block_divergence_is_the_one_of_torch():
    mean, log_variance, prior_mean, prior_log_variance = (normal(4, 3, seed=seed) for seed in range(4))
    outputs = {
        "told_mean": mean,
        "told_log_variance": log_variance,
        "prior_mean": prior_mean,
        "prior_log_variance": prior_log_variance,
    }
    posterior, prior = Normal(mean, (log_variance / 2).exp()), Normal(prior_mean, (prior_log_variance / 2).exp())
    torch.testing.assert_close(
        LOSSES["told_kl"](outputs, cases(), play()), kl_divergence(posterior, prior).mean(), rtol=1e-5, atol=1e-6
    )


KNOWN = Signature(2, (8, 8), 1, 2, 5, (("class", 3), ("number", 2)))


def test_what_is_not_known_is_not_asked_for():
    vector = torch.tensor([[1.0, 0, 0, 1, 0.5], [0, 0, 0, 1, -1], [0, 1, 0, 0, 0]])
    right = {"raw": torch.zeros(1), "read": torch.tensor([[50.0, 0, 0, 1, 0.5], [7, 8, 9, 1, -1], [0, 50, 0, 3, 3]])}
    batch = Batch(torch.zeros(3, 3, 8, 8), vector=vector)
    assert LOSSES["read_vector"](right, batch, play(KNOWN)).item() == pytest.approx(0, abs=1e-6)
    wrong = {**right, "read": -right["read"]}
    assert LOSSES["read_vector"](wrong, batch, play(KNOWN)).item() > 1
    nothing = Batch(batch.target, vector=torch.zeros(3, 5))
    assert LOSSES["read_vector"](wrong, nothing, play(KNOWN)).item() == 0


def test_the_class_reaches_a_case_through_the_told_block_alone():
    system = shaken(build("independent_autoencoder", KNOWN, latent=3, told=2)).eval()
    batch = cases(2)
    batch.vector = torch.tensor([[1.0, 0, 0, 1, 0.5], [0, 1, 0, 1, -0.5]])
    noise = normal(2, 5)
    noise[1] = noise[0]
    from genaug.recipe import Sampler

    made = system.sample(lambda: noise, batch, Sampler())
    assert not torch.allclose(made[0], made[1])
    torch.testing.assert_close(system.generate(noise, batch)[0], system.generate(noise, batch)[1])
    without = Batch(batch.target)
    torch.testing.assert_close(system.codes(batch), system.codes(without))


def test_introspection_gives_each_player_its_own_gradient():
    system = shaken(build("introspective_autoencoder", latent=4))
    batch = cases()
    encoder = [*system.down.parameters(), *system.posterior.parameters()]
    decoder = list(system.up.parameters())

    def gradients(term):
        outputs = system(batch, seeded())
        found = torch.autograd.grad(term(outputs), encoder + decoder, allow_unused=True)
        touched = [one is not None and bool(one.abs().sum() > 0) for one in found]
        return any(touched[: len(encoder)]), any(touched[len(encoder) :])

    assert gradients(lambda o: o["fake_mean"].square().sum()) == (True, False)
    assert gradients(lambda o: o["fooled_mean"].square().sum()) == (False, True)
    outputs = system(batch, seeded())
    torch.testing.assert_close(outputs["fake_mean"], outputs["fooled_mean"])


def test_the_judging_encoder_sees_what_was_scanned_alone(monkeypatch):
    """Neither of a real case nor of a fake: the edges carried on beyond a real one would tell the two apart."""
    system = shaken(build("introspective_autoencoder", latent=4))
    inside = torch.zeros(4, 1, 8, 8)
    inside[:, :, 1:7, 2:6] = 1
    generate, made = system.generate, []

    def kept(noise, batch):
        made.append(generate(noise, batch))
        return made[-1]

    monkeypatch.setattr(system, "generate", kept)
    terms = load_recipe("introvae").stages["vae"].loss
    found = []
    for beyond in (-1.0, 1.0):
        batch = cases()
        batch = Batch(batch.target * inside + beyond * (1 - inside), inside=inside)
        outputs = system(batch, seeded())
        found.append({name: LOSSES[name](outputs, batch, play(), **term.options) for name, term in terms.items()})
    torch.testing.assert_close(found[0], found[1])
    fakes = made[-2]
    slope = torch.autograd.grad(outputs["fooled_mean"].square().sum(), fakes)[0]
    beyond = 1 - torch.cat([inside] * 2)
    assert slope.abs().sum() > 0 and (slope * beyond).abs().max() == 0


def test_the_margin_is_a_tug_of_war():
    def outputs(level):
        far = torch.full((2, 4), math.sqrt(2 * level))
        return {"fake_mean": far, "fooled_mean": far, "fake_log_variance": 0 * far, "fooled_log_variance": 0 * far}

    assert LOSSES["margin"](outputs(0.25), cases(), play(), level=1.0).item() == pytest.approx(0.75 + 0.25)
    assert LOSSES["margin"](outputs(3.0), cases(), play(), level=1.0).item() == pytest.approx(3.0)


def test_planes_have_nothing_to_do_with_each_other_until_there_is_a_prior():
    solid = Signature(3, (8, 8, 4), 1, 2, 0)
    system = shaken(build("slice_autoencoder", solid, latent=3)).eval()
    batch = Batch(normal(2, 3, 8, 8, 4).tanh())
    codes = system.codes(batch)
    assert codes.shape == (2, *system.noise_shape()) == (2, 3, 4)
    torch.testing.assert_close(system.plane.codes(Batch(batch.target[..., 1])), codes[..., 1])
    changed = codes.clone()
    changed[..., 2] += 1
    before, after = system.generate(codes, batch), system.generate(changed, batch)
    assert (before != after).any(dim=(0, 1, 2, 3)).tolist() == [False, False, True, False]


def test_an_encoder_sees_noise_in_training_only_and_the_target_stays_clean():
    system = build("vector_autoencoder", latent=4, corruption=0.5)
    batch = cases()
    clean = batch.target.clone()
    seen = system.corrupted(batch, seeded())
    assert (seen.target - clean).std().item() == pytest.approx(0.5, rel=0.1)
    assert torch.equal(batch.target, clean)


# Discrepancy


@pytest.mark.parametrize("kernel", ["imq", "gaussian"])
def test_the_discrepancy_is_zero_on_average_for_equal_distributions(kernel):
    from genaug.objectives.latent import unbiased_mmd

    found = torch.stack([unbiased_mmd(normal(8, 4, seed=i), normal(8, 4, seed=i + 10**4), kernel) for i in range(1000)])
    assert found.mean().item() == pytest.approx(0, abs=4 * found.std().item() / 1000**0.5)
    apart = unbiased_mmd(normal(64, 4), normal(64, 4, seed=1) + 2, kernel)
    assert apart > 10 * found.std()


def test_the_discrepancy_does_not_depend_on_the_order_of_cases():
    from genaug.objectives.latent import unbiased_mmd

    x, y = normal(9, 4), normal(7, 4, seed=1)
    order = torch.randperm(9, generator=seeded())
    torch.testing.assert_close(unbiased_mmd(x[order], y), unbiased_mmd(x, y))


# Codebooks


def test_quantising_is_straight_through():
    from genaug.networks.codebook import Codebook

    book = Codebook(8, 4).eval()
    book.entries.copy_(normal(8, 4))
    x = normal(2, 4, 3, 3, seed=1).requires_grad_(True)
    through, nearest, which = book(x, seeded())
    torch.testing.assert_close(through, nearest)
    distances = torch.cdist(x.detach().movedim(1, -1).reshape(-1, 4), book.entries)
    assert torch.equal(which.flatten(), distances.argmin(1))
    weight = normal(2, 4, 3, 3, seed=2)
    torch.testing.assert_close(torch.autograd.grad((through * weight).sum(), x)[0], weight)


def test_entries_follow_the_mean_of_what_chose_them():
    from genaug.networks.codebook import Codebook

    book = Codebook(2, 1, decay=0.9)
    for name, value in {"entries": [[0.0], [10.0]], "sums": [[0.0], [20.0]]}.items():
        getattr(book, name).copy_(torch.tensor(value))
    book.used.copy_(torch.tensor([2.0, 2.0]))
    book(torch.tensor([1.0, 3.0, 8.0]).view(3, 1), seeded())
    torch.testing.assert_close(book.used, torch.tensor([2.0, 1.9]))
    torch.testing.assert_close(book.entries.flatten(), torch.tensor([0.4 / 2.0, (0.9 * 20 + 0.8) / 1.9]))


def test_a_codebook_keeps_its_precision_under_autocast():
    from genaug.networks.codebook import Codebook

    found = []
    for half in (False, True):
        book = Codebook(8, 4)
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            which = book(normal(64, 4), seeded())[2]
        found.append((which, book.sums))
    torch.testing.assert_close(found[1], found[0])


@pytest.mark.parametrize("decay", [0.9, None])
def test_entries_that_nobody_chooses_go_where_there_is_use_for_them(decay):
    from genaug.networks.codebook import Codebook

    book = Codebook(8, 2, decay)
    with torch.no_grad():
        book.entries.copy_(1000 + normal(8, 2))
        book.used.fill_(1)
    centres = 10 * normal(8, 2)
    for step in range(100 if decay else 400):
        book(centres.repeat(8, 1) + 0.01 * normal(64, 2, seed=step), seeded(step))
    book.eval()
    assert torch.cdist(book.entries, centres).min(1).values.max() < 25
    assert len(book(centres, seeded())[2].unique()) >= 5


@pytest.mark.parametrize("levels", [1, 2])
def test_discrete_codes_are_what_is_decoded_in_training(levels):
    system = shaken(build("quantised_autoencoder", entries=16, width=4, channels=[8, 8], levels=levels))
    batch = cases(2)
    system(batch, seeded())
    system.eval()
    codes = system.codes(batch)
    assert codes.shape == (2, *system.noise_shape()) and codes.dtype == torch.long
    assert system.noise_shape() == (4 if levels == 1 else 5,)
    torch.testing.assert_close(system.generate(codes, batch), system(batch, seeded())["raw"], atol=1e-4, rtol=1e-4)


def test_an_autoregressive_prior_draws_from_its_own_distribution():
    prior = shaken(build("autoregressive_prior", Signature(2, (), 2, 0, 0), entries=3, width=8, depth=1, heads=2), 1.0)
    prior.eval()
    count, nothing = 4000, Batch(torch.zeros(4000, 2))
    generator = seeded()
    with torch.no_grad():
        drawn = prior.sample(lambda: torch.randn(count, 2, generator=generator), nothing, None)
        firsts = prior.logits(torch.empty(1, 0, dtype=torch.long), nothing)[0, 0].softmax(0)
        seconds = prior.logits(torch.arange(3)[:, None], nothing)[:, 1].softmax(1)
    expected = (firsts[:, None] * seconds).flatten()
    found = torch.bincount(3 * drawn[:, 0] + drawn[:, 1], minlength=9) / count
    assert (found - expected).abs().max() < 4 * 0.5 / count**0.5
    assert expected.max() - expected.min() > 0.05


def test_an_autoregressive_prior_does_not_look_ahead():
    prior = shaken(build("autoregressive_prior", Signature(2, (), 5, 0, 0), entries=4, width=8, depth=2, heads=2))
    prior.eval()
    codes = torch.tensor([[0, 1, 2, 3]])
    changed = torch.tensor([[0, 1, 3, 0]])
    before, after = prior.logits(codes, Batch(codes)), prior.logits(changed, Batch(codes))
    torch.testing.assert_close(before[:, :3], after[:, :3])
    assert not torch.allclose(before[:, 3:], after[:, 3:])


# Priors


def test_a_mixture_prior_finds_two_modes():
    modes = torch.tensor([[3.0, 0, 0], [-3.0, 1, 0]])
    which = (torch.rand(400, generator=seeded()) < 0.3).long()
    codes = modes[which] + 0.5 * normal(400, 3, seed=1)
    prior = build("mixture_prior", Signature(2, (), 3, 0, 0), components=2, floor=1e-4)
    prior.fit(Batch(codes))
    order = prior.means[:, 0].argsort(descending=True)
    torch.testing.assert_close(prior.means[order].detach(), modes, atol=0.15, rtol=0)
    drawn = prior.draw(normal(4000, 4, seed=2), Batch(codes)).detach()
    assert (drawn[:, 0] < 0).float().mean().item() == pytest.approx(which.float().mean().item(), abs=0.03)
    torch.testing.assert_close(drawn.std(0), codes.std(0), atol=0.12, rtol=0)
    parts = torch.stack(
        [MultivariateNormal(m, scale_tril=f).log_prob(codes) for m, f in zip(prior.means, prior.factors)]
    )
    expected = torch.logsumexp(parts + prior.log_weights.softmax(0).log()[:, None], 0)
    torch.testing.assert_close(prior.log_density(codes, Batch(codes)), expected, rtol=1e-4, atol=1e-4)


def test_a_mixture_of_few_cases_has_fewer_components():
    prior = build("mixture_prior", Signature(2, (), 3, 0, 0), components=5, cases_each=4)
    codes = normal(8, 3)
    prior.fit(Batch(codes))
    weights = prior.log_weights.softmax(0)
    assert weights[2:].max() == 0 and weights.sum().item() == pytest.approx(1)
    assert torch.isfinite(prior.draw(normal(50, 4), Batch(codes))).all()


def test_a_gaussian_prior_has_the_codes_moments_and_follows_what_is_known():
    root = torch.tensor([[1.0, 0, 0], [0.8, 0.5, 0], [0, 0.3, 0.4]])
    vector = torch.nn.functional.one_hot(torch.arange(3000) % 2, 2).float()
    codes = normal(3000, 3) @ root.T + 2 * vector[:, :1]
    prior = build("gaussian_prior", Signature(2, (), 3, 0, 0, (("class", 2),)))
    prior.fit(Batch(codes, vector=vector))
    drawn = prior.draw(normal(3000, 3, seed=1), Batch(codes, vector=vector)).detach()
    torch.testing.assert_close(torch.cov(drawn.T), torch.cov(codes.T), atol=0.12, rtol=0)
    torch.testing.assert_close((prior.factor @ prior.factor.T).detach(), root @ root.T, atol=0.1, rtol=0)
    kinds = [drawn[vector[:, i] == 1].mean(0) for i in range(2)]
    torch.testing.assert_close(kinds[0] - kinds[1], torch.full((3,), 2.0), atol=0.1, rtol=0)
    batch = Batch(codes[:5], vector=vector[:5])
    expected = MultivariateNormal(prior.expected(batch), scale_tril=prior.factor).log_prob(codes[:5])
    torch.testing.assert_close(prior.log_density(codes[:5], batch), expected, rtol=1e-4, atol=1e-4)


# Beside pythae


def pythae_losses(cls, **settings):
    """A model of pythae without networks, for its loss functions."""
    pythae = pytest.importorskip("pythae.models", reason="pythae is the second opinion on these losses")
    model = getattr(pythae, cls).__new__(getattr(pythae, cls))
    torch.nn.Module.__init__(model)
    config = type("Config", (), {"reconstruction_loss": "mse", "latent_dim": 4, "kernel_bandwidth": 1.0, **settings})
    model.model_config, model.latent_dim = config, 4
    return model


def test_kl_agrees_with_pythae():
    mean, log_variance, x = normal(6, 4), normal(6, 4, seed=1), torch.zeros(6, 3)
    theirs = pythae_losses("VAE").loss_function(x, x, mean, log_variance, mean)[2]
    ours = LOSSES["kl"]({"mean": mean, "log_variance": log_variance}, cases(), play())
    torch.testing.assert_close(4 * ours, theirs)


@pytest.mark.parametrize("kernel", ["imq", "rbf"])
def test_mmd_agrees_with_pythae(kernel):
    code = normal(6, 4)
    prior = torch.randn(6, 4, generator=seeded())
    model = pythae_losses("INFOVAE_MMD")
    model.kernel_choice, model.alpha, model.lbd, model.scales = kernel, 0.0, 1.0, [0.1, 0.2, 0.5, 1.0, 2.0, 5, 10.0]
    theirs = model.loss_function(torch.zeros(6, 3), torch.zeros(6, 3), code, prior, code, code)[3]
    ours = LOSSES["mmd"]({"code": code}, cases(), play(), kernel="gaussian" if kernel == "rbf" else kernel)
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


def test_the_flow_posterior_agrees_with_pythae():
    system = shaken(build("flow_autoencoder", latent=4, steps=2))
    batch = cases()
    outputs = system(batch, seeded())
    noise = torch.randn(4, 4, generator=seeded())
    start = outputs["mean"] + (0.5 * outputs["log_variance"]).exp() * noise
    code, log_determinant = system.flow(start, system.context(system.features(batch)))
    x = torch.zeros(4, 3)
    model = pythae_losses("VAE_IAF")
    theirs = model.loss_function(x, x, outputs["mean"], outputs["log_variance"], start, code, log_determinant)[2]
    torch.testing.assert_close(4 * LOSSES["sampled_kl"](outputs, batch, play()), theirs)


def test_the_hamiltonian_bound_agrees_with_pythae():
    """pythae leaves out what does not depend on the weights: half the squares of the two draws."""
    system = build("hamiltonian_autoencoder", latent=4, leapfrog_steps=2, likelihood=5.0)
    batch = cases()
    outputs = system(batch, seeded())
    generator = seeded()
    draws = torch.randn(4, 4, generator=generator).square() + torch.randn(4, 4, generator=generator).square()
    momentum = (-2 * outputs["log_prior"] - outputs["code"].square().sum(1)).sqrt()[:, None]
    model = pythae_losses("HVAE")
    model.decoder = lambda z: {"reconstruction": torch.zeros(4, 3)}
    x = torch.zeros(4, 3)
    theirs = model.loss_function(
        x, outputs["code"], momentum, outputs["code"], outputs["mean"], outputs["log_variance"]
    )
    ours = 4 * LOSSES["sampled_kl"](outputs, batch, play())
    torch.testing.assert_close(ours + 0.5 * draws.sum(1).mean(), theirs)


def test_commitment_agrees_with_pythae():
    pytest.importorskip("pythae", reason="pythae is the second opinion on these losses")
    from genaug.networks.codebook import Codebook
    from pythae.models.vq_vae.vq_vae_utils import Quantizer

    settings = {"embedding_dim": 4, "num_embeddings": 8, "commitment_loss_factor": 0.25, "quantization_loss_factor": 1}
    theirs = Quantizer(type("Config", (), settings))
    book = Codebook(8, 4, decay=None).eval()
    with torch.no_grad():
        book.entries.copy_(theirs.embeddings.weight)
    x = normal(2, 4, 3, 3).requires_grad_(True)
    expected = theirs(x.movedim(1, -1))
    _, nearest, which = book(x, seeded())
    assert torch.equal(which, expected.quantized_indices[:, 0])
    ours = LOSSES["commitment"]({"encoded": x, "nearest": nearest}, cases(), play(), share=0.25)
    torch.testing.assert_close(ours, expected.loss)
    slopes = (
        torch.autograd.grad(ours, [x, book.entries]),
        torch.autograd.grad(expected.loss, [x, theirs.embeddings.weight]),
    )
    torch.testing.assert_close(slopes[0], slopes[1])


def test_a_discrepancy_cannot_be_told_from_one_case():
    with pytest.raises(GenaugError, match="at least 2"):
        LOSSES["mmd"]({"code": normal(1, 4)}, cases(1), play())
