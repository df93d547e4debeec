"""Unpaired, cascaded, fused and missing: what the methods of translation add, each by a property it must have."""

import numpy as np
import pytest
import torch
from engine_data import TINY_NETWORKS, blob_cohort, tiny_options
from genaug.cohort import Cohort
from genaug.errors import GenaugError, Reason
from genaug.networks import Batch, Signature, build_critic, build_system
from genaug.objectives import CRITIC_LOSSES, LOSSES, Play
from genaug.package import load_package, read_info
from genaug.parameters import TranslationParameters
from genaug.progress import Silent
from genaug.recipe import Network, load_recipe
from genaug.tensors import Roles, StoreWriter, TensorStore
from genaug.training import train
from genaug.translation import translate

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


def test_a_pair_starts_near_the_identity_and_goes_both_ways():
    system = build_system(tiny_network("cycle_pair"), SIGNATURE)
    batch = Batch(images(), source=images(seed=1))
    outputs = system(batch, torch.Generator())
    torch.testing.assert_close(outputs["generated"], torch.tanh(batch.source))
    torch.testing.assert_close(outputs["reversed"], torch.tanh(batch.target))
    torch.testing.assert_close(outputs["cycle_source"], torch.tanh(torch.tanh(batch.source)))


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


def test_one_side_alone_is_refused_with_what_to_do(tmp_path, flat):
    with pytest.raises(GenaugError, match="without") as caught:
        train(flat, tiny_options("ant-gan", 1, source_channels=["B"]), tmp_path / "t", "cpu", Silent())
    assert caught.value.reason is Reason.UNPAIRED
