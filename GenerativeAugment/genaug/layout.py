"""Layout: what each channel of a tensor is."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydantic import model_validator

from genaug.errors import GenaugError, Reason
from genaug.strict import Frozen
from genaug.volume import AnyArray


class Layout(Frozen):
    """The channels of a tensor: first the images by name, then one channel per label value.

    Attributes:
        image_channels: names of the images, in tensor order.
        label_values: values of the label map, ascending from 0 (background); empty without a label map.
    """

    image_channels: tuple[str, ...]
    label_values: tuple[int, ...] = ()

    @model_validator(mode="after")
    def _consistent(self) -> Layout:
        if len(set(self.image_channels)) != len(self.image_channels):
            raise ValueError(f"image channels {self.image_channels} must differ")
        if self.label_values and (
            self.label_values[0] != 0 or list(self.label_values) != sorted(set(self.label_values))
        ):
            raise ValueError(f"label values {self.label_values} must ascend from 0, the background")
        if self.channels == 0:
            raise ValueError("a layout needs at least one image or label channel")
        return self

    @property
    def channels(self) -> int:
        """How many channels a tensor has."""
        return len(self.image_channels) + len(self.label_values)

    @property
    def images(self) -> slice:
        """The image channels of a tensor's channel axis."""
        return slice(0, len(self.image_channels))

    @property
    def labels(self) -> slice:
        """The one-hot label channels of a tensor's channel axis."""
        return slice(len(self.image_channels), self.channels)

    def encode(
        self, images: Mapping[str, AnyArray], label: AnyArray | None = None, subject: str | Path = "label map"
    ) -> npt.NDArray[np.float32]:
        """Stack images in [-1, 1] and the label map, as one-hot ±1, along a new first axis.

        Args:
            images: by channel name, all of shape S; other names are ignored.
            label: integers of shape S; required exactly if the layout has labels.
            subject: what an error names.

        Returns:
            float32 array of shape (channels, *S).

        Raises:
            GenaugError: UNPAIRED when an image or the label map is missing, WRONG_LABELS for an unknown label value.
        """
        missing = [name for name in self.image_channels if name not in images]
        if self.label_values and label is None:
            missing.append("label map")
        if missing:
            raise GenaugError(
                Reason.UNPAIRED,
                subject,
                f"no {', '.join(missing)}",
                f"{', '.join(self.image_channels)}{' and a label map' if self.label_values else ''}",
                "Complete the case or leave it out.",
            )
        parts = [np.asarray(images[name], dtype=np.float32)[np.newaxis] for name in self.image_channels]
        if self.label_values and label is not None:
            parts.append(self.one_hot(label, subject) * np.float32(2) - np.float32(1))
        return np.concatenate(parts)

    def decode(self, array: AnyArray) -> tuple[dict[str, AnyArray], npt.NDArray[np.int32] | None]:
        """The inverse of `encode`: images by name, and the label whose channel is largest (the first one of several).

        Args:
            array: shape (channels, *S).

        Returns:
            Views of the images, and int32 labels of shape S, or None without labels.
        """
        if len(array) != self.channels:
            raise ValueError(f"array with {len(array)} channels for a layout with {self.channels}")
        images = {name: array[channel] for channel, name in enumerate(self.image_channels)}
        if not self.label_values:
            return images, None
        values = np.array(self.label_values, dtype=np.int32)
        return images, values[np.argmax(array[self.labels], axis=0)]

    def one_hot(self, label: AnyArray, subject: str | Path = "label map") -> npt.NDArray[np.float32]:
        """One channel of 0 and 1 per label value, shape (L, *S), float32.

        Raises:
            GenaugError: WRONG_LABELS, with the unknown values and how many voxels have them.
        """
        values = np.array(self.label_values)
        hot: AnyArray = label[np.newaxis] == values.reshape(-1, *[1] * label.ndim)
        unknown = ~hot.any(axis=0)
        if unknown.any():
            found = ", ".join(f"{value:g}" for value in np.unique(label[unknown])[:8])
            raise GenaugError(
                Reason.WRONG_LABELS,
                subject,
                f"{np.count_nonzero(unknown)} voxels with label {found}",
                f"only {', '.join(map(str, self.label_values))}",
                "Correct the label map, or declare the value in the cohort's label names.",
            )
        return hot.astype(np.float32)
