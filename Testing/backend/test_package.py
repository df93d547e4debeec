import json
import pickle
import shutil

import pytest
import torch
from engine_data import blob_cohort, tiny_options
from genaug.errors import GenaugError, Reason
from genaug.generation import CodeScale
from genaug.package import INFO, load_package, read_info, weights_sha256, write_package
from genaug.progress import Silent
from genaug.training import train
from genaug.training.checkpoint import load_checkpoint
from limits import limited_file_size


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("package")
    return train(blob_cohort(folder / "data"), tiny_options("ldm", 2), folder / "ldm", "cpu", Silent())


@pytest.fixture
def package(trained, tmp_path):
    return shutil.copytree(trained, tmp_path / "ldm")


def test_nothing_a_latent_model_needs_is_left_out(package):
    info = read_info(package)
    assert info.code_scale is not None and len(info.code_scale.mean) == 2
    assert info.grid.fov_max == (24.0, 16.0, 32.0)
    assert info.grid.channels["A"].typical is not None
    assert info.recipe.sampler.name == "dpmpp_2m"
    for file in ("configs/metadata.json", "docs/README.md", "LICENSE"):
        assert (package / file).is_file()
    metadata = json.loads((package / "configs" / "metadata.json").read_text())
    assert {"version", "monai_version", "pytorch_version", "numpy_version", "network_data_format"} <= metadata.keys()


def test_weights_survive_writing_and_reading(package, tmp_path):
    loaded = load_package(package)
    again = load_package(write_package(tmp_path / "copy", loaded.info, loaded.systems))
    for name, system in loaded.systems.items():
        for key, value in system.state_dict().items():
            assert torch.equal(value, again.systems[name].state_dict()[key])
    assert again.sha256 == loaded.sha256


def test_a_disk_that_is_full_is_told_and_leaves_no_package(package, tmp_path):
    loaded = load_package(package)
    with pytest.raises(GenaugError) as caught, limited_file_size(5000):
        write_package(tmp_path / "new" / "copy", loaded.info, loaded.systems)
    assert caught.value.reason is Reason.DISK_FULL
    assert caught.value.subject == str(tmp_path / "new" / "copy" / "models" / "autoencoder.safetensors")
    assert not (tmp_path / "new").exists()


def test_half_precision_halves_the_file_and_loads_as_float32(package, tmp_path):
    loaded = load_package(package)
    half = write_package(tmp_path / "half", loaded.info, loaded.systems, half=True)
    size = sum(f.stat().st_size for f in (package / "models").iterdir())
    assert sum(f.stat().st_size for f in (half / "models").iterdir()) < 0.7 * size
    assert all(p.dtype == torch.float32 for p in load_package(half).system.parameters())


def test_what_half_precision_cannot_hold_is_not_halved(package, tmp_path):
    """A codebook counts how often each entry was used, and infinities would end a training that starts from it."""
    loaded = load_package(package)
    system = loaded.systems["autoencoder"]
    system.code_mean.fill_(1e5)
    small = write_package(tmp_path / "half", loaded.info, loaded.systems, half=True)
    kept = load_package(small).systems["autoencoder"].state_dict()
    assert torch.equal(kept["code_mean"], system.code_mean)
    assert all(torch.isfinite(value).all() for value in kept.values())


def test_changed_weights_are_refused(package):
    path = next((package / "models").iterdir())
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(GenaugError, match="SHA-256") as caught:
        load_package(package)
    assert caught.value.reason is Reason.BAD_PACKAGE


def test_a_weight_file_outside_the_package_is_refused(package, tmp_path):
    info = json.loads((package / INFO).read_text())
    stage = info["stages"]["denoiser"]
    shutil.copy(package / stage["file"], tmp_path / "outside.safetensors")
    stage["file"] = "../outside.safetensors"
    (package / INFO).write_text(json.dumps(info))
    with pytest.raises(GenaugError, match="outside the package"):
        load_package(package)


def test_a_pickle_in_place_of_weights_is_not_run(package, tmp_path):
    marker = tmp_path / "was-run"

    class Bomb:
        def __reduce__(self):
            return (open, (str(marker), "w"))

    info = json.loads((package / INFO).read_text())
    path = package / info["stages"]["denoiser"]["file"]
    path.write_bytes(pickle.dumps(Bomb()))
    from genaug.files import sha256_file

    info["stages"]["denoiser"]["sha256"] = sha256_file(path)
    (package / INFO).write_text(json.dumps(info))
    with pytest.raises(GenaugError) as caught:
        load_package(package)
    assert caught.value.reason is Reason.BAD_PACKAGE
    checkpoint = tmp_path / "x.checkpoint.pt"
    checkpoint.write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(GenaugError):
        load_checkpoint(checkpoint)
    assert not marker.exists()


@pytest.mark.parametrize("damage", ["no folder", "unknown key", "not json"])
def test_a_damaged_description_is_named(package, damage):
    if damage == "no folder":
        shutil.rmtree(package)
    else:
        text = (package / INFO).read_text()
        (package / INFO).write_text(text.replace("{", '{"colour": 1, ', 1) if damage == "unknown key" else "{")
    with pytest.raises(GenaugError) as caught:
        read_info(package)
    assert caught.value.reason is Reason.BAD_PACKAGE
    if damage == "unknown key":
        assert "colour" in caught.value.found


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"file": "models/a\0b.safetensors"}, "file"),
        ({"signature": {}}, "signature"),
        ({"signature": {"window": [8, 8], "channels": 1}}, "signature"),
        (None, "stages are"),
    ],
)
def test_a_description_of_what_cannot_be_built_is_named(package, change, named):
    path = package / INFO
    info = json.loads(path.read_text())
    if change is None:
        info["stages"] = {"other": info["stages"]["autoencoder"]}
    else:
        info["stages"]["autoencoder"].update(change)
    path.write_text(json.dumps(info))
    with pytest.raises(GenaugError) as caught:
        load_package(package)
    assert caught.value.reason is Reason.BAD_PACKAGE
    assert named in caught.value.found


def test_a_loaded_package_stays_loaded_until_a_file_changes(package):
    first = load_package(package)
    assert load_package(package) is first
    (package / INFO).touch()
    assert load_package(package) is not first


def test_the_hash_depends_on_the_weights_alone(package):
    info = read_info(package)
    assert weights_sha256(info) == weights_sha256(info.model_copy(update={"title": "another"}))


def test_code_scale_standardises_and_comes_back():
    codes = torch.randn(50, 3, 4, 4) * torch.tensor([1.0, 5.0, 0.1]).view(1, 3, 1, 1) + 7
    scale = CodeScale.of(codes)
    scaled = scale.scale(codes)
    torch.testing.assert_close(scaled.mean((0, 2, 3)), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(scaled.std((0, 2, 3)), torch.ones(3), atol=1e-4, rtol=0)
    torch.testing.assert_close(scale.unscale(scaled), codes, atol=1e-4, rtol=1e-5)
