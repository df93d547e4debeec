"""What every layout is given and gives back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from genaug.errors import GenaugError, Reason
from genaug.export.folds import Fold
from genaug.export.placing import place_image, place_label
from genaug.export.selection import Chosen, Selection
from genaug.parameters import ExportParameters
from genaug.progress import Reporter


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
        """Write the files of every case where `image` (of a channel) and `label` say, and remember them."""
        for done, chosen in enumerate(self.selection.kept):
            self.reporter.progress(done, len(self.selection.kept), f"writing {chosen.name}")
            files = self.files.setdefault(chosen.name, {})
            for channel in self.selection.channels:
                files[channel] = image(chosen, channel)
                place_image(chosen, channel, files[channel])
            if chosen.label is not None:
                files["label"] = label(chosen)
                self._note_values(chosen, place_label(chosen, files["label"]))
        self.reporter.progress(len(self.selection.kept), len(self.selection.kept), "writing the manifest")

    def label_names(self) -> dict[int, str]:
        """Value to name without the background; values that nobody named are called by their number."""
        names = self.selection.label_names
        return names or {value: f"label_{value}" for value in sorted(self.label_values) if value != 0}

    def relative(self, name: str, role: str) -> str:
        """A placed file, relative to the export and in POSIX form."""
        return self.files[name][role].relative_to(self.folder).as_posix()

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
