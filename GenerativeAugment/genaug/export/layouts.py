"""What every layout is given and gives back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from genaug.errors import GenaugError, Reason
from genaug.export.folds import Fold
from genaug.export.placing import place_case
from genaug.export.selection import Chosen, Selection
from genaug.imageio import voxel_count
from genaug.parallel import each_in_order, threads_for
from genaug.parameters import ExportParameters
from genaug.progress import Reporter

_COPIES = 3
"""Of a volume, in single precision, while it is read and written."""


@dataclass
class Layout:
    """One export being written into `folder`.

    Attributes:
        files: name of the exported case to role to file; filled by `place`.
        label_values: every value met in a label map.
    """

    folder: Path
    selection: Selection
    folds: Sequence[Fold]
    parameters: ExportParameters
    reporter: Reporter
    files: dict[str, dict[str, Path]] = field(default_factory=dict)
    label_values: set[int] = field(default_factory=set)

    def place(self, image: Callable[[Chosen, str], Path], label: Callable[[Chosen], Path]) -> None:
        """Write the files of every case where `image` (of a channel) and `label` say, and remember them.

        Several cases are written at a time; progress and errors come in the order of the cases.
        """
        kept = self.selection.kept
        for chosen in kept:
            files = self.files.setdefault(chosen.name, {})
            files.update({channel: image(chosen, channel) for channel in self.selection.channels})
            if chosen.label is not None:
                files["label"] = label(chosen)
            # Now, because of two writers that make a folder the one that fails would remove it.
            for path in files.values():
                path.parent.mkdir(parents=True, exist_ok=True)
        self._tell(0)

        def told(number: int, chosen: Chosen, values: Sequence[int]) -> None:
            self._note_values(chosen, values)
            self._tell(number + 1)

        each_in_order(self._write, kept, threads_for(len(kept), self._bytes_of_a_case()), told)

    def label_names(self) -> dict[int, str]:
        """Value to name without the background; values that nobody named are called by their number."""
        names = self.selection.label_names
        return names or {value: f"label_{value}" for value in sorted(self.label_values) if value != 0}

    def relative(self, name: str, role: str) -> str:
        """A placed file, relative to the export and in POSIX form."""
        return self.files[name][role].relative_to(self.folder).as_posix()

    def _write(self, chosen: Chosen) -> list[int]:
        """Write one case; the values in its label map."""
        return place_case(chosen, list(self.selection.channels), self.files[chosen.name])

    def _tell(self, done: int) -> None:
        kept = self.selection.kept
        note = f"writing {kept[done].name}" if done < len(kept) else "writing the manifest"
        self.reporter.progress(done, len(kept), note)

    def _bytes_of_a_case(self) -> int:
        """Memory that writing a case takes, of the largest one."""
        firsts = [next(iter(chosen.case.images.values())) for chosen in self.selection.kept]
        return _COPIES * 4 * max((voxel_count(path) for path in firsts), default=0)

    def _note_values(self, chosen: Chosen, values: Sequence[int]) -> None:
        names = self.selection.label_names
        unnamed = [value for value in values if value != 0 and value not in names] if names else []
        if unnamed:
            raise GenaugError(
                Reason.WRONG_LABELS,
                chosen.label or chosen.name,
                f"label values {', '.join(map(str, unnamed[:10]))}",
                f"only 0 and {', '.join(map(str, names))}",
                "Correct the label map, or name these labels in the cohort.",
            )
        self.label_values.update(values)
