"""What a job takes is said before it starts, holds afterwards, and is kept below a limit or refused."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from engine_data import Told, blob_cohort, tiny_options
from genaug.acceleration import Acceleration
from genaug.cohort import Cohort
from genaug.errors import GenaugError, Reason
from genaug.generation_memory import sampling_on_gpu
from genaug.graphs import graph_denoisers
from genaug.imageio import write_volume
from genaug.jobs.events import Finished
from genaug.jobs.folder import build_job
from genaug.jobs.run import run_job
from genaug.jobs.schema import read_result
from genaug.package import load_package, read_info
from genaug.parameters import SynthesisParameters, TranslationParameters
from genaug.peak import GPU_LIBRARIES, LAYOUT_TRIAL, gpu_bytes, on_meta, peak_bytes
from genaug.progress import Silent
from genaug.record import Record
from genaug.slabs import PLANS
from genaug.stated import Peak, hearing, state
from genaug.synthesis import remake, synthesize
from genaug.training import train
from genaug.training.memory import state_training_peak
from genaug.training.plan import TrainingPlan, make_plan
from genaug.translation import remake as translate_again
from genaug.translation import translate
from genaug.volume import Volume
from monai.networks.nets import DiffusionModelUNet
from pydantic import ValidationError
from torch import nn

MODELS = Path(__file__).parents[2] / "Resources" / "Models"
COMMAND = "from genaug.cli.app import main; main()"


def whole_field(package: Path, path: Path) -> Path:
    """An image of 1 mm voxels as large as what the package was trained on."""
    grid = read_info(package).grid
    array = np.random.default_rng(0).uniform(0, 400, [round(mm) for mm in grid.fov_max]).astype(np.float32)
    write_volume(path, Volume(array, np.eye(4), "MR"))
    return path


@pytest.fixture(scope="module")
def latent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny latent diffusion in 3D."""
    folder = tmp_path_factory.mktemp("ldm")
    return train(
        blob_cohort(folder / "data", 3, 16, False), tiny_options("ldm", 2), folder / "package", "cpu", Silent()
    )


def test_a_chain_of_layers_holds_two_of_its_tensors_at_once() -> None:
    """Nothing that was dropped is counted on, and nothing is computed."""
    layers = on_meta(nn.Sequential(*[nn.Linear(1000, 1000, bias=False) for _ in range(5)]))
    assert all(parameter.is_meta for parameter in layers.parameters())
    with torch.no_grad():
        found = peak_bytes(lambda: layers(torch.empty(5000, 1000, device="meta")))
    assert found == pytest.approx(3 * 5000 * 1000 * 4, rel=0.35)


def test_a_copy_on_meta_has_no_weights_of_its_own() -> None:
    """The network itself stays as it is."""
    network = nn.Sequential(nn.Conv3d(1, 2, 3), nn.BatchNorm3d(2))
    shapes = on_meta(network)
    assert not any(value.is_meta for value in network.state_dict().values())
    assert all(value.is_meta for value in shapes.state_dict().values())


def test_what_is_stated_is_heard_and_logged() -> None:
    """Beside each other in result.json stand what was expected and what was measured."""
    told = Told()
    with hearing() as heard:
        state(Peak(bytes=3_000_000, of="all of it"), told)
    assert [peak.bytes for peak in heard] == [3_000_000]
    assert told.lines == ["memory: at most 3 MB expected, all of it"]


@pytest.mark.parametrize("name", ["brain-t1-ldm", "brain-t1-gan", "brain-t1-to-t2"])
def test_expected_peak_of_starter_models_holds(name: str, tmp_path: Path) -> None:
    """In a process of its own: not less than measured, and at most half as much again."""
    package = MODELS / name
    job = [sys.executable, "-c", COMMAND, "synthesize", package, tmp_path / "out", "--count", "2"]
    if read_info(package).recipe.task == "translation":
        image = whole_field(package, tmp_path / "image.nii.gz")
        job = [sys.executable, "-c", COMMAND, "translate", package, image, tmp_path / "out", "--modality", "MR"]
    subprocess.run([*job, "--job-folder", tmp_path / "job"], check=True, capture_output=True)
    result = json.loads((tmp_path / "job" / "result.json").read_text(encoding="utf-8"))
    measured, expected = result["peak_memory_bytes"], result["expected_memory_bytes"]
    print(f"{name}: {expected / 1e6:.0f} MB expected, {measured / 1e6:.0f} MB measured")
    assert measured <= expected <= 1.5 * measured


def test_a_limit_that_cannot_be_kept_is_refused_with_the_number(latent: Path, tmp_path: Path) -> None:
    """Before anything is written."""
    with pytest.raises(GenaugError, match="max_memory") as caught:
        synthesize(latent, tmp_path / "out", SynthesisParameters.model_validate({"max_memory": "10MB"}), 1, "cpu")
    assert caught.value.reason is Reason.BAD_PARAMETER
    assert "MB or more" in caught.value.expected
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("plan", PLANS)
def test_a_case_decoded_in_slabs_is_made_again_in_slabs(
    latent: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plan: object
) -> None:
    """The Record says how, and the same bits come out; they are those of decoding at once within rounding."""
    once = synthesize(latent, tmp_path / "once", SynthesisParameters(), 5, "cpu")
    monkeypatch.setattr("genaug.synthesis.synthesis_plan", lambda *_: plan)
    made = synthesize(latent, tmp_path / "slabs", SynthesisParameters(), 5, "cpu")
    record = Record.read(made.cases[0].record)
    assert record.machine["slabs"] == plan.model_dump()
    monkeypatch.undo()
    again = remake(record, latent)
    assert (again["A"].array == made.cases[0].volume("A").array).all()
    first = once.cases[0].volume("A").array
    assert abs(again["A"].array.astype(float) - first).max() <= 1e-3 * abs(first).max()


def test_what_cannot_be_known_is_said_and_promised_to_nobody(
    latent: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a network that looks at values, shapes alone tell nothing."""

    def fails(*_: object) -> int:
        raise NotImplementedError("values are needed")

    monkeypatch.setattr("genaug.synthesis_memory.package_bytes", fails)
    told = Told()
    synthesize(latent, tmp_path / "out", SynthesisParameters(), 1, "cpu", told)
    assert any("not known beforehand" in line for line in told.lines)
    with pytest.raises(GenaugError, match="nothing can be promised"):
        synthesize(latent, tmp_path / "other", SynthesisParameters.model_validate({"max_memory": "9GB"}), 1, "cpu")


@pytest.mark.parametrize("model", [SynthesisParameters, TranslationParameters])
@pytest.mark.parametrize(
    ("text", "size"), [("2GB", 2 * 10**9), ("1.5 GiB", 3 << 29), (4096, 4096), ("2 parsecs", None), ("0", None)]
)
def test_a_size_is_a_number_of_bytes_or_refused(model: type, text: object, size: int | None) -> None:
    """Units of ten and of two."""
    if size is None:
        with pytest.raises(ValidationError):
            model.model_validate({"max_memory": text})
    else:
        assert model.model_validate({"max_memory": text}).max_memory == size


def test_starter_models_all_have_a_known_peak() -> None:
    """None of them needs values to tell its size."""
    from genaug.generation_memory import package_bytes

    for folder in sorted(path.parents[1] for path in MODELS.glob("*/configs/genaug.json")):
        package = load_package(folder)
        assert package_bytes(package, package.info.recipe.sampler, 1) > 0


@pytest.fixture(scope="module")
def translator(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Cohort]:
    """A tiny translation in 3D and what it was trained on."""
    folder = tmp_path_factory.mktemp("translation")
    cohort = blob_cohort(folder / "data", 3, 16, False, long=True)
    return train(cohort, tiny_options("unet-l1", 2), folder / "package", "cpu", Silent()), cohort


def test_a_translation_under_a_limit_takes_fewer_windows_and_is_made_again_so(
    translator: tuple[Path, Cohort], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The Record says how many, and what comes out differs by rounding at most."""
    package, cohort = translator
    cohort = cohort.with_cases(cohort.cases[:1])
    usual = translate(package, cohort, tmp_path / "usual", TranslationParameters(), 1, "cpu")
    monkeypatch.setattr(
        "genaug.translation_memory.package_bytes", lambda *arguments: 10**10 if arguments[-1] > 1 else 10**6
    )
    limited = TranslationParameters.model_validate({"max_memory": "4GB"})
    made = translate(package, cohort, tmp_path / "limited", limited, 1, "cpu")
    record = Record.read(made.cases[0].record)
    assert record.parameters["windows_at_once"] == 1
    again = translate_again(record, package, cohort.cases[0])
    array = made.cases[0].volume("B").array
    assert (again["B"].array == array).all()
    first = usual.cases[0].volume("B").array
    assert abs(array - first).max() <= 1e-3 * abs(first).max()
    with pytest.raises(GenaugError, match="MB or more"):
        small = TranslationParameters.model_validate({"max_memory": "20MB"})
        translate(package, cohort, tmp_path / "refused", small, 1, "cpu")


def test_the_peak_of_a_translation_is_stated(translator: tuple[Path, Cohort], tmp_path: Path) -> None:
    """Before its first window."""
    package, cohort = translator
    with hearing() as heard:
        translate(package, cohort.with_cases(cohort.cases[:1]), tmp_path / "out", TranslationParameters(), 1, "cpu")
    assert len(heard) == 1 and heard[0].bytes > 1e8


@pytest.mark.parametrize("recipe", ["ldm", "wgan-gp", "unet-l1", "vq-vae"])
def test_the_peak_of_a_training_is_stated_and_grows_with_the_batch(recipe: str, tmp_path: Path) -> None:
    """By a step on shapes alone, before the first real one."""
    cohort = blob_cohort(tmp_path / "data", 3, 16, False, long=recipe == "unet-l1")
    expected = []
    for size in (2, 64):
        with hearing() as heard:
            options = tiny_options(recipe, 1, batch_size=size)
            folder = tmp_path / f"package{size}.training"
            make_plan(cohort, options, folder, Silent())
            state_training_peak(TrainingPlan.read(folder), folder, torch.device("cpu"), Silent())
        expected.append(heard[0].bytes)
    assert expected[0] > 1e8
    assert expected[1] > expected[0] + 1e7


def test_what_a_gpu_holds_beside_the_work_is_stated_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its libraries, what is there already, a graph's own memory, and the trial of layouts where that is more."""
    monkeypatch.setattr("genaug.peak.device_held", lambda device: 1000)
    gpu = torch.device("cuda")
    assert gpu_bytes(gpu, 1e9, tries_layouts=True) == round(1000 + GPU_LIBRARIES + 1.1e9)
    assert gpu_bytes(gpu, 0, tries_layouts=True) == LAYOUT_TRIAL
    network = DiffusionModelUNet(2, 1, 1, (1,), (8,), (False,), norm_num_groups=4, num_head_channels=4)
    package: Any = SimpleNamespace(device=gpu, systems={"denoiser": network})
    monkeypatch.setattr("genaug.generation_memory.for_sampling", lambda device: Acceleration(graphs=True))
    assert sampling_on_gpu(package, 100) == 100
    graph_denoisers(network)
    assert sampling_on_gpu(package, 100) == 200
    monkeypatch.setattr("genaug.generation_memory.for_sampling", lambda device: Acceleration())
    assert sampling_on_gpu(package, 100) == 100


@pytest.mark.parametrize("kind", ["export", "evaluate", "fingerprint", "replay", "insert", "synthesize"])
def test_every_kind_of_job_states_a_peak_that_holds(kind: str, latent: Path, tmp_path: Path) -> None:
    """In its result.json the expected one stands beside the measured one."""
    cohort = blob_cohort(tmp_path / "data", 6, 16, False)
    made = synthesize(latent, tmp_path / "made", SynthesisParameters(count=2), 1, "cpu")
    inputs = {
        "export": {"real": cohort.root},
        "evaluate": {"real": cohort.root, "synthetic": made.root},
        "fingerprint": {"cohort": cohort.root},
        "replay": {"case": made.cases[0].record, "package": latent},
        "insert": {"host": cohort.root},
        "synthesize": {"package": latent},
    }[kind]
    parameters = {"evaluate": {"reference_part": "all"}, "insert": {"channel": "A", "contrast": [-6, -3]}}.get(kind, {})
    heard: list[str] = []
    folder = build_job(tmp_path / "job", kind, parameters, inputs)
    last = run_job(folder, lambda event: heard.append(getattr(event, "message", "")))
    assert any(message.startswith("memory: ") for message in heard), last
    if isinstance(last, Finished):
        result = read_result(folder)
        assert result.expected_memory_bytes is not None
        assert result.peak_memory_bytes <= result.expected_memory_bytes
