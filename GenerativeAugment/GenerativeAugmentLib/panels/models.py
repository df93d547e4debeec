"""The Models panel: what is installed, its card and license, import and deletion."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import qt
import slicer

from GenerativeAugmentLib.catalogueFile import ModelEntry
from GenerativeAugmentLib.errors import JobError, _
from GenerativeAugmentLib.panels.base import Panel
from GenerativeAugmentLib.panels.modelChooser import duration
from GenerativeAugmentLib.pathEdits import onPathChanged

_HEADERLESS = re.compile(r"^\| *\| *\|\n\|[-| ]+\|\n((?:\|.*\|\n?)*)", re.MULTILINE)


class ModelsPanel(Panel):
    """A table of models with the chosen one's card."""

    name = "models"
    uiName = "ModelsPanel.ui"
    hasJob = False

    @property
    def title(self) -> str:
        """What the chooser shows."""
        return _("Models")

    @property
    def applyToolTip(self) -> str:
        """What Apply does."""
        return _("This panel has no job; its own buttons act at once.")

    def setup(self, parentLayout: Any) -> None:
        """Load the form."""
        super().setup(parentLayout)
        self._entries: list[ModelEntry] = []
        self._shown: ModelEntry | None = None
        self._filling = False
        self._toDelete = ""
        headers = [_("Title"), _("Task"), _("Modality"), _("License"), _("Time")]
        table = self.ui.modelsTable
        table.setColumnCount(len(headers))
        table.setHorizontalHeaderLabels(headers)
        table.verticalHeader().setVisible(False)
        for column in range(len(headers)):
            table.horizontalHeader().setSectionResizeMode(column, qt.QHeaderView.ResizeToContents)
        # A long title takes more lines, and pushes nothing out of sight.
        table.horizontalHeader().setSectionResizeMode(0, qt.QHeaderView.Stretch)
        table.verticalHeader().setSectionResizeMode(qt.QHeaderView.ResizeToContents)
        table.itemSelectionChanged.connect(self._onSelected)
        self.ui.acceptButton.clicked.connect(lambda checked=False: self._accept())
        self.ui.importButton.clicked.connect(lambda checked=False: self._import())
        self.ui.deleteButton.clicked.connect(lambda checked=False: self._delete())
        self.ui.refreshButton.clicked.connect(lambda checked=False: self.services.modelsChanged())
        onPathChanged(self.ui.importPathEdit, lambda path: self._updateButtons())

    def connectParameters(self) -> None:
        """Show what the new parameter node says."""
        super().connectParameters()
        self.onModelsChanged()

    def onParametersChanged(self) -> None:
        """Follow the chosen model."""
        if self._shown is None or self._shown.name != self.parameters.model:
            self._select(self.parameters.model)

    def onModelsChanged(self) -> None:
        """Show the models that are there now, and what is wrong with others."""
        catalogue = self.services.catalogue
        self._entries = catalogue.models()
        self.ui.problemsLabel.text = "\n".join(problem.message for problem in catalogue.problems)
        self.ui.problemsLabel.setVisible(bool(catalogue.problems))
        table = self.ui.modelsTable
        self._filling = True
        table.setRowCount(len(self._entries))
        for row, entry in enumerate(self._entries):
            for column, text in enumerate(_row(entry)):
                item = qt.QTableWidgetItem(text)
                item.setToolTip("\n".join(part for part in (entry.title, entry.method, entry.note) if part))
                table.setItem(row, column, item)
        self._filling = False
        self._select(self.parameters.model)

    def isReady(self) -> tuple[bool, str]:
        """There is nothing to apply."""
        return False, ""

    def _select(self, name: str) -> None:
        self._filling = True
        row = next((row for row, entry in enumerate(self._entries) if entry.name == name), -1)
        if row < 0:
            self.ui.modelsTable.clearSelection()
        else:
            self.ui.modelsTable.selectRow(row)
        self._filling = False
        self._show(self._entries[row] if row >= 0 else None)

    def _onSelected(self) -> None:
        if self._filling:
            return
        selected = self.ui.modelsTable.selectionModel().selectedRows()
        row = selected[0].row() if len(selected) else -1
        entry = self._entries[row] if 0 <= row < len(self._entries) else None
        self._show(entry)
        self.parameters.model = "" if entry is None else entry.name

    def _show(self, entry: ModelEntry | None) -> None:
        self._shown = entry
        self._toDelete = ""
        self.ui.deleteButton.text = _("Delete")
        browser = self.ui.cardBrowser
        if entry is None:
            browser.plainText = (
                _("Choose a model of the list to read its card.")
                if self._entries
                else _("There is no model yet. Import a package, or train one in the Train panel.")
            )
        else:
            browser.markdown = withoutEmptyHeaders(self.services.catalogue.card(entry.name))
        self._showLicense(entry)
        self._updateButtons()

    def _showLicense(self, entry: ModelEntry | None) -> None:
        catalogue = self.services.catalogue
        self.ui.licenseGroupBox.setVisible(entry is not None)
        if entry is None:
            return
        accepted = catalogue.licenceAccepted(entry)
        text = (
            _("{licence}: the model may be used.")
            if accepted
            else _("{licence}: this license does not allow every use. Read and accept it before the model is used.")
        )
        self.ui.licenseLabel.text = text.format(licence=entry.licence or _("no license stated"))
        self.ui.licenseText.plainText = "" if accepted else catalogue.licenceText(entry)
        self.ui.licenseText.setVisible(not accepted)
        self.ui.acceptButton.setVisible(not accepted)

    def _updateButtons(self) -> None:
        self.ui.importButton.enabled = bool(self.ui.importPathEdit.currentPath)
        self.ui.deleteButton.enabled = self._shown is not None and not self._shown.builtIn

    def _accept(self) -> None:
        if self._shown is not None:
            self.services.catalogue.acceptLicence(self._shown)
            self.services.modelsChanged()

    def _import(self) -> None:
        self.ui.importButton.enabled = False
        try:
            entry = self.services.catalogue.importPackage(Path(self.ui.importPathEdit.currentPath), self._onCopied)
        except JobError as error:
            self.services.showStatus(error.message)
        else:
            self.parameters.model = entry.name
            self.services.modelsChanged()
            self.services.showStatus(_("{title} was imported.").format(title=entry.title))
        finally:
            self._updateButtons()

    def _onCopied(self, done: int, total: int) -> None:
        self.services.showStatus(_("Importing: {done} of {total} MB").format(done=done >> 20, total=total >> 20))
        slicer.app.processEvents()

    def _delete(self) -> None:
        """Delete the shown model at the second click; the first asks, beside Apply."""
        entry = self._shown
        if entry is None:
            return
        if self._toDelete != entry.name:
            self._toDelete = entry.name
            self.ui.deleteButton.text = _("Really delete")
            question = _("Click again to delete the model {title} from the disk, which cannot be undone.")
            self.services.showStatus(question.format(title=entry.title))
            return
        try:
            self.services.catalogue.delete(entry.name)
        except JobError as error:
            self.services.showStatus(error.message)
            return
        self.parameters.model = ""
        self.services.modelsChanged()
        self.services.showStatus(_("{title} was deleted.").format(title=entry.title))


def _row(entry: ModelEntry) -> list[str]:
    tasks = {
        "synthesis": _("New images"),
        "translation": _("Translation"),
        "label_to_image": _("Images for label maps"),
        "infill": _("Filling of label maps"),
    }
    times = [f"{duration(seconds)} ({device.upper()})" for device, seconds in entry.seconds.items()]
    modalities = ", ".join(dict.fromkeys(entry.modality.values()))
    return [entry.title, tasks.get(entry.task, entry.task), modalities, entry.licence, ", ".join(times)]


def withoutEmptyHeaders(markdown: str) -> str:
    """Markdown in which tables of names and values, whose header Markdown demands and nobody fills, are lists."""

    def items(table: re.Match) -> str:
        rows = [[cell.strip() for cell in line.strip("| ").split("|", 1)] for line in table.group(1).splitlines()]
        return "".join(f"- **{row[0]}**: {row[-1]}\n" for row in rows)

    return _HEADERLESS.sub(items, markdown)
