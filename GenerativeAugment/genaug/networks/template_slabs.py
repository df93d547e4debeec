"""The last layer of our autoencoders, `TemplateHead`, over slabs of the features it sees."""

from __future__ import annotations

import torch
from torch import Tensor

from genaug.networks.template import TemplateHead
from genaug.networks.warping import enlarged, warp_rows
from genaug.slabs.fields import Convolved, Field, Place, Sliding


class Headed(Field):
    """A raw case made of features, of which it sees one row more on both sides: what is coarse is interpolated."""

    def __init__(self, features: Field, head: TemplateHead) -> None:
        super().__init__(head.signature.channels, head.signature.window, features)
        # A row of the features is several of the case.
        self.widest = max(self.widest, features.widest // head.scale)
        self._head = head
        seen = Sliding(features)
        self._bands = Sliding(Convolved(seen, head.residual))
        self._field = None if head.displacement is None else Sliding(Convolved(seen, head.displacement))

    def rows(self, first: int, last: int) -> Tensor:
        """Of whole rows of the features, cut to what is asked for."""
        scale, channels = self._head.scale, self.channels
        place = first // scale, -(-last // scale)
        bands = _clamped(self._bands, place)
        inner = bands[:, :, 1:-1]
        detail = self._head.detail(inner)
        mean = self._enlarged(bands[:, :channels] / scale ** (len(self.size) / 2))
        at = slice(first - place[0] * scale, last - place[0] * scale)
        made = detail[:, :, at].add_(mean[:, :, at])
        if self._field is None:
            return made.add_(self._head.template[None, :, first:last])
        field = self._enlarged(_clamped(self._field, place))[:, :, at]
        return made.add_(warp_rows(self._head.template[None], field, first))

    def _enlarged(self, rows: Tensor) -> Tensor:
        """Interpolated to the case's resolution, without what the first and the last row become."""
        scale = self._head.scale
        size = (scale * rows.shape[2], *self.size[1:])
        return enlarged(rows, size)[:, :, scale:-scale]


def _clamped(field: Field, place: Place) -> Tensor:
    """The rows and one more on both sides, where there is none the last one again."""
    first, last = place
    rows = field.rows(max(first - 1, 0), min(last + 1, field.size[0]))
    before = [rows[:, :, :1]] if first == 0 else []
    after = [rows[:, :, -1:]] if last == field.size[0] else []
    return torch.cat([*before, rows, *after], dim=2) if before or after else rows
