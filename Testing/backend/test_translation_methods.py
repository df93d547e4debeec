"""Unpaired, cascaded, fused and missing: what the methods of translation add, each by a property it must have."""

import numpy as np
import pytest
import torch
from engine_data import TINY_NETWORKS, blob_cohort, tiny_options
from genaug.cohort import Cohort
from genaug.errors import GenaugError, Reason
from genaug.jobs.handlers.translate import _read
from genaug.networks import Batch, Signature, build_critic, build_system
from genaug.networks.translators import BOUND, mean_source, on_source
from genaug.objectives import CRITIC_LOSSES, LOSSES, Play
from genaug.objectives.base import Lacking
from genaug.objectives.texture import gram
from genaug.package import load_package, read_info
from genaug.parameters import TranslationParameters
from genaug.progress import Silent
from genaug.recipe import Network, Sampler
from genaug.record import Record
from genaug.tensors import Roles, StoreWriter, TensorStore, neighbours
from genaug.training import make_plan, train
from genaug.translation import remake, translate

SIGNATURE = Signature(2, (32, 32), 1, 0, 1)


def play(signature=SIGNATURE, critics=None):
    return Play(signature, critics or {}, torch.Generator().manual_seed(0), 0)


def tiny_network(kind, **options):
    return Network(kind=kind, options={**TINY_NETWORKS[kind], **options})


def images(cases=2, channels=1, size=(32, 32), seed=0):
    return torch.rand(cases, channels, *size, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def without(case, *channels):
    return case.model_copy(update={"images": {n: path for n, path in case.images.items() if n not in channels}})


@pytest.fixture(scope="module")
def flat(tmp_path_factory) -> Cohort:
    return blob_cohort(tmp_path_factory.mktemp("flat"), 4, 32, flat=True)


# A cycle


def test_the_cycle_of_the_identity_pair_is_free():
    batch = Batch(images(), source=images(seed=1))
    same = {f"{name}_{side}": getattr(batch, side) for name in ("cycle", "identity") for side in ("source", "target")}
    assert LOSSES["cycle"](same, batch, play()).item() == 0 and LOSSES["identity"](same, batch, play()).item() == 0
    off = {key: value + 0.5 for key, value in same.items()}
    assert LOSSES["cycle"](off, batch, play()).item() == pytest.approx(1.0)


def bounded(intensities):
    """What a network that starts at its source can make of it: a tanh reaches neither of its ends."""
    return intensities.clamp(-BOUND, BOUND)


def test_a_pair_that_starts_at_its_sources_is_the_identity_both_ways():
    system = build_system(tiny_network("cycle_pair", from_source=True), SIGNATURE)
    batch = Batch(images(), source=images(seed=1))
    batch.source[0, 0, 0] = -1
    outputs = system(batch, torch.Generator())
    torch.testing.assert_close(outputs["generated"], bounded(batch.source))
    torch.testing.assert_close(outputs["reversed"], bounded(batch.target))
    torch.testing.assert_close(outputs["cycle_source"], bounded(batch.source))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_a_difference_is_added_as_intensity_and_comes_back_from_beyond_the_ends(dtype):
    """Where a source is brightest a target may be dark: the gradient is whole there, and only leads back inwards."""
    source = torch.tensor([-1.0, -0.5, 0.0, 1.0, 1.0]).view(1, 1, 1, 5)
    difference = torch.tensor([0.25, 0.25, -0.5, 0.5, -2.0], dtype=dtype).view_as(source).requires_grad_(True)
    batch = Batch(source, source=source)
    made = torch.tanh(on_source(difference, batch, SIGNATURE))
    expected = torch.tensor([-0.75, -0.25, -0.5, BOUND, -0.999]).view_as(source)
    torch.testing.assert_close(made, expected, atol=1e-4, rtol=0)
    # A step down the gradient of the sum darkens, one of its opposite brightens.
    (darker,) = torch.autograd.grad(made.sum(), difference, retain_graph=True)
    assert darker.flatten().tolist() == pytest.approx([1, 1, 1, 1, 0], abs=0.02)
    (brighter,) = torch.autograd.grad(-made.sum(), difference)
    assert brighter.flatten().tolist() == pytest.approx([-1, -1, -1, 0, -1], abs=0.02)


def test_the_other_direction_has_the_sources_channels():
    signature = Signature(2, (32, 32), 1, 0, 3)
    system = build_system(tiny_network("cycle_pair"), signature)
    outputs = system(Batch(images(), source=images(channels=3)), torch.Generator())
    assert outputs["reversed"].shape[1] == outputs["cycle_source"].shape[1] == 3
    assert outputs["cycle_target"].shape[1] == 1 and "identity_source" not in outputs
    critic = build_critic(tiny_network("patch_critic", judges="source"), signature)
    assert critic(outputs["reversed"]).shape[0] == 2


def test_a_cycle_with_missing_sources_is_refused():
    with pytest.raises(GenaugError, match="every source"):
        build_system(tiny_network("cycle_pair"), Signature(2, (32, 32), 1, 0, 4, (("source", 2),)))


def test_a_critic_remembers_what_it_was_shown_and_shows_half_of_it_again():
    critic = build_critic(tiny_network("pool_critic", pool=8), SIGNATURE)
    generator = torch.Generator().manual_seed(0)
    number = [torch.full((1, 1, 32, 32), float(i)) for i in range(200)]
    shown = [float(critic.recall(one, generator)[0, 0, 0, 0]) for one in number]
    assert shown[:8] == list(range(8))
    fresh = np.mean([shown[i] == i for i in range(8, 200)])
    assert 0.4 < fresh < 0.6 and all(value <= i for i, value in enumerate(shown))
    assert sorted({float(x) for x in critic.pool[:, 0, 0, 0]})[0] > 100


def test_only_a_critic_that_remembers_can_be_reminded():
    critic = build_critic(tiny_network("patch_critic", conditional=False), SIGNATURE)
    with pytest.raises(ValueError, match="pool_critic"):
        CRITIC_LOSSES["remembering"](critic, {"generated": images()}, Batch(images()), play())


class Seeing(torch.nn.Module):
    """Adds up the image that it is shown, without what that was made for, and keeps it."""

    def __init__(self):
        super().__init__()
        self.shown = []

    def forward(self, x):
        self.shown.append(x[:, :1].detach())
        return x[:, :1].flatten(1).sum(1, keepdim=True)


def sides():
    """A batch whose two sides were scanned in fields of view that overlap, and where which of them was."""
    target, source = torch.zeros(2, 1, 32, 32), torch.zeros(2, 1, 32, 32)
    target[:, :, 4:28], source[:, :, :, 8:20] = 1, 1
    batch = Batch(images(), source=images(seed=1), inside=target, source_inside=source)
    return batch, {"source": source, "target": target, "both": source * target}


SEEN = {"generated": "both", "reversed": "both", "cycle_source": "source", "cycle_target": "target"}
SEEN |= {"identity_source": "source", "identity_target": "target"}
"""Where what a cycle leaves is looked at."""


@pytest.mark.parametrize(
    ("term", "options"),
    [
        ("cycle", {}),
        ("identity", {}),
        ("adversarial", {}),
        ("adversarial", {"fake": "reversed"}),
        ("perceptual", {"fake": "cycle_source", "real": "source"}),
    ],
)
def test_padding_of_either_side_of_a_cycle_changes_no_term(term, options):
    """Whatever is made there, and whatever was carried on there, the loss and its gradient are the same."""
    batch, fields = sides()
    made = {name: images(seed=number) for number, name in enumerate(SEEN)}
    losses, gradients = [], []
    for beyond in (0.0, 5.0):
        noisy = {name: x + beyond * (1 - fields[SEEN[name]]) for name, x in made.items()}
        outputs = {name: x.requires_grad_(True) for name, x in noisy.items()}
        carried = {side: getattr(batch, side) + beyond * (1 - fields[side]) for side in ("source", "target")}
        seen = Batch(**carried, inside=batch.inside, source_inside=batch.source_inside)
        judge = Seeing() if term == "adversarial" else None
        value = LOSSES[term](outputs, seen, play(critics={"critic": judge}), **options)
        losses.append(value.detach())
        asked = torch.autograd.grad(value, list(outputs.values()), allow_unused=True)
        gradients.append({name: one for name, one in zip(outputs, asked, strict=True) if one is not None})
    torch.testing.assert_close(losses[0], losses[1])
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradient, gradients[1][name])
        assert gradient.abs().max() > 0
        assert (gradient * (1 - fields[SEEN[name]])).abs().max() == 0


def test_a_cycles_error_is_a_mean_over_what_was_scanned_of_each_side():
    batch, fields = sides()
    off = {f"cycle_{side}": getattr(batch, side) + 0.5 * fields[side] for side in ("source", "target")}
    assert LOSSES["cycle"](off, batch, play()).item() == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize(("fake", "real"), [("generated", "target"), ("reversed", "source")])
@pytest.mark.parametrize("term", ["adversarial", "gradient_penalty"])
def test_a_critic_of_an_unpaired_side_sees_real_and_made_through_the_same_field(term, fake, real):
    batch, fields = sides()
    critic = Seeing()
    outputs = {"generated": images(seed=2), "reversed": images(seed=3)}
    CRITIC_LOSSES[term](critic, outputs, batch, play(), fake=fake, real=real)
    assert critic.shown
    for shown in critic.shown:
        assert torch.equal((shown != 0).float(), fields["both"])


def test_a_critic_remembers_fakes_without_their_padding():
    batch, fields = sides()
    critic = build_critic(tiny_network("pool_critic", pool=2), SIGNATURE)
    CRITIC_LOSSES["remembering"](critic, {"generated": images(seed=2)}, batch, play())
    assert torch.equal((critic.pool != 0).float(), fields["both"])


# Unpaired cases


def store_of_sides(folder, sides, dimension=3, depth=8):
    """Entry i holds i / 10 but at an edge; the target is positive, the source negative."""
    writer = StoreWriter(folder, Roles(target=["B"], source=["A"], unpaired=True), dimension)
    for number, (case, side) in enumerate(sides):
        value = (number + 1) / 10 * (1 if side == "target" else -1)
        image = np.full((1, 8, 8, depth), value, np.float32)
        image[:, 0, 0] = -1
        writer.add(case, image, None, ((0, 0, 0), (8, 8, depth)), side=side)
    writer.finish()
    return TensorStore(folder, (8, 8, 8)[:dimension])


def test_an_unpaired_batch_never_pairs_a_case_with_itself_when_there_are_others(tmp_path):
    sides = [(case, side) for case in "abc" for side in ("target", "source")]
    store = store_of_sides(tmp_path, sides)
    assert len(store) == 3
    seen = set()
    for seed in range(40):
        batch = store.batch([0, 1, 2], np.random.default_rng(seed))
        for target, source in zip(batch.target[:, 0, 4, 4, 4], batch.source[:, 0, 4, 4, 4], strict=True):
            pair = [sides[round(abs(float(x)) * 10) - 1] for x in (target, source)]
            assert pair[0][1] == "target" and pair[1][1] == "source" and pair[0][0] != pair[1][0]
            seen.add((pair[0][0], pair[1][0]))
    assert len(seen) == 6


def test_the_pairing_follows_from_the_generator_alone(tmp_path):
    store = store_of_sides(tmp_path, [(case, side) for case in "abcd" for side in ("target", "source")])
    one, two = (store.batch([0, 1, 2, 3], np.random.default_rng(7)) for _ in range(2))
    assert torch.equal(one.source, two.source)


def test_a_case_that_is_alone_is_its_own_partner(tmp_path):
    batch = store_of_sides(tmp_path, [("a", "target"), ("a", "source")]).batch([0], np.random.default_rng(0))
    assert batch.target.shape == batch.source.shape


def test_planes_of_different_volumes_meet_in_2d(tmp_path):
    store = store_of_sides(tmp_path, [("a", "target"), ("b", "source")], dimension=2, depth=5)
    assert len(store) == 5 and store.batch([0, 4], np.random.default_rng(0)).source.shape == (2, 1, 8, 8)


def test_a_case_may_have_one_side_only_on_a_grid_of_its_own(tmp_path):
    first = blob_cohort(tmp_path / "a", 2, 32, flat=True)
    second = blob_cohort(tmp_path / "b", 2, 40, flat=True, seed=1)
    renamed = [case.model_copy(update={"id": f"b-{case.id}", "patient": f"b-{case.patient}"}) for case in second.cases]
    cases = [without(case, "B", "C") for case in first.cases] + [without(case, "A", "C") for case in renamed]
    cohort = Cohort(name="two", channels={"A": "MR", "B": "MR"}, label_names={1: "sphere"}, cases=cases)
    package = train(cohort, tiny_options("cyclegan", 2), tmp_path / "t", "cpu", Silent())
    assert read_info(package).trained_on.patients == ["b-patient0", "b-patient1", "patient0", "patient1"]
    made = translate(package, cohort.with_cases(cases[:1]), tmp_path / "out", TranslationParameters(), device="cpu")
    assert made.cases[0].volume("B").shape == cases[0].volume("A").shape
    with pytest.raises(GenaugError, match="the target") as caught:
        train(cohort.with_cases(cases[:2]), tiny_options("cyclegan", 2), tmp_path / "u", "cpu", Silent())
    assert caught.value.reason is Reason.UNPAIRED and not (tmp_path / "u.training").exists()


def test_where_source_and_target_are_one_channel_the_label_tells_them_apart(tmp_path):
    cohort = blob_cohort(tmp_path / "data", 2, 32)
    options = tiny_options("ant-gan", 1, channels=["A"], source_channels=["A"], dimension=2)
    train(cohort, options, tmp_path / "t", "cpu", Silent())
    store = TensorStore(tmp_path / "t.training" / "tensors", (32, 32))
    bright = [float(store.batch([item], np.random.default_rng(0)).target.amax()) for item in range(len(store))]
    sources = store.batch([0] * 20, np.random.default_rng(0)).source
    assert max(bright) < sources.amax((1, 2, 3)).min(), "no target shows the sphere, every source does"
    mirrored = TensorStore(tmp_path / "t.training" / "tensors", (32, 32), shift=2, flip=True)
    batch = mirrored.batch([0] * 20, np.random.default_rng(0))
    assert batch.found.sum((1, 2, 3)).min() > 0
    inside = batch.source[batch.found > 0]
    assert inside.quantile(0.1) > max(bright), "what is told to be the sphere is bright, wherever the window was moved"


def test_a_change_is_free_within_the_finding_alone():
    source, found = images(seed=1), torch.zeros(2, 1, 32, 32)
    found[:, :, 8:16, 8:16] = 1
    batch = Batch(images(), source=source, found=found)
    assert LOSSES["kept"]({"generated": source + 0.5 * found}, batch, play()).item() == 0
    share = float((1 - found).mean())
    assert LOSSES["kept"]({"generated": source + 0.5}, batch, play()).item() == pytest.approx(0.5 * share)
    rim = torch.zeros_like(found)
    rim[:, :, 6:18, 6:18] = 1
    assert LOSSES["kept"]({"generated": source + 0.5 * rim}, batch, play(), margin=2).item() == 0
    assert LOSSES["kept"]({"generated": source + 0.5 * rim}, batch, play(), margin=1).item() > 0
    with pytest.raises(Lacking, match="takes findings away"):
        LOSSES["kept"]({"generated": source}, Batch(images(), source=source), play())


def test_a_critic_may_look_at_the_findings_alone():
    """What a network gets to hear comes from the patches that show where the finding was, and from no others."""
    critic, found = build_critic(tiny_network("patch_critic", conditional=False), SIGNATURE), torch.zeros(2, 1, 32, 32)
    found[:, :, 4:8, 4:8] = 1
    source, target = images(seed=1), images(seed=2)
    batch, made = Batch(target, source=source, found=found), images(seed=3).requires_grad_(True)
    scores = critic(made)
    weighed = torch.nn.functional.interpolate(found, size=scores.shape[2:], mode="area")
    for game, cost in (("least_squares", (scores - 1) ** 2), ("hinge", -scores)):
        loss = LOSSES["adversarial"](
            {"generated": made}, batch, play(critics={"critic": critic}), game=game, at_findings=True
        )
        assert loss.item() == pytest.approx(float((cost.detach() * weighed).sum() / weighed.sum()), abs=1e-6)
    (gradient,) = torch.autograd.grad(loss, made)
    assert gradient[..., :8, :8].abs().max() > 0
    judge = CRITIC_LOSSES["adversarial"]
    options = {"game": "hinge", "at_findings": True}
    told = judge(critic, {"generated": made}, batch, play(), **options).item()
    everywhere = Batch(target, source=source, found=torch.ones_like(found))
    plain = judge(critic, {"generated": made}, batch, play(), game="hinge").item()
    assert judge(critic, {"generated": made}, everywhere, play(), **options).item() == pytest.approx(plain, rel=1e-5)
    assert told != pytest.approx(plain, rel=1e-3)
    nothing = Batch(target, source=source, found=torch.zeros_like(found))
    assert judge(critic, {"generated": made}, nothing, play(), **options).item() == 0
    with pytest.raises(Lacking, match="takes findings away"):
        judge(critic, {"generated": made}, Batch(target, source=source), play(), **options)
    with pytest.raises(Lacking, match="one of patches"):
        judge(lambda x: x.mean(dim=(1, 2, 3))[:, None], {"generated": made}, batch, play(), **options)


def test_a_window_that_nobody_asked_for_is_that_of_the_typical_case(tmp_path):
    """One case is three times as wide: a window of its size would be padding to all others."""
    cases = []
    for number, size in enumerate((32, 32, 32, 96)):
        one = blob_cohort(tmp_path / f"{number}", 1, size, flat=True, seed=number)
        (case,) = one.cases
        cases.append(case.model_copy(update={"id": f"case{number}", "patient": f"patient{number}"}))
    cohort = Cohort(name="four", channels=dict.fromkeys("ABC", "MR"), label_names={1: "sphere"}, cases=cases)
    sizes = {}
    for window in (None, (64, 64, 64), (128, 128, 128)):
        options = tiny_options("cyclegan", 1, window=window)
        plan = make_plan(cohort, options, tmp_path / f"plan {window}", Silent())
        sizes[window] = plan.grid.size
        shares = [
            float(batch.inside.mean()) if batch.inside is not None else 1.0
            for batch in (
                TensorStore(tmp_path / f"plan {window}" / "tensors", plan.grid.size).batch(
                    [item], np.random.default_rng(0)
                )
                for item in range(4)
            )
        ]
        assert (min(shares) == 1) == (window is None)
    assert sizes == {None: (32, 32), (64, 64, 64): (64, 64), (128, 128, 128): (96, 96)}


def test_a_recipes_own_window_is_taken_where_nobody_asks_for_another(tmp_path):
    cohort = blob_cohort(tmp_path / "data", 2, 96, flat=True)
    asked = [("cyclegan", None, (64, 64)), ("cgan-dar", None, (64, 64)), ("cyclegan", (32, 32, 1), (32, 32))]
    # Without one it is larger than these cases are.
    for recipe, window, size in [*asked, ("pix2pix", None, (96, 96))]:
        plan = make_plan(cohort, tiny_options(recipe, 1, window=window), tmp_path / f"{recipe} {window}", Silent())
        assert plan.grid.size == size, recipe


def test_one_side_alone_is_refused_with_what_to_do(tmp_path, flat):
    with pytest.raises(GenaugError, match="without") as caught:
        train(flat, tiny_options("ant-gan", 1, source_channels=["B"]), tmp_path / "t", "cpu", Silent())
    assert caught.value.reason is Reason.UNPAIRED


@pytest.fixture(scope="module")
def deep(tmp_path_factory) -> Cohort:
    """Volumes of several planes."""
    return blob_cohort(tmp_path_factory.mktemp("deep"), 3, 32)


def replays(package, cohort, folder, **parameters):
    """A translated case, once its Record has made the same voxels again."""
    made = translate(
        package, cohort.with_cases(cohort.cases[:1]), folder, TranslationParameters(**parameters), 5, "cpu"
    )
    again = remake(Record.read(made.cases[0].record), package, cohort.cases[0])
    for name in made.channels:
        assert np.array_equal(again[name].array, made.cases[0].volume(name).array)
    return made.cases[0]


def test_a_volume_is_translated_plane_by_plane_from_the_planes_beside(deep, tmp_path):
    package = train(deep, tiny_options("pgan", 2, dimension=2), tmp_path / "t", "cpu", Silent())
    info = read_info(package)
    assert info.grid.dimension == 2 and info.roles.source_channels == 3
    made = replays(package, deep, tmp_path / "out", overlap=0)
    assert made.volume("B").shape == deep.cases[0].volume("A").shape
    with pytest.raises(GenaugError, match="pgan") as caught:
        train(deep, tiny_options("pgan", 1, dimension=3), tmp_path / "u", "cpu", Silent())
    assert caught.value.reason is Reason.BAD_RECIPE


def test_a_plane_is_foretold_from_others_of_its_own_channel_and_never_sees_itself(deep, tmp_path):
    options = tiny_options("madgan", 2, channels=["A"], source_channels=[], dimension=2)
    package = train(deep, options, tmp_path / "t", "cpu", Silent())
    info = read_info(package)
    assert info.roles.source == info.roles.target == ["A"]
    made = replays(package, deep, tmp_path / "out", overlap=0, difference=True)
    source, result = deep.cases[0].volume("A"), made.volume("A")
    np.testing.assert_allclose(made.volume("A-difference").array, source.array - result.array, atol=1e-3)
    # The last plane is given to no other, so nothing of the result depends on it.
    planes = neighbours(np.arange(8.0).reshape(1, 1, 1, 8), 4, info.roles.offsets)
    assert planes[:, 0, 0].tolist() == [1, 2, 3]


def test_a_plane_that_has_no_other_beside_it_is_neither_learnt_nor_foretold(deep, tmp_path):
    flat = blob_cohort(tmp_path / "flat", 3, 32, flat=True)
    options = tiny_options("madgan", 1, channels=["A"], source_channels=[], dimension=2)
    with pytest.raises(GenaugError, match="case0: found a single plane") as caught:
        train(flat, options, tmp_path / "t", "cpu", Silent())
    assert caught.value.reason is Reason.BAD_PARAMETER
    package = train(deep, options, tmp_path / "u", "cpu", Silent())
    with pytest.raises(GenaugError, match="a single plane"):
        translate(package, flat, tmp_path / "out", TranslationParameters(overlap=0), 1, "cpu")


def test_a_difference_of_modalities_is_refused(deep, tmp_path):
    other = deep.model_copy(update={"channels": {"A": "MR", "B": "CT", "C": "MR"}})
    package = train(other, tiny_options("pgan", 1, dimension=2), tmp_path / "t", "cpu", Silent())
    with pytest.raises(GenaugError, match="share their intensities"):
        translate(package, other, tmp_path / "out", TranslationParameters(difference=True), device="cpu")


# Missing sources


def test_any_subset_of_the_sources_translates(flat, tmp_path):
    lacking = [without(flat.cases[0], "C"), without(flat.cases[1], "A"), *flat.cases[2:]]
    cohort = flat.with_cases(lacking)
    package = train(cohort, tiny_options("mm-gan", 2), tmp_path / "t", "cpu", Silent())
    assert read_info(package).roles.missing
    made = translate(package, cohort, tmp_path / "out", TranslationParameters(), 1, "cpu")
    assert len(made.cases) == len(cohort.cases)
    for case, given in zip(made.cases, cohort.cases, strict=True):
        assert sorted(Record.read(case.record).inputs) == [n for n in ("A", "C") if n in given.images]
        again = remake(Record.read(case.record), package, given)
        assert np.array_equal(again["B"].array, case.volume("B").array)
    for case in lacking[:2]:
        _read(case, read_info(package).roles)
    with pytest.raises(GenaugError, match="channel"):
        _read(without(flat.cases[0], "A", "C"), read_info(package).roles)


def test_a_missing_source_has_no_part_in_the_mean():
    signature = Signature(2, (32, 32), 1, 0, 4, (("source", 2),))
    source = torch.stack([images(1, 2)[0], images(1, 2, seed=1)[0]])
    source[1, 1] = 0
    batch = Batch(images(), source=source, vector=torch.tensor([[1.0, 1.0], [1.0, 0.0]]))
    base = mean_source(source, batch, signature)
    torch.testing.assert_close(base[0, 0], source[0].mean(0))
    torch.testing.assert_close(base[1, 0], source[1, 0])


# Streams, cascades, paths, codes


def test_the_weights_of_a_fusion_sum_to_one_and_follow_what_the_streams_see():
    signature = Signature(2, (32, 32), 1, 0, 2)
    system = build_system(tiny_network("fusion_translator"), signature)
    for parameter in system.parameters():
        torch.nn.init.normal_(parameter, std=0.2, generator=torch.Generator().manual_seed(0))
    outputs = system(Batch(images(), source=images(channels=2)), torch.Generator())
    assert outputs["fusion"].shape == (2, 3, 32, 32) and outputs["fusion"].min() > 0
    torch.testing.assert_close(outputs["fusion"].sum(1), torch.ones(2, 32, 32))
    assert outputs["fusion"].std(dim=(2, 3)).min() > 0
    assert outputs["streams"].shape == (2, 2, 32, 32)


def test_streams_that_are_all_right_cost_nothing():
    batch = Batch(images(), source=images(channels=2))
    right = {"streams": batch.target.repeat(1, 3, 1, 1)}
    assert LOSSES["streams"](right, batch, play()).item() == 0
    right["streams"][:, 2] += 0.3
    assert LOSSES["streams"](right, batch, play()).item() == pytest.approx(0.1, abs=1e-6)


NEW = ["translator", "cascade_translator", "fusion_translator", "global_local_translator", "code_translator"]


@pytest.mark.parametrize("kind", NEW)
@pytest.mark.parametrize(("dimension", "window"), [(2, (32, 64)), (3, (64, 32, 32))])
def test_a_translator_starts_at_its_source_and_takes_other_windows(kind, dimension, window):
    system = build_system(tiny_network(kind, from_source=True), Signature(dimension, window, 1, 0, 1)).eval()
    batch = Batch(images(size=window), source=images(size=window, seed=1))
    with torch.no_grad():
        outputs = system(batch, torch.Generator())
        torch.testing.assert_close(outputs["generated"], bounded(batch.source))
        alone = system(Batch(batch.target[:1], source=batch.source[:1]), torch.Generator())
    torch.testing.assert_close(alone["generated"], outputs["generated"][:1])


@pytest.mark.parametrize("kind", NEW)
def test_a_translator_that_is_not_told_to_start_at_its_source_does_not(kind):
    system = build_system(tiny_network(kind), SIGNATURE).eval()
    batch = Batch(images(), source=images(seed=1))
    with torch.no_grad():
        outputs = system(batch, torch.Generator())
    assert not torch.allclose(outputs["generated"], bounded(batch.source), atol=0.1)


def test_a_plane_of_attention_reaches_across_the_window():
    """A change in one corner reaches the other, further than the convolutions of the last levels do."""
    torch.manual_seed(0)
    system = build_system(tiny_network("translator", attention=True), SIGNATURE).eval()
    assert any("attn" in name or "attention" in name for name, _ in system.named_modules())
    plain = build_system(tiny_network("translator"), SIGNATURE)
    assert sum(p.numel() for p in system.parameters()) > sum(p.numel() for p in plain.parameters())


def test_each_block_of_a_cascade_corrects_the_one_before():
    system = build_system(tiny_network("cascade_translator", blocks=3, from_source=True), SIGNATURE).eval()
    batch = Batch(images(), source=images(seed=1))
    torch.nn.init.constant_(system.blocks[1].final_conv.bias, 0.5)
    streams = system(batch, torch.Generator())["streams"]
    torch.testing.assert_close(streams[:, :1], bounded(batch.source))
    torch.testing.assert_close(streams[:, 1:2], bounded(batch.source + 0.5))
    torch.testing.assert_close(streams[:, 2:], streams[:, 1:2])


# Texture


def test_a_gram_matrix_does_not_see_where_things_are():
    features = torch.randn(2, 5, 8, 8, generator=torch.Generator().manual_seed(0))
    order = torch.randperm(64, generator=torch.Generator().manual_seed(1))
    moved = features.flatten(2)[:, :, order].view_as(features)
    torch.testing.assert_close(gram(moved), gram(features))
    assert not torch.allclose(gram(features * 2), gram(features))


def test_a_gram_matrix_keeps_its_precision_under_autocast():
    features = 1 + torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.autocast("cpu", torch.bfloat16):
        half = gram(features)
    torch.testing.assert_close(half, gram(features))


@pytest.mark.parametrize("critic", [None, "critic"])
@pytest.mark.parametrize("name", ["perceptual", "style"])
def test_texture_terms_vanish_for_a_perfect_copy_and_reach_the_fake_alone(name, critic):
    critics = {"critic": build_critic(tiny_network("patch_critic"), SIGNATURE).requires_grad_(False)}
    target = images()
    batch = Batch(target.clone().requires_grad_(True), source=images(seed=1))
    assert LOSSES[name]({"generated": target}, batch, play(critics=critics), critic=critic).item() == 0
    fake = images(seed=2).requires_grad_(True)
    LOSSES[name]({"generated": fake}, batch, play(critics=critics), critic=critic).backward()
    assert fake.grad.abs().sum() > 0 and batch.target.grad is None


def test_style_forgives_a_shift_that_the_perceptual_term_does_not():
    target = images(size=(32, 32))
    shifted = {"generated": target.roll((8, 8), (2, 3))}
    other = {"generated": images(seed=3) * 0.3}
    batch = Batch(target)
    style = [LOSSES["style"](one, batch, play()).item() for one in (shifted, other)]
    perceptual = [LOSSES["perceptual"](one, batch, play()).item() for one in (shifted, other)]
    assert style[0] < 0.1 * style[1] and perceptual[0] > 0.5 * perceptual[1]


def test_a_critic_of_several_scales_is_several_critics():
    judge = build_critic(tiny_network("multiscale_critic"), SIGNATURE).eval()
    x = torch.cat([images(), images(seed=1)], dim=1)
    fine, coarse = (
        critic(seen).flatten(2)
        for critic, seen in zip(judge.critics, (x, torch.nn.functional.avg_pool2d(x, 2)), strict=True)
    )
    torch.testing.assert_close(judge(x), torch.cat([fine, coarse], dim=2))
    batch = Batch(images(), source=images(seed=1))
    term = LOSSES["feature_matching"]
    assert term({"generated": batch.target}, batch, play(critics={"critic": judge})).item() == 0
    with pytest.raises(GenaugError, match="scale"):
        build_critic(tiny_network("multiscale_critic", scales=5), SIGNATURE)


# Contrasts drawn for labels


def contrasts(prior="measured", window=(64, 64), **options):
    quiet = {"blur": 0.0, "bias": 0.0, "noise": 0.0}
    return build_system(
        tiny_network("contrast_draws", prior=prior, **{**quiet, **options}), Signature(2, window, 1, 0, 2)
    )


def halves(cases, window=(64, 64)):
    """The upper half is label 1."""
    label = torch.zeros(cases, 2, *window)
    label[:, 0, : window[0] // 2], label[:, 1, window[0] // 2 :] = 1, 1
    return label


def test_contrasts_are_drawn_as_they_were_measured():
    generator = torch.Generator().manual_seed(0)
    system, cases = contrasts(), 400
    means = torch.stack([-0.5 + 0.05 * torch.randn(cases, generator=generator), torch.full((cases,), 0.4)], 1)
    spreads = torch.tensor([0.05, 0.1])
    label = halves(cases)
    noise = torch.randn(cases, 1, 64, 64, generator=generator)
    level = torch.einsum("bl,blxy->bxy", means, label) + torch.einsum("l,blxy->bxy", spreads, label) * noise[:, 0]
    system(Batch(level[:, None], label_map=label), generator)
    made = system.sample(
        lambda: torch.randn(200, 1, 64, 64, generator=generator), Batch(noise[:200], label_map=label[:200]), None
    )
    regions = made[:, 0, :32].flatten(1), made[:, 0, 32:].flatten(1)
    assert regions[0].mean(1).mean() == pytest.approx(-0.5, abs=0.01)
    assert regions[0].mean(1).std() == pytest.approx(0.05, abs=0.01)
    assert regions[1].mean(1).std() < 0.01 and regions[1].mean() == pytest.approx(0.4, abs=0.01)
    assert regions[0].std(1).mean() == pytest.approx(0.05, abs=0.005)
    assert regions[1].std(1).mean() == pytest.approx(0.1, abs=0.01)


def test_contrasts_are_measured_in_single_precision_under_autocast():
    images = 0.01 * torch.randn(4, 1, 64, 64, generator=torch.Generator().manual_seed(0)) - 0.9
    sums = []
    for half in (False, True):
        system = contrasts()
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            system(Batch(images, label_map=halves(4)), torch.Generator().manual_seed(1))
        sums.append(system.sums.detach())
    torch.testing.assert_close(sums[1], sums[0])


def test_a_random_contrast_owes_nothing_to_what_was_measured():
    generator = torch.Generator().manual_seed(0)
    system = contrasts("random")
    label = halves(300)
    system(Batch(torch.full((300, 1, 64, 64), 0.3), label_map=label), generator)
    made = system.sample(
        lambda: torch.randn(300, 1, 64, 64, generator=generator), Batch(label[:, :1], label_map=label), None
    )
    means = made[:, 0, :32].flatten(1).mean(1)
    assert means.min() < -0.7 and means.max() > 0.7 and abs(float(means.mean())) < 0.1


def test_a_case_drawn_for_labels_does_not_depend_on_its_neighbour():
    system = contrasts(blur=1.0, bias=0.1, noise=0.05).eval()
    label = halves(2)
    draws = [torch.randn(2, 1, 64, 64, generator=torch.Generator().manual_seed(i)) for i in range(4)]
    both, alone = iter(draws), iter([one[:1] for one in draws])
    together = system.sample(lambda: next(both), Batch(label[:, :1], label_map=label), None)
    single = system.sample(lambda: next(alone), Batch(label[:1, :1], label_map=label[:1]), None)
    assert torch.equal(together[:1], single)


def test_measuring_happens_in_training_only():
    system = contrasts().eval()
    system(Batch(torch.rand(2, 1, 64, 64), label_map=halves(2)), torch.Generator())
    assert not system.sums.any()


# They learn


def trained(recipe, cohort, folder, iterations, loss=(), **options):
    """A package of small networks that have been trained for a while; `loss` is merged over the first stage's."""
    tuned = tiny_options(recipe, iterations, batch_size=4, **options)
    if recipe != "label-to-image":
        stages = list(tuned.overrides["stages"].values())
        stages[0]["loss"].update(loss)
        for stage in stages:
            stage["network"]["options"]["features"] = [8] * 6
    return train(cohort, tuned, folder, "cpu", Silent())


@pytest.mark.parametrize("recipe", ["mustgan", "label-to-image"])
def test_what_is_made_comes_near_the_target(recipe, tmp_path):
    """Mean absolute error on the training cases, beside that of the network before it is trained."""
    cohort = blob_cohort(tmp_path / "data", 6, 32, flat=True)
    more = {"source_channels": ["A", "C"], "learning_rate": 1e-2} if recipe == "mustgan" else {}
    loaded = load_package(trained(recipe, cohort, tmp_path / "t", 60, **more))
    ((name, system),) = loaded.systems.items()
    batch = TensorStore(tmp_path / "t.training" / "tensors", loaded.info.grid.size).batch(
        range(6), np.random.default_rng(0)
    )
    torch.manual_seed(0)
    fresh = build_system(loaded.info.recipe.stages[name].network, system.signature).eval()
    still = torch.zeros(6, *system.noise_shape())
    with torch.no_grad():
        before, after = (
            (one.sample(lambda: still, batch, Sampler()) - batch.target).abs().mean() for one in (fresh, system)
        )
    assert after < 0.5 * before


@pytest.mark.parametrize("recipe", ["cyclegan", "syndiff"])
def test_a_cycle_learns_what_no_pair_has_shown(tmp_path, recipe):
    """Bright spheres become dark ones: trained without pairs, and compared with the pairs that nobody saw."""
    cohort = blob_cohort(tmp_path / "data", 6, 32, flat=True)
    # The default weight holds a short training where both directions undo each other already.
    loss = {"cycle": 2}
    package = trained(recipe, cohort, tmp_path / "t", 120, loss, learning_rate=1e-2)
    errors = []
    for case in translate(package, cohort, tmp_path / "out", TranslationParameters(overlap=0), device="cpu").cases:
        (given,) = (one for one in cohort.cases if case.id.endswith(one.id))
        truth = given.volume("B").array
        errors.append([np.abs(x - truth).mean() for x in (given.volume("A").array, case.volume("B").array)])
    before, after = np.mean(errors, axis=0)
    assert after < 0.5 * before
