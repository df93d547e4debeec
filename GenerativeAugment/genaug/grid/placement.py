"""Placement: where one volume lies in the model's space, exactly enough to come back from there."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from pydantic import Field

from genaug.errors import GenaugError, Reason
from genaug.grid import geometry
from genaug.grid.geometry import Size, Spacing
from genaug.grid.intensity import Fitted
from genaug.strict import Frozen
from genaug.volume import AnyArray, Volume, require_same_grid

Row = tuple[float, float, float, float]


class Placement(Frozen):
    """How one case was brought into the model's space; plain numbers, so that it can travel inside a Record.

    Axes are those of the grid, unless said otherwise.

    Attributes:
        shape: of the volume, along its own axes.
        affine: of the volume, (4, 4), RAS mm; JSON keeps every bit of it.
        axes: the volume's axis that each grid axis comes from.
        flips: whether that axis runs backwards.
        ratios: grid voxel length over volume voxel length; exactly 1 where nothing is resampled.
        resampled: size after resampling.
        before: voxels of padding before the first one.
        size: padded size, what the network sees; three entries also in 2D, where the third is the number of slices.
        fitted: the intensities that become -1 and 1, by channel.
        interpolated: whether any voxel was resampled.
    """

    shape: Size
    affine: tuple[Row, Row, Row, Row]
    axes: Size
    flips: tuple[bool, bool, bool]
    ratios: Spacing
    resampled: Size
    before: Size
    size: Size
    fitted: dict[str, Fitted] = Field(default_factory=dict)

    @property
    def interpolated(self) -> bool:
        """Whether values are interpolated on the way in, so that images come back approximately only."""
        return self.ratios != (1.0, 1.0, 1.0)

    @property
    def volume_affine(self) -> npt.NDArray[np.float64]:
        """The volume's affine as a matrix."""
        return np.array(self.affine, dtype=np.float64)

    @property
    def model_affine(self) -> npt.NDArray[np.float64]:
        """(4, 4): voxel index of the padded model array to RAS mm."""
        affine = geometry.oriented_affine(self.volume_affine, self.shape, self.axes, self.flips)
        oriented = np.array(self.shape)[list(self.axes)]
        ratios = np.array(self.ratios)
        first = (oriented - 1) / 2 - ratios * ((np.array(self.resampled) - 1) / 2 + np.array(self.before))
        affine[:3, 3] += affine[:3, :3] @ first
        affine[:3, :3] *= ratios
        return affine

    def array_in(self, array: AnyArray, is_label: bool) -> AnyArray:
        """Voxels of the volume, shape `shape`, to voxels of the model, shape `size`.

        An image is carried on beyond its border: where the field of view ends is no edge of the anatomy, and a box of
        background would be one. A label map is padded with background, since nobody labelled anything there.
        """
        oriented = geometry.orient(array, self.axes, self.flips)
        resample = geometry.resample_label if is_label else geometry.resample_image
        return geometry.pad(
            resample(oriented, self.resampled, self.ratios), self.before, self.size, 0 if is_label else None
        )

    def array_out(self, array: AnyArray, is_label: bool) -> AnyArray:
        """Voxels of the model, shape `size`, to voxels of the volume, shape `shape`."""
        if array.shape != self.size:
            raise ValueError(f"array of shape {array.shape} for a placement of size {self.size}")
        content = geometry.unpad(array, self.before, self.resampled)
        i, j, k = (self.shape[m] for m in self.axes)
        x, y, z = (1.0 / ratio for ratio in self.ratios)
        resample = geometry.resample_label if is_label else geometry.resample_image
        return np.ascontiguousarray(
            geometry.orient_back(resample(content, (i, j, k), (x, y, z)), self.axes, self.flips)
        )

    def require_geometry(self, volume: Volume) -> None:
        """Raise GEOMETRY_MISMATCH, naming the file, unless the volume is on the grid that was placed."""
        placed = Volume(np.broadcast_to(np.int8(0), self.shape), self.volume_affine, "the placed volume")
        require_same_grid(placed, volume)


def too_large(volume: Volume, resampled: Size, room: tuple[int, ...], spacing: Spacing) -> GenaugError:
    """The refusal of a volume that does not fit: FIELD_OF_VIEW with both sizes in voxels and mm."""

    def told(size: tuple[int, ...]) -> str:
        millimetres = " x ".join(f"{n * s:.1f}" for n, s in zip(size, spacing))
        return f"{' x '.join(map(str, size))} voxels ({millimetres} mm)"

    return GenaugError(
        Reason.FIELD_OF_VIEW,
        volume.source or volume.modality,
        f"{told(resampled[: len(room)])} at the model's spacing",
        f"at most {told(room)}",
        "Crop the volume to the region of interest, use sliding windows if the method has them, or train with a larger"
        " size; nothing is cropped silently.",
    )
