"""Grid: the model's space, and the way of a Volume in and exactly out again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field, field_validator, model_validator

from genaug.errors import GenaugError, Reason
from genaug.grid import geometry
from genaug.grid.geometry import Size, Spacing
from genaug.grid.intensity import Fitted, IntensityMap
from genaug.grid.placement import Placement, too_large
from genaug.grid.plan import Header, orientation_for, plan_geometry, ratios_to, round_up
from genaug.strict import Frozen
from genaug.volume import LABEL, AnyArray, Volume, require_same_grid

FOV_TOLERANCE = 0.1
"""A field of view may leave the range seen in training by this share."""


class Grid(Frozen):
    """The space a model works in: orientation, spacing, size, intensities and labels, as plain data.

    The space has no origin: a volume keeps its own position and, if oblique, its own directions; only its axes are
    permuted and flipped towards `orientation`, its voxels resampled to `spacing` and its borders padded. A 2D grid
    holds the slices along its third axis, which is never resampled or padded: choose `orientation` accordingly (RAS
    gives axial slices, RSA coronal, ASR sagittal ones).

    Attributes:
        dimension: 2 or 3.
        orientation: patient direction of each axis, such as "RAS".
        spacing: voxel edge lengths in mm; in 2D the third is what new stacks of slices get.
        size: voxels of what the network sees, `dimension` entries.
        multiple_of: every padded size is a multiple of this.
        channels: the image channels in tensor order, with their intensity maps.
        label_values: values of the label map, ascending from 0 (background); empty without one.
        fov_min: smallest field of view seen in training, mm along the three grid axes.
        fov_max: largest field of view seen in training.
        content: largest size in voxels a training case had before padding, `dimension` entries; None if unknown.
        fields: the field of view of every training case, mm along the grid axes, rounded to 0.01; a case made from
            nothing is given one of them.
    """

    dimension: Literal[2, 3] = 3
    orientation: str = "RAS"
    spacing: Spacing
    size: tuple[int, ...]
    multiple_of: int = Field(default=8, ge=1)
    channels: dict[str, IntensityMap]
    label_values: tuple[int, ...] = ()
    fov_min: Spacing
    fov_max: Spacing
    content: tuple[int, ...] | None = None
    fields: tuple[Spacing, ...] = ()

    @field_validator("orientation")
    @classmethod
    def _known(cls, orientation: str) -> str:
        if not geometry.is_orientation(orientation):
            raise ValueError(f"{orientation!r} does not name one direction of each of R/L, A/P and S/I")
        return orientation

    @model_validator(mode="after")
    def _consistent(self) -> Grid:
        if len(self.size) != self.dimension or any(n < 1 or n % self.multiple_of for n in self.size):
            raise ValueError(f"size {self.size} must be {self.dimension} multiples of {self.multiple_of}")
        if not all(np.isfinite(s) and s > 0 for s in self.spacing):
            raise ValueError(f"spacing {self.spacing} must be positive")
        if self.label_values and (
            self.label_values[0] != 0 or list(self.label_values) != sorted(set(self.label_values))
        ):
            raise ValueError(f"label values {self.label_values} must ascend from 0, the background")
        if self.content is not None and len(self.content) != self.dimension:
            raise ValueError(f"content {self.content} must have {self.dimension} entries")
        return self

    @classmethod
    def plan(
        cls,
        headers: Sequence[Header],
        channels: Mapping[str, IntensityMap],
        label_values: Sequence[int] = (),
        *,
        fitted: Mapping[str, Sequence[Fitted]] | None = None,
        dimension: Literal[2, 3] = 3,
        orientation: str | None = None,
        spacing: Spacing | None = None,
        size: Sequence[int] | None = None,
        multiple_of: int = 8,
        max_voxels: int | None = None,
        window: Sequence[int] | None = None,
        typical: bool = False,
    ) -> Grid:
        """A grid that holds every volume of a cohort whole.

        Args:
            headers: (shape, affine) of the training volumes.
            channels: name of each image channel and its intensity map.
            label_values: all values of the label maps; 0 is added.
            fitted: by channel, the fitted intensities of the training cases; their median becomes the typical ones.
            dimension: 2 or 3.
            orientation: of the grid's axes; None is RAS, but for single planes the one whose third axis is theirs.
            spacing: mm; None takes the median over the cohort, per axis.
            size: voxels; None takes the largest volume, rounded up to `multiple_of`.
            multiple_of: what the network divides its input by.
            max_voxels: limit for the product of the sizes; the spacing is coarsened until it holds, nothing is cropped.
            window: size of the patches of a network that is applied by sliding windows; replaces `size`, and is reduced
                where no volume is that large.
            typical: reduce `window` already where the median volume is not that large.

        Raises:
            GenaugError: EMPTY_COHORT, FIELD_OF_VIEW or BAD_PARAMETER, see plan.plan_geometry.
        """
        orientation = orientation or orientation_for(headers, dimension)
        planned = plan_geometry(
            headers, dimension, orientation, spacing, size, multiple_of, max_voxels, window, typical
        )
        fitted = fitted or {}
        return cls(
            dimension=dimension,
            orientation=orientation,
            spacing=planned.spacing,
            size=planned.size,
            multiple_of=multiple_of,
            channels={name: mapping.with_typical(fitted.get(name, ())) for name, mapping in channels.items()},
            label_values=tuple(sorted({0, *label_values})) if label_values else (),
            fov_min=planned.fov_min,
            fov_max=planned.fov_max,
            content=planned.content,
            fields=planned.fields,
        )

    def place(self, volume: Volume, images: Mapping[str, Volume] | None = None, *, whole: bool = False) -> Placement:
        """Where a volume lies in the model's space.

        Args:
            volume: gives the geometry.
            images: by channel, images of the same case on the same grid; their intensities are fitted now, so that
                `map_out` returns to them.
            whole: for sliding windows: pad to at least `size` and to `multiple_of`, whatever the volume's size.

        Raises:
            GenaugError: FIELD_OF_VIEW, with the numbers, when the volume is larger than `size` and not `whole`;
                GEOMETRY_MISMATCH when an image is not on the volume's grid; what IntensityMap.fit raises.
        """
        axes, flips = geometry.axes_towards(volume.affine, self.orientation)
        ratios = ratios_to([volume.spacing[m] for m in axes], self.spacing, self.dimension)
        resampled = _three(geometry.resampled_size(volume.shape[axes[m]], ratios[m]) for m in range(3))
        if not whole and any(n > room for n, room in zip(resampled, self.size)):
            raise too_large(volume, resampled, self.size, self.spacing)
        padded = [max(room, round_up(n, self.multiple_of)) for n, room in zip(resampled, self.size)]
        size = _three([*padded, *resampled[self.dimension :]])
        fitted = {}
        for channel, image in (images or {}).items():
            require_same_grid(volume, image)
            fitted[channel] = self.channels[channel].fit(image)
        return Placement(
            shape=volume.shape,
            affine=volume.affine.tolist(),
            axes=axes,
            flips=flips,
            ratios=ratios,
            resampled=resampled,
            before=_three((s - n) // 2 for s, n in zip(size, resampled, strict=True)),
            size=size,
            fitted=fitted,
        )

    def require_field_of_view(self, volume: Volume, *, whole: bool = False) -> None:
        """Refuse a volume that shows much more or less of the patient than any training case did.

        The range is the one seen in training, widened by 10 % on both sides; the slice axis of a 2D grid is free.
        With `whole` (sliding windows) an axis along which the training volumes were larger than the window has no upper
        limit and needs no more than one window, because there the network never saw a volume's full extent anyway.

        Raises:
            GenaugError: FIELD_OF_VIEW with the extents in mm.
        """
        axes, _ = geometry.axes_towards(volume.affine, self.orientation)
        for m in range(self.dimension):
            extent, low, high = volume.extent[axes[m]], self.fov_min[m], self.fov_max[m]
            window = self.size[m] * self.spacing[m]
            if whole and high > window:
                low, high = min(low, window), np.inf
            if not low * (1 - FOV_TOLERANCE) <= extent <= high * (1 + FOV_TOLERANCE):
                limits = f"at least {low:.1f} mm" if np.isinf(high) else f"{low:.1f} to {high:.1f} mm"
                raise GenaugError(
                    Reason.FIELD_OF_VIEW,
                    volume.source or volume.modality,
                    f"{extent:.1f} mm along {self.orientation[m]} ({volume.shape[axes[m]]} voxels of"
                    f" {volume.spacing[axes[m]]:g} mm)",
                    f"{limits} within {FOV_TOLERANCE:.0%}, as in training",
                    "Crop or pad the volume to the region the model was trained on, or train a model on such volumes.",
                )

    def map_in(self, volume: Volume, placement: Placement, channel: str | None) -> AnyArray:
        """Bring a volume into the model's space.

        Args:
            volume: on the placed grid.
            placement: from `place`.
            channel: name of the image channel, None for a label map.

        Returns:
            Array of shape `placement.size`: float32 in [-1, 1], its border carried on, or int32 labels, padded with 0.
            The intensities are fitted here if the placement has none for the channel.

        Raises:
            GenaugError: GEOMETRY_MISMATCH, NOT_FINITE, or WRONG_LABELS when a label map holds fractions.
        """
        placement.require_geometry(volume)
        if channel is None:
            return placement.array_in(_integers(volume), True)
        mapping = self.channels[channel]
        fitted = placement.fitted.get(channel) or mapping.fit(volume)
        # Mapped before it is interpolated: both are linear, and clipping first keeps metal and noise from ringing.
        mapped = placement.array_in(mapping.forward(volume.array, fitted), False)
        return np.clip(mapped, -1.0, 1.0, out=mapped)

    def map_out(self, array: AnyArray, placement: Placement, channel: str | None) -> Volume:
        """Bring an array of shape `placement.size` back to the placed volume's geometry, bit for bit the same affine.

        Without resampling every voxel returns to where it came from; images differ by float32 rounding and by what
        their intensity map clips. Intensities follow `placement.fitted` and, for a channel that the source did not
        have, the typical ones. Label maps take the smallest integer type that holds the grid's labels.
        """
        affine = placement.volume_affine
        if channel is None:
            return Volume(self._compact(placement.array_out(array, True)), affine, LABEL)
        mapping = self.channels[channel]
        fitted = placement.fitted.get(channel) or mapping.default_fitted()
        intensities = mapping.inverse(placement.array_out(array, False), fitted)
        return Volume(intensities, affine, mapping.modality)

    def new_volume(self, array: AnyArray, channel: str | None, fov: Spacing | None = None) -> Volume:
        """A volume for an array that was synthesised without a source.

        Args:
            array: shape `size`; in 2D one slice (I, J) or a stack (I, J, K).
            channel: name of the image channel, None for a label map.
            fov: mm along the grid's axes to which padding is trimmed; None trims to `content`, the largest extent of a
                training case, beyond which the model only ever saw padding. Nothing is trimmed if that is unknown.

        Returns:
            Axes along `orientation`, spacing as the grid's, the centre of the volume at RAS (0, 0, 0), intensities by
            the typical ones of the channel.
        """
        stack = array[..., np.newaxis] if array.ndim == 2 else array
        if stack.shape[: self.dimension] != self.size:
            raise ValueError(f"array of shape {array.shape} for a grid of size {self.size}")
        kept = [*(self.content or self.size), *stack.shape[self.dimension :]]
        if fov is not None:
            kept = [geometry.resampled_size(1, step / extent) for step, extent in zip(self.spacing, fov, strict=True)]
        inside = _three(min(n, room) for n, room in zip(kept, stack.shape, strict=True))
        before = _three((room - n) // 2 for n, room in zip(inside, stack.shape, strict=True))
        voxels = np.ascontiguousarray(geometry.unpad(stack, before, inside))
        affine = self._centred_affine(inside)
        if channel is None:
            return Volume(self._compact(voxels), affine, LABEL)
        mapping = self.channels[channel]
        return Volume(mapping.inverse(voxels, mapping.default_fitted()), affine, mapping.modality)

    def _centred_affine(self, size: Size) -> npt.NDArray[np.float64]:
        unit = np.eye(4)
        axes, flips = geometry.axes_towards(unit, self.orientation)
        affine = geometry.oriented_affine(unit, (1, 1, 1), axes, flips)
        affine[:3, :3] *= self.spacing
        affine[:3, 3] = -affine[:3, :3] @ ((np.array(size) - 1) / 2)
        return affine

    def _compact(self, label: AnyArray) -> AnyArray:
        values = (min(0, int(label.min())), max(int(label.max()), *self.label_values, 0))
        return label.astype(np.result_type(*(np.min_scalar_type(value) for value in values)))


def _integers(volume: Volume) -> npt.NDArray[np.int32]:
    rounded = np.rint(volume.array)
    if not np.array_equal(rounded, volume.array):
        raise GenaugError(
            Reason.WRONG_LABELS,
            volume.source or volume.modality,
            f"{np.count_nonzero(rounded != volume.array)} voxels that are not whole numbers",
            "a label map of integers",
            "Save the label map again without interpolation.",
        )
    return rounded.astype(np.int32)


def _three(values: Any) -> Size:
    i, j, k = (int(value) for value in values)
    return i, j, k
