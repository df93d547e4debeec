"""Feature extractors: fixed for ever under their name, independent of company, and able to see what matters."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from genaug.errors import GenaugError, Reason
from genaug.evaluation import CaseArrays
from genaug.evaluation.convolutional import CELLS, CHANNELS, SEED, _weights
from genaug.evaluation.features import CLIP, FEATURES, Standardisation, default_features, make_extractor
from genaug.evaluation.labels import label_volumes
from scipy import ndimage

SHAPES = {2: (24, 20), 3: (16, 20, 13)}


def make_case(dims: int, seed: int = 0, channels: int = 1, name: str = "a") -> CaseArrays:
    rng = np.random.default_rng(seed)
    noise = [ndimage.gaussian_filter(rng.normal(size=SHAPES[dims]), 1.5) for _ in range(channels)]
    image = np.clip(np.stack(noise) / np.std(noise) * 0.4, -1, 1).astype(np.float32)
    return CaseArrays(name, name, image, (image[0] > 0.3).astype(np.uint8), 2.0)


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("channels", [1, 2])
def test_features_have_a_fixed_length_and_repeat_exactly(dims: int, channels: int) -> None:
    case = make_case(dims, channels=channels)
    lengths = {
        f"conv{dims}d-v1": channels * sum(CHANNELS) * (CELLS[dims] ** dims + 1),
        "anatomy-v1": channels * 39 + dims + 1,
    }
    for name, length in lengths.items():
        first = make_extractor(name, dims, [1])(case)
        assert first.shape == (length,)
        assert first.dtype == np.float32
        assert np.isfinite(first).all()
        make_extractor(name, dims, [1])(make_case(dims, seed=5, channels=channels))
        np.testing.assert_array_equal(make_extractor(name, dims, [1])(case), first)


@pytest.mark.parametrize(
    ("dims", "expected"), [(2, [0.352221, 0.442579, 0.154567]), (3, [0.152883, 0.247708, 0.0201486])]
)
def test_features_under_a_name_never_change(dims: int, expected: list[float]) -> None:
    """Scores of different versions and machines compare only while these numbers stand."""
    ramp = np.linspace(-1, 1, int(np.prod(SHAPES[dims])), dtype=np.float32).reshape(1, *SHAPES[dims])
    features = make_extractor(f"conv{dims}d-v1", dims)(CaseArrays("ramp", "ramp", ramp))
    summary = [float(features.mean()), float(features.std()), float(features[-5])]
    assert summary == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("dims", [2, 3])
def test_filters_of_a_level_are_orthonormal(dims: int) -> None:
    for weight, _ in _weights(dims, SEED[dims]):
        rows = weight.flatten(1).double().numpy()
        np.testing.assert_allclose(rows @ rows.T, 2 * np.eye(len(rows)), atol=1e-6)


def test_features_do_not_depend_on_the_number_of_threads() -> None:
    case, before = make_case(3), torch.get_num_threads()
    runs = []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            runs.append(make_extractor("conv3d-v1", 3)(case))
    finally:
        torch.set_num_threads(before)
    np.testing.assert_allclose(*runs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dims", [2, 3])
def test_blur_noise_and_moved_anatomy_are_seen(dims: int) -> None:
    """Each defect moves the features more than twice as far as a slightly different intensity does."""
    cases = [make_case(dims, seed, name=str(seed)) for seed in range(12)]
    for name in default_features(dims):
        extractor = make_extractor(name, dims, [1])
        standardise = Standardisation(np.stack([extractor(case) for case in cases]))
        image, label = cases[0].image, cases[0].label
        blurred = ndimage.gaussian_filter(image, (0, *[1.5] * dims))
        noisy = np.clip(image + 0.3 * np.random.default_rng(0).normal(size=image.shape), -1, 1).astype(np.float32)
        moved = np.roll(image, [n // 2 for n in image.shape[1:]], axis=range(1, dims + 1))
        moved_label = np.roll(label, [n // 2 for n in label.shape], axis=range(dims))
        variants = {
            "same": (image * 0.99, label),
            "blurred": (blurred, label),
            "noisy": (noisy, label),
            "moved": (moved, moved_label),
        }
        original = standardise(extractor(cases[0])[None])
        distance = {
            key: np.linalg.norm(standardise(extractor(CaseArrays("v", "v", *v))[None]) - original)
            for key, v in variants.items()
        }
        assert all(distance[key] > 2 * distance["same"] for key in ("blurred", "noisy", "moved")), (name, distance)


def test_anatomy_describes_labels_in_millimetres_and_place() -> None:
    image = np.zeros((1, 10, 10, 10), dtype=np.float32)
    label = np.zeros((10, 10, 10), dtype=np.uint8)
    label[0:2, 4:6, 8:10] = 3
    case = CaseArrays("a", "a", image, label, voxel_volume_mm3=8.0)
    features = make_extractor("anatomy-v1", 3, [3, 7])(case)[-8:]
    np.testing.assert_allclose(features, [4.0, 0.1, 0.5, 0.9, 0.0, 0.5, 0.5, 0.5], rtol=1e-6)
    np.testing.assert_allclose(label_volumes(case, [3, 7]), [64.0, 0.0])


def test_spectrum_finds_the_band_of_a_wave() -> None:
    def power(period: float) -> np.ndarray:
        wave = np.cos(2 * np.pi * np.arange(32) / period)[:, None] * np.ones((32, 32))
        features = make_extractor("anatomy-v1", 2)(CaseArrays("w", "w", wave[None].astype(np.float32)))
        return features[-8:]

    assert [int(power(period).argmax()) for period in (16, 8, 4, 2.4)] == [1, 2, 4, 6]


def test_standardisation_is_that_of_the_real_cases_and_limited() -> None:
    rng = np.random.default_rng(0)
    real = rng.normal(3, 2, size=(50, 4)).astype(np.float32)
    real[:, 3] = -1.0
    standardise = Standardisation(real)
    np.testing.assert_allclose(standardise(real)[:, :3].mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(standardise(real)[:, :3].std(axis=0), 1, atol=1e-5)
    strange = standardise(np.array([[3.0, 1e9, -1e9, -0.97]], dtype=np.float32))[0]
    assert strange[1] == CLIP
    assert strange[2] == -CLIP
    assert strange[3] == pytest.approx(0.03, abs=1e-5), "a constant feature keeps its own unit"


def test_unknown_and_unfit_features_are_refused_by_name() -> None:
    with pytest.raises(GenaugError, match="conv3d-v1") as unknown:
        make_extractor("inception", 3)
    assert unknown.value.reason is Reason.BAD_PARAMETER
    with pytest.raises(GenaugError, match="conv2d-v1"):
        make_extractor("conv3d-v1", 2)


def test_registry_is_open(monkeypatch: pytest.MonkeyPatch) -> None:
    class Mean:
        name = "mean-v1"

        def __call__(self, case: CaseArrays) -> np.ndarray:
            return case.image.mean(keepdims=True).ravel()

    monkeypatch.setitem(FEATURES, "mean-v1", lambda dims, labels: Mean())
    assert make_extractor("mean-v1", 3)(make_case(3)).shape == (1,)


def test_importing_the_package_does_not_import_torch() -> None:
    code = (
        "import sys; import genaug.evaluation, genaug.evaluation.scores, genaug.evaluation.synthesis,"
        " genaug.evaluation.translation; "
        "print([m for m in ('torch', 'monai', 'scipy', 'SimpleITK') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"
