"""What is on is decided once, written down and followed; what a graph plays is what the network would have said."""

import pytest
import torch
from engine_data import blob_cohort, tiny_options
from genaug import acceleration
from genaug.acceleration import PLAIN, Acceleration, arithmetic, following, for_sampling, for_training, wanted
from genaug.errors import Cancelled
from genaug.files import read_json
from genaug.graphs import GraphedCall, graph_denoisers, graphs
from genaug.networks import Batch
from genaug.package import load_package
from genaug.progress import Silent
from genaug.training import train, training_folder
from genaug.training.loop import StageRun
from monai.networks.nets import DiffusionModelUNet

CPU, GPU = torch.device("cpu"), torch.device("cuda")


@pytest.fixture
def ampere(monkeypatch):
    """As if there were a GPU that has everything."""
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (8, 0))
    monkeypatch.setattr(acceleration, "faster_layout", lambda device: "channels_last")


def test_a_gpu_is_given_what_it_has_and_what_was_measured_to_pay(ampere, monkeypatch):
    assert for_training("auto", GPU, 3) == Acceleration(tf32=True, channels_last=True, pinned=True)
    assert not for_training("auto", GPU, 2).channels_last
    monkeypatch.setattr(acceleration, "faster_layout", lambda device: "contiguous")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5))
    assert for_training("auto", GPU, 3) == Acceleration(pinned=True)
    assert for_sampling(GPU) == Acceleration(graphs=True)


def test_off_is_plain_everywhere(ampere):
    assert for_training("off", GPU, 3) == for_training("off", CPU, 3) == PLAIN
    with wanted("off"):
        assert for_sampling(GPU) == PLAIN


def test_a_cpu_measures_nothing_to_train(monkeypatch):
    """The same seed must give the same weights there."""
    monkeypatch.setattr(acceleration, "faster_layout", lambda device: pytest.fail("measured"))
    assert for_training("auto", CPU, 3) == Acceleration(channels_last=True)
    assert for_training("auto", CPU, 2) == for_sampling(CPU) == PLAIN


def test_a_replay_has_what_the_record_names_whatever_is_wanted(ampere):
    with following({"tf32": True}), wanted("off"):
        assert for_sampling(GPU) == Acceleration(tf32=True)
    with following(None):
        assert for_sampling(GPU) == PLAIN
    assert for_sampling(GPU).graphs


def test_the_arithmetic_is_put_back():
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    for on in (True, False):
        with arithmetic(Acceleration(tf32=on)):
            assert torch.backends.cuda.matmul.allow_tf32 is on
            assert torch.backends.cudnn.allow_tf32 is on
    assert (torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32) == before


def denoiser():
    torch.manual_seed(0)
    network = DiffusionModelUNet(3, 2, 2, (1,), (8,), (False,), norm_num_groups=4, num_head_channels=4).eval()
    for parameter in network.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter)
    return network


def on_the_cpu(function):
    """What recording a graph is on a GPU: a result whose values every play renews in place."""
    result = function()
    return result, lambda: result.copy_(function())


def test_a_played_graph_says_what_the_network_says_for_every_input_and_shape():
    network, plain = denoiser(), denoiser()
    network.forward = GraphedCall(network.forward, on_the_cpu)
    answers = []
    with torch.no_grad(), graphs(True):
        for seed, size in ((0, 4), (1, 4), (2, 6), (3, 4)):
            x = torch.randn(2, 2, size, size, size, generator=torch.Generator().manual_seed(seed))
            answers.append((network(x, torch.full((2,), 7.0 * seed)), plain(x, torch.full((2,), 7.0 * seed))))
    # Looked at last: a later play must not reach into an earlier answer.
    assert all(torch.equal(found, expected) for found, expected in answers)
    assert len(network.forward._known) == 2


def test_no_graph_is_played_while_a_network_learns_or_graphs_are_off():
    network = denoiser()
    network.forward = GraphedCall(network.forward, lambda function: pytest.fail("recorded"))
    x, t = torch.randn(1, 2, 4, 4, 4), torch.ones(1)
    network(x, t).sum().backward()
    with torch.no_grad():
        network(x, t)
    with graphs(True):
        network(x, t)


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    return blob_cohort(tmp_path_factory.mktemp("blobs"), count=3)


def test_denoisers_of_a_package_are_found(cohort, tmp_path):
    system = load_package(train(cohort, tiny_options("ddpm", 1), tmp_path / "p", "cpu", Silent())).system
    graph_denoisers(system)
    assert isinstance(system.network.forward, GraphedCall)


def test_a_resumed_stage_goes_on_with_what_it_was_begun_with(cohort, tmp_path, monkeypatch):
    options = tiny_options("vae")

    class Stop(Silent):
        def progress(self, done, total, note=""):
            if ": " in note:
                raise Cancelled()

    with pytest.raises(Cancelled):
        train(cohort, options.model_copy(update={"acceleration": "off"}), tmp_path / "vae", "cpu", Stop())
    noted = training_folder(tmp_path / "vae") / "vae.acceleration.json"
    assert read_json(noted, Acceleration) == PLAIN
    seen = []
    resume = StageRun.train
    monkeypatch.setattr(StageRun, "train", lambda run: (seen.append(run.setting.acceleration), resume(run))[1])
    train(cohort, options, tmp_path / "vae", "cpu", Silent())
    assert seen == [PLAIN]


def test_a_batch_can_go_by_pinned_memory(monkeypatch):
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: tensor + 0)
    batch = Batch(torch.ones(1, 1, 2, 2), vector=torch.ones(1, 3))
    moved = batch.to("cpu", pinned=True)
    assert torch.equal(moved.target, batch.target) and moved.target is not batch.target
    assert moved.source is None
