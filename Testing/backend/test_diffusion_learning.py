"""What each of the diffusion networks learns of discs in two hundred iterations: samples come near to the data."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from engine_data import TINY_NETWORKS
from genaug.networks import Batch, Signature, build_critic, build_system
from genaug.progress import Silent
from genaug.recipe import Sampler, load_recipe
from genaug.samplers import CaseNoise
from genaug.training.loop import Setting, StageRun
from lightning_fabric import Fabric

SIDE, COUNT = 16, 48


class Discs:
    """Bright discs of random place and size; the source is the same disc in grey, or one that is not yet grown."""

    def __init__(self, source: str = "", labels: bool = False) -> None:
        generator = torch.Generator().manual_seed(0)
        centre = 7.5 + 2 * torch.rand(COUNT, 2, 1, 1, generator=generator) - 1
        radius = 3 + 2 * torch.rand(COUNT, 1, 1, generator=generator)
        at = torch.stack(torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")).float()
        distance = torch.linalg.vector_norm(at - centre, dim=1)
        inside = torch.sigmoid(2 * (radius - distance))[:, None]
        self.target = 1.6 * inside - 0.8
        self.source = {
            "": None,
            "grey": 0.3 - 0.6 * inside,
            "small": 1.6 * torch.sigmoid(2 * (radius - 1.5 - distance))[:, None] - 0.8,
        }[source]
        self.label_map = torch.cat([1 - inside, inside], dim=1).round() if labels else None

    def __len__(self) -> int:
        return COUNT

    def batch(self, items, rng=None) -> Batch:
        rows = list(items)
        given = (None if maps is None else maps[rows] for maps in (self.source, self.label_map))
        return Batch(self.target[rows], *given)

    def signature(self) -> Signature:
        conditions = 2 * (self.label_map is not None) + (self.source is not None)
        return Signature(2, (SIDE, SIDE), 1, 0, conditions)


def trained(stage, signature, data, folder, iterations=200, teacher=None):
    """The averaged network of a stage, small."""
    torch.manual_seed(0)
    options = {**TINY_NETWORKS[stage.network.kind], "channels": [16, 16], "attention": [False, True]}
    kept = {key: value for key, value in stage.network.options.items() if key not in ("channels", "attention")}
    network = stage.network.model_copy(update={"options": {**kept, **options}})
    system = build_system(network, signature)
    critics = {
        name: build_critic(one.model_copy(update={"options": {"channels": [16, 16]}}), signature)
        for name, one in stage.critics.items()
    }
    system.start_at(data.target.mean(0))
    if teacher is not None:
        system.follow(teacher)
    changed = {"iterations": iterations, "batch_size": 16, "learning_rate": 3e-3, "warmup": 0, "ema": 0.98}
    if critics:
        changed["learning_rate"] = 1e-3
    stage = stage.model_copy(update={"training": stage.training.model_copy(update=changed)})
    setting = Setting(Fabric(accelerator="cpu", devices=1), folder, 0, Silent(), checkpoint_every=10**6)
    run = StageRun("stage", stage, system, critics, data, setting, teacher)
    return run.train() if iterations else run.averaged()


def drawn(system, data, sampler):
    noise = CaseNoise.from_seeds(range(COUNT), system.noise_shape())
    with torch.no_grad():
        return system.sample(noise, data.batch(range(COUNT)), sampler)


def mmd(first: torch.Tensor, second: torch.Tensor) -> float:
    """Squared maximum mean discrepancy under a Gaussian kernel of the data's own width."""
    x, y = first.flatten(1), second.flatten(1)
    width = torch.cdist(y, y).median() ** 2

    def kernel(a, b):
        return float(torch.exp(-(torch.cdist(a, b) ** 2) / width).mean())

    return kernel(x, x) + kernel(y, y) - 2 * kernel(x, y)


@pytest.mark.parametrize(
    ("name", "stage", "prediction"),
    [
        ("fast-ddpm", "denoiser", "v"),
        ("rectified-flow", "denoiser", "flow"),
        ("wavelet-diffusion", "denoiser", "x0"),
    ],
)
def test_samples_come_near_to_the_data(name, stage, prediction, tmp_path):
    recipe = load_recipe(name).resolve(2)
    data = Discs()
    sampler = recipe.sampler.model_copy(update={"steps": min(recipe.sampler.steps, 20)})
    part = recipe.stages[stage]
    assert part.network.options.get("prediction") == prediction
    before, after = (
        mmd(drawn(trained(part, data.signature(), data, tmp_path / str(count), count), data, sampler), data.target)
        for count in (0, 200)
    )
    assert after < 0.5 * before and after < 0.3


@pytest.mark.parametrize(
    ("name", "stage", "source"),
    [("regression-translation", "denoiser", "grey"), ("umm-csgm", "denoiser", "grey"), ("ddm", "ddm", "small")],
)
def test_translations_come_near_to_their_targets(name, stage, source, tmp_path):
    recipe = load_recipe(name).resolve(2)
    data = Discs(source)
    before, after = (
        float((drawn(trained(recipe.stages[stage], data.signature(), data, tmp_path / str(count), count), data,
                     recipe.sampler) - data.target).abs().mean())
        for count in (0, 200)
    )  # fmt: skip
    assert after < 0.6 * before


def test_a_student_of_two_steps_is_near_its_teacher_of_four(tmp_path):
    recipe = load_recipe("progressive-distillation").resolve(2)
    data = Discs()
    teacher = trained(recipe.stages["denoiser"], data.signature(), data, tmp_path / "teacher", 300)
    student = trained(recipe.stages["student_2"], data.signature(), data, tmp_path / "student", 150, teacher)
    wanted = drawn(teacher, data, Sampler(name="distilled", steps=4))
    unlearnt, learnt = (drawn(one, data, Sampler(name="distilled", steps=2)) for one in (teacher, student))
    errors = [float((one - wanted).abs().mean()) for one in (unlearnt, learnt)]
    assert errors[1] < 0.7 * errors[0]


def test_a_control_makes_a_frozen_denoiser_follow_label_maps(tmp_path):
    recipe = load_recipe("controlnet").resolve(2)
    data = Discs(labels=True)
    alone = Discs()
    base = trained(recipe.stages["denoiser"], alone.signature(), alone, tmp_path / "base", 300)
    sampler = Sampler(name="dpmpp_2m", steps=10)
    errors = []
    for count in (0, 200):
        stage = recipe.stages["control"]
        system = trained(stage, data.signature(), data, tmp_path / str(count), count, base)
        errors.append(float((drawn(system, data, sampler) - data.target).abs().mean()))
        frozen = system.network.state_dict()
        assert all(torch.equal(frozen[key], value) for key, value in base.network.state_dict().items())
    assert errors[1] < 0.7 * errors[0]
    assert np.isfinite(errors).all()
