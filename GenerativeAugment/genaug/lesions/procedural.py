"""Lesions drawn from a description: shape and texture in millimetres, independent of any voxel grid.

A shape is one to four ovoids whose border is displaced by a few plane waves over the sphere of directions, joined
smoothly. The ovoid with a smooth random border follows the recipe of SynTumor (Hu et al., CVPR 2023); the waves take
the place of its elastic deformation, because a handful of numbers then reproduces the border exactly.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from genaug.errors import Reason
from genaug.lesions.local import Float32Array, TooSmall, Vector, as_vector
from genaug.lesions.parameters import ProceduralSource, Range, Shape
from genaug.strict import Strict

Quaternion = tuple[float, float, float, float]
FWHM = 2.354820045
"""Full width at half maximum of a Gaussian over its sigma."""

_WAVES = 8
_GRID = 36
"""Voxels along each edge of the grid on which a shape's volume is measured once: 0.5 % exact."""
_RIM = 0.2
_JOIN = 0.45
"""Length over which lobes grow together, in radii of the first lobe."""


class Wave(Strict):
    """Displacement amplitude * cos(frequency * u.direction + phase) of the border in direction u, in radii."""

    direction: Vector
    frequency: float
    phase: float
    amplitude: float


class Ray(Strict):
    """A spike: displacement height * exp(-angle**2 / (2 width**2)) around `direction`, width in radians."""

    direction: Vector
    width: float
    height: float


class Lobe(Strict):
    """One ovoid: centre relative to the lesion's, semi-axes in mm, orientation, and its displaced border."""

    centre_mm: Vector
    radii_mm: Vector
    rotation: Quaternion
    waves: list[Wave]
    rays: list[Ray]


class TextureDraws(Strict):
    """Texture in units of the contrast: profile from core to rim plus band-limited Gaussian noise from `seed`."""

    seed: int
    heterogeneity: float
    grain_mm: float
    core_gain: float
    core_size: float
    rim_gain: float


class ProceduralDraws(Strict):
    """Everything that makes one procedural lesion, voxel for voxel on a given grid.

    Attributes:
        diameter_mm: of the sphere of the same volume.
        lobes: the ovoids, already scaled to that volume.
        join_mm: length over which two lobes grow together.
        extent_mm: radius of a sphere around the centre that holds the lesion.
        contrast: lesion between core and rim minus surrounding tissue, in the contrast unit of the insertion.
    """

    source: Literal["procedural"] = "procedural"
    shape: Shape
    diameter_mm: float
    lobes: list[Lobe]
    join_mm: float
    extent_mm: float
    texture: TextureDraws
    contrast: float

    @property
    def volume_mm3(self) -> float:
        """The volume asked for."""
        return float(np.pi / 6 * self.diameter_mm**3)


@dataclass(frozen=True)
class Style:
    """How a kind of shape is drawn: numbers of lobes and rays, and its border's roughness."""

    lobes: tuple[int, int]
    roughness: float
    frequency: Range
    rays: tuple[int, int] = (0, 0)


STYLES: dict[Shape, Style] = {
    "ellipsoid": Style((1, 1), 0.03, (1.0, 2.5)),
    "irregular": Style((1, 3), 0.10, (2.0, 5.0)),
    "confluent": Style((2, 4), 0.06, (1.5, 3.5)),
    "spiculated": Style((1, 1), 0.07, (2.0, 5.0), (9, 16)),
}


def draw_procedural(
    rng: np.random.Generator, diameter_mm: float, contrast: float, source: ProceduralSource | None = None
) -> ProceduralDraws:
    """Draw one lesion.

    Args:
        rng: the case's generator.
        diameter_mm: of the sphere of the same volume, whatever the shape.
        contrast: lesion between core and rim minus the tissue around it, in the insertion's contrast unit; its
            sign says brighter or darker.
        source: kind of shape and ranges of the texture.
    """
    source = source or ProceduralSource()
    style = STYLES[source.shape]
    count = int(rng.integers(style.lobes[0], style.lobes[1] + 1))
    lobes = [_draw_lobe(rng, style, source.elongation, first=n == 0) for n in range(count)]
    lobes, join, extent = _scaled(lobes, _JOIN, diameter_mm)
    texture = TextureDraws(
        seed=int(rng.integers(2**63)),
        heterogeneity=rng.uniform(*source.heterogeneity),
        grain_mm=rng.uniform(*source.grain_mm),
        core_gain=rng.uniform(*source.core_gain),
        core_size=rng.uniform(*source.core_size),
        rim_gain=rng.uniform(*source.rim_gain),
    )
    return ProceduralDraws(
        shape=source.shape,
        diameter_mm=diameter_mm,
        lobes=lobes,
        join_mm=join,
        extent_mm=extent,
        texture=texture,
        contrast=contrast,
    )


def signed_distance(draws: ProceduralDraws, positions: Float32Array) -> Float32Array:
    """Distance to the lesion's border in mm, negative inside; first-order exact at the border.

    Args:
        draws: the lesion.
        positions: (3, ...) RAS millimetres relative to the lesion's centre.

    Returns:
        float32 of shape positions.shape[1:].
    """
    return _join([_lobe_distance(lobe, positions) for lobe in draws.lobes], draws.join_mm)


def render_texture(draws: ProceduralDraws, signed: Float32Array, spacing: Vector) -> Float32Array:
    """Lesion minus surrounding tissue in contrast units; `draws.contrast` between core and rim, plus the noise.

    Args:
        draws: the lesion.
        signed: signed distance in mm on the host's grid, (I, J, K).
        spacing: voxel size of that grid in mm.

    Raises:
        TooSmall: BAD_PARAMETER when the lesion is so small that it holds no voxel of the grid.
    """
    inside = signed <= 0
    if not inside.any():
        raise TooSmall(
            Reason.BAD_PARAMETER,
            "diameter_mm",
            f"{draws.diameter_mm:.2f} mm on voxels of {' x '.join(f'{s:.2f}' for s in spacing)} mm",
            "a lesion of at least one voxel",
            "Ask for larger lesions, or insert into an image of finer spacing.",
        )
    texture = draws.texture
    depth = np.clip(-signed / max(float(-signed.min()), 1e-6), 0, 1)
    profile = 1 + (texture.core_gain - 1) * _step(depth, 1 - texture.core_size)
    profile += (texture.rim_gain - 1) * (1 - _step(depth, _RIM))
    noise = _band_limited_noise(texture.seed, texture.grain_mm, signed.shape, spacing)
    noise -= noise[inside].mean()
    return np.asarray(draws.contrast * profile + abs(draws.contrast) * texture.heterogeneity * noise, dtype=np.float32)


def _draw_lobe(rng: np.random.Generator, style: Style, elongation: Range, first: bool) -> Lobe:
    """A lobe of about unit volume; all but the first lie beside the centre and are smaller."""
    stretch = rng.uniform(*elongation)
    middle = stretch ** rng.uniform(-0.5, 0.3)
    radii = np.array([stretch, middle, 1.0])
    radii *= (1.0 if first else rng.uniform(0.55, 0.9)) / np.prod(radii) ** (1 / 3)
    centre = np.zeros(3) if first else _direction(rng) * rng.uniform(0.6, 1.0)
    rotation = rng.normal(size=4)
    amplitude = style.roughness * np.sqrt(2 / _WAVES)
    waves = [
        Wave(
            direction=as_vector(_direction(rng)),
            frequency=rng.uniform(*style.frequency),
            phase=rng.uniform(0, 2 * np.pi),
            amplitude=float(amplitude * rng.normal()),
        )
        for _ in range(_WAVES)
    ]
    rays = [
        Ray(direction=as_vector(_direction(rng)), width=rng.uniform(0.1, 0.22), height=rng.uniform(0.25, 0.7))
        for _ in range(int(rng.integers(style.rays[0], style.rays[1] + 1)))
    ]
    w, x, y, z = (float(v) for v in rotation / np.linalg.norm(rotation))
    return Lobe(centre_mm=as_vector(centre), radii_mm=as_vector(radii), rotation=(w, x, y, z), waves=waves, rays=rays)


def _scaled(lobes: list[Lobe], join: float, diameter_mm: float) -> tuple[list[Lobe], float, float]:
    """Lobes of unit scale centred and scaled to the volume of a sphere of `diameter_mm`; join and extent with them."""
    reach = max(float(np.linalg.norm(lobe.centre_mm)) + _reach(lobe) for lobe in lobes)
    axis = (np.arange(_GRID) + 0.5) * (2 * reach / _GRID) - reach
    positions = np.stack(np.meshgrid(axis, axis, axis, indexing="ij")).astype(np.float32)
    cell = 2 * reach / _GRID
    signed = _join([_lobe_distance(lobe, positions) for lobe in lobes], join)
    covered = np.clip(0.5 - signed / cell, 0, 1)
    volume = float(covered.sum()) * cell**3
    centroid = np.array([float((p * covered).sum() / covered.sum()) for p in positions])
    extent = float(np.linalg.norm(positions[:, covered > 0] - centroid[:, None], axis=0).max()) + cell
    scale = (np.pi / 6 * diameter_mm**3 / volume) ** (1 / 3)
    moved = [
        lobe.model_copy(
            update={
                "centre_mm": as_vector((np.array(lobe.centre_mm) - centroid) * scale),
                "radii_mm": as_vector(np.array(lobe.radii_mm) * scale),
            }
        )
        for lobe in lobes
    ]
    return moved, join * scale, extent * scale


def _reach(lobe: Lobe) -> float:
    """Radius of a sphere around the lobe's centre that holds it."""
    bump = sum(abs(wave.amplitude) for wave in lobe.waves) + sum(sorted(ray.height for ray in lobe.rays)[-2:])
    return max(lobe.radii_mm) * (1 + bump)


def _lobe_distance(lobe: Lobe, positions: Float32Array) -> Float32Array:
    """First-order distance to one lobe: the implicit function over the length of its ellipsoid's gradient."""
    moved = [positions[axis] - np.float32(lobe.centre_mm[axis]) for axis in range(3)]
    rotation = _rotation(lobe.rotation)
    scaled = [
        (moved[0] * rotation[0, n] + moved[1] * rotation[1, n] + moved[2] * rotation[2, n])
        / np.float32(lobe.radii_mm[n])
        for n in range(3)
    ]
    radius = np.maximum(np.sqrt(scaled[0] ** 2 + scaled[1] ** 2 + scaled[2] ** 2), np.float32(1e-4))
    unit = [axis / radius for axis in scaled]
    border = np.ones_like(radius)
    for wave in lobe.waves:
        border += np.float32(wave.amplitude) * np.cos(
            np.float32(wave.frequency) * _along(unit, wave.direction) + np.float32(wave.phase)
        )
    for ray in lobe.rays:
        # 1 - cos(angle) is angle**2 / 2 for the narrow rays there are.
        border += np.float32(ray.height) * np.exp((_along(unit, ray.direction) - 1) / np.float32(ray.width**2))
    np.maximum(border, np.float32(0.3), out=border)
    slope = np.sqrt(sum((unit[n] / np.float32(lobe.radii_mm[n])) ** 2 for n in range(3)))
    # At the very centre there is no direction; the shortest axis bounds the distance to the border.
    slope = np.maximum(slope, np.float32(1 / max(lobe.radii_mm)))
    return np.asarray((radius - border) / slope, dtype=np.float32)


def _join(distances: list[Float32Array], length: float) -> Float32Array:
    """Smooth minimum: the borders of neighbouring lobes flow into each other over `length`."""
    joined = distances[0]
    for other in distances[1:]:
        near = np.clip(0.5 + 0.5 * (other - joined) / np.float32(length), 0, 1)
        joined = other + (joined - other) * near - np.float32(length) * near * (1 - near)
    return joined


def _band_limited_noise(seed: int, grain_mm: float, shape: tuple[int, ...], spacing: Vector) -> Float32Array:
    from scipy import ndimage

    rng = np.random.Generator(np.random.PCG64(seed))
    noise = rng.standard_normal(shape, dtype=np.float32)
    sigma = [grain_mm / FWHM / s if n > 1 else 0.0 for s, n in zip(spacing, shape)]
    noise = ndimage.gaussian_filter(noise, sigma, mode="wrap")
    return np.asarray(noise / max(float(noise.std()), 1e-12), dtype=np.float32)


def _step(depth: Float32Array, at: float) -> Float32Array:
    """A soft step from 0 to 1 over a third of the depth, around `at`."""
    ramp = np.clip((depth - at) / 0.3 + 0.5, 0, 1)
    return np.asarray(ramp * ramp * (3 - 2 * ramp), dtype=np.float32)


def _along(unit: list[Float32Array], direction: Vector) -> Float32Array:
    x, y, z = (np.float32(d) for d in direction)
    return np.asarray(unit[0] * x + unit[1] * y + unit[2] * z)


def _direction(rng: np.random.Generator) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    vector = rng.normal(size=3)
    return np.asarray(vector / np.linalg.norm(vector))


def _rotation(quaternion: Quaternion) -> Float32Array:
    """The rotation matrix of a unit quaternion (w, x, y, z)."""
    w, x, y, z = quaternion
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ],
        dtype=np.float32,
    )
