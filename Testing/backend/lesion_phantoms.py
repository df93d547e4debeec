"""Hosts, tissues and annotated cases with known properties for the tests of lesions."""

from __future__ import annotations

import numpy as np
from genaug.lesions import AnnotatedCase, InsertParameters, LesionBank
from genaug.volume import LABEL, Volume


def affine(spacing=(1.0, 1.0, 1.0), angles=(0.0, 0.0, 0.0), flip=(1, 1, 1), origin=(-20.0, 10.0, 5.0)):
    """A grid turned by `angles` (radians about x, y, z), mirrored along axes where `flip` is -1."""
    turn = np.eye(3)
    for axis, angle in enumerate(angles):
        a, b = [n for n in range(3) if n != axis]
        one = np.eye(3)
        one[[a, b], [a, b]] = np.cos(angle)
        one[a, b], one[b, a] = -np.sin(angle), np.sin(angle)
        turn = turn @ one
    matrix = np.eye(4)
    matrix[:3, :3] = turn * np.multiply(spacing, flip)
    matrix[:3, 3] = origin
    return matrix


GRIDS = {
    "isotropic": affine(),
    "thick slices": affine((0.8, 0.8, 3.0)),
    "oblique": affine((1.2, 0.9, 1.5), (0.3, -0.5, 0.7)),
    "left-handed oblique": affine((1.0, 1.0, 2.0), (0.2, 0.4, -0.3), (-1, 1, 1)),
}


def ct(matrix, extent_mm=64.0, seed=0, mean=60.0, noise=12.0, dtype=np.int16):
    """Noisy tissue of `extent_mm` along every axis, and a tissue map that leaves 6 mm of border."""
    spacing = np.linalg.norm(matrix[:3, :3], axis=0)
    shape = tuple(int(n) for n in np.ceil(extent_mm / spacing))
    values = np.random.default_rng(seed).normal(mean, noise, shape)
    tissue = np.zeros(shape, np.uint8)
    tissue[tuple(slice(int(np.ceil(6 / s)), -int(np.ceil(6 / s))) for s in spacing)] = 2
    values = np.rint(values) if np.issubdtype(dtype, np.integer) else values
    return Volume(values.astype(dtype), matrix, "CT"), Volume(tissue, matrix, LABEL)


def mr(matrix, extent_mm=64.0, seed=0, mean=200.0, noise=8.0):
    """The same as float32 MR."""
    host, tissue = ct(matrix, extent_mm, seed, mean, noise, np.float32)
    values = np.random.default_rng(seed).normal(mean, noise, host.shape).astype(np.float32)
    return Volume(values, matrix, "MR"), tissue


def annotated(matrix=None, radii=((9, 6, 5), (4, 4, 4)), contrast=40.0, noise=5.0, modality="MR", mean=100.0):
    """Two ovoid lesions of known contrast in noisy tissue, and their label map (value 3)."""
    matrix = affine() if matrix is None else matrix
    spacing = np.linalg.norm(matrix[:3, :3], axis=0)
    shape = tuple(int(n) for n in np.ceil(70 / spacing))
    mm = [
        (np.arange(n) * s).reshape([-1 if a == b else 1 for b in range(3)])
        for a, (n, s) in enumerate(zip(shape, spacing))
    ]
    label = np.zeros(shape, np.uint8)
    for centre, radius in zip(((22, 30, 30), (50, 40, 40)), radii):
        label[sum(((x - c) / r) ** 2 for x, c, r in zip(mm, centre, radius)) <= 1] = 3
    values = np.random.default_rng(5).normal(mean, noise, shape) + contrast * (label == 3)
    return Volume(values.astype(np.float32), matrix, modality), Volume(label, matrix, LABEL)


def bank(case_id="donor", patient="donor patient", derived_from=(), **options):
    """A bank over one annotated case."""
    image, label = annotated(**options)
    return LesionBank([AnnotatedCase(case_id, patient, lambda: image, lambda: label, derived_from)], value=3)


def asking(**changes) -> InsertParameters:
    """One darker 16 mm lesion in HU, changed as told."""
    return InsertParameters.model_validate(
        {"diameter_mm": (16, 16), "contrast": (-30, -30), "contrast_unit": "intensity", "seed": 1} | changes
    )
