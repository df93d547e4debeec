"""Decoding of large volumes slab by slab, the same numbers as at once with a fraction of the memory.

A decoder's memory goes into feature maps at full resolution. Here a feature map is a `Field`, which gives its rows,
its planes along the first spatial axis, when they are asked for: kept in memory or in a file, or made anew from another
field each time. Layer after layer runs over slabs of rows, each with the neighbours its kernel sees, so what is kept is
one field a layer, the output of a residual block in the place of its hidden one. Group normalisation sees the whole
field, because its moments are taken over all slabs before the first one is normalised; that is why no seams appear,
which a decoder that normalises window by window has.

Enlarging by nearest neighbour and the 3-kernel behind it are one step: each of the 2^d voxels that stem from one sees
only 2^d different voxels of the small field, so sums of the weights on those do with 8 products where 27 were needed,
and the enlarged field is never there. That is so cheap that it can be made again rather than kept.
"""

from genaug.slabs.decoding import decode_in_slabs, decoded, whole
from genaug.slabs.plan import PLANS, SlabPlan, asked_plan, disk_of, in_slabs, slab_plan

__all__ = ["PLANS", "SlabPlan", "asked_plan", "decode_in_slabs", "decoded", "disk_of", "in_slabs", "slab_plan", "whole"]
