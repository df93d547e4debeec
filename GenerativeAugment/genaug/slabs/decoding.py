"""MONAI's decoder, layer after layer over slabs."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import torch
from monai.networks.blocks import Convolution, UpSample
from monai.networks.nets import AutoencoderKL
from monai.networks.nets.autoencoderkl import AEKLResBlock
from torch import Tensor, nn

from genaug.slabs.fields import Convolved, Enlarged, Field, Kept, Normalised, Sliding, Spilled, Sum, Transposed
from genaug.slabs.moments import Moments
from genaug.slabs.plan import SlabPlan


def decode_in_slabs(network: AutoencoderKL, codes: Tensor, plan: SlabPlan, folder: Path | None = None) -> Tensor:
    """What `network.decode(codes)` gives, within rounding, in less memory. Without gradients.

    Args:
        network: with or without attention, which runs at once at its low resolution.
        codes: (B, latent channels, *S), decoded one after another: a case is the same in any batch.
        plan: how to save memory.
        folder: where a temporary file may lie; the system's place for those when None.

    Returns:
        (B, out channels, *S * 2^(levels - 1)).
    """
    with torch.no_grad():
        return whole((decoded(network, code[None], plan, folder) for code in codes), plan, codes)


def decoded(network: AutoencoderKL, code: Tensor, plan: SlabPlan, folder: Path | None = None) -> Field:
    """The decoder's output for one code (1, latent channels, *S), whose last layer runs when rows are asked for."""
    return _Decoding(plan, folder, code).run(network)


def whole(fields: Iterable[Field], plan: SlabPlan, like: Tensor) -> Tensor:
    """Fields as one batch, each made and dropped before the next; `like` has the batch size and the device."""
    made: Tensor | None = None
    for index, field in enumerate(fields):
        if made is None:
            made = like.new_empty(len(like), field.channels, *field.size)
        for first, last in field.slabs(plan.slab_bytes):
            made[index, :, first:last] = field.rows(first, last)[0]
    assert made is not None  # a batch has at least one case
    return made


class _Decoding:
    """Blocks of a decoder, one after another."""

    def __init__(self, plan: SlabPlan, folder: Path | None, code: Tensor) -> None:
        self._plan, self._folder, self._code = plan, folder, code

    def run(self, network: AutoencoderKL) -> Field:
        field: Field = Kept(network.post_quant_conv(self._code))
        for block in network.decoder.blocks:
            field = self._block(block, field)
        return field

    def _block(self, block: nn.Module, field: Field) -> Field:
        if isinstance(block, AEKLResBlock):
            return self._residual(block, field)
        if isinstance(block, nn.GroupNorm):
            return Normalised(field, self._moments(field), block, silu=False)
        if isinstance(block, Convolution):
            return Convolved(field, block.conv)
        if isinstance(block, UpSample):
            return self._enlarged(block, field)
        return Kept(block(field.all()))

    def _residual(self, block: AEKLResBlock, field: Field) -> Field:
        if not isinstance(field, (Kept, Spilled, Enlarged, Transposed)):
            field = self._keep(field)
        enlarged = isinstance(field, (Enlarged, Transposed))
        hidden = Convolved(Normalised(field, self._moments(field), block.norm1, silu=True), block.conv1.conv)
        moments = Moments()
        kept = self._keep(hidden, moments)
        second = Convolved(Normalised(kept, moments, block.norm2, silu=True), block.conv2.conv)
        same = isinstance(block.nin_shortcut, nn.Identity)
        if enlarged:
            field = Sliding(field)
        shortcut = field if same else Convolved(field, block.nin_shortcut.conv)
        # In the place of the hidden field, of which the next slab's rows are remembered.
        return self._write(Sum(shortcut, second), kept)

    def _enlarged(self, block: UpSample, field: Field) -> Field:
        if not isinstance(field, (Kept, Spilled)):
            field = self._keep(field)
        layers = list(block.children())
        if len(layers) == 2 and isinstance(layers[0], nn.Upsample) and layers[0].mode == "nearest":
            made: Field = Enlarged(field, layers[1].conv)
        elif len(layers) == 1 and isinstance(layers[0], (nn.ConvTranspose2d, nn.ConvTranspose3d)):
            made = Transposed(field, layers[0])
        else:
            return Kept(block(field.all()))
        return self._keep(made) if self._plan.keep_enlarged else made

    def _moments(self, field: Field) -> Moments:
        moments = Moments()
        seen = Sliding(field) if isinstance(field, (Enlarged, Transposed)) else field
        for first, last in field.slabs(self._plan.slab_bytes):
            moments.add(seen.rows(first, last))
        return moments

    def _keep(self, field: Field, moments: Moments | None = None) -> Kept | Spilled:
        place: Kept | Spilled
        if self._plan.spill:
            place = Spilled(field.channels, field.size, self._folder, self._code.device)
        else:
            place = Kept(self._code.new_empty(1, field.channels, *field.size))
        return self._write(field, place, moments)

    def _write(self, field: Field, place: Kept | Spilled, moments: Moments | None = None) -> Kept | Spilled:
        for first, last in field.slabs(self._plan.slab_bytes):
            rows = field.rows(first, last)
            if moments is not None:
                moments.add(rows)
            place.write(first, rows)
        return place
