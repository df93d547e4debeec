"""What an insertion can be asked for: the block that job.json, the command line and the Slicer module share."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from genaug.strict import Strict


def _ordered(limits: tuple[float, float]) -> tuple[float, float]:
    if not limits[0] <= limits[1]:
        raise ValueError(f"the range runs from {limits[0]:g} down to {limits[1]:g}")
    return limits


Range = Annotated[tuple[float, float], AfterValidator(_ordered)]
"""Smallest and largest value, in this order."""

LARGEST_MM = 120.0
"""Above this the work on the lesion's box is no longer small."""

ContrastUnit = Literal["auto", "spread", "fraction", "intensity"]
Shape = Literal["ellipsoid", "irregular", "confluent", "spiculated"]


class ProceduralSource(Strict):
    """Lesions drawn from a description; ranges are drawn from uniformly, once a lesion.

    `ellipsoid` is smooth, `irregular` has a bumpy border, `confluent` is two to four grown-together ovoids like
    plaques of multiple sclerosis, `spiculated` has rays like many tumours of lung and breast.
    """

    kind: Literal["procedural"] = "procedural"
    shape: Shape = "irregular"
    elongation: Range = Field(default=(1.0, 1.6), description="longest over shortest axis of each ovoid, at least 1")
    heterogeneity: Range = Field(default=(0.04, 0.12), description="standard deviation of the texture over |contrast|")
    grain_mm: Range = Field(
        default=(1.5, 4.0), description="correlation length of the texture, full width at half maximum"
    )
    core_gain: Range = Field(default=(1.0, 1.0), description="contrast of the core over that of the rest; 1 = no core")
    core_size: Range = Field(default=(0.4, 0.7), description="radius of the core over that of the lesion")
    rim_gain: Range = Field(
        default=(1.0, 1.0), description="contrast of the outer fifth over that of the rest; 1 = no rim"
    )

    @model_validator(mode="after")
    def _possible(self) -> ProceduralSource:
        if self.elongation[0] < 1:
            raise ValueError(f"elongation: at least 1, got {self.elongation[0]:g}")
        if self.heterogeneity[0] < 0 or self.grain_mm[0] <= 0:
            raise ValueError("heterogeneity must not be negative and grain_mm must be positive")
        if not 0 <= self.core_size[0] <= self.core_size[1] <= 1:
            raise ValueError("core_size: between 0 and 1")
        return self


class BankSource(Strict):
    """Lesions carved from annotated cases; those whose diameter lies in the asked range are equally likely.

    `margin="carvemix"` draws how far around (or inside) the annotation the lesion is cut, as CarveMix does
    (Zhang et al., NeuroImage 2023); `"none"` cuts at the annotation. A lesion is compared with the tissue it lies in:
    what has the label value, 0 included, that touches most of its border.
    """

    kind: Literal["bank"] = "bank"
    value: int = Field(default=1, ge=1, description="label value of the lesions in the annotated cases")
    other_lesions: tuple[int, ...] = Field(
        default=(), description="further values that are lesions too and no tissue to compare one with"
    )
    margin: Literal["carvemix", "none"] = "carvemix"
    mirror: bool = Field(default=True, description="swap left and right in half of the lesions")


class InsertParameters(Strict):
    """One insertion: which lesions, how many, how large, how bright and where."""

    source: Annotated[ProceduralSource | BankSource, Field(discriminator="kind")] = Field(
        default_factory=lambda: ProceduralSource(),
        description='{"kind": "procedural", "shape": "irregular"} draws lesions, with further keys elongation,'
        " heterogeneity, grain_mm, core_gain, core_size and rim_gain, each [low, high];"
        ' {"kind": "bank", "value": 1} carves those of a label value from `bank`, with further keys other_lesions,'
        " margin and mirror",
    )
    count: int = Field(default=1, ge=1, le=200, description="number of lesions")
    diameter_mm: Range = Field(
        default=(8.0, 20.0), description="diameter of the sphere of the same volume; log-uniform"
    )
    contrast: Range | None = Field(
        default=None,
        description="lesion minus surrounding tissue, in contrast_unit; negative is darker; as carved when left out",
    )
    contrast_unit: ContrastUnit = Field(
        default="auto",
        description="spread: multiples of the standard deviation of the tissue around; fraction: of its mean;"
        " intensity: as stored (HU in CT); auto: intensity for CT, spread for everything else",
    )
    margin_mm: float = Field(default=2.0, ge=0, description="least distance of the lesion from the tissue's border")
    edge_mm: Range = Field(default=(0.4, 1.0), description="softness of the border: sigma of the blend")
    tissue_labels: tuple[int, ...] = Field(
        default=(), description="values of the tissue map to lie in; all but 0 when left out"
    )
    lesion_value: int = Field(default=1, ge=1, lt=2**32, description="value of the lesion in the updated label map")
    at: tuple[tuple[float, float, float], ...] | None = Field(
        default=None, description="one RAS point in mm for each lesion, such as [[10, -20, 35]]; drawn when left out"
    )
    allow_outside: bool = Field(default=False, description="accept points in `at` where the lesion leaves the tissue")
    seed: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _consistent(self) -> InsertParameters:
        if self.diameter_mm[0] <= 0 or self.diameter_mm[1] > LARGEST_MM:
            found = " to ".join(f"{v:g}" for v in self.diameter_mm)
            raise ValueError(f"diameter_mm: above 0 and up to {LARGEST_MM:g}, got {found}")
        if self.edge_mm[0] < 0:
            raise ValueError("edge_mm: must not be negative")
        if self.contrast is None and isinstance(self.source, ProceduralSource):
            raise ValueError(
                "contrast: a procedural lesion needs one, for instance [-6, -3] for darker than the tissue"
            )
        if self.at is not None and len(self.at) != self.count:
            raise ValueError(f"at: {len(self.at)} points for {self.count} lesions")
        if self.allow_outside and self.at is None:
            raise ValueError("allow_outside: only lesions at given points may leave the tissue")
        return self
