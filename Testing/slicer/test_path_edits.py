"""The path fields of all forms: what can be browsed for, and what happens when one is emptied."""

from pathlib import Path

import pytest

BOTH = {
    ("data", "cohortFolderEdit"),
    ("train", "cohortFolderEdit"),
    ("review", "cohortFolderEdit"),
    ("review", "realCohortEdit"),
    ("export", "realCohortEdit"),
    ("export", "cohortEdit"),
    ("models", "importPathEdit"),
    ("", "pythonPathEdit"),
}
"""Panel, "" for the shell, and field that take a folder or a file."""


@pytest.fixture
def fields(shell):
    """Panel and name to path field, of all panels."""
    from GenerativeAugmentLib.pathEdits import pathEdits

    found = {("", edit.objectName): edit for edit in pathEdits(shell.ui)}
    for name, panel in shell.panels.items():
        shell.selectPanel(name)
        found |= {(name, edit.objectName): edit for edit in pathEdits(panel.ui)}
    shell.panels["review"].ui.blindedGroupBox.collapsed = False
    return found


@pytest.fixture
def dialogs(slicerHost, monkeypatch, tmp_path):
    """The dialogs answer a folder or a file of this folder; which were opened, with their filter."""
    import qt

    opened = []

    def folder(parent, title, start, *options):
        opened.append("folder")
        return str(tmp_path / "folder")

    def file(parent, title, start, nameFilter):
        opened.append(nameFilter)
        return str(tmp_path / "file.json")

    monkeypatch.setattr(qt.QFileDialog, "getExistingDirectory", staticmethod(folder))
    monkeypatch.setattr(qt.QFileDialog, "getOpenFileName", staticmethod(file))
    return opened


def fileButton(field):
    return field.findChild("QToolButton", "fileButton")


def test_a_folder_can_be_browsed_for_wherever_one_is_taken_and_a_file_beside_it(fields, dialogs, tmp_path):
    assert {key for key, field in fields.items() if fileButton(field) is not None} == BOTH
    for key, field in fields.items():
        field.browse()
        assert dialogs.pop() == "folder" and field.currentPath == str(tmp_path / "folder"), key
    for key in BOTH:
        button = fileButton(fields[key])
        assert button.text and button.toolTip and button.enabled, key
        button.click()
        assert "(" in dialogs.pop() and fields[key].currentPath == str(tmp_path / "file.json"), key


def test_giving_up_a_dialog_leaves_the_path(fields, monkeypatch):
    import qt

    field = fields["data", "cohortFolderEdit"]
    field.currentPath = "/somewhere"
    monkeypatch.setattr(qt.QFileDialog, "getOpenFileName", staticmethod(lambda *arguments: ""))
    fileButton(field).click()
    assert field.currentPath == "/somewhere"


def test_a_path_that_is_taken_out_of_its_field_is_not_used_any_more(shell, fields, tmp_path):
    bound = [(key, field) for key, field in fields.items() if field.property("SlicerParameterName")]
    assert len(bound) > 8
    for (panel, _name), field in bound:
        shell.selectPanel(panel)
        name = field.property("SlicerParameterName")
        field.currentPath = str(tmp_path)
        assert shell.services.parameterNode.getValue(name) == tmp_path, name
        field.comboBox().clearEditText()
        assert shell.services.parameterNode.getValue(name) == Path(), name
        assert field.currentPath == "", name
        field.currentPath = str(tmp_path / "file.json")
        assert shell.services.parameterNode.getValue(name) == tmp_path / "file.json", name
    shell.selectPanel("data")
    shell.exit()
    fields["data", "outputFolderEdit"].comboBox().clearEditText()
    assert shell.services.parameterNode.getValue("data.outputFolder") == tmp_path / "file.json", "it follows no more"


def test_a_button_that_needs_a_path_goes_off_with_it(shell, fields, tmp_path):
    for panel, name, button in (
        ("export", "cohortEdit", "addButton"),
        ("models", "importPathEdit", "importButton"),
        ("", "pythonPathEdit", "usePythonButton"),
    ):
        if panel:
            shell.selectPanel(panel)
        enabled = getattr(shell.panel.ui if panel else shell.ui, button)
        fields[panel, name].currentPath = str(tmp_path)
        assert enabled.enabled, name
        fields[panel, name].comboBox().clearEditText()
        assert not enabled.enabled, name
