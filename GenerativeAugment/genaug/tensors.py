"""Prepared cases on disk: what training reads.

Every case is mapped into model space once and kept as an uncompressed array that is mapped into memory, so an epoch
costs what the windows cost that are cut from it, and memory does not grow with the cohort. Images are kept as int16
(steps of 1 / 32767 of the range [-1, 1]), label maps as indices of the roles' values in the smallest type for these.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt
import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor

from genaug.covariates import Covariate
from genaug.errors import GenaugError, Reason
from genaug.files import read_json, write_bytes, write_json
from genaug.grid.geometry import Size
from genaug.networks.base import Batch
from genaug.scanned import planes_with_content

SCALE = 32767.0
"""int16 per unit of model intensity."""
FINDING_VOXELS = 4096
"""Most voxels of a case's or plane's findings that are kept to place windows by."""


Field = tuple[Size, Size]

Side = Literal["both", "target", "source"]
"""Which channels of a case an entry of the store has: of an unpaired case, one side alone."""


class Roles(BaseModel):
    """Which channels are generated and which are given."""

    model_config = ConfigDict(extra="forbid")

    target: list[str]
    source: list[str] = []
    generate_labels: bool = False
    given_labels: bool = False
    label_values: list[int] = []
    covariates: list[Covariate] = []
    hole: bool = False
    """The source is the target itself without what the given labels cover: the network fills the hole."""
    offsets: list[int] = [0]
    """Planes of the source that a plane is made from, relative to its own; in 2D."""
    missing: bool = False
    """A case may lack some of the sources; the vector tells which it has."""
    unpaired: bool = False
    """Source and target are of different cases; a case may have one of them only."""

    @property
    def findings(self) -> bool:
        """Whether source and target are the same channels: the source with findings, the target without.

        What has a label is a source, what has none a target: whole cases in 3D, planes in 2D.
        """
        return self.unpaired and self.source == self.target

    @property
    def label_channels(self) -> int:
        """Generated one-hot channels."""
        return len(self.label_values) if self.generate_labels else 0

    @property
    def condition_channels(self) -> int:
        """Channels of `Batch.condition`: source images, one-hot labels, and every number of the vector."""
        labels = len(self.label_values) if self.given_labels else 0
        return self.source_channels + labels + sum(length for _, length in self.vector)

    @property
    def source_channels(self) -> int:
        """Channels of `Batch.source`."""
        return len(self.target) if self.hole else len(self.source) * len(self.offsets)

    @property
    def vector(self) -> tuple[tuple[str, int], ...]:
        """The parts of `Batch.vector`, kind and length, see Signature."""
        known = [(str(covariate.kind), covariate.length) for covariate in self.covariates]
        return (*known, ("source", len(self.source))) if self.missing else tuple(known)


class Source(Protocol):
    """Something training can draw batches from."""

    def __len__(self) -> int:
        """Number of items."""

    def batch(self, items: Sequence[int], rng: np.random.Generator) -> Batch:
        """The items' tensors; augmentation and window positions are drawn from `rng`."""


class _Index(BaseModel):
    model_config = ConfigDict(extra="forbid")

    roles: Roles
    dimension: int
    cases: list[str]
    fields: list[Field]
    """Of every case: the first voxel and the size of what is not padding, along the three axes."""
    vectors: list[list[float]] = []
    """Of every case: its covariates, see `covariates.encode`."""
    available: list[list[bool]] = []
    """Of every case: which of the sources it has."""
    sides: list[Side] = []
    """Of every entry: what it holds. An unpaired case has an entry for each side that it has."""
    planes: list[list[int] | None] = []
    """Of every entry: the planes that it is for, in 2D; None for all of them."""


class TensorStore:
    """Cases of one cohort in model space.

    Args:
        folder: where `write_store` put them.
        window: size of the windows to cut, (I, J, K) or (I, J); smaller than a case only for translation.
        shift: largest random displacement in voxels, along every axis.
        flip: whether to mirror left-right at random (the first axis of a RAS grid).
    """

    def __init__(self, folder: Path, window: Sequence[int], shift: int = 0, flip: bool = False) -> None:
        index = read_json(folder / "index.json", _Index)
        self._folder = folder
        self.roles, self.dimension, self.cases = index.roles, index.dimension, index.cases
        self.window, self.shift, self.flip = tuple(window), shift, flip
        self._images = [_map(folder / f"{i:05d}.images.npy") for i in range(len(self.cases))]
        labelled = self.roles.generate_labels or self.roles.given_labels or self.roles.findings
        files = [folder / f"{i:05d}.labels.npy" for i in range(len(self.cases))] if labelled else []
        # Of a method that takes findings away, the side without any has no label maps.
        self._labels = [_map(file) if file.exists() else None for file in files]
        self._fields = index.fields
        self._vectors = np.array(index.vectors, dtype=np.float32)
        self._available = np.array(index.available, dtype=bool)
        self._sides: list[Side] = index.sides or ["both"] * len(self.cases)
        self._only = index.planes or [None] * len(self.cases)
        self._voxels: dict[tuple[int, int | None], npt.NDArray[np.intp]] = {}
        self._spans: dict[int, tuple[int, int]] = {}
        self._items = self._list_items("target")
        self._partners = self._list_items("source") if self.roles.unpaired else []

    def __len__(self) -> int:
        """Cases in 3D, slices with content in 2D."""
        return len(self._items)

    @property
    def windowed(self) -> bool:
        """Whether windows are smaller than some case, so that they have no fixed place in the anatomy."""
        return any(images.shape[1 : 1 + len(self.window)] != self.window for images in self._images)

    @property
    def unused(self) -> list[str]:
        """The cases of which nothing is learnt, because none of their planes shows enough, see `_shown`."""
        used = {self.cases[entry] for entry, _ in (*self._items, *self._partners)}
        return [case for case in dict.fromkeys(self.cases) if case not in used]

    def batch(self, items: Sequence[int], rng: np.random.Generator) -> Batch:
        """Windows of the items, with augmentation drawn from `rng`."""
        chosen = [self._items[item] for item in items]
        given = [self._partner(entry, rng) for entry, _ in chosen] if self.roles.unpaired else chosen
        targets, count = (
            len(self.roles.target),
            len(self.roles.target) + len(self.roles.source) * len(self.roles.offsets),
        )
        fields = 2 if self.roles.unpaired else int(not self.roles.source)
        kind = next((labels.dtype for labels in self._labels if labels is not None), None)
        cuts = _Cuts.empty(len(chosen), count, self.window, kind, fields)
        shown: list[_Place] = []
        if self.roles.unpaired:
            shown = [self._cut(*one, rng, cuts.at(i, slice(targets, count), field=1)) for i, one in enumerate(given)]
        for i, one in enumerate(chosen):
            # Cut elsewhere, it would teach a critic how places differ, and not what a finding is.
            place = shown[i] if self.roles.findings else None
            self._cut(*one, rng, cuts.at(i, slice(targets if shown else count), labelled=not shown), place)
        # What is known of a translation is known of what it is made from, its labels too.
        cases = [entry for entry, _ in given]
        available = self._draw_available(cases, rng) if self.roles.missing else None
        vectors = self._vectors[cases] if self.roles.covariates else None
        return _assemble(cuts, self.roles, vectors, available)

    def mean(self) -> Tensor:
        """Mean target over all items, (C, *window), without augmentation; for windows of the cases' full size."""
        plain = TensorStore(self._folder, self.window)
        rng = np.random.default_rng(0)
        total = sum(plain.batch([item], rng).target[0].double() for item in range(len(plain)))
        return torch.as_tensor(total / len(plain)).float()

    def _partner(self, entry: int, rng: np.random.Generator) -> tuple[int, int | None]:
        """A source for a target that is unpaired: of another case, where there is one."""
        others = [one for one in self._partners if self.cases[one[0]] != self.cases[entry]] or self._partners
        return others[int(rng.integers(len(others)))]

    def _draw_available(self, cases: Sequence[int], rng: np.random.Generator) -> npt.NDArray[np.bool_]:
        """(B, sources): any subset of what a case has, never none, so that every combination is learnt."""
        drawn = self._available[cases]
        for row in drawn:
            has = np.flatnonzero(row)
            row[rng.permutation(has)[int(rng.integers(1, len(has) + 1)) :]] = False
        return drawn

    def _list_items(self, side: Side) -> list[tuple[int, int | None]]:
        """Entries that have a side: in 3D as they are, in 2D their planes with content."""
        entries = [entry for entry, held in enumerate(self._sides) if held in ("both", side)]
        if self.dimension == 3:
            return [(entry, None) for entry in entries]
        items: list[tuple[int, int | None]] = []
        for entry in entries:
            only = self._only[entry]
            items += [(entry, int(k)) for k in self._shown(entry) if only is None or int(k) in only]
        if not items:
            names = ", ".join(dict.fromkeys(self.roles.target + self.roles.source))
            raise GenaugError(
                Reason.EMPTY_COHORT,
                self.cases[0],
                f"no plane in which all of {names} show something in any of {len(self.cases)} cases",
                "planes to learn from",
                "Look at the images of a case together: they have to be registered and to cover the same anatomy.",
            )
        return items

    def _shown(self, entry: int) -> npt.NDArray[np.intp]:
        """The planes along the third axis in which an entry shows something; of a translation, every image of it.

        Those beyond the body teach a generator to draw nothing, and those where one image alone shows something teach a
        translator to make it up.
        """
        images = self._present(entry)
        content = (images > images.min(axis=(1, 2, 3), keepdims=True)).mean(axis=(1, 2))
        shown = planes_with_content(content)
        return np.flatnonzero(shown.all(axis=0) if self.roles.source else shown.any(axis=0))

    def _present(self, entry: int) -> npt.NDArray[np.int16]:
        """The channels of an entry without the sources that the case lacks."""
        images: npt.NDArray[np.int16] = self._images[entry]
        if self._sides[entry] != "both" or not self.roles.missing or self._available[entry].all():
            return images
        held = [True] * len(self.roles.target) + self._available[entry].tolist()
        return np.ascontiguousarray(images[held])

    def _cut(
        self, case: int, plane: int | None, rng: np.random.Generator, into: _Cuts, place: _Place | None = None
    ) -> _Place:
        """A window of one item, of any place if not of `place`, straight into its place in the batch."""
        images = self._images[case] if plane is None else self._planes(case, plane)
        size = images.shape[1:]
        room = [n - w for n, w in zip(size, self.window)]
        place = self._draw_place(case, plane, room, rng) if place is None else place
        start = [round(share * free) for share, free in zip(place.shares, room)]
        shift = [int(rng.integers(-self.shift, self.shift + 1)) if self.shift else 0 for _ in self.window]
        _window(images, start, shift, into.images)
        whole = self._labels[case] if self._labels else None
        if whole is not None and into.labels is not None:
            labels = whole if plane is None else whole[..., plane]
            _window(labels[None], start, shift, into.labels[None], background=0)
        if into.inside is not None:
            self._mark_inside(case, [first + moved for first, moved in zip(start, shift)], into.inside)
        if place.mirrored:
            for array in (into.images, into.labels, into.inside):
                if array is not None:
                    axis = array.ndim - len(self.window)
                    array[...] = np.flip(array, axis).copy()
        return place

    def _draw_place(self, case: int, plane: int | None, room: Sequence[int], rng: np.random.Generator) -> _Place:
        """Where to cut a window that may start from 0 to `room` along each axis; where there are findings, one of them.

        Anywhere else the source shows none of what is to go, and nothing can be learnt from it.
        """
        found = self._found(case, plane)
        if len(found):
            voxel = found[int(rng.integers(len(found)))]
            low = [max(0, int(at) - w + 1) for at, w in zip(voxel, self.window)]
            high = [min(int(at), free) for at, free in zip(voxel, room)]
        else:
            low, high = [0] * len(room), list(room)
            if plane is None and self.roles.source and room[2]:
                low[2], high[2] = self._span(case, room[2])
        start = [int(rng.integers(a, b + 1)) for a, b in zip(low, high)]
        shares = tuple(first / free if free else 0.0 for first, free in zip(start, room))
        return _Place(shares, self.flip and bool(rng.integers(2)))

    def _span(self, case: int, room: int) -> tuple[int, int]:
        """From where to where a window in 3D may start along the third axis: it shows as few planes as it can of those
        that some image does not show.
        """
        if case not in self._spans:
            planes, extent = self._shown(case), self.window[2]
            ends = (int(planes[0]), int(planes[-1]) + 1 - extent) if len(planes) else (0, room)
            self._spans[case] = (max(0, min(ends)), min(room, max(ends)))
        return self._spans[case]

    def _found(self, case: int, plane: int | None) -> npt.NDArray[np.intp]:
        """(N, axes): voxels of the findings that are to be taken away, spread evenly over all of them."""
        labels = self._labels[case] if self.roles.findings else None
        if labels is None:
            return np.empty((0, len(self.window)), dtype=np.intp)
        if (case, plane) not in self._voxels:
            voxels = np.argwhere(labels if plane is None else labels[..., plane])
            self._voxels[case, plane] = voxels[:: 1 + len(voxels) // FINDING_VOXELS].copy()
        return self._voxels[case, plane]

    def _planes(self, case: int, plane: int) -> npt.NDArray[np.int16]:
        """(target + source * offsets, I, J): a plane of the targets, and of the sources those at the offsets."""
        images, side = self._images[case], self._sides[case]
        targets = 0 if side == "source" else len(self.roles.target)
        if self.roles.offsets == [0] or side == "target":
            return images[..., plane]
        return np.concatenate([images[:targets, ..., plane], neighbours(images[targets:], plane, self.roles.offsets)])

    def _mark_inside(self, case: int, start: Sequence[int], inside: npt.NDArray[np.float32]) -> None:
        """1 in (1, *window) where a window that starts at `start` shows what was scanned, 0 elsewhere."""
        before, size = self._fields[case]
        ends = zip(start, before, size, strict=False)
        scanned = tuple(slice(max(b - first, 0), max(b + n - first, 0)) for first, b, n in ends)
        inside[...] = 0
        inside[(slice(None), *scanned)] = 1


@dataclass(frozen=True)
class _Place:
    """Where a window is cut.

    Attributes:
        shares: of the room that it has along each axis, in [0, 1]; so cases of different size have places in common.
        mirrored: whether it is mirrored afterwards.
    """

    shares: tuple[float, ...]
    mirrored: bool


@dataclass(frozen=True)
class _Cuts:
    """The windows of a batch as they are stored, which are cut one by one into their places.

    Attributes:
        images: (B, channels, *window), int16, see SCALE.
        labels: (B, *window), indices into the roles' values.
        inside: (B, fields, *window), 1 where something was scanned; of an unpaired translation the target's field of
            view and then the source's. None for a paired one: its source is carried on beyond its border as its target
            is, and there the mapping holds too, which is needed for volumes that show a little more than those it
            learns from.
    """

    images: npt.NDArray[np.int16]
    labels: npt.NDArray[np.unsignedinteger[Any]] | None
    inside: npt.NDArray[np.float32] | None

    @classmethod
    def empty(
        cls, count: int, channels: int, window: tuple[int, ...], labels: np.dtype[Any] | None, fields: int
    ) -> _Cuts:
        """Room for a batch; `labels` is the type of the label maps, where there are any."""
        return cls(
            np.empty((count, channels, *window), dtype=np.int16),
            None if labels is None else np.empty((count, *window), dtype=labels),
            np.empty((count, fields, *window), dtype=np.float32) if fields else None,
        )

    def at(self, place: int, channels: slice, field: int = 0, labelled: bool = True) -> _Cuts:
        """The room of one item, of some of its channels, of one field of view, and of its labels if it has any."""
        return _Cuts(
            self.images[place, channels],
            self.labels[place] if labelled and self.labels is not None else None,
            None if self.inside is None else self.inside[place, field : field + 1],
        )


def neighbours(images: npt.NDArray[Any], plane: int, offsets: Sequence[int]) -> npt.NDArray[Any]:
    """Planes of images (C, I, J, K) at `plane` + offsets, as channels (C * offsets, I, J); beyond the end the last.

    A plane that is to be made from others is not among them: where it is the last one itself, those on its other side
    stand in, so that the first plane is foretold from the three after it.
    """
    steps, last = np.asarray(offsets), images.shape[-1] - 1
    positions = np.clip(plane + steps, 0, last)
    if 0 not in offsets:
        positions = np.where(positions == plane, np.clip(plane - steps, 0, last), positions)
    taken = np.moveaxis(images[..., positions], -1, 1)
    return taken.reshape(-1, *images.shape[1:-1])


def require_neighbours(planes: int, offsets: Sequence[int], subject: str) -> None:
    """Raise BAD_PARAMETER where a plane is made from others and there are none: it would be made from itself."""
    if planes == 1 and 0 not in offsets:
        raise GenaugError(
            Reason.BAD_PARAMETER,
            subject,
            "a single plane",
            "planes beside it, from which the model makes it",
            "Give whole volumes, or choose a recipe that sees the plane itself.",
        )


class CodeStore:
    """Codes of an autoencoder with the conditions of their cases, kept in memory: the second stage's data."""

    def __init__(self, codes: Batch) -> None:
        self.codes = codes

    def __len__(self) -> int:
        """Number of codes."""
        return len(self.codes.target)

    def batch(self, items: Sequence[int], rng: np.random.Generator) -> Batch:
        """The items' codes."""
        rows = list(items)
        return Batch(**{name: value[rows] for name, value in vars(self.codes).items() if value is not None})


def _assemble(
    cuts: _Cuts, roles: Roles, vectors: npt.NDArray[np.float32] | None, available: npt.NDArray[np.bool_] | None
) -> Batch:
    """A Batch from windows: every value is written once, where it belongs.

    Args:
        cuts: the windows.
        roles: which channel is what.
        vectors: (B, ...) covariates, where the roles have them.
        available: (B, sources), where sources may be missing.
    """
    images, channels = torch.from_numpy(cuts.images), len(roles.target)
    size = images.shape[2:]
    target = torch.empty(len(images), channels + roles.label_channels, *size)
    torch.div(images[:, :channels], SCALE, out=target[:, :channels])
    source = images[:, channels:] / SCALE if roles.source else None
    one_hot = found = None
    if roles.findings and cuts.labels is not None:
        found = torch.from_numpy(cuts.labels[:, None].astype(np.float32))
    elif cuts.labels is not None:
        # By numpy, whose comparison of bytes takes a third of torch's time.
        values = np.arange(len(roles.label_values), dtype=cuts.labels.dtype)
        is_value = (cuts.labels[:, None] == values.reshape(-1, *[1] * len(size))).view(np.int8)
        if roles.given_labels or roles.hole:
            one_hot = torch.from_numpy(is_value.astype(np.float32))
        if roles.hole:
            assert one_hot is not None
            source = without_hole(target, one_hot)
        if roles.generate_labels:
            is_value *= 2
            is_value -= 1
            target.numpy()[:, channels:] = is_value
    parts = [] if vectors is None else [torch.from_numpy(vectors)]
    if available is not None and source is not None:
        has = torch.from_numpy(available).float()
        parts.append(has)
        source = source * has.repeat_interleave(len(roles.offsets), dim=1).view(*source.shape[:2], *[1] * len(size))
    inside = None if cuts.inside is None or cuts.inside.all() else torch.from_numpy(cuts.inside)
    return Batch(
        target=target,
        source=source,
        label_map=one_hot if roles.given_labels else None,
        vector=torch.cat(parts, dim=1) if parts else None,
        inside=None if inside is None else inside[:, :1],
        source_inside=inside[:, 1:] if inside is not None and roles.unpaired else None,
        found=found,
    )


def without_hole(images: Tensor, one_hot: Tensor) -> Tensor:
    """Images (B, C, *S) with mid-grey wherever the label map (B, L, *S) is not background, its first channel."""
    return images * one_hot[:, :1]


class StoreWriter:
    """Writes a TensorStore case by case; the index, written last, makes it valid."""

    def __init__(self, folder: Path, roles: Roles, dimension: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._roles, self._dimension = folder, roles, dimension
        self._cases: list[str] = []
        self._fields: list[Field] = []
        self._vectors: list[list[float]] = []
        self._available: list[list[bool]] = []
        self._sides: list[Side] = []
        self._planes: list[list[int] | None] = []

    def add(
        self,
        case_id: str,
        images: npt.NDArray[np.float32],
        labels: npt.NDArray[Any] | None,
        field: Field,
        vector: npt.NDArray[np.float32] | None = None,
        available: Sequence[bool] = (),
        side: Side = "both",
        planes: Sequence[int] | None = None,
    ) -> None:
        """One case, or one side of a case that is unpaired.

        Args:
            case_id: its id.
            images: (target + source, I, J, K) in [-1, 1], or the channels of one side.
            labels: (I, J, K) label values, where the roles have labels; only those of the roles. Where findings are
                to be taken away, whatever is not 0 is one.
            field: first voxel and size of what is not padding.
            vector: covariates, where the roles have them.
            available: which of the sources it has, where some may be missing.
            side: what the images are.
            planes: those that the entry is for, in 2D; None for all.

        Raises:
            GenaugError: DISK_FULL, NO_PERMISSION; BAD_PARAMETER as `require_neighbours`.
        """
        require_neighbours(images.shape[-1], self._roles.offsets, case_id)
        stem = self._folder / f"{len(self._cases):05d}"
        _write(stem.with_suffix(".images.npy"), np.rint(images * SCALE).astype(np.int16))
        if labels is not None and self._roles.findings:
            _write(stem.with_suffix(".labels.npy"), (labels != 0).astype(np.uint8))
        elif labels is not None:
            values = np.asarray(self._roles.label_values)
            indices = np.searchsorted(values, labels).clip(0, len(values) - 1)
            if not np.array_equal(values[indices], labels):
                raise ValueError(f"case {case_id} has label values beyond {self._roles.label_values}")
            _write(stem.with_suffix(".labels.npy"), indices.astype(np.min_scalar_type(len(values) - 1)))
        self._cases.append(case_id)
        self._fields.append(field)
        self._vectors.append([] if vector is None else vector.tolist())
        self._available.append(list(available))
        self._sides.append(side)
        self._planes.append(None if planes is None else list(planes))

    def finish(self) -> None:
        """Make the store valid."""
        index = _Index(
            roles=self._roles,
            dimension=self._dimension,
            cases=self._cases,
            fields=self._fields,
            vectors=self._vectors,
            available=self._available,
            sides=self._sides,
            planes=self._planes,
        )
        write_json(self._folder / "index.json", index.model_dump(mode="json"))


def _write(path: Path, array: npt.NDArray[Any]) -> None:
    # numpy writes to a file by itself, and says of a full disk only how many items it wrote.
    buffer = io.BytesIO()
    np.save(buffer, array)
    write_bytes(path, buffer.getbuffer())


def _map(path: Path) -> npt.NDArray[Any]:
    array: npt.NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    return array


def _window(
    array: npt.NDArray[Any],
    start: Sequence[int],
    shift: Sequence[int],
    into: npt.NDArray[Any],
    background: int | None = None,
) -> None:
    """Fill `into` (C, *window) with (C, *S) from `start + shift`; beyond it its edge is carried on, as Placement does.

    `background` replaces the edge where it is given, for label maps.
    """
    window = into.shape[1:]
    # Where the window has voxels of the array: from `low` to before `high`, in the window and along every axis.
    origin = [first + moved for first, moved in zip(start, shift, strict=True)]
    low = [min(max(-at, 0), n - 1) for at, n in zip(origin, window, strict=True)]
    high = [max(min(size - at, n), 1) for at, n, size in zip(origin, window, array.shape[1:], strict=True)]
    own = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    read = tuple(
        slice(min(max(a + at, 0), size - 1), min(max(a + at, 0), size - 1) + b - a)
        for a, b, at, size in zip(low, high, origin, array.shape[1:], strict=True)
    )
    into[(slice(None), *own)] = array[(slice(None), *read)]
    for axis, (a, b, at, size) in enumerate(zip(low, high, origin, array.shape[1:], strict=True), start=1):
        # Axis by axis: what is not filled yet along the later ones is overwritten by them.
        planes = into.swapaxes(0, axis)
        if background is None:
            planes[:a], planes[b:] = planes[a : a + 1], planes[b - 1 : b]
        else:
            planes[: max(-at, 0)], planes[max(size - at, 0) :] = background, background
