"""The cost of a lesion is that of its box: a second at most, and the same in a volume eight times as large."""

import time

import numpy as np
from genaug.lesions import insert_lesions
from genaug.volume import LABEL, Volume
from lesion_phantoms import affine, asking


def host(edge):
    block = np.random.default_rng(0).normal(60, 12, (64, 64, 64)).astype(np.int16)
    tissue = np.zeros((edge, edge, edge), np.uint8)
    quarter = slice(edge // 4, -edge // 4)
    tissue[quarter, quarter, quarter] = 1
    return Volume(np.tile(block, (edge // 64,) * 3), affine(), "CT"), Volume(tissue, affine(), LABEL)


def seconds(image, tissue, runs=3):
    """Least processor time of several runs, so that other work on the machine does not count: lesion, with volumes."""
    alone, complete = [], []
    for _ in range(runs):
        start = time.process_time()
        done = insert_lesions(image, tissue, asking(diameter_mm=(20, 20)))
        alone.append(time.process_time() - start)
        assert done.image.array.shape == done.mask.array.shape
        complete.append(time.process_time() - start)
    return min(alone), min(complete)


def test_a_20_mm_lesion_takes_a_second_at_most_in_256_cubed_and_no_longer_in_512_cubed():
    insert_lesions(*host(64), asking())  # imports
    small, large = seconds(*host(256)), seconds(*host(512), runs=2)
    for edge, (alone, complete) in ((256, small), (512, large)):
        print(f"20 mm lesion, {edge} cubed int16: {1e3 * alone:.0f} ms, with image and mask {1e3 * complete:.0f} ms")
    assert small[1] <= 1.0
    # Any pass over the volume would make this eight times, not twice.
    assert large[0] < 2 * small[0]
