"""Intensities into [-1, 1] and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from genaug.errors import GenaugError, Reason
from genaug.strict import Frozen
from genaug.volume import AnyArray, Volume


class Fitted(Frozen):
    """The intensities of one image that become -1 and +1."""

    low: float = Field(allow_inf_nan=False)
    high: float = Field(allow_inf_nan=False)

    @model_validator(mode="after")
    def _ordered(self) -> Fitted:
        if not self.low < self.high:
            raise ValueError(f"low {self.low:g} must lie below high {self.high:g}")
        return self


class IntensityMap(Frozen):
    """How the intensities of one channel become numbers in [-1, 1].

    The map is affine between `low` and `high` and clips outside: a voxel below `low` comes back as `low`, one above
    `high` as `high`; nothing else is lost.

    Attributes:
        kind: "window" and "range" take `low` and `high` as intensities, the same for every case ("window" says that
            they are HU, "range" that they are whatever the images hold). "percentiles" takes them as percents of each
            case: `low` over all voxels, so that an empty background stays exactly the background, and `high` over the
            voxels above the smallest value, so that brightness does not depend on how much empty background was kept.
        low: lower intensity, or percent in [0, 100).
        high: upper intensity, or percent in (0, 100].
        modality: of the volumes in this channel, "MR", "CT", ...
        typical: what a case without a source image gets, the median over the training cases; only for "percentiles".
    """

    kind: Literal["window", "percentiles", "range"]
    low: float = Field(allow_inf_nan=False)
    high: float = Field(allow_inf_nan=False)
    modality: str = "MR"
    typical: Fitted | None = None

    @model_validator(mode="after")
    def _ordered(self) -> IntensityMap:
        if not self.low < self.high:
            raise ValueError(f"low {self.low:g} must lie below high {self.high:g}")
        if self.kind == "percentiles" and (self.low < 0 or self.high > 100):
            raise ValueError(f"percents lie in [0, 100], got {self.low:g} and {self.high:g}")
        if self.kind != "percentiles" and self.typical is not None:
            raise ValueError(f"kind {self.kind!r} is the same for every case and takes no typical values")
        return self

    @classmethod
    def for_modality(cls, modality: str) -> IntensityMap:
        """A sensible default: CT a window of [-1000, 1000] HU, anything else percentiles 0.5 and 99.9 of each case."""
        if modality == "CT":
            return cls(kind="window", low=-1000, high=1000, modality=modality)
        return cls(kind="percentiles", low=0.5, high=99.9, modality=modality)

    def fit(self, image: Volume | AnyArray) -> Fitted:
        """The `low` and `high` of one image.

        Raises:
            GenaugError: NOT_FINITE when the image holds NaN or infinity; BAD_PARAMETER when it is constant between the
                percents.
        """
        array, subject = (
            (image.array, image.source or image.modality) if isinstance(image, Volume) else (image, "image")
        )
        if not np.isfinite(array).all():
            raise GenaugError(
                Reason.NOT_FINITE,
                subject,
                f"{np.count_nonzero(~np.isfinite(array))} voxels that are NaN or infinite",
                "finite intensities",
                "Repair the image, for instance by setting these voxels to the background.",
            )
        if self.kind != "percentiles":
            self._require_within(array, str(subject))
            return Fitted(low=self.low, high=self.high)
        foreground = array[array > array.min()]
        low = float(np.percentile(array, self.low))
        high = float(np.percentile(foreground, self.high)) if foreground.size else low
        if not low < high:
            raise GenaugError(
                Reason.BAD_PARAMETER,
                subject,
                f"intensity {low:g} at percent {self.low:g} and {high:g} at percent {self.high:g}",
                "an image with contrast",
                "Check that the image is not empty; for a nearly empty one use fixed values (kind 'range').",
            )
        return Fitted(low=low, high=high)

    def _require_within(self, array: AnyArray, subject: str) -> None:
        """Refuse an image that would be one value, as CT that was rescaled twice: all of it below the fixed values."""
        lowest, highest = float(array.min()), float(array.max())
        if lowest < highest and not (lowest < self.high and highest > self.low):
            raise GenaugError(
                Reason.BAD_PARAMETER,
                subject,
                f"intensities from {lowest:g} to {highest:g}, all outside {self.low:g} to {self.high:g}",
                f"{self.modality} within the values that are mapped",
                "Check the modality and the rescaling of the image (in DICOM slope and intercept).",
            )

    def default_fitted(self) -> Fitted:
        """What an image without a source gets: the fixed values, or the training cases' median.

        Raises:
            GenaugError: BAD_PACKAGE when the values differ from case to case and no typical ones were recorded.
        """
        if self.kind != "percentiles":
            return Fitted(low=self.low, high=self.high)
        if self.typical is None:
            raise GenaugError(
                Reason.BAD_PACKAGE,
                "grid",
                f"percentiles of {self.modality} without typical values",
                "the median intensities of the training cases",
                "Plan the grid again with the fitted intensities of the training cases.",
            )
        return self.typical

    def with_typical(self, fitted: Sequence[Fitted]) -> IntensityMap:
        """Record the median of `fitted` as typical; fixed values and an empty list change nothing."""
        if self.kind != "percentiles" or not fitted:
            return self
        low = float(np.median([values.low for values in fitted]))
        high = float(np.median([values.high for values in fitted]))
        return self.model_copy(update={"typical": Fitted(low=low, high=high)})

    def forward(self, array: AnyArray, fitted: Fitted) -> npt.NDArray[np.float32]:
        """Intensities to [-1, 1], clipped."""
        unit = (np.asarray(array, dtype=np.float64) - fitted.low) / (fitted.high - fitted.low)
        return (np.clip(unit, 0.0, 1.0) * 2.0 - 1.0).astype(np.float32)

    def inverse(self, array: AnyArray, fitted: Fitted) -> npt.NDArray[np.float32]:
        """[-1, 1], clipped, to intensities."""
        unit = (np.clip(np.asarray(array, dtype=np.float64), -1.0, 1.0) + 1.0) * 0.5
        return (fitted.low + unit * (fitted.high - fitted.low)).astype(np.float32)
