"""A lesion of 20 mm in a large volume: worked out on its own box, beside whole-array code in the manner of CarveMix."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from genaug.lesions import Inserted, InsertParameters, insert_lesions
from genaug.volume import LABEL, AnyArray, Volume
from scipy import ndimage

from benchmarks.performance.row import Result, Spec, timed
from benchmarks.performance.timing import interleaved

PARAMETERS = InsertParameters(diameter_mm=(20, 20), contrast=(-30, -30), contrast_unit="intensity", seed=1)
REACH_VOXELS = 8
"""Further than this from a lesion's voxels nothing of its soft border is left, whatever was drawn."""


@dataclass
class Ground:
    """What both ways are given, and the copies that ours is written into.

    Attributes:
        host: int16.
        tissue: where a lesion may lie.
        image: the caller's copy of the host.
        mask: the caller's empty mask.
    """

    host: Volume
    tissue: Volume
    image: npt.NDArray[np.int16]
    mask: npt.NDArray[np.uint8]


def ground(edge: int) -> Ground:
    """Noisy tissue in a cube of `edge` voxels (a multiple of 64) of 1 mm."""
    block = np.random.default_rng(0).normal(60, 12, (64, 64, 64)).astype(np.int16)
    tissue = np.zeros((edge, edge, edge), np.uint8)
    quarter = slice(edge // 4, -edge // 4)
    tissue[quarter, quarter, quarter] = 1
    host = Volume(np.tile(block, (edge // 64,) * 3), np.eye(4), "CT")
    return Ground(host, Volume(tissue, np.eye(4), LABEL), host.array.copy(), np.zeros(host.shape, np.uint8))


def ours(given: Ground) -> Inserted:
    """Insert the lesion into the caller's image and mask."""
    done = insert_lesions(given.host, given.tissue, PARAMETERS)
    done.scene.image.write_into(given.image)
    done.scene.mask.write_into(given.mask)
    return done


def carvemix(
    host: AnyArray, label: AnyArray, source: AnyArray, lesion: npt.NDArray[np.bool_], level_mm: float = 0.0
) -> tuple[AnyArray, AnyArray]:
    """Zhang et al. 2021, written plainly: signed distance over the whole array, carved at a level, arrays mixed.

    Args:
        host: image that gets the lesion.
        label: its label map.
        source: image that has the lesion, on the same grid.
        lesion: where it has it.
        level_mm: distance to the lesion's border at which it is cut out.

    Returns:
        Image and label map with the lesion.
    """
    distance = np.where(lesion, -ndimage.distance_transform_edt(lesion), ndimage.distance_transform_edt(~lesion))
    carved = distance <= level_mm
    return host * ~carved + source * carved, label * ~carved + carved.astype(label.dtype)


class Peer:
    """The same lesion at the same place: its source is the image that ours has made, so only the mixing is timed."""

    def __init__(self, given: Ground, made: Inserted) -> None:
        self.host, self.empty = given.host.array, np.zeros_like(given.mask)
        self.source, self.lesion = made.image.array, made.mask.array > 0
        self.image: AnyArray = self.host
        self.mask: AnyArray = self.empty

    def __call__(self) -> None:
        """Mix."""
        self.image, self.mask = carvemix(self.host, self.empty, self.source, self.lesion)


def compare(given: Ground, peer: Peer) -> dict[str, Any]:
    """Voxels that differ: in the mask, inside the lesion, and away from it.

    Raises:
        AssertionError: any does.
    """
    near = np.zeros(peer.lesion.shape, bool)
    box = tuple(
        slice(max(int(hit.min()) - REACH_VOXELS, 0), int(hit.max()) + REACH_VOXELS + 1)
        for hit in np.nonzero(peer.lesion)
    )
    near[box] = ndimage.binary_dilation(peer.lesion[box], iterations=REACH_VOXELS)
    differ = given.image != peer.image
    found = {
        "mask voxels that differ": int(np.count_nonzero(given.mask != peer.mask)),
        "lesion voxels that differ": int(np.count_nonzero(differ & peer.lesion)),
        "other voxels that differ": int(np.count_nonzero(differ & ~near)),
    }
    assert not any(found.values()), found
    return found


def measure() -> list[Result]:
    """256³ and 512³ against the peer, and against each other."""
    small, large = ground(256), ground(512)
    results = [_row(small, 256, repetitions=7, warm_ups=3, note="")]
    results.append(
        _row(
            large,
            512,
            repetitions=1,
            warm_ups=0,
            note="One repetition: the peer takes most of a minute and 8 GB; ours was warmed up before.",
        )
    )
    times = interleaved(lambda: ours(large), lambda: ours(small), repetitions=15)
    results.append(
        timed(
            "lesion-growth",
            "lesion of 20 mm into 512³",
            "ours into 256³: an eighth of the voxels",
            "exact",
            times,
            1 / 1.2,
            detail={"time_512_over_256": times[0].median / times[1].median},
        )
    )
    return results


def _row(given: Ground, edge: int, repetitions: int, warm_ups: int, note: str) -> Result:
    peer = Peer(given, ours(given))
    times = interleaved(lambda: ours(given), peer, repetitions, warm_ups)
    error = compare(given, peer)
    copying, _ = interleaved(lambda: _copied(given), lambda: None, 3, 1)
    return timed(
        f"lesion-{edge}",
        f"lesion of 20 mm into {edge}³ int16, image and mask",
        "whole-array code in the manner of CarveMix, numpy and SciPy",
        "exact",
        times,
        10,
        error=error,
        detail={
            "compared": "mask and lesion voxel for voxel; the image beyond the soft border, which CarveMix lacks",
            "seconds_with_a_new_copy_of_image_and_mask": copying.median,
        },
        note=note,
    )


def _copied(given: Ground) -> None:
    done = insert_lesions(given.host, given.tissue, PARAMETERS)
    assert done.image.array.shape == done.mask.array.shape


SPEC = Spec("lesion", ("lesion-256", "lesion-512", "lesion-growth"), measure)
