"""The path fields of all forms: what happens when one is emptied."""

from pathlib import Path

import pytest


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
