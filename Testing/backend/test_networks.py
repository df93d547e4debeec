from dataclasses import replace

import numpy as np
import pytest
import torch
from genaug.covariates import Covariate
from genaug.errors import GenaugError, Reason
from genaug.networks import Batch, Signature, activate, build_critic, build_system
from genaug.networks.critics import with_spread
from genaug.networks.haar import haar, inverse_haar
from genaug.networks.template import TemplateHead
from genaug.networks.warping import warp
from genaug.recipe import Network, list_recipes, load_recipe
from genaug.stages import chains, stage_signature
from genaug.tensors import Roles

SHAPES = [(2, (32, 48)), (3, (32, 32, 32))]


def batch_for(signature: Signature, cases: int = 2) -> Batch:
    generator = torch.Generator().manual_seed(0)
    target = torch.rand(cases, signature.channels, *signature.window, generator=generator) * 2 - 1
    labels = None
    if signature.condition_channels:
        labels = torch.rand(cases, signature.condition_channels, *signature.window, generator=generator)
    return Batch(target, label_map=labels)


@pytest.mark.parametrize(("dimension", "window"), SHAPES)
def test_inverse_haar_of_haar_is_identity(dimension, window):
    x = torch.randn(2, 3, *window, dtype=torch.float64)
    assert haar(x).shape == (2, 3 * 2**dimension, *(n // 2 for n in window))
    torch.testing.assert_close(inverse_haar(haar(x)), x)


def test_haar_is_orthonormal_so_that_white_noise_stays_white_noise():
    x = torch.randn(1, 1, 8, 8, 8, dtype=torch.float64)
    torch.testing.assert_close(haar(x).square().sum(), x.square().sum())
    matrix = torch.stack([haar(e.view(1, 1, 4, 4)).flatten() for e in torch.eye(16, dtype=torch.float64)])
    torch.testing.assert_close(matrix @ matrix.T, torch.eye(16, dtype=torch.float64))


def test_haar_refuses_odd_sizes():
    with pytest.raises(ValueError, match="even sizes"):
        haar(torch.zeros(1, 1, 7, 8))


def test_activation_bounds_images_and_makes_labels_a_distribution():
    made = activate(torch.randn(2, 5, 4, 4) * 10, image_channels=2)
    assert made.abs().max() <= 1
    torch.testing.assert_close((made[:, 2:] + 1).sum(1) / 2, torch.ones(2, 4, 4))


def roles_for(recipe) -> Roles:
    """What the channels are when every condition of the recipe is met."""
    sources = 2 if "images" in recipe.conditions else int(recipe.task == "translation")
    given = "label_map" in recipe.conditions or recipe.task == "infill"
    told = {"covariates", "text"} & set(recipe.conditions)
    return Roles(
        target=["A"],
        source=["B", "C"][:sources],
        generate_labels=recipe.with_labels and not given and recipe.task != "translation",
        given_labels=given,
        label_values=[0, 1],
        covariates=[Covariate.of("radius", [1.0, 2.0]), Covariate.of("kind", ["x", "y"])] if told else [],
        hole=recipe.task == "infill",
        offsets=list(recipe.offsets),
        missing="images" in recipe.conditions,
        unpaired=recipe.unpaired,
    )


@pytest.mark.parametrize(
    ("recipe", "dimension"),
    [(recipe, dimension) for recipe in list_recipes() for dimension in recipe.dimensions],
    ids=lambda value: getattr(value, "name", value),
)
def test_every_recipe_builds_with_its_own_options(recipe, dimension):
    """Trained and sampled they are in test_recipes, with options that are small."""
    resolved, window = recipe.resolve(dimension), {2: (64, 64), 3: (64, 32, 32)}[dimension]
    roles, built = roles_for(resolved), {}
    for chain in chains(resolved):
        for name in chain:
            stage = resolved.stages[name]
            signature = stage_signature(stage, dimension, window, roles)
            if stage.space == "latent":
                channels, *code = built[chain[0]].noise_shape()
                signature = replace(
                    stage_signature(stage, dimension, code, roles), image_channels=channels, label_channels=0
                )
            built[name] = build_system(stage.network, signature)
            for critic in stage.critics.values():
                build_critic(critic, signature)


def test_training_noise_comes_from_the_given_generator_alone():
    signature = Signature(2, (16, 16), 1, 0, 0)
    system = build_system(Network(kind="latent_generator", options={"channels": [8, 8], "start": 8}), signature)
    for parameter in system.parameters():
        torch.nn.init.normal_(parameter, generator=torch.Generator().manual_seed(0))
    first = system(batch_for(signature), torch.Generator().manual_seed(3))["generated"]
    torch.manual_seed(99)
    again = system(batch_for(signature), torch.Generator().manual_seed(3))["generated"]
    other = system(batch_for(signature), torch.Generator().manual_seed(4))["generated"]
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("kind", ["critic", "normed_critic", "attention_critic", "origin_critic", "step_critic"])
def test_a_critic_of_whole_volumes_takes_stacks_of_few_planes(kind):
    options = {"generators": 2} if kind == "origin_critic" else {}
    for window in ((32, 32, 8), (32, 32, 2), (8, 16, 16)):
        critic = build_critic(Network(kind=kind, options=options), Signature(3, window, 1, 0, 0))
        seen = 3 if kind == "step_critic" else 1
        assert len(critic(torch.rand(2, seen, *window, generator=torch.Generator().manual_seed(0)))) == 2
    cube = build_critic(Network(kind=kind, options=options), Signature(3, (32, 32, 32), 1, 0, 0))
    strided = [layer for layer in cube.features if isinstance(layer, torch.nn.Conv3d)]
    assert all((layer.kernel_size, layer.stride) == ((4, 4, 4), (2, 2, 2)) for layer in strided)


def test_equal_cases_have_a_slope_in_half_precision_too():
    """At the start of a training all that a generator makes is the mean case."""
    features = torch.ones(2, 4, dtype=torch.float16, requires_grad=True)
    with_spread(features).sum().backward()
    assert features.grad.isfinite().all()


@pytest.mark.parametrize(
    ("network", "window", "words"),
    [
        (Network(kind="nonsense"), (16, 16), "no such network"),
        (Network(kind="latent_generator", options={"colour": 1}), (16, 16), "colour"),
        (Network(kind="latent_generator"), (18, 16), "not divisible"),
    ],
)
def test_a_network_that_does_not_fit_is_refused_in_words(network, window, words):
    with pytest.raises(GenaugError, match=words) as caught:
        build_system(network, Signature(2, window, 1, 0, 0))
    assert caught.value.reason is Reason.BAD_RECIPE


def test_recipes_stay_short_and_tell_what_they_suit():
    for recipe in list_recipes():
        from genaug.recipe import FOLDER

        lines = (FOLDER / f"{recipe.name}.toml").read_text(encoding="utf-8").splitlines()
        assert len(lines) <= 56, recipe.name
        assert recipe.suits and recipe.unsuited and recipe.citation


def test_recipe_overrides_merge_and_unknown_keys_are_named():
    resolved = load_recipe("ldm").resolve(3, {"stages": {"denoiser": {"training": {"batch_size": 3}}}})
    assert resolved.stages["denoiser"].training.batch_size == 3
    assert (
        resolved.stages["denoiser"].training.learning_rate
        == load_recipe("ldm").stages["denoiser"].training.learning_rate
    )
    with pytest.raises(GenaugError, match="batch_sise"):
        load_recipe("ldm").resolve(3, {"stages": {"denoiser": {"training": {"batch_sise": 3}}}})


def test_what_an_override_changes_of_a_network_it_changes_of_those_that_follow_it():
    def channels(overrides):
        resolved = load_recipe("progressive-distillation").resolve(3, {"stages": overrides})
        return [stage.network.options["channels"] for stage in resolved.stages.values()]

    narrow, narrower = ({"network": {"options": {"channels": [width] * 3}}} for width in (16, 8))
    assert channels({"denoiser": narrow}) == [[16] * 3] * 5
    assert channels({"student_2": narrow}) == [[64, 96, 128]] * 3 + [[16] * 3] * 2
    assert channels({"denoiser": narrow, "student_1": narrower}) == [[16] * 3] * 4 + [[8] * 3]


def test_an_unknown_recipe_lists_the_known_ones():
    with pytest.raises(GenaugError, match="wgan-gp") as caught:
        load_recipe("wgam")
    assert caught.value.reason is Reason.BAD_RECIPE


def test_a_broken_toml_names_its_line(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text("name = \n")
    with pytest.raises(GenaugError, match="line 1"):
        load_recipe(path)


def test_spade_follows_its_label_map():
    signature = Signature(2, (16, 16), 1, 0, 2)
    options = {"style": 4, "channels": [8, 8], "spade_channels": 8}
    system = build_system(Network(kind="spade", options=options), signature).eval()
    left, right = np.zeros((2, 16, 16), np.float32), np.zeros((2, 16, 16), np.float32)
    left[0, :8], left[1, 8:] = 1, 1
    right[0, 8:], right[1, :8] = 1, 1
    style = torch.randn(1, 4)
    target = torch.zeros(1, 1, 16, 16)
    made = [system.generate(style, Batch(target, label_map=torch.from_numpy(m)[None])) for m in (left, right)]
    assert not torch.allclose(made[0], made[1])


@pytest.mark.parametrize("deform", [False, True])
@pytest.mark.parametrize("kind", ["latent_generator", "vector_autoencoder", "spatial_autoencoder"])
def test_a_network_starts_at_the_mean_it_is_told(kind, deform):
    signature = Signature(2, (16, 16), 1, 2, 0)
    system = build_system(Network(kind=kind, options={"channels": [8, 8], "deform": deform}), signature)
    mean = torch.cat([torch.rand(1, 16, 16) * 1.8 - 0.9, torch.full((2, 16, 16), -0.5)])
    mean[1, :8], mean[2, :8] = 0.9, -0.9
    mean[1, 8:], mean[2, 8:] = -0.9, 0.9
    system.start_at(mean)
    with torch.no_grad():
        made = activate(system.generate(torch.randn(2, *system.noise_shape()), batch_for(signature)), 1)
    torch.testing.assert_close(made, mean.expand(2, -1, -1, -1), atol=1e-3, rtol=0)


def test_codes_are_measured_from_their_center():
    signature = Signature(2, (16, 16), 1, 0, 0)
    system = build_system(Network(kind="spatial_autoencoder", options={"channels": [8, 8]}), signature).eval()
    x = torch.rand(3, 1, 16, 16)
    with torch.no_grad():
        before, _ = system.encode(x)
        decoded = system.decode(before)
        system.center(before.mean(0))
        after, _ = system.encode(x)
        torch.testing.assert_close(after.mean(0), torch.zeros_like(after[0]), atol=1e-6, rtol=0)
        torch.testing.assert_close(system.decode(after), decoded)


@pytest.mark.parametrize(("dimension", "window"), SHAPES)
def test_a_warp_by_whole_voxels_moves_whole_voxels(dimension, window):
    image = torch.randn(2, *window)
    assert torch.allclose(warp(image[None], torch.zeros(1, dimension, *window))[0], image, atol=1e-4)
    for axis in range(dimension):
        moved = torch.zeros(1, dimension, *window)
        moved[:, axis] = 3
        seen = warp(image[None], moved)[0].movedim(axis + 1, 0)
        whole = image.movedim(axis + 1, 0)
        torch.testing.assert_close(seen[:-3], whole[3:], atol=1e-3, rtol=0)
        torch.testing.assert_close(seen[-3:], whole[-1:].expand_as(seen[-3:]), atol=1e-3, rtol=0)


def test_a_warp_keeps_its_precision_under_autocast():
    image, still = torch.randn(1, 64, 64), torch.zeros(1, 2, 64, 64)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(warp(image[None], still)[0], image, atol=1e-4, rtol=0)


@pytest.mark.parametrize(("dimension", "window"), SHAPES)
def test_a_head_whose_detail_is_unsure_is_smooth_not_blocky(dimension, window):
    """Bands without detail give a straight ramp from coarse features that are a ramp; blocks would be a staircase."""
    head = TemplateHead(8, Signature(dimension, window, 1, 0, 0), haar_levels=2, deform=False)
    with torch.no_grad():
        head.residual.weight[0, 0] = head.scale ** (dimension / 2)
    coarse = tuple(n // 4 for n in window)
    features = torch.zeros(1, 8, *coarse)
    features[:, 0] = torch.arange(coarse[0]).float().view(-1, *[1] * (dimension - 1))
    with torch.no_grad():
        made = head(features)[0, 0]
    steps = made.diff(dim=0)[4:-4]
    torch.testing.assert_close(steps, torch.full_like(steps, 0.25), atol=1e-5, rtol=0)


@pytest.mark.parametrize(("dimension", "window"), SHAPES)
def test_a_head_of_slow_detail_learns_shapes_as_fast_and_single_voxels_slower(dimension, window):
    """One step of Adam moves every band alike; what it does to the mean of 2^d voxels is not slowed, the rest is."""

    def moved(rate):
        torch.manual_seed(0)
        signature = Signature(dimension, window, 1, 0, 0)
        head = TemplateHead(8, signature, haar_levels=1, detail_rate=rate)
        features, wanted = torch.randn(1, 8, *signature.reduced(2)), torch.randn(1, 1, *window)
        optimizer = torch.optim.Adam(head.parameters(), lr=0.01)
        (head(features) * wanted).sum().backward()
        optimizer.step()
        detail = head.detail(head.residual(features))
        return (head(features) - detail).detach(), detail.detach()

    (smooth, fine), (slow_smooth, slow_fine) = moved(1.0), moved(0.1)
    torch.testing.assert_close(slow_smooth, smooth)
    torch.testing.assert_close(slow_fine, 0.1 * fine, rtol=1e-3, atol=1e-5)


def test_a_head_can_still_say_every_detail():
    """Interpolation and bands together reach any image: as many free numbers as voxels."""
    signature = Signature(2, (8, 8), 1, 0, 0)
    head = TemplateHead(16, signature, haar_levels=2, deform=False)
    columns = []
    for place in range(4):
        for band in range(16):
            with torch.no_grad():
                head.residual.weight.zero_()
                head.residual.weight[band, band] = 1
                features = torch.zeros(1, 16, 2, 2)
                features[0, band].view(-1)[place] = 1
                columns.append(head(features).flatten())
    assert torch.linalg.matrix_rank(torch.stack(columns)) == 64
