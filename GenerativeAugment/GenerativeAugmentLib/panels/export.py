"""The Export panel: real and accepted synthetic cases, laid out for training, and the account of it."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Any

import qt

from GenerativeAugmentLib.errors import _
from GenerativeAugmentLib.jobBuilders.cohort import exportJob
from GenerativeAugmentLib.jobCenter import Outcome, PlannedJob
from GenerativeAugmentLib.panels.base import Panel
from GenerativeAugmentLib.parameters import Layout, frozen, isCohort
from GenerativeAugmentLib.pathEdits import onPathChanged


class ExportPanel(Panel):
    """Cohorts, layout, and what is asked of a synthetic case."""

    name = "export"
    uiName = "ExportPanel.ui"

    @property
    def title(self) -> str:
        """What the chooser shows."""
        return _("Export")

    @property
    def applyToolTip(self) -> str:
        """What Apply does."""
        return _("Write the dataset with its manifest: where every case comes from, and which were left out.")

    def setup(self, parentLayout: Any) -> None:
        """Load the form."""
        super().setup(parentLayout)
        self._shown: list[Path] | None = None
        self.ui.addButton.clicked.connect(lambda checked=False: self._add())
        self.ui.removeButton.clicked.connect(lambda checked=False: self._remove())
        onPathChanged(self.ui.cohortEdit, lambda path: self._updateButtons())
        self.ui.cohortsList.itemSelectionChanged.connect(self._updateButtons)
        self.ui.openFolderButton.clicked.connect(lambda checked=False: self._openFolder())
        self._showResult(None, "")

    def onParametersChanged(self) -> None:
        """Show the synthetic cohorts, and the number that only nnU-Net has."""
        cohorts = [Path(path) for path in self.parameters.syntheticCohorts]
        if cohorts != self._shown:
            self._shown = cohorts
            self.ui.cohortsList.clear()
            for path in cohorts:
                self.ui.cohortsList.addItem(str(path))
        nnunet = self.parameters.layout is Layout.NNUNET
        for widget in (self.ui.datasetIdLabel, self.ui.datasetIdSpinBox):
            widget.setVisible(nnunet)
        self._updateButtons()

    def apply(self) -> PlannedJob:
        """Plan the export."""
        return exportJob(frozen(self.parameters), self.services.parameterNode.device)

    def onStarted(self, planned: PlannedJob) -> None:
        """Nothing of an earlier export is shown as if it were of this one."""
        self._showResult(None, "")

    def onFinished(self, outcome: Outcome) -> None:
        """Show the counts, who was left out and why, and what is to be known or done."""
        summary = outcome.summary
        self._showResult(Path(summary["dataset"]), describeExport(summary))

    def _showResult(self, dataset: Path | None, html: str) -> None:
        self._dataset = dataset
        self.ui.resultBrowser.html = html
        for widget in (self.ui.resultBrowser, self.ui.openFolderButton):
            widget.setVisible(dataset is not None)

    def _add(self) -> None:
        path = Path(self.ui.cohortEdit.currentPath)
        if not isCohort(path):
            self.services.showStatus(_("{path} is no cohort: choose a folder with a cohort.json.").format(path=path))
            return
        if path not in [Path(known) for known in self.parameters.syntheticCohorts]:
            self.parameters.syntheticCohorts = [*self.parameters.syntheticCohorts, path]
        self.ui.cohortEdit.currentPath = ""

    def _remove(self) -> None:
        selected = {item.text() for item in self.ui.cohortsList.selectedItems()}
        self.parameters.syntheticCohorts = [
            path for path in self.parameters.syntheticCohorts if str(path) not in selected
        ]

    def _updateButtons(self) -> None:
        self.ui.addButton.enabled = bool(self.ui.cohortEdit.currentPath)
        self.ui.removeButton.enabled = len(self.ui.cohortsList.selectedItems()) > 0

    def _openFolder(self) -> None:
        if self._dataset is not None:
            qt.QDesktopServices.openUrl(qt.QUrl.fromLocalFile(str(self._dataset)))


def describeExport(summary: dict[str, Any]) -> str:
    """What was exported and what was not, and the notes on it, as HTML."""
    exported = {what: count for what, count in summary["counts"].items() if not what.startswith("left out")}
    leftOut = summary["left_out"]
    lines = "".join(f"<li>{count} {escape(what)}</li>" for what, count in exported.items())
    parts = [f"<p>{escape(_('Exported to {folder}').format(folder=summary['dataset']))}</p><ul>{lines}</ul>"]
    if leftOut:
        title = (
            _("Left out: one case") if len(leftOut) == 1 else _("Left out: {count} cases").format(count=len(leftOut))
        )
        rows = "".join(
            f"<tr><td>{escape(one['id'])}&nbsp;</td>"
            f"<td>{escape(': '.join(one[key] for key in ('cause', 'detail') if one[key]))}</td></tr>"
            for one in leftOut
        )
        parts.append(f"<p><b>{escape(title)}</b></p><table>{rows}</table>")
    else:
        parts.append(f"<p>{escape(_('No case was left out.'))}</p>")
    parts += [f"<p>{escape(note)}</p>" for note in summary["notes"]]
    return "".join(parts)
