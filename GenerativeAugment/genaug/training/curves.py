"""Loss curves, to a CSV and to TensorBoard while the training runs."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from genaug.files import write_text

EVERY = 10
"""Iterations that are averaged into one row."""


class Curves:
    """Averages of the loss terms over every 10 iterations.

    Args:
        folder: gets `<stage>.curves.csv` and the folder `tensorboard`.
        stage: name of the stage.
        after: iteration of the checkpoint to go on from; later rows of an interrupted run are dropped.
    """

    def __init__(self, folder: Path, stage: str, after: int = 0) -> None:
        self._path = folder / f"{stage}.curves.csv"
        self._stage = stage
        self._rows = [row for row in read_curve(self._path) if row["iteration"] <= after] if after else []
        self._sums: dict[str, Tensor | float] = {}
        self._counts: Counter[str] = Counter()
        self._board = SummaryWriter(str(folder / "tensorboard" / stage), purge_step=after + 1)

    def add(self, iteration: int, losses: Mapping[str, float | Tensor]) -> None:
        """Add one iteration; nothing waits for the device except once every 10 iterations."""
        for name, value in losses.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
            # A term need not count in every iteration.
            self._counts[name] += 1
        if iteration % EVERY:
            return
        row = {name: float(total) / self._counts[name] for name, total in self._sums.items()}
        for name, value in row.items():
            self._board.add_scalar(f"{self._stage}/{name}", value, iteration)
        self._rows.append({"iteration": float(iteration), **row})
        self._sums, self._counts = {}, Counter()
        if len(self._rows) % 10 == 0:
            self.write()

    def summary(self) -> str:
        """The last row in a few words."""
        if not self._rows:
            return "starting"
        return ", ".join(f"{name} {value:.3g}" for name, value in self._rows[-1].items() if name != "iteration")

    def close(self) -> None:
        """Write what has been gathered."""
        self.write()
        self._board.close()

    def write(self) -> None:
        """Write what has been gathered so far, so that a checkpoint never knows more than the curves beside it."""
        if not self._rows:
            return
        names = list(dict.fromkeys(name for row in self._rows for name in row))
        buffer = io.StringIO()
        writer = csv.DictWriter(buffer, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self._rows)
        write_text(self._path, buffer.getvalue())


class NoCurves:
    """In the place of Curves where nothing may be written: in all but the first of several processes."""

    def add(self, iteration: int, losses: Mapping[str, float | Tensor]) -> None:
        """Ignored."""

    def summary(self) -> str:
        """Nothing."""
        return ""

    def write(self) -> None:
        """Nothing to do."""

    def close(self) -> None:
        """Nothing to do."""


def read_curve(path: Path) -> list[dict[str, float]]:
    """Rows of a curves CSV; none when the file does not exist yet."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as stream:
        return [{name: float(value) for name, value in row.items() if value} for row in csv.DictReader(stream)]
