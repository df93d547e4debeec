"""Where the patient is: a body mask, so that the air around it does not flatter a score."""

from __future__ import annotations

from typing import Any

import numpy as np

from genaug.volume import BoolArray, FloatArray

CT_BODY_HU = -400.0
"""Between air (-1000) and fat (-100), nearer to fat so that a table of foam stays outside."""

OTSU_BINS = 256
LOG_OFFSET = 0.01
"""Added before taking logarithms, as a part of the intensity range: noise below it counts as one class, air."""


def body_mask(image: FloatArray, modality: str) -> BoolArray:
    """The body: above a threshold, freed of thin attachments, largest component, holes (lungs, bowel gas) filled.

    The threshold is CT_BODY_HU for CT; for other modalities Otsu's (1979) on the logarithm of the intensities. On the
    intensities themselves it falls between muscle and fat wherever little air surrounds the body. An MR crop that lies
    wholly inside the body has no air to find, and loses its darkest tissue.

    Args:
        image: (I, J) or (I, J, K); CT in HU.
        modality: "CT", "MR", ...

    Returns:
        Boolean array of the same shape. An image without contrast is body everywhere.
    """
    from scipy import ndimage

    if image.max() == image.min():
        return np.ones(image.shape, dtype=np.bool_)
    above = image > (CT_BODY_HU if modality == "CT" else _logarithmic_otsu(image))
    if not above.any():
        return np.ones(image.shape, dtype=np.bool_)
    # The table touches the skin along a thin line; opening cuts it off before the largest component is taken.
    opened = ndimage.binary_opening(above, _cross(image.ndim))
    body = _largest_component(opened if opened.any() else above)
    body = ndimage.binary_dilation(body, _cross(image.ndim)) & above
    return _filled(body)


def otsu_threshold(values: FloatArray) -> float:
    """The threshold that separates `values` into the two classes of least variance within them (Otsu 1979)."""
    counts, edges = np.histogram(values, bins=OTSU_BINS)
    centres = (edges[:-1] + edges[1:]) / 2
    below = np.cumsum(counts).astype(np.float64)
    above = below[-1] - below
    sums = np.cumsum(counts * centres)
    with np.errstate(invalid="ignore", divide="ignore"):
        between = below * above * (sums / below - (sums[-1] - sums) / above) ** 2
    return float(edges[1 + int(np.nanargmax(between[:-1]))])


def _logarithmic_otsu(image: FloatArray) -> float:
    low = float(image.min())
    # A few very bright voxels (vessels, artefacts) would stretch the histogram.
    extent = float(np.percentile(image, 99)) - low
    if extent <= 0:
        return low
    scaled = np.clip((image - low) / extent, 0, 1)
    return low + extent * float(np.exp(otsu_threshold(np.log(scaled + LOG_OFFSET))) - LOG_OFFSET)


def _largest_component(mask: BoolArray) -> BoolArray:
    from scipy import ndimage

    parts, count = ndimage.label(mask)
    if count == 0:
        return mask
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    largest: BoolArray = parts == sizes.argmax()
    return largest


def _filled(mask: BoolArray) -> BoolArray:
    """Holes filled in 3D and in the slices of each axis: airways and bowel leave the volume at its ends."""
    from scipy import ndimage

    filled: BoolArray = ndimage.binary_fill_holes(mask)
    if mask.ndim == 2:
        return filled
    for axis in range(mask.ndim):
        for number in range(mask.shape[axis]):
            place: list[Any] = [slice(None)] * mask.ndim
            place[axis] = number
            filled[tuple(place)] |= ndimage.binary_fill_holes(mask[tuple(place)])
    return filled


def _cross(ndim: int) -> BoolArray:
    from scipy import ndimage

    structure: BoolArray = ndimage.generate_binary_structure(ndim, 1)
    return structure
