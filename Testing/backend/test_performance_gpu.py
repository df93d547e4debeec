"""With and without an acceleration the same is worked out; on a CPU, as far as that has an analogue."""

import torch
from engine_data import blob_cohort, tiny
from monai.networks.nets import DiffusionModelUNet

from benchmarks.performance import gpu
from benchmarks.performance.suite import SPECS
from benchmarks.performance.training_step import planned
from benchmarks.performance.translation import translator


def test_every_row_says_that_it_needs_a_gpu():
    rows = [row for spec in SPECS if spec.gpu for row in spec.rows]
    assert rows == [row for spec in gpu.SPECS for row in spec.rows]


def test_both_layouts_answer_alike():
    network = gpu._Translating(translator((32, 32, 48), (4, 4, 4, 4, 4, 4)))
    ours, peer = gpu.in_both_layouts(network, torch.randn(2, 1, 32, 32, 48))
    torch.testing.assert_close(ours(), peer(), rtol=1e-3, atol=1e-3)


def test_a_graph_answers_as_the_network():
    torch.manual_seed(0)
    network = DiffusionModelUNet(3, 2, 2, (1,), (8,), (False,), norm_num_groups=4, num_head_channels=4).eval()
    torch.nn.init.normal_(network.out[-1].conv.weight)

    def record(function):
        result = function()
        return result, lambda: result.copy_(function())

    ours, peer = gpu.with_graph(network, torch.randn(1, 2, 4, 4, 4), record)
    assert torch.equal(ours(), peer()) and peer().any()


def test_steps_go_on_in_the_arithmetic_that_is_asked_for(tmp_path):
    with planned(blob_cohort(tmp_path, count=3), "wgan-gp", tiny("wgan-gp")) as (plan, folder):
        run, step = gpu.step_with(plan, folder, "32-true", True, "cpu")
        step()
        assert run.iteration == 1 and run.setting.acceleration.tf32


def test_a_batch_arrives_unpinned_too():
    assert gpu.moving("cpu", False)().shape == (8, 16, 48, 64, 48)
