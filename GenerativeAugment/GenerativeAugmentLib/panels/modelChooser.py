"""A combo box of models that keeps the chosen one's name in a parameter."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from GenerativeAugmentLib.catalogue import Catalogue
from GenerativeAugmentLib.catalogueFile import ModelEntry
from GenerativeAugmentLib.errors import JobError, _
from GenerativeAugmentLib.modelFit import gridOf


class ModelChooser:
    """Fills a combo box with the models that `accepts` takes.

    The disk is looked at by `refresh` only, so that `entry` and `problem` can be asked at any time.

    Args:
        catalogue: the models.
        comboBox: shows their titles.
        infoLabel: shows what the chosen model is.
        accepts: which models are offered.
        onChosen: told the name of the model that the user chose.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        comboBox: Any,
        infoLabel: Any,
        accepts: Callable[[ModelEntry], bool],
        onChosen: Callable[[str], None],
    ) -> None:
        self._catalogue, self._comboBox, self._infoLabel = catalogue, comboBox, infoLabel
        self._accepts, self._onChosen = accepts, onChosen
        self._entries: dict[str, ModelEntry] = {}
        self._accepted: dict[str, bool] = {}
        self._grids: dict[str, dict[str, Any] | JobError] = {}
        self._name = ""
        self._filling = False
        comboBox.connect("currentIndexChanged(int)", self._onIndexChanged)

    @property
    def entry(self) -> ModelEntry | None:
        """The chosen model; None when there is none of that name."""
        return self._entries.get(self._name)

    @property
    def grid(self) -> dict[str, Any]:
        """Its space.

        Raises:
            JobError: when the package does not say.
        """
        grid = self._grids[self._name]
        if isinstance(grid, JobError):
            raise grid
        return grid

    def refresh(self) -> None:
        """Look at the disk again."""
        self._entries = {entry.name: entry for entry in self._catalogue.models() if self._accepts(entry)}
        self._accepted = {name: self._catalogue.licenceAccepted(entry) for name, entry in self._entries.items()}
        self._grids = {name: _gridOrProblem(entry) for name, entry in self._entries.items()}
        self._filling = True
        self._comboBox.clear()
        for name, entry in self._entries.items():
            self._comboBox.addItem(entry.title, name)
        self._filling = False
        self.choose(self._name)

    def choose(self, name: str) -> None:
        """Show the model of a name, as the parameters say it; where they say none, the first one is taken."""
        self._name = name
        if not name and self._entries:
            self._name = next(iter(self._entries))
            self._onChosen(self._name)
        self._filling = True
        self._comboBox.currentIndex = self._comboBox.findData(self._name)
        self._filling = False
        self._infoLabel.text = "" if self.entry is None else describe(self.entry)

    def problem(self) -> str:
        """Why the chosen model cannot be used, "" when it can."""
        if not self._entries:
            return _("There is no model for this yet: import one in the Models panel, or train one.")
        entry = self.entry
        if entry is None:
            return _("The model {name} is not installed: choose another.").format(name=self._name)
        if not self._accepted[self._name]:
            return _("Accept the license of this model in the Models panel first.")
        grid = self._grids[self._name]
        return grid.message if isinstance(grid, JobError) else ""

    def _onIndexChanged(self, index: int) -> None:
        if self._filling or index < 0:
            return
        self._name = self._comboBox.itemData(index)
        self._infoLabel.text = "" if self.entry is None else describe(self.entry)
        self._onChosen(self._name)


def describe(entry: ModelEntry) -> str:
    """What a model does, in one line."""
    made = ", ".join(_named(entry, channel) for channel in entry.outputs)
    given = ", ".join(_named(entry, channel) for channel in entry.inputs)
    what = _("{made} from {given}").format(made=made, given=given) if given else _("makes {made}").format(made=made)
    parts = [what, entry.method]
    parts += [
        _("{time} a case on {device}").format(time=duration(s), device=d.upper()) for d, s in entry.seconds.items()
    ]
    return "; ".join([*parts, entry.licence])


def duration(seconds: float) -> str:
    """How long a case takes, in words."""
    if seconds < 1:
        return _("< 1 s")
    return _("{seconds:.0f} s").format(seconds=seconds)


def _named(entry: ModelEntry, channel: str) -> str:
    modality = entry.modality.get(channel, "")
    return f"{channel} ({modality})" if modality and modality != channel else channel


def _gridOrProblem(entry: ModelEntry) -> dict[str, Any] | JobError:
    try:
        return gridOf(entry)
    except JobError as error:
        return error
