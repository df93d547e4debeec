"""The Models panel: table, card, license, import and deletion, by its widgets."""

import json
import shutil

import pytest


@pytest.fixture
def panel(shell):
    shell.selectPanel("models")
    return shell.panel


def installed(panel):
    """Names of the user's own models that the table shows; others come with the extension."""
    table = panel.ui.modelsTable
    shown = {table.item(row, 0).text() for row in range(table.rowCount)}
    return {entry.name for entry in panel.services.catalogue.models() if entry.title in shown and not entry.builtIn}


def select(panel, name):
    panel.ui.modelsTable.selectRow([entry.name for entry in panel._entries].index(name))


def test_the_table_shows_what_is_installed_and_the_card_of_the_chosen_one(shell, panel):
    assert installed(panel) == {"vae", "spade", "pix2pix", "mm-gan"}
    select(panel, "pix2pix")
    assert panel.parameters.model == "pix2pix"
    assert "pix2pix" in panel.ui.cardBrowser.plainText
    assert panel.ui.deleteButton.enabled
    assert not shell.ui.applyButton.enabled and "no job" in shell.ui.reasonLabel.text


def test_a_model_is_deleted_and_imported_again_from_a_zip(shell, panel, models, trained, tmp_path):
    archive = shutil.make_archive(str(tmp_path / "vae"), "zip", trained / "packages", "vae")
    select(panel, "vae")
    panel.ui.deleteButton.click()
    assert "Click again" in shell.ui.reasonLabel.text
    select(panel, "spade")
    select(panel, "vae")
    panel.ui.deleteButton.click()
    assert (models / "vae").exists()
    panel.ui.deleteButton.click()
    assert not (models / "vae").exists() and "vae" not in installed(panel)
    assert not panel.ui.importButton.enabled
    panel.ui.importPathEdit.currentPath = archive
    panel.ui.importButton.click()
    assert (models / "vae").is_dir() and "vae" in installed(panel)
    assert panel.parameters.model == "vae" and "was imported" in shell.ui.reasonLabel.text


def test_a_damaged_package_is_refused_with_the_reason_and_leaves_nothing(shell, panel, trained, models, tmp_path):
    broken = shutil.copytree(trained / "packages" / "vae", tmp_path / "other")
    weights = next((broken / "models").iterdir())
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    panel.ui.importPathEdit.currentPath = str(broken)
    panel.ui.importButton.click()
    assert "SHA-256" in shell.ui.reasonLabel.text
    assert len(list(models.iterdir())) == 4


def test_a_license_that_is_not_permissive_is_accepted_once(shell, panel, models):
    info = models / "vae" / "configs" / "genaug.json"
    content = json.loads(info.read_text())
    content["licence"] = "CC-BY-NC-4.0"
    info.write_text(json.dumps(content))
    panel.ui.refreshButton.click()
    select(panel, "vae")
    assert panel.ui.acceptButton.visible and "CC-BY-NC-4.0" in panel.ui.licenseLabel.text
    shell.selectPanel("synthesize")
    box = shell.panel.ui.modelSelector
    box.currentIndex = box.findData("vae")
    assert "license" in shell.ui.reasonLabel.text and not shell.ui.applyButton.enabled
    shell.selectPanel("models")
    panel.ui.acceptButton.click()
    assert not panel.ui.acceptButton.visible
    shell.selectPanel("synthesize")
    assert shell.ui.applyButton.enabled, shell.ui.reasonLabel.text


def test_what_cannot_be_read_is_named(shell, panel, models):
    (models / "vae" / "configs" / "genaug.json").write_text("{")
    panel.ui.refreshButton.click()
    assert panel.ui.problemsLabel.visible and "genaug.json" in panel.ui.problemsLabel.text


def test_the_license_is_seen_without_scrolling_and_the_card_has_no_empty_row(shell, panel, slicerHost):
    from GenerativeAugmentLib.panels.models import withoutEmptyHeaders

    select(panel, "vae")
    table = panel.ui.modelsTable
    headers = [table.horizontalHeaderItem(column).text() for column in range(table.columnCount)]
    license = headers.index("License")
    assert sum(table.columnWidth(column) for column in range(license + 1)) <= 440
    card = panel.ui.cardBrowser.plainText
    assert "method: Variational autoencoder" in card
    text = "| | |\n|---|---|\n| method | `vae` |\n| a | b |\n\n| label | mean |\n|---|---|\n| 1 | 2 |\n"
    assert withoutEmptyHeaders(text) == "- **method**: `vae`\n- **a**: b\n\n" + text.partition("\n\n")[2]
