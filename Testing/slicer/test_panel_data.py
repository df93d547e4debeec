"""The Data panel, by its widgets and with a real worker."""

import numpy as np
import pytest
from panelKit import blob, finish, tissueOf


@pytest.fixture
def panel(moduleWidget, warmWorker):
    """The panel in the opened module, and its shell."""
    widget = moduleWidget()
    warmWorker.lend(widget.logic.jobs.runner)
    widget.shell.selectPanel("data")
    yield widget.shell.panel, widget.shell
    warmWorker.takeBack(widget.logic.jobs.runner)


def select(panel, *items):
    import vtk

    chosen = vtk.vtkIdList()
    for item in items:
        chosen.InsertNextId(item)
    panel.ui.itemsTree.setCurrentItems(chosen)


def table(panel):
    widget = panel.ui.casesTable
    return [[widget.item(row, column).text() for column in range(5)] for row in range(widget.rowCount)]


def patients(count=3):
    """Folders with two volumes and a mask each, as a user would arrange them; their items."""
    from GenerativeAugmentLib import hierarchy

    tree = hierarchy.hierarchyNode()
    folders = []
    for number in range(count):
        folder = tree.CreateFolderItem(tree.GetSceneItemID(), f"Patient{number}")
        t1 = blob(name=f"Patient{number}_T1")
        t2 = blob(name=f"Patient{number}_T2")
        for node in (t1, t2, tissueOf(t1, f"mask{number}")):
            tree.SetItemParent(hierarchy.itemOf(node), folder)
        folders.append(folder)
    return folders


def test_folders_become_a_cohort_with_fingerprint_and_recommendation(panel, tmp_path, waitFor):
    from genaug.readers import read_cohort
    from GenerativeAugmentLib.parameters import CohortSource

    panel, shell = panel
    assert not shell.ui.applyButton.enabled and "add them as cases" in shell.ui.reasonLabel.text
    select(panel, *patients())
    panel.ui.addCasesButton.click()
    assert table(panel)[1] == ["Patient1", "Patient1", "T1, T2", "Patient1_T1, Patient1_T2", "mask1"]
    panel.ui.casesTable.item(0, 0).setText("first")
    panel.ui.casesTable.item(0, 1).setText("Jane")
    for row in range(3):
        panel.ui.casesTable.item(row, 2).setText("T1, other")
    assert "folder" in shell.ui.reasonLabel.text
    assert panel.ui.splitLabel.text == "2 training, 1 test"
    panel.ui.testShareSpinBox.value = 0
    assert panel.ui.splitLabel.text == "all 3 for training"
    panel.ui.testShareSpinBox.value = 30
    panel.ui.nameEdit.text = "my cohort"
    panel.ui.outputFolderEdit.currentPath = str(tmp_path)
    finish(shell, waitFor)

    cohort = read_cohort(tmp_path / "my-cohort")
    assert [case.id for case in cohort.cases] == ["first", "Patient1", "Patient2"]
    assert cohort.cases[0].patient == "Jane" and set(cohort.channels) == {"T1", "other"}
    assert cohort.label_names == {1: "sphere"}
    assert sorted(cohort.split.values()) == ["test", "train", "train"]
    np.testing.assert_array_equal(np.unique(cohort.cases[0].label_map().array), [0, 1])
    text = panel.ui.resultBrowser.plainText
    assert "Recommended" in text and "3 cases of 3 patients" in text and "sphere" in text and "T1 (MR)" in text
    # From now on the panel stands for the cohort on the disk, which is not written twice.
    assert panel.parameters.source is CohortSource.DISK and not table(panel)
    assert panel.parameters.cohortFolder == tmp_path / "my-cohort"
    finish(shell, waitFor)
    assert "Recommended" in panel.ui.resultBrowser.plainText

    panel.ui.trainButton.click()
    assert shell.panel.name == "train"
    assert shell.panel.parameters.cohortFolder == tmp_path / "my-cohort" and shell.panel.recipe is not None
    assert shell.panel.recipe.name in shell.panel.advised and not shell.panel.ui.adviceButton.visible


def test_covariates_are_columns_that_go_into_the_cohort(panel, tmp_path, waitFor):
    from genaug.readers import read_cohort
    from GenerativeAugmentLib import hierarchy

    panel, shell = panel
    volumes = [blob(name=name) for name in ("one", "two")]
    select(panel, *(hierarchy.itemOf(node) for node in volumes))
    panel.ui.addCasesButton.click()
    panel.ui.covariatesEdit.text = "age, sex, nonsense, age"
    cases = panel.ui.casesTable
    assert [cases.horizontalHeaderItem(column).text() for column in range(5, 8)] == ["age", "sex", "nonsense"]
    for row, values in enumerate((("60.5", "F", "x"), ("70", "", "y"))):
        for column, value in enumerate(values, 5):
            cases.item(row, column).setText(value)
    # A column that is taken away is not written; what was typed in the others is still there.
    panel.ui.covariatesEdit.text = "sex, age"
    assert cases.columnCount == 7 and cases.item(0, 5).text() == "F" and cases.item(0, 6).text() == "60.5"
    panel.ui.outputFolderEdit.currentPath = str(tmp_path)
    finish(shell, waitFor)
    read = read_cohort(tmp_path / "cohort")
    assert [case.covariates for case in read.cases] == [{"age": 60.5, "sex": "F"}, {"age": 70.0}]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *(
            (text, float(text))
            for text in ("7", "0", "-0.50", "+63.", ".5", "0.0", "120", "1e+05", "-2.5E-07", "1.0E7")
        ),
        *(
            (text, text)
            for text in ("F", "inf", "-Infinity", "007", "1_2", "8140e3", "2E3", "1e+999", "٣", "0x1", "-", ".")
        ),
        *((text, None) for text in ("", " ", "NaN", "n/a")),
    ],
)
def test_what_was_typed_is_a_number_where_it_can_be(scene, text, value):
    from genaug.readers.table import covariate_value
    from GenerativeAugmentLib.sceneCases import covariateValue

    assert covariateValue(text) == value
    assert covariate_value(text) == value, "a table reads as the panel does, which imports nothing of genaug"


def test_the_same_words_stand_for_unknown_in_a_table_and_in_the_panel(scene):
    from genaug.readers import table
    from GenerativeAugmentLib import sceneCases

    assert sceneCases.UNKNOWN == table._ABSENT


def test_the_sample_cohort_is_described(panel, waitFor):
    from GenerativeAugmentLib.parameters import CohortSource, Purpose

    panel, shell = panel
    panel.ui.sourceSelector.currentIndex = [one.name for one in CohortSource].index("DISK")
    assert not panel.ui.scenePage.visible and panel.ui.diskPage.visible
    assert "Choose the folder" in shell.ui.reasonLabel.text
    panel.ui.sampleButton.click()
    panel.ui.purposeSelector.currentIndex = [one.name for one in Purpose].index("TRANSLATION")
    finish(shell, waitFor)
    text = panel.ui.resultBrowser.plainText
    assert "6 synthetic" in text, text
    assert "white matter" in text and "T2 (MR)" in text
    assert panel.ui.trainButton.enabled
    panel.ui.trainButton.click()
    assert shell.panel.recipe.task == "translation"
    assert "Recommended" in shell.panel.ui.recipeList.item(0).text()
    assert "paired on one grid" in shell.panel.ui.adviceLabel.text


def test_loose_volumes_become_cases_of_their_own_with_their_masks(panel):
    from GenerativeAugmentLib import hierarchy

    panel, _shell = panel
    first, second = blob(name="one"), blob(name="two")
    mask = tissueOf(second, "for two")
    select(panel, *(hierarchy.itemOf(node) for node in (first, second, mask)))
    panel.ui.channelEdit.text = "T1"
    panel.ui.addCasesButton.click()
    assert table(panel) == [["one", "one", "T1", "one", ""], ["two", "two", "T1", "two", "for two"]]
    select(panel, *(hierarchy.itemOf(node) for node in (first, second, mask)))
    panel.ui.addOneButton.click()
    assert table(panel)[2] == ["one-2", "one", "one, two", "one, two", "for two"]
    panel.ui.casesTable.selectRow(0)
    panel.ui.removeCaseButton.click()
    assert [row[0] for row in table(panel)] == ["two", "one-2"]


def test_a_ct_that_does_not_say_so_waits_for_the_user(panel, tmp_path, waitFor):
    import slicer
    from genaug.readers import read_cohort
    from GenerativeAugmentLib import hierarchy

    panel, shell = panel
    nodes = [blob(name="one"), blob(name="two")]
    for node in nodes:
        node.RemoveAttribute("GenerativeAugment.modality")
    panel.ui.outputFolderEdit.currentPath = str(tmp_path)
    select(panel, *(hierarchy.itemOf(node) for node in nodes))
    panel.ui.addCasesButton.click()
    [row] = panel._modalityRows.rows
    assert row.widget.currentText == "MR" and shell.ui.applyButton.enabled
    for node in nodes:
        slicer.util.updateVolumeFromArray(node, slicer.util.arrayFromVolume(node) * 10 - 1500)
    panel.ui.casesTable.selectAll()
    panel.ui.removeCaseButton.click()
    assert not panel._modalityRows.rows
    select(panel, *(hierarchy.itemOf(node) for node in nodes))
    panel.ui.addCasesButton.click()
    [row] = panel._modalityRows.rows
    assert row.widget.currentIndex == 0 and not shell.ui.applyButton.enabled
    assert "Choose the modality of image" in shell.ui.reasonLabel.text
    for number in range(2):
        panel.ui.casesTable.item(number, 2).setText("CT")
    assert panel._modalityRows.rows[0].widget.currentText == "CT" and shell.ui.applyButton.enabled
    for number in range(2):
        panel.ui.casesTable.item(number, 2).setText("image")
    [row] = panel._modalityRows.rows
    row.widget.currentIndex = row.widget.findData("CT")
    finish(shell, waitFor)
    assert read_cohort(tmp_path / "cohort").channels == {"image": "CT"}
    assert "image (CT)" in panel.ui.resultBrowser.plainText and not panel._modalityRows.rows


def test_the_panel_says_where_it_stands_who_a_pseudonym_is(panel):
    from GenerativeAugmentLib import hierarchy, pseudonyms

    panel, _shell = panel
    tree = hierarchy.hierarchyNode()
    subject = tree.CreateSubjectItem(tree.GetSceneItemID(), "DOE^JANE (4711)")
    tree.SetItemAttribute(subject, "DICOM.PatientID", "4711")
    hierarchy.place(blob(name="3: T1"), subject)
    assert not panel.ui.patientsLabel.visible
    select(panel, subject)
    panel.ui.addCasesButton.click()
    assert "DOE" not in str(table(panel)) and str(pseudonyms.tablePath()) in panel.ui.patientsLabel.text
    # What a user calls a patient, for instance by a number, is none.
    assert not pseudonyms.isPseudonym("patient-1") and not pseudonyms.isPseudonym("patient-0123456789ab-x")
    # Whoever types a patient has him as he is typed.
    panel.ui.casesTable.item(0, 1).setText("Jane")
    assert panel.drafts[0].patient == "Jane" and not panel.ui.patientsLabel.visible


def test_what_cannot_be_a_case_is_told_in_the_line(panel, tmp_path):
    import slicer
    from GenerativeAugmentLib import hierarchy

    panel, shell = panel
    panel.ui.addCasesButton.click()
    assert "no volume" in shell.ui.reasonLabel.text
    volume = blob(name="one")
    masks = [tissueOf(volume, "a"), tissueOf(volume, "b")]
    select(panel, *(hierarchy.itemOf(node) for node in (volume, *masks)))
    panel.ui.addOneButton.click()
    assert "a, b" in shell.ui.reasonLabel.text and not table(panel)
    select(panel, hierarchy.itemOf(volume))
    panel.ui.addOneButton.click()
    panel.ui.outputFolderEdit.currentPath = str(tmp_path)
    panel.ui.casesTable.item(0, 2).setText("a, b")
    shell.ui.applyButton.click()
    assert "channels a, b for 1 volumes" in shell.ui.reasonLabel.text and not (tmp_path / "cohort").exists()
    slicer.mrmlScene.RemoveNode(volume)
    assert "not all of it is in the scene" in _reason(shell)
    slicer.mrmlScene.Clear()
    assert not table(panel)


def test_a_cohort_on_disk_is_split_and_a_split_is_not_lost_by_one_click(panel, tmp_path):
    from engine_data import blob_cohort
    from genaug.cohort import Cohort
    from GenerativeAugmentLib.parameters import CohortSource

    panel, shell = panel
    assert not panel.ui.splitButton.visible
    panel.parameters.source = CohortSource.DISK
    assert not panel.ui.splitButton.enabled and panel.ui.splitLabel.text == ""
    blob_cohort(tmp_path / "cohort", count=5)
    panel.parameters.cohortFolder = tmp_path / "cohort"
    assert panel.ui.splitLabel.text == "all 5 for training"
    panel.ui.splitButton.click()
    first = Cohort.read(tmp_path / "cohort").split
    assert list(first.values()).count("test") == 1
    assert panel.ui.splitLabel.text == "4 training, 1 test"
    panel.ui.validationShareSpinBox.value = 20
    panel.ui.splitButton.click()
    assert Cohort.read(tmp_path / "cohort").split == first
    assert "split already" in shell.ui.reasonLabel.text and panel.ui.splitButton.text == "Really split again"
    panel.ui.splitButton.click()
    assert "validation" in Cohort.read(tmp_path / "cohort").split.values()
    assert panel.ui.splitButton.text == "Split by patient"
    shell.selectPanel("train")
    shell.panel.parameters.cohortFolder = tmp_path / "cohort"
    assert "patients: 3 training, 1 validation, 1 test" in shell.panel.ui.cohortInfoLabel.text


def test_one_patient_trains_and_the_panel_says_so(panel, tmp_path):
    from GenerativeAugmentLib import hierarchy

    panel, shell = panel
    select(panel, hierarchy.itemOf(blob(name="one")))
    panel.ui.addCasesButton.click()
    panel.ui.outputFolderEdit.currentPath = str(tmp_path)
    assert panel.ui.splitLabel.text == "one for training: too few to keep any apart"
    assert shell.ui.applyButton.enabled, shell.ui.reasonLabel.text


def _reason(shell):
    shell.update()
    return shell.ui.reasonLabel.text
