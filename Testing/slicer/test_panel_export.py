"""The Export panel, by its widgets and with a real worker."""

import json
import shutil

import pytest
from panelKit import finish


@pytest.fixture
def panel(moduleWidget):
    """The panel in the opened module, and its shell."""
    widget = moduleWidget()
    widget.shell.selectPanel("export")
    yield widget.shell.panel, widget.shell
    widget.logic.shutdown()


@pytest.fixture
def reviewed(slicerHost, scene, tmp_path):
    """A copy of the sample cases of which one is accepted, one rejected and two are not reviewed."""
    from GenerativeAugmentLib import sampleData
    from GenerativeAugmentLib.reviewQueue import ReviewQueue

    folder = tmp_path / "reviewed"
    shutil.copytree(sampleData.sampleFolder(sampleData.REVIEW), folder)
    (folder / "reviews.jsonl").unlink(missing_ok=True)
    queue = ReviewQueue(folder, "AB")
    queue.decide("accepted")
    queue.next()
    queue.decide("rejected", "artifact", "ringing")
    return folder


def add(panel, path):
    panel.ui.cohortEdit.currentPath = str(path)
    panel.ui.addButton.click()


def test_accepted_cases_are_exported_and_the_others_named(panel, reviewed, tmp_path, waitFor):
    panel, shell = panel
    assert not shell.ui.applyButton.enabled and "cohort" in shell.ui.reasonLabel.text
    add(panel, reviewed)
    assert panel.ui.cohortsList.count == 1 and panel.ui.cohortEdit.currentPath == ""
    assert "folder" in shell.ui.reasonLabel.text
    panel.ui.outputFolderEdit.currentPath = str(tmp_path / "out")
    panel.ui.nameEdit.text = "Brains"
    panel.ui.datasetIdSpinBox.value = 77
    finish(shell, waitFor)
    dataset = tmp_path / "out" / "Dataset077_Brains"
    assert (dataset / "dataset.json").is_file(), shell.ui.reasonLabel.text
    manifest = json.loads((dataset / "manifest.json").read_text())
    assert [case["id"] for case in manifest["cases"]] == ["subject-000"]
    text = panel.ui.resultBrowser.plainText
    assert "Left out: 3 cases" in text and "subject-001" in text and "rejected" in text and str(dataset) in text
    assert manifest["notes"] and all(note in text for note in manifest["notes"])
    assert panel.ui.openFolderButton.visible

    # The same again is refused with the folder's name, and nothing of the first is shown as if it were of the second.
    finish(shell, waitFor)
    assert "Dataset077_Brains" in shell.ui.reasonLabel.text
    assert panel.ui.resultBrowser.plainText == "" and not panel.ui.openFolderButton.visible


@pytest.mark.parametrize(("layout", "expected"), [("DATALIST", "datalist.json"), ("PLAIN", "manifest.csv")])
def test_other_layouts_and_formats(panel, reviewed, tmp_path, waitFor, layout, expected):
    from GenerativeAugmentLib.parameters import Layout

    panel, shell = panel
    add(panel, reviewed)
    panel.ui.outputFolderEdit.currentPath = str(tmp_path / "out")
    assert panel.ui.datasetIdSpinBox.visible
    panel.ui.layoutSelector.currentIndex = [one.name for one in Layout].index(layout)
    assert panel.parameters.layout is Layout[layout]
    assert not panel.ui.datasetIdSpinBox.visible
    panel.ui.formatSelector.currentText = "nrrd"
    panel.ui.requireReviewCheckBox.checked = False
    finish(shell, waitFor)
    dataset = tmp_path / "out" / "Augmented"
    assert list(dataset.rglob(expected)), shell.ui.reasonLabel.text
    assert list(dataset.rglob("*.nrrd")) and not list(dataset.rglob("*.nii.gz"))
    # The rejected case stays out whatever is asked for.
    assert "Left out: one case" in panel.ui.resultBrowser.plainText


def test_cohorts_are_listed_once_and_removed(panel, reviewed, tmp_path):
    panel, shell = panel
    add(panel, tmp_path / "nowhere")
    assert panel.ui.cohortsList.count == 0 and "nowhere" in shell.ui.reasonLabel.text
    add(panel, reviewed)
    add(panel, reviewed)
    assert panel.ui.cohortsList.count == 1
    assert not panel.ui.removeButton.enabled
    panel.ui.cohortsList.setCurrentRow(0)
    panel.ui.removeButton.click()
    assert panel.ui.cohortsList.count == 0 and not panel.parameters.syntheticCohorts
    add(panel, reviewed)
    shutil.rmtree(reviewed)
    panel.ui.outputFolderEdit.currentPath = str(tmp_path / "out")
    assert "gone" in shell.ui.reasonLabel.text
