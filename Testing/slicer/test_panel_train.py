"""The Train panel, by its widgets and with a real worker."""

import shutil

import pytest


@pytest.fixture
def panel(moduleWidget):
    """The panel in the opened module, and its shell."""
    widget = moduleWidget()
    widget.shell.selectPanel("train")
    yield widget.shell.panel, widget.shell
    widget.logic.shutdown()


@pytest.fixture
def cohort(slicerHost, scene):
    from GenerativeAugmentLib import sampleData

    return sampleData.sampleFolder(sampleData.COHORT)


def choose(panel, recipe):
    panel.ui.recipeSelector.currentIndex = panel.ui.recipeSelector.findData(recipe)


def prepare(panel, cohort, output, iterations=20):
    panel.ui.cohortFolderEdit.currentPath = str(cohort)
    choose(panel, "vae")
    panel.ui.outputFolderEdit.currentPath = str(output)
    panel.ui.nameEdit.text = "little"
    panel.ui.channelsEdit.text = "T1"
    panel.ui.maximumVoxelsSpinBox.value = 2000
    panel.ui.iterationsSpinBox.value = iterations
    panel.ui.previewEverySpinBox.value = 10
    panel.ui.checkpointEverySpinBox.value = 5
    panel.ui.seedSpinBox.value = 3


def test_a_training_shows_curve_and_preview_stops_resumes_and_becomes_a_model(panel, cohort, tmp_path, waitFor):
    panel, shell = panel
    prepare(panel, cohort, tmp_path, iterations=100000)
    assert "will be in" in panel.ui.stateLabel.text
    assert not panel.ui.progressGroupBox.visible
    assert shell.ui.applyButton.enabled, shell.ui.reasonLabel.text
    shell.ui.applyButton.click()
    waitFor(lambda: not panel.ui.previewLabel.pixmap.isNull(), 90)
    shell.ui.applyButton.click()
    waitFor(lambda: not shell.jobs.busy, 10)
    assert "cancelled" in shell.ui.reasonLabel.text
    assert "goes on" in panel.ui.stateLabel.text and "little.training" in panel.ui.stateLabel.text
    assert not panel.ui.addModelButton.visible

    # The same model again takes up the plan and the checkpoint; a number of minutes lets it end soon.
    panel.ui.minutesSpinBox.value = 0.1
    shell.ui.applyButton.click()
    assert not panel.ui.previewLabel.pixmap.isNull(), "the last preview of the stopped training is shown at once"
    waitFor(lambda: not shell.jobs.busy, 90)
    package = tmp_path / "little"
    assert (package / "configs" / "genaug.json").is_file(), shell.ui.reasonLabel.text
    assert panel.ui.progressGroupBox.visible
    assert not panel.ui.curveLabel.pixmap.isNull() and not panel.ui.previewLabel.pixmap.isNull()
    assert "The model is in" in panel.ui.stateLabel.text
    assert panel.ui.addModelButton.visible
    panel.ui.addModelButton.click()
    assert "among the models" in shell.ui.reasonLabel.text and not panel.ui.addModelButton.visible
    assert "little" in [entry.name for entry in shell.services.catalogue.models()]
    assert panel.ui.initialModelSelector.findData("little") > 0
    shutil.rmtree(shell.services.catalogue.userFolder)


def test_the_form_follows_recipe_and_cohort(panel, cohort, tmp_path):
    panel, shell = panel
    assert "Choose the cohort" in shell.ui.reasonLabel.text
    panel.ui.cohortFolderEdit.currentPath = str(cohort)
    assert "6 cases, 6 with label maps" in panel.ui.cohortInfoLabel.text and "T2 (MR)" in panel.ui.cohortInfoLabel.text
    assert "recipe" in shell.ui.reasonLabel.text
    choose(panel, "vae")
    assert panel.parameters.recipe == "vae" and "Suits:" in panel.ui.recipeInfoLabel.text
    assert not panel.ui.sourceChannelsEdit.visible
    choose(panel, "pix2pix")
    assert panel.ui.sourceChannelsEdit.visible
    assert (panel.ui.sourceChannelsEdit.text, panel.ui.channelsEdit.text) == ("T1", "T2")
    panel.ui.outputFolderEdit.currentPath = str(tmp_path)
    assert shell.ui.applyButton.enabled
    assert "template-cohort-pix2pix" in panel.ui.stateLabel.text
    panel.ui.sourceChannelsEdit.text = "FLAIR"
    assert "no channel FLAIR" in shell.ui.reasonLabel.text and not shell.ui.applyButton.enabled
    panel.ui.sourceChannelsEdit.text = ""
    assert "starts from" in shell.ui.reasonLabel.text
    panel.ui.sourceChannelsEdit.text = "T1"
    panel.ui.maximumVoxelsSpinBox.value = 10
    shell.ui.applyButton.click()
    assert "at least 512" in shell.ui.reasonLabel.text and not shell.jobs.busy


def test_a_job_says_exactly_what_the_form_says(panel, cohort, tmp_path):
    from genaug.parameters import TrainingOptions

    panel, _shell = panel
    prepare(panel, cohort, tmp_path)
    panel.ui.minutesSpinBox.value = 2.5
    panel.ui.spacingSpinBox.value = 4
    panel.ui.batchSizeSpinBox.value = 3
    panel.ui.learningRateSpinBox.value = 0.002
    planned = panel.apply()
    options = TrainingOptions.model_validate(planned.job.parameters)
    assert options.recipe == "vae" and options.channels == ["T1"] and options.iterations == {"vae": 20}
    assert options.minutes == 2.5 and options.spacing == (4, 4, 4) and options.max_voxels == 2000
    assert options.batch_size == 3 and options.learning_rate == pytest.approx(0.002)
    assert (options.preview_every, options.checkpoint_every) == (10, 5)
    assert planned.job.inputs == {"cohort": cohort} and planned.job.seed == 3
    assert planned.output == tmp_path / "little"
    panel.ui.minutesSpinBox.value = panel.ui.spacingSpinBox.value = 0
    for name in ("batchSizeSpinBox", "learningRateSpinBox", "iterationsSpinBox", "maximumVoxelsSpinBox"):
        getattr(panel.ui, name).value = 0
    said = set(panel.apply().job.parameters)
    assert said == {"recipe", "channels", "source_channels", "preview_every", "checkpoint_every"}


def test_curves_are_drawn_from_what_the_worker_writes(slicerHost, tmp_path):
    from GenerativeAugmentLib.lossCurve import drawCurves, newestCurves, readCurves

    assert newestCurves(tmp_path) is None
    rows = [f"{i},{1 / i},,{'nan' if i == 20 else 2}" for i in range(10, 5010, 10)]
    path = tmp_path / "vae.curves.csv"
    path.write_text("\n".join(["iteration,l1,critic,kl", *rows]))
    assert newestCurves(tmp_path) == path
    curves = readCurves(path)
    assert set(curves) == {"l1", "kl"} and len(curves["l1"]) == 500 and len(curves["kl"]) == 499
    picture = drawCurves(curves, "Stage vae", 300, 150).toImage()
    colors = {picture.pixel(x, y) & 0xFFFFFF for x in range(300) for y in range(50, 150)}
    assert 0x1F77B4 in colors and 0xFF7F0E in colors
    # The falling curve begins high on the left and ends low on the right.
    blue = [(x, y) for x in range(300) for y in range(50, 150) if picture.pixel(x, y) & 0xFFFFFF == 0x1F77B4]
    assert min(y for x, y in blue if x < 10) < 60 and max(y for x, y in blue if x > 280) > 130


def test_terms_have_the_fields_names(slicerHost):
    from genaug.objectives import CRITIC_LOSSES, LOSSES
    from GenerativeAugmentLib.lossCurve import termTitle

    assert termTitle("network/l1") == "absolute error (L1)"
    assert termTitle("critic/adversarial") == "adversarial (critic)"
    assert termTitle("source_critic/feature_matching") == "feature matching (source critic)"
    names = [f"network/{name}" for name in LOSSES] + [f"critic/{name}" for name in CRITIC_LOSSES]
    titles = [termTitle(name) for name in names]
    assert len(set(titles)) == len(titles) and not any("_" in title or "/" in title for title in titles)
