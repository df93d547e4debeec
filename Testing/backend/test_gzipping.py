"""gzip of voxels: everybody reads it, the same voxels give the same bytes, and it is hardly larger than it could be."""

from __future__ import annotations

import gzip
import io

import numpy as np
import pytest
from genaug.gzipping import THOROUGH, WAYS, Way, best_way, gzipped
from genaug.storage import write_voxels


def packed(array: np.ndarray, way: Way) -> bytes:
    stream = io.BytesIO()
    with gzipped(stream, way) as sink:
        sink.write(b"header")
        write_voxels(sink, array)
    return stream.getvalue()


def phantoms() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    shape = (96, 96, 96)
    inside = np.linalg.norm(np.indices(shape) - 48, axis=0) < 40
    anatomy = np.repeat(np.repeat(rng.normal(300, 60, (12, 96, 12)), 8, axis=0), 8, axis=2)
    noise = rng.normal(0, 15, shape)
    return {
        "CT": (np.where(inside, anatomy, -1000) + noise).astype(np.int16),
        "MR": np.where(inside, np.hypot(anatomy, noise), 0).astype(np.float32),
        "label": (inside & (anatomy > 300)).astype(np.uint8),
        "empty": np.zeros(shape, np.int16),
    }


@pytest.mark.parametrize("way", WAYS)
def test_any_reader_gets_the_bytes_back(way: Way) -> None:
    for array in phantoms().values():
        content = packed(array, way)
        assert gzip.decompress(content) == b"header" + array.tobytes(order="F")


def test_the_chosen_way_is_hardly_larger_than_the_thorough_one() -> None:
    for name, array in phantoms().items():
        assert len(packed(array, best_way(array))) <= 1.04 * len(packed(array, THOROUGH)), name


def test_both_outcomes_of_the_choice() -> None:
    found = phantoms()
    assert best_way(found["MR"]) == WAYS[0], "runs of 0 around a head"
    assert best_way(found["CT"]) != WAYS[0], "noise in the air, too"
    assert best_way(found["CT"][:8, :8, :8]) == THOROUGH, "too small to be worth a choice"


def test_the_choice_depends_on_the_voxels_and_not_on_their_order_in_memory() -> None:
    for array in phantoms().values():
        turned = np.asfortranarray(array)
        assert best_way(array) == best_way(turned)
        assert packed(array, best_way(array)) == packed(turned, best_way(turned))
