"""Windows cover a volume exactly, and what is put together from them equals what was never taken apart."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from genaug.errors import Cancelled, GenaugError, Reason
from genaug.windows import apply_windows, importance, plan_windows
from hypothesis import given, settings
from hypothesis import strategies as st

SIZES = [((40, 33), (16, 12)), ((19, 24, 11), (8, 24, 5)), ((9, 9, 9), (9, 9, 9)), ((7, 8, 1), (3, 4, 1))]


def ramp(size, channels=2):
    return torch.randn(channels, *size, generator=torch.Generator().manual_seed(0))


@settings(deadline=None, derandomize=True)
@given(
    axes=st.lists(
        st.integers(1, 40).flatmap(lambda n: st.tuples(st.just(n), st.integers(1, n))), min_size=2, max_size=3
    ),
    overlap=st.floats(0, 0.9),
)
def test_windows_cover_everything_within_the_volume_and_overlap_as_asked(axes, overlap):
    size, window = zip(*axes, strict=True)
    plan = plan_windows(size, window, overlap)
    assert len(set(map(str, plan))) == len(plan)
    for axis, (n, w) in enumerate(axes):
        starts = sorted({at[axis].start for at in plan})
        assert starts[0] == 0 and starts[-1] == n - w
        assert all(at[axis].stop - at[axis].start == w for at in plan)
        assert all(b - a <= max(1, w * (1 - overlap)) for a, b in pairwise(starts))


@pytest.mark.parametrize(("size", "window"), SIZES)
@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.6])
def test_a_pointwise_function_is_the_same_on_windows_as_on_the_whole(size, window, overlap):
    def function(x):
        return torch.cat([torch.sin(3 * x), x[:, :1] ** 2], dim=1)

    volume = ramp(size).clamp(-1, 1)
    found = apply_windows(function, volume, window, overlap, batch=3)
    torch.testing.assert_close(found, function(volume[None])[0], rtol=0, atol=1e-6)


@pytest.mark.parametrize(("size", "window"), SIZES)
@pytest.mark.parametrize("kind", ["gaussian", "constant"])
def test_a_constant_stays_constant(size, window, kind):
    found = apply_windows(lambda x: torch.full_like(x[:, :1], 1000.0), ramp(size), window, 0.4, kind=kind)
    torch.testing.assert_close(found, torch.full((1, *size), 1000.0), rtol=1e-6, atol=0)


def test_blending_trusts_the_middle_of_a_window():
    # Two windows disagree; across their overlap the result must pass from one to the other without a step.
    calls = iter([0.0, 1.0])
    found = apply_windows(lambda x: torch.full_like(x, next(calls)), torch.zeros(1, 24, 8), (16, 8), 0.5, batch=1)[
        0, :, 4
    ]
    assert found[:8].eq(0).all() and found[16:].eq(1).all()
    assert (found[8:16].diff() > 0).all() and found[8:17].diff().max() < 0.5
    assert found[8] < 0.05 and found[15] > 0.95
    torch.testing.assert_close(found[8:16] + found[8:16].flip(0), torch.ones(8))


def test_importance_is_symmetric_and_highest_in_the_middle():
    for axis, n in zip(importance((9, 16)), (9, 16), strict=True):
        np.testing.assert_allclose(axis, axis[::-1])
        assert axis.shape == (n,) and axis.min() > 0 and axis.argmax() in (n // 2, (n - 1) // 2)
        assert (np.diff(axis[: n // 2]) > 0).all()


def test_a_memory_mapped_volume_is_read_window_by_window(tmp_path):
    values = (ramp((20, 18, 16), 1) * 300).numpy().astype(np.int16)
    np.save(tmp_path / "volume.npy", values)
    mapped = np.load(tmp_path / "volume.npy", mmap_mode="r")
    seen = []

    def function(x):
        seen.append(tuple(x.shape))
        assert x.dtype == torch.float32
        return x.clone()

    found = apply_windows(function, mapped, (10, 9, 8), batch=2)
    torch.testing.assert_close(found, torch.from_numpy(values).float(), rtol=1e-6, atol=0)
    assert max(seen) == (2, 1, 10, 9, 8)


def test_function_may_overwrite_its_input_without_touching_the_volume():
    volume, array = ramp((12, 12)), ramp((12, 12)).numpy()
    for source in (volume, array):
        apply_windows(lambda x: x.zero_(), source, (8, 8))
    assert torch.equal(volume, ramp((12, 12))) and np.array_equal(array, volume.numpy())


def test_no_gradient_is_kept():
    weight = torch.ones(1, requires_grad=True)
    assert not apply_windows(lambda x: weight * x, ramp((12, 12)), (8, 8)).requires_grad


def test_progress_is_reported_and_cancelling_stops_at_once():
    reports, calls = [], []

    def function(x):
        calls.append(len(x))
        return x

    apply_windows(function, ramp((10, 4)), (4, 4), 0.5, batch=3, callback=lambda *at: reports.append(at))
    assert calls == [3, 1] and reports == [(0, 4), (3, 4), (4, 4)]

    def callback(done, total):
        if done:
            raise Cancelled

    calls.clear()
    with pytest.raises(Cancelled):
        apply_windows(function, ramp((10, 4)), (4, 4), 0.5, batch=1, callback=callback)
    assert calls == [1]


@pytest.mark.parametrize(
    ("size", "window", "overlap", "said"),
    [
        ((20, 20), (24, 16), 0.25, "24 x 16 voxels for a volume of 20 x 20"),
        ((20, 20, 20), (16, 16), 0.25, "16 x 16 voxels for a volume of 20 x 20 x 20"),
        ((20, 20), (0, 4), 0.25, "0 x 4"),
        ((20, 20), (8, 8), 1.0, "overlap: found 1"),
        ((20, 20), (8, 8), -0.1, "overlap: found -0.1"),
    ],
)
def test_windows_that_cannot_be_laid_are_refused_with_the_numbers(size, window, overlap, said):
    with pytest.raises(GenaugError) as caught:
        plan_windows(size, window, overlap)
    assert caught.value.reason == Reason.BAD_PARAMETER and said in str(caught.value)


def test_a_network_that_changes_the_size_is_a_defect():
    with pytest.raises(ValueError, match="answered 2 windows"):
        apply_windows(lambda x: x[..., 1:], ramp((12, 12)), (8, 8))
    with pytest.raises(ValueError, match="batch"):
        apply_windows(lambda x: x, ramp((12, 12)), (8, 8), batch=0)
