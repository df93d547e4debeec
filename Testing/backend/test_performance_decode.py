"""Both ways of the decode rows give the same volume."""

from __future__ import annotations

import pytest

from benchmarks.performance import decode


@pytest.mark.parametrize("plan", [decode.KEEPING, decode.LEAN, decode.SPILLING])
def test_slabs_decode_what_monai_decodes(plan: decode.SlabPlan) -> None:
    assert decode.difference((16, 24, 16), plan.model_copy(update={"slab_bytes": 1})) < 1e-4


def test_children_decode_the_same_volume() -> None:
    size = [16, 16, 16]
    peer, ours = decode.at_once(size), decode.in_slabs(size, decode.LEAN.model_dump())
    assert peer == pytest.approx(ours, abs=1e-5)
