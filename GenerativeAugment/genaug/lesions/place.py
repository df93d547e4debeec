"""Where a lesion goes: its whole mask inside the tissue, a given distance from its border.

A lesion and its margin are a set of voxel offsets, and a centre fits when every offset lands in tissue. Random centres
are tried first, which costs nothing that grows with the volume and is uniform over all centres that fit; only when
none of them fits are all tissue voxels tried.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from genaug.errors import GenaugError, Reason
from genaug.lesions.local import Box, Index, IndexArray, TooLarge, Vector, as_index, as_vector, mask_box
from genaug.lesions.region import Region
from genaug.strict import Strict
from genaug.volume import BoolArray, Volume, label_values

_RANDOM_CENTRES = (1 << 12, 1 << 17)
"""Few first, which is enough in a liver; many for the white matter of a head."""
_FIRST_LOOK = 32
_GATHER = 1 << 18
"""Voxels looked up at once, so that trying a whole tissue needs no memory of its size times the lesion's."""


class Placement(Strict):
    """Where a lesion's centre is.

    Attributes:
        voxel: the voxel it lies in.
        offset: its place relative to that voxel's centre, in voxels within [-0.5, 0.5].
        ras: the same point in mm.
    """

    voxel: Index
    offset: Vector
    ras: Vector


@dataclass(frozen=True)
class Footprint:
    """The voxels that must be tissue for a lesion to fit, relative to its centre's voxel.

    Attributes:
        offsets: (n, 3), the lesion and everything nearer to it than the margin.
        lesion: (m, 3), the lesion alone.
        beside: (k, 3), what else the lesion touches, where no annotated lesion may be.
        margin_mm: the margin.
    """

    offsets: IndexArray
    lesion: IndexArray
    beside: IndexArray
    margin_mm: float


def footprint(mask: BoolArray, box: Box, host: Volume, margin_mm: float) -> Footprint:
    """The footprint of a lesion mask.

    Args:
        mask: the lesion, on `box`.
        box: voxels relative to the lesion's centre voxel.
        host: gives the spacing; along an axis of one voxel there is no border to keep away from.
        margin_mm: least distance of a lesion voxel to the nearest voxel that is not tissue.
    """
    from scipy import ndimage

    tight = mask_box(mask)
    # A voxel at least, however thick the slices are: a lesion that touches another is one with it.
    pad = [max(1, int(np.ceil(margin_mm / s))) if n > 1 else 0 for s, n in zip(host.spacing, host.shape)]
    cut = np.pad(mask[tight.slices], [(p, p) for p in pad])
    near = np.asarray(ndimage.distance_transform_edt(~cut, sampling=host.spacing)) < margin_mm
    origin = np.array([low - p + at for low, p, at in zip(tight.lower, pad, box.lower)], dtype=np.intp)
    offsets = np.argwhere(near | cut) + origin
    touched = ndimage.binary_dilation(cut, np.ones((3, 3, 3))) & ~(near | cut)
    # A fixed shuffle: neighbouring offsets say the same about a centre, scattered ones reject it early.
    order = np.random.Generator(np.random.PCG64(0)).permutation(len(offsets))
    return Footprint(offsets[order], np.argwhere(cut) + origin, np.argwhere(touched) + origin, margin_mm)


def draw_subvoxel(rng: np.random.Generator, shape: Index) -> Vector:
    """Where in its voxel a lesion's centre lies, so that lesions do not sit on the grid."""
    return as_vector([rng.uniform(-0.5, 0.5) if n > 1 else 0.0 for n in shape])


def draw_place(rng: np.random.Generator, region: Region, shape: Footprint) -> Index | None:
    """Draw a centre voxel uniformly from all those where the footprint lies in the region; None when there is none."""
    for count in _RANDOM_CENTRES:
        centres = rng.integers(0, region.shape, size=(count, 3), dtype=np.intp)
        centres = centres[region.at(centres)]
        for block in (centres[:_FIRST_LOOK], centres[_FIRST_LOOK:]):
            fitting = block[fits(region, block, shape)]
            if len(fitting):
                return as_index(fitting[0])
    fitting = _all_centres(region, shape)
    return as_index(fitting[rng.integers(len(fitting))]) if len(fitting) else None


def fits(region: Region, centres: IndexArray, shape: Footprint) -> BoolArray:
    """Which of the (n, 3) centres have every offset in the region and touch no annotated lesion."""
    alive = np.arange(len(centres))
    for offsets, allowed in ((shape.offsets, region.at), (shape.beside, region.unannotated)):
        done = 0
        while done < len(offsets) and len(alive):
            step = int(np.clip(_GATHER // len(alive), 4, 4096))
            some = offsets[done : done + step]
            index = (centres[alive][:, None, :] + some[None]).reshape(-1, 3)
            alive = alive[allowed(index).reshape(len(alive), -1).all(axis=1)]
            done += step
    fitting = np.zeros(len(centres), dtype=bool)
    fitting[alive] = True
    return fitting


def check_place(region: Region, shape: Footprint, place: Placement) -> None:
    """Refuse a given centre where the lesion would leave the tissue or come too near to its border.

    Raises:
        TooLarge: NO_ROOM, with the distances.
    """
    centre = np.array(place.voxel, dtype=np.intp)
    if fits(region, centre[None], shape)[0]:
        return
    outside = int((~region.at(shape.lesion + centre)).sum())
    if outside:
        found = f"{100 * outside / len(shape.lesion):.0f} % of the lesion outside the tissue"
    elif region.at(shape.offsets + centre).all():
        found = "the lesion touching one that is annotated"
    else:
        box = Box(as_index(shape.offsets.min(axis=0) + centre), as_index(shape.offsets.max(axis=0) + centre + 1))
        distance = region.distance_mm(box)
        i, j, k = (shape.lesion + centre - box.lower).T
        found = f"the lesion {distance[i, j, k].min():.1f} mm from the border of the tissue"
    raise TooLarge(
        Reason.NO_ROOM,
        f"point ({', '.join(f'{v:.1f}' for v in place.ras)}) mm RAS",
        found,
        f"the whole lesion inside the tissue, {shape.margin_mm:g} mm or more from its border, and clear of others",
        "Move the point, ask for a smaller lesion or margin, or set allow_outside.",
    )


def no_room(region: Region, diameter_mm: float, margin_mm: float) -> TooLarge:
    """The error for a lesion that fits nowhere, with the largest sphere that would."""
    widest = region.widest_mm()
    if widest:
        found, fitting = f"room for a sphere of {widest:.1f} mm", widest - 2 * margin_mm
        smaller = f"lesions below {fitting:.0f} mm, a" if fitting >= 1 else "a"
        remedy = f"Ask for {smaller} smaller margin or fewer lesions, or give a larger tissue."
    else:
        held = ", ".join(map(str, label_values(region.tissue.array)))
        found = f"no free voxel of the asked tissue, in a map that holds {held}"
        remedy = "Name values that the map holds, or ask for fewer lesions."
    return TooLarge(
        Reason.NO_ROOM,
        region.tissue.source or "tissue",
        found,
        f"room for a lesion of {diameter_mm:.1f} mm with {margin_mm:g} mm of tissue around it,"
        f" {diameter_mm + 2 * margin_mm:.1f} mm in all",
        remedy,
    )


def nearest_voxel(host: Volume, point: Vector) -> tuple[Index, Vector]:
    """The voxel a RAS point lies in and the point's place relative to its centre.

    Raises:
        GenaugError: NO_ROOM when the point lies outside the volume.
    """
    exact = (np.linalg.inv(host.affine) @ [*point, 1.0])[:3]
    voxel = np.floor(exact + 0.5).astype(int)
    if (voxel < 0).any() or (voxel >= host.shape).any():
        raise GenaugError(
            Reason.NO_ROOM,
            f"point ({', '.join(f'{v:.1f}' for v in point)}) mm RAS",
            f"voxel ({', '.join(f'{v:.1f}' for v in exact)})",
            f"a point inside the image of {' x '.join(map(str, host.shape))} voxels",
            "Give RAS coordinates in mm, as 3D Slicer shows them.",
        )
    offset = np.where(np.array(host.shape) > 1, exact - voxel, 0.0)
    return as_index(voxel), as_vector(offset)


def at_voxel(host: Volume, voxel: Index, offset: Vector) -> Placement:
    """A Placement from its voxel."""
    point = host.affine @ [*(v + o for v, o in zip(voxel, offset)), 1.0]
    return Placement(voxel=voxel, offset=offset, ras=as_vector(point[:3]))


def _all_centres(region: Region, shape: Footprint) -> npt.NDArray[np.intp]:
    """Every centre that fits, slab by slab along the first axis."""
    low, high = shape.offsets.min(axis=0), shape.offsets.max(axis=0)
    lower, upper = -low, np.array(region.shape) - high
    if (upper <= lower).any():
        return np.empty((0, 3), dtype=np.intp)
    found = []
    thickness = max(1, _GATHER * 4 // int(np.prod(np.array(region.shape)[1:])))
    for start in range(int(lower[0]), int(upper[0]), thickness):
        slab = Box(
            as_index((start, lower[1], lower[2])),
            as_index((min(start + thickness, int(upper[0])), upper[1], upper[2])),
        )
        centres = np.argwhere(region.crop(slab)) + slab.lower
        found.append(centres[fits(region, centres, shape)])
    return np.concatenate(found)
