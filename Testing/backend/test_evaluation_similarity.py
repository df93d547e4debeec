"""SSIM, MS-SSIM, PSNR, MAE, body mask and label scores against references and phantoms."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from genaug.evaluation.diversity import pairwise_ms_ssim, scale_plan
from genaug.evaluation.labels import dice, dice_per_label, relative_difference, wasserstein
from genaug.evaluation.masks import body_mask, otsu_threshold
from genaug.evaluation.paired import ct_tissues, mae, psnr, ssim, value_range
from monai.metrics.regression import PSNRMetric, SSIMMetric, compute_ms_ssim
from scipy import ndimage


def texture(seed: int, shape: tuple[int, ...], sigma: float = 2.0) -> np.ndarray:
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=shape), sigma)
    return np.clip(noise / noise.std() * 0.4, -1, 1).astype(np.float32)


# --- MS-SSIM ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(1, 64, 68), (2, 36, 33), (1, 32, 36, 34), (2, 33, 30, 28)])
def test_ms_ssim_equals_monai(shape: tuple[int, ...]) -> None:
    images = [np.stack([texture(10 * i + c, shape[1:]) for c in range(shape[0])]) for i in range(3)]
    images[1] = 0.5 * images[1] + 0.5 * images[0]
    plan = scale_plan(shape[1:])
    result = pairwise_ms_ssim(images)
    for (i, j), value in zip(result.pairs, result.values):
        x, y = (torch.from_numpy(images[n][None] + 1) / 2 for n in (i, j))
        expected = compute_ms_ssim(
            x, y, len(shape) - 1, 1.0, kernel_size=plan.window, kernel_sigma=plan.sigma, weights=plan.weights
        )
        assert value == pytest.approx(expected.item(), abs=2e-5)


def test_ms_ssim_of_a_copy_is_one_and_falls_with_noise() -> None:
    image = texture(0, (1, 20, 20, 20))
    noise = np.random.default_rng(1).normal(size=image.shape).astype(np.float32)
    noisy = [np.clip(image + s * noise, -1, 1) for s in (0.05, 0.3)]
    values = pairwise_ms_ssim([image, image.copy(), *noisy]).values
    assert values[0] == pytest.approx(1, abs=1e-5)
    assert values[0] > values[1] > values[2]


@pytest.mark.parametrize(
    ("shape", "scales", "window"),
    [
        ((176, 176, 176), 5, 11),
        ((64, 64, 64), 3, 11),
        ((32, 48, 32), 3, 7),
        ((24, 99, 99), 3, 5),
        ((11, 11), 2, 5),
        ((3, 64, 64), 1, 3),
    ],
)
def test_scales_follow_the_shortest_axis(shape: tuple[int, ...], scales: int, window: int) -> None:
    plan = scale_plan(shape)
    assert (len(plan.weights), plan.window) == (scales, window)
    assert sum(plan.weights) == pytest.approx(1)
    assert min(shape) >> (scales - 1) >= window
    assert str(window) in str(plan)


def test_ms_ssim_of_images_thinner_than_any_window_is_refused() -> None:
    with pytest.raises(ValueError, match="3 voxels"):
        scale_plan((2, 64, 64))


# --- paired scores ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(30, 26), (24, 20, 18)])
def test_ssim_equals_monai_on_an_image_continued_by_reflection(shape: tuple[int, ...]) -> None:
    first, second = texture(0, shape), texture(0, shape) * 0.7 + 0.2 * texture(1, shape)
    metric = SSIMMetric(spatial_dims=len(shape), data_range=1.0)
    x, y = (torch.from_numpy(np.pad((np.clip(a, -1, 1) + 1) / 2, 5, "symmetric"))[None, None] for a in (second, first))
    everywhere = np.ones(shape, dtype=bool)
    assert ssim(first, second, everywhere, (-1.0, 1.0)) == pytest.approx(metric(x, y).item(), abs=1e-5)


def test_ssim_keeps_thin_volumes_and_ignores_what_lies_outside_the_mask() -> None:
    reference, result = texture(0, (20, 20, 3)), texture(1, (20, 20, 3))
    mask = np.zeros(reference.shape, dtype=bool)
    mask[:6] = True
    changed = result.copy()
    changed[6:] = 1.0
    assert ssim(reference, result, mask, (-1, 1)) == pytest.approx(ssim(reference, changed, mask, (-1, 1)))
    assert ssim(reference, reference, mask, (-1, 1)) == pytest.approx(1)
    assert ssim(reference[..., :1], result[..., :1], mask[..., :1], (-1, 1)) < 0.9


def test_psnr_equals_monai_and_is_finite_for_equal_images() -> None:
    reference, result = texture(0, (20, 22)), texture(1, (20, 22))
    everywhere = np.ones(reference.shape, dtype=bool)
    expected = PSNRMetric(max_val=2.0)(torch.from_numpy(result)[None, None], torch.from_numpy(reference)[None, None])
    assert psnr(reference, result, everywhere, (-1, 1)) == pytest.approx(expected.item(), rel=1e-5)
    assert psnr(reference, reference, everywhere, (-1, 1)) == 100


def test_mae_counts_only_the_mask() -> None:
    reference = np.zeros((4, 4), dtype=np.float32)
    result = np.full((4, 4), 1000, dtype=np.float32)
    result[0] = 3
    mask = np.zeros((4, 4), dtype=bool)
    mask[0] = True
    assert mae(reference, result, mask) == 3
    assert mae(reference, result, np.zeros_like(mask)) is None


def test_value_range_is_fixed_for_ct_and_from_the_body_otherwise() -> None:
    reference = np.array([0.0] * 50 + [100.0] * 50).reshape(10, 10)
    mask = reference > 0
    assert value_range(reference, "CT", mask) == (-1024, 3000)
    assert value_range(reference + np.arange(100).reshape(10, 10), "MR", mask) == pytest.approx((150.245, 198.755))
    assert value_range(reference, "MR", mask) is None, "nothing to relate a difference to"
    with pytest.raises(ValueError, match="low < high"):
        psnr(reference, reference, mask, (100, 100))


def test_tissues_of_a_ct_share_no_voxel_and_leave_none_out() -> None:
    reference = np.linspace(-1000, 1500, 1000).reshape(10, 100).astype(np.float32)
    mask = np.ones(reference.shape, dtype=bool)
    tissues = ct_tissues(reference, mask)
    np.testing.assert_array_equal(sum(t.astype(int) for t in tissues.values()), 1)


# --- body mask -------------------------------------------------------------------------------------------------------


def phantom(modality: str) -> tuple[np.ndarray, np.ndarray]:
    """A limb with fat, muscle, bone and an air hole, noise, and in CT a table touching it; and its true outline."""
    i, j, _ = np.meshgrid(*[np.arange(n) for n in (48, 48, 12)], indexing="ij")
    radius = np.hypot(i - 24, j - 20)
    body = radius < 16
    layers = [(~body, -1000, 0), (body, -100, 900), (radius < 13, 50, 350), (radius < 4, 900, 40)]
    hole = np.hypot(i - 24, j - 28) < 3
    layers.append((hole, -1000, 0))
    image = np.zeros(body.shape)
    for where, hu, signal in layers:
        image[where] = hu if modality == "CT" else signal
    if modality == "CT":
        image[5:43, 36:38] = 100
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(2, *image.shape)) * 25
    return (image + noise[0] if modality == "CT" else np.hypot(image + noise[0], noise[1])).astype(np.float32), body


@pytest.mark.parametrize("modality", ["CT", "MR"])
def test_body_mask_finds_the_limb_without_table_and_with_its_holes(modality: str) -> None:
    image, body = phantom(modality)
    mask = body_mask(image, modality)
    assert dice(mask, body) > 0.97
    assert mask[24, 28].all(), "the air hole belongs to the body"
    assert mask[24, 20].all(), "dark cortical bone belongs to the body"
    if modality == "CT":
        assert not mask[6:10, 36:38].any(), "the table does not"


def test_body_mask_keeps_muscle_where_bright_fat_fills_most_of_the_image() -> None:
    """With little air around, Otsu's threshold on plain intensities separates fat from muscle."""
    rng = np.random.default_rng(0)
    image = np.full((40, 40, 8), 900.0)
    image[8:30, 8:30] = 250
    image[:4] = 0
    noisy = np.hypot(image + rng.normal(scale=15, size=image.shape), rng.normal(scale=15, size=image.shape))
    assert otsu_threshold(noisy) > 270
    assert dice(body_mask(noisy, "MR"), image > 0) > 0.99


def test_body_mask_of_an_image_without_contrast_is_everything() -> None:
    assert body_mask(np.zeros((5, 5), dtype=np.float32), "MR").all()
    assert body_mask(np.full((5, 5, 5), -1000, dtype=np.float32), "CT").all()


def test_otsu_separates_two_classes() -> None:
    rng = np.random.default_rng(0)
    values = np.concatenate([rng.normal(0, 1, 5000), rng.normal(10, 1, 500)])
    assert 3 < otsu_threshold(values) < 8


# --- label maps ------------------------------------------------------------------------------------------------------


def test_dice_by_counting() -> None:
    first, second = np.array([1, 1, 2, 0, 0]), np.array([1, 0, 2, 2, 0])
    assert dice_per_label(first, second, [1, 2, 3]) == {1: pytest.approx(2 / 3), 2: pytest.approx(2 / 3), 3: None}


def test_volume_scores() -> None:
    real, synthetic = np.array([10.0, 20.0, 30.0]), np.array([22.0, 22.0])
    assert relative_difference(real, synthetic) == pytest.approx(0.1)
    assert relative_difference(np.zeros(3), synthetic) is None
    assert wasserstein(real, real + 5) == pytest.approx(5)
    narrow = np.full(3, 20.0)
    assert relative_difference(real, narrow) == pytest.approx(0)
    assert wasserstein(real, narrow) == pytest.approx(20 / 3), "a spread that is wrong counts at the right mean"
