"""Both ways of the exchange give back every voxel."""

import numpy as np


def test_both_ways_change_no_voxel(scene, tmp_path):
    from benchmarks.performance.exchange import Exchange, scan

    exchanged = Exchange((5, 16, 24), tmp_path)
    assert exchanged.differing() == (0, 0)
    assert len(np.unique(scan((5, 16, 24)))) > 50
