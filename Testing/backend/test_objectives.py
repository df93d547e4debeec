import pytest
import torch
from genaug.networks import Batch, Signature
from genaug.objectives import CRITIC_LOSSES, LOSSES, Play
from genaug.objectives.base import field_of, judged
from torch import nn

SIGNATURE = Signature(2, (8, 8), 1, 2, 0)


def play(critics=None):
    return Play(SIGNATURE, critics or {}, torch.Generator().manual_seed(0), 0)


def one_hot_target(cases=2):
    labels = torch.zeros(cases, 8, 8, dtype=torch.long)
    labels[:, 2:5, 2:5] = 1
    hot = torch.nn.functional.one_hot(labels, 2).movedim(-1, 1).float()
    return torch.cat([torch.rand(cases, 1, 8, 8) * 2 - 1, 2 * hot - 1], 1)


class Linear(nn.Module):
    """A critic whose gradient is a constant vector of a given length."""

    def __init__(self, slope: float, size: int) -> None:
        super().__init__()
        direction = torch.randn(size, generator=torch.Generator().manual_seed(0))
        self.weight = nn.Parameter(slope * direction / direction.norm())

    def forward(self, x):
        return x.flatten(1) @ self.weight


@pytest.mark.parametrize(("slope", "penalty"), [(1.0, 0.0), (0.0, 1.0), (3.0, 4.0)])
def test_gradient_penalty_of_a_linear_critic_is_known(slope, penalty):
    real = one_hot_target()
    critic = Linear(slope, real[0].numel())
    found = CRITIC_LOSSES["gradient_penalty"](critic, {"generated": torch.zeros_like(real)}, Batch(real), play())
    assert found.item() == pytest.approx(penalty, abs=1e-5)


def test_the_gradient_penalty_of_patches_is_that_of_their_mean():
    """However many patches a window has, since the game is played for the mean."""
    real = one_hot_target()
    whole = Linear(3.0, real[0].numel())

    class Patches(nn.Module):
        def forward(self, x):
            score = whole(x)
            return torch.stack([score * share for share in (0.5, 1.0, 1.5)], dim=1)[:, None]

    found = CRITIC_LOSSES["gradient_penalty"](Patches(), {"generated": torch.zeros_like(real)}, Batch(real), play())
    assert found.item() == pytest.approx(4.0, abs=1e-4)


def test_r1_is_half_the_squared_slope():
    real = one_hot_target()
    critic = Linear(3.0, real[0].numel())
    found = CRITIC_LOSSES["r1"](critic, {"generated": torch.zeros_like(real)}, Batch(real), play())
    assert found.item() == pytest.approx(4.5, abs=1e-4)


def test_kl_is_zero_at_the_prior_and_matches_torch_elsewhere():
    outputs = {"mean": torch.zeros(4, 8), "log_variance": torch.zeros(4, 8)}
    batch = Batch(one_hot_target())
    assert LOSSES["kl"](outputs, batch, play()).item() == 0
    mean, log_variance = torch.randn(4, 8), torch.randn(4, 8)
    posterior = torch.distributions.Normal(mean, (0.5 * log_variance).exp())
    expected = torch.distributions.kl_divergence(posterior, torch.distributions.Normal(0, 1)).mean()
    found = LOSSES["kl"]({"mean": mean, "log_variance": log_variance}, batch, play())
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("name", ["l1", "l2", "gradient_difference", "ssim"])
def test_reconstruction_terms_vanish_for_a_perfect_copy_and_only_there(name):
    batch = Batch(one_hot_target())
    options = {"window": 3} if name == "ssim" else {}
    assert LOSSES[name]({"generated": batch.target}, batch, play(), **options).item() == pytest.approx(0, abs=1e-5)
    assert LOSSES[name]({"generated": batch.target.flip(2)}, batch, play(), **options).item() > 0.01


@pytest.mark.parametrize("level", [-0.9, 0.0, 0.9])
def test_a_small_shift_of_intensity_is_a_small_loss_of_structure_at_every_grey(level):
    texture = 0.05 * torch.randn(1, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    signature = Signature(2, (16, 16), 1, 0, 0)
    made, wanted = texture + level + 0.02, texture + level - 0.02
    told = Play(signature, {}, torch.Generator(), 0)
    loss = LOSSES["ssim"]({"generated": made}, Batch(wanted), told, window=5)
    assert 0 < loss.item() < 0.2
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(LOSSES["ssim"]({"generated": made}, Batch(wanted), told, window=5), loss)


def test_reconstruction_terms_look_at_images_and_cross_entropy_at_labels():
    batch = Batch(one_hot_target())
    wrong_labels = batch.target.clone()
    wrong_labels[:, 1:] *= -1
    assert LOSSES["l1"]({"generated": wrong_labels}, batch, play()).item() == 0
    right = LOSSES["cross_entropy"]({"raw": 20 * batch.target}, batch, play())
    wrong = LOSSES["cross_entropy"]({"raw": 20 * wrong_labels}, batch, play())
    assert right.item() == pytest.approx(0, abs=1e-3)
    assert wrong.item() > 10


@pytest.mark.parametrize("name", ["l1", "cross_entropy"])
def test_a_case_counts_by_its_weight(name):
    """Weights of one change nothing; a case of weight zero may be anything."""
    batch = Batch(one_hot_target())
    count = len(batch.target)
    wrong = {"generated": -batch.target, "raw": -batch.target}
    plain = LOSSES[name](wrong, batch, play()).item()
    assert plain > 0.1
    assert LOSSES[name]({**wrong, "w": torch.ones(count)}, batch, play(), by="w").item() == pytest.approx(plain)
    weights = torch.zeros(count)
    weights[0] = 1
    first = LOSSES[name]({**wrong, "w": weights}, batch, play(), by="w").item()
    mended = {key: torch.cat([value[:1], 30 * batch.target[1:]]) for key, value in wrong.items()}
    assert 0 < first < plain
    assert LOSSES[name]({**mended, "w": weights}, batch, play(), by="w").item() == pytest.approx(first, abs=1e-6)


def test_gradient_difference_is_blind_to_an_offset_and_sees_blur():
    batch = Batch(one_hot_target())
    assert LOSSES["gradient_difference"]({"generated": batch.target + 0.3}, batch, play()).item() == pytest.approx(
        0, abs=1e-6
    )


@pytest.mark.parametrize("game", ["wasserstein", "least_squares", "hinge", "bce"])
def test_critic_and_network_pull_in_opposite_directions(game):
    """A critic that scores real above fake has the smaller loss; a network with higher scores has the smaller loss."""

    class Constant(nn.Module):
        def __init__(self, real, fake):
            super().__init__()
            self.real, self.fake = real, fake

        def forward(self, x):
            return torch.full((len(x), 1), self.real if x.mean() > 0 else self.fake)

    real, fake = torch.ones(2, 3, 8, 8), -torch.ones(2, 3, 8, 8)
    outputs, batch = {"generated": fake}, Batch(real)
    good = CRITIC_LOSSES["adversarial"](Constant(1.0, -1.0), outputs, batch, play(), game=game)
    bad = CRITIC_LOSSES["adversarial"](Constant(-1.0, 1.0), outputs, batch, play(), game=game)
    assert good < bad
    convinced = LOSSES["adversarial"](outputs, batch, play({"critic": Constant(1.0, 0.9)}), game=game)
    doubtful = LOSSES["adversarial"](outputs, batch, play({"critic": Constant(1.0, -0.9)}), game=game)
    assert convinced < doubtful


@pytest.mark.parametrize("game", ["wasserstein", "least_squares", "hinge", "bce"])
def test_a_critic_that_checks_what_was_asked_for_pays_less_for_mismatched_cases(game):
    """Cases whose mean is their vector: a critic that compares the two against one that looks at neither."""

    class Fits(nn.Module):
        def __init__(self, strictness):
            super().__init__()
            self.strictness = strictness

        def forward(self, x):
            told, shown = x[:, 1].mean(dim=(1, 2)), x[:, 0].mean(dim=(1, 2))
            return (1 - self.strictness * (told - shown).abs()).unsqueeze(1)

    values = torch.tensor([[-1.0], [0.0], [1.0]])
    batch = Batch(values.view(3, 1, 1, 1).expand(3, 1, 8, 8), vector=values)
    strict, lax = (CRITIC_LOSSES["mismatched"](Fits(s), {}, batch, play(), game=game) for s in (1.0, 0.0))
    assert strict < lax


def test_cases_of_the_same_vector_are_no_mismatch():
    batch = Batch(torch.rand(3, 1, 8, 8), vector=torch.ones(3, 1))
    assert CRITIC_LOSSES["mismatched"](Linear(1.0, 128), {}, batch, play()).item() == 0


def test_the_critic_gives_no_gradient_to_the_network():
    fake = torch.randn(2, 3, 8, 8, requires_grad=True)
    critic = Linear(1.0, fake[0].numel())
    CRITIC_LOSSES["adversarial"](critic, {"generated": fake}, Batch(one_hot_target()), play()).backward()
    assert fake.grad is None


def test_an_unknown_game_is_refused():
    with pytest.raises(ValueError, match="chess"):
        LOSSES["adversarial"](
            {"generated": torch.zeros(1, 3, 8, 8)},
            Batch(torch.zeros(1, 3, 8, 8)),
            play({"critic": Linear(1.0, 192)}),
            game="chess",
        )


def masked_batch():
    target = one_hot_target()
    inside = torch.zeros(2, 1, 8, 8)
    inside[:, :, 1:7, 1:6] = 1
    return Batch(target, inside=inside)


@pytest.mark.parametrize("name", ["l1", "l2", "gradient_difference", "ssim", "cross_entropy", "adversarial"])
def test_what_no_scanner_saw_changes_no_term(name):
    """Whatever is generated outside the field of view, the loss and its gradient inside stay the same."""
    batch = masked_batch()
    raw = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    critic = Linear(1.0, raw[0].numel())
    losses, gradients = [], []
    for beyond in (0.0, 5.0):
        changed = (raw * batch.inside + beyond * (1 - batch.inside)).requires_grad_(True)
        outputs = {"raw": changed, "generated": changed}
        loss = LOSSES[name](outputs, batch, play({"critic": critic}))
        losses.append(loss.detach())
        gradients.append(torch.autograd.grad(loss, changed)[0])
    torch.testing.assert_close(losses[0], losses[1])
    torch.testing.assert_close(gradients[0], gradients[1])
    assert (gradients[0] * (1 - batch.inside)).abs().max() == 0


@pytest.mark.parametrize("name", ["l1", "l2", "gradient_difference", "cross_entropy"])
def test_a_full_field_of_view_is_the_plain_term(name):
    batch = masked_batch()
    whole = Batch(batch.target, inside=torch.ones_like(batch.inside))
    raw = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    outputs = {"raw": raw, "generated": raw}
    torch.testing.assert_close(LOSSES[name](outputs, whole, play()), LOSSES[name](outputs, Batch(batch.target), play()))


@pytest.mark.parametrize("name", ["generated", "reversed", "target", "source", "cycle_source", "step_fake"])
def test_where_source_and_target_are_of_one_case_they_have_one_field_of_view_or_none(name):
    """So what a critic sees there is not touched, and nothing is multiplied where there is no mask."""
    x = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    batch = masked_batch()
    assert field_of(name, batch) is batch.inside
    assert torch.equal(judged(x, batch, name), x * batch.inside)
    paired = Batch(batch.target, source=x[:, :1])
    assert field_of(name, paired) is None
    assert torch.equal(judged(x, paired, name), torch.cat([x, x[:, :1]], dim=1))
