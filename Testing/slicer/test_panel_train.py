"""The Train panel, by its widgets and with a real worker."""

import json
import shutil

import pytest


@pytest.fixture
def panel(moduleWidget, warmWorker):
    """The panel in the opened module, and its shell."""
    widget = moduleWidget()
    warmWorker.lend(widget.logic.jobs.runner)
    widget.shell.selectPanel("train")
    yield widget.shell.panel, widget.shell
    warmWorker.takeBack(widget.logic.jobs.runner)


@pytest.fixture
def cohort(slicerHost, scene):
    from GenerativeAugmentLib import sampleData

    return sampleData.sampleFolder(sampleData.COHORT)


@pytest.fixture
def blobs(slicerHost, tmp_path):
    """A cohort of a class, a number and a name for every case, whose second case lacks a channel."""
    from engine_data import blob_cohort
    from genaug.cohort import Cohort

    blob_cohort(tmp_path / "blobs")
    cohort = Cohort.read(tmp_path / "blobs")
    del cohort.cases[1].images["C"]
    for case in cohort.cases:
        case.covariates["report"] = f"a ball of {case.covariates['radius']:.1f} mm"
    cohort.write(tmp_path / "blobs")
    return tmp_path / "blobs"


def listed(panel):
    """The recipes that are offered, by name."""
    import qt

    return [panel.ui.recipeList.item(row).data(qt.Qt.UserRole) for row in range(panel.ui.recipeList.count)]


def choose(panel, recipe):
    """By the widgets, as a user would."""
    from GenerativeAugmentLib.recipes import findRecipe

    panel.ui.searchEdit.text = ""
    panel.ui.familySelector.currentIndex = 0
    panel.ui.taskSelector.currentIndex = panel.ui.taskSelector.findData(findRecipe(recipe).task)
    panel.ui.recipeList.setCurrentRow(listed(panel).index(recipe))
    assert panel.parameters.recipe == recipe


def check(row, *names):
    """Check these names of a list, and no others."""
    import qt

    for number in range(row.widget.count):
        item = row.widget.item(number)
        item.setCheckState(qt.Qt.Checked if item.data(qt.Qt.UserRole) in names else qt.Qt.Unchecked)


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
    waitFor(lambda: not panel.ui.previewLabel.pixmap.isNull())
    shell.ui.applyButton.click()
    waitFor(lambda: not shell.jobs.busy)
    assert "cancelled" in shell.ui.reasonLabel.text
    assert "goes on" in panel.ui.stateLabel.text and "little.training" in panel.ui.stateLabel.text
    assert not panel.ui.addModelButton.visible

    # The same model again takes up the plan and the checkpoint; a number of minutes lets it end soon.
    panel.ui.minutesSpinBox.value = 0.1
    shell.ui.applyButton.click()
    assert not panel.ui.previewLabel.pixmap.isNull(), "the last preview of the stopped training is shown at once"
    waitFor(lambda: not shell.jobs.busy)
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
    assert not panel.conditions.rows
    choose(panel, "pix2pix")
    (sources,) = panel.conditions.rows
    assert (panel.parameters.sourceChannels, panel.ui.channelsEdit.text) == ("T1", "T2")
    assert sources._checked() == ["T1"] and sources.widget.toolTip
    panel.ui.outputFolderEdit.currentPath = str(tmp_path)
    assert shell.ui.applyButton.enabled
    assert "template-cohort-pix2pix" in panel.ui.stateLabel.text
    panel.ui.channelsEdit.text = "FLAIR"
    assert "no channel FLAIR" in shell.ui.reasonLabel.text and not shell.ui.applyButton.enabled
    panel.ui.channelsEdit.text = "T2"
    check(sources)
    assert "starts from" in shell.ui.reasonLabel.text
    check(sources, "T1", "T2")
    assert panel.parameters.sourceChannels == "T1, T2" and shell.ui.applyButton.enabled
    panel.ui.channelsEdit.text = ""
    assert "enter the channel to make" in shell.ui.reasonLabel.text
    panel.parameters.sourceChannels = "T1"
    assert sources._checked() == ["T1"] and shell.ui.applyButton.enabled
    panel.ui.maximumVoxelsSpinBox.value = 10
    shell.ui.applyButton.click()
    assert "at least 512" in shell.ui.reasonLabel.text and not shell.jobs.busy


def test_a_model_to_start_from_that_is_gone_is_named_and_another_can_be_chosen(panel, cohort, tmp_path):
    panel, shell = panel
    prepare(panel, cohort, tmp_path)
    assert shell.ui.applyButton.enabled, shell.ui.reasonLabel.text
    panel.parameters.initialModel = "deleted"
    assert panel.ui.initialModelSelector.currentText == ""
    assert "deleted" in shell.ui.reasonLabel.text and not shell.ui.applyButton.enabled
    panel.ui.initialModelSelector.currentIndex = 0
    assert panel.parameters.initialModel == "" and shell.ui.applyButton.enabled


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


def test_task_family_and_words_lead_to_a_recipe(panel):
    from genaug.recipe import list_recipes

    panel, _shell = panel
    for task in ("synthesis", "translation", "label_to_image", "infill"):
        panel.ui.taskSelector.currentIndex = panel.ui.taskSelector.findData(task)
        assert set(listed(panel)) == {recipe.name for recipe in list_recipes() if recipe.task == task}
        assert panel.parameters.task == task and panel.parameters.recipe == ""
    panel.ui.taskSelector.currentIndex = 0
    panel.ui.familySelector.currentIndex = panel.ui.familySelector.findData("diffusion")
    assert "ldm" in listed(panel) and "vae" not in listed(panel)
    panel.ui.searchEdit.text = "wavelet"
    assert listed(panel) == ["wavelet-diffusion"]
    panel.ui.recipeList.setCurrentRow(0)
    assert panel.parameters.recipe == "wavelet-diffusion" and "wavelet" in panel.ui.recipeInfoLabel.text.lower()
    # What is chosen stays chosen, and is described, whatever one looks for.
    panel.ui.searchEdit.text = "no such words"
    assert listed(panel) == [None] and "No recipe" in panel.ui.recipeList.item(0).text()
    assert panel.parameters.recipe == "wavelet-diffusion" and panel.ui.recipeList.currentRow == -1
    panel.ui.searchEdit.text = ""
    assert listed(panel)[panel.ui.recipeList.currentRow] == "wavelet-diffusion"
    # A task without diffusion models shows all of its families.
    panel.ui.taskSelector.currentIndex = panel.ui.taskSelector.findData("infill")
    assert panel.ui.familySelector.currentData == "" and panel.parameters.recipe == ""
    panel.parameters.recipe = "pix2pix"
    assert panel.ui.taskSelector.currentData == "translation" and "pix2pix" in listed(panel)


def test_what_was_advised_stands_first_with_its_reason(panel, cohort, tmp_path):
    from GenerativeAugmentLib.parameters import CohortSource, Purpose

    panel, shell = panel
    panel.parameters.cohortFolder = cohort
    assert panel.ui.adviceButton.visible and "Recommended" not in panel.ui.recipeList.item(0).text()
    panel.parameters.advisedCohort = cohort
    panel.parameters.advice = {"rhvae": "few cases", "wgan-gp": "fast", "carvemix": "no training", "pix2pix": "pairs"}
    assert listed(panel)[:2] == ["rhvae", "wgan-gp"] and not panel.ui.adviceButton.visible
    assert [panel.ui.recipeList.item(row).text().partition(":")[0] for row in (0, 1)] == [
        "Recommended",
        "Suits as well",
    ]
    assert "few cases" in panel.ui.adviceLabel.text
    panel.ui.recipeList.setCurrentRow(1)
    assert "few cases" in panel.ui.adviceLabel.text and "fast" in panel.ui.adviceLabel.text
    panel.ui.taskSelector.currentIndex = panel.ui.taskSelector.findData("translation")
    assert panel.parameters.recipe == "pix2pix", "what was advised for a task is chosen with it"
    panel.parameters.recipe = "rhvae"
    panel.parameters.advice = {"carvemix": "no training", "rhvae": "few cases"}
    assert "Recommended: Lesion mixing (Lesions panel)" in panel.ui.adviceLabel.text
    assert "Suits as well: Geometry-aware" in panel.ui.adviceLabel.text
    panel.parameters.advice = {"label-to-image": "label maps", "rhvae": "few cases"}
    assert "(Images for label maps)" in panel.ui.adviceLabel.text
    panel.parameters.recipe = "pix2pix"
    panel.parameters.cohortFolder = tmp_path
    assert not panel.advised and panel.ui.adviceButton.visible
    panel.parameters.cohortFolder = cohort
    panel.parameters.advisedCohort = tmp_path
    panel.ui.adviceButton.click()
    data = shell.panel.parameters
    assert shell.panel.name == "data" and data.purpose is Purpose.TRANSLATION
    assert data.source is CohortSource.DISK and data.cohortFolder == cohort


def test_every_condition_of_a_recipe_has_its_row(slicerHost):
    from typing import get_args

    from genaug import covariates, recipe
    from GenerativeAugmentLib.cohortContent import MOST_LEVELS
    from GenerativeAugmentLib.panels.trainingControls import CONTROLS

    assert set(CONTROLS) == set(get_args(recipe.Condition))
    assert MOST_LEVELS == covariates.MOST_LEVELS


def test_covariates_are_checked_and_none_stands_for_all(panel, blobs, cohort, tmp_path):
    from genaug.parameters import TrainingOptions

    panel, shell = panel
    panel.ui.cohortFolderEdit.currentPath = str(cohort)
    panel.ui.outputFolderEdit.currentPath = str(tmp_path)
    choose(panel, "cvae")
    assert "a class or a number of every case" in shell.ui.reasonLabel.text and not shell.ui.applyButton.enabled
    panel.ui.cohortFolderEdit.currentPath = str(blobs)
    panel.ui.channelsEdit.text = "A"
    (row,) = panel.conditions.rows
    texts = [row.widget.item(number).text() for number in range(row.widget.count)]
    assert texts[0].startswith("kind: ") and " to " in texts[1] and "6 different words" in texts[2], texts
    assert row.widget.toolTip and shell.ui.applyButton.enabled, shell.ui.reasonLabel.text
    assert "covariates" not in panel.apply().job.parameters
    check(row, "radius", "kind")
    told = TrainingOptions.model_validate(panel.apply().job.parameters)
    assert told.covariates == ["kind", "radius"]
    panel.parameters.covariates = ["radius"]
    assert row._checked() == ["radius"]
    panel.parameters.covariates = ["nosuch"]
    assert "no covariate nosuch" in shell.ui.reasonLabel.text
    choose(panel, "vae")
    assert not panel.conditions.rows and "covariates" not in panel.apply().job.parameters


def test_a_covariate_of_too_many_words_is_no_class(panel, blobs, tmp_path, monkeypatch):
    from GenerativeAugmentLib import cohortContent

    panel, shell = panel
    monkeypatch.setattr(cohortContent, "MOST_LEVELS", 5)
    panel.ui.outputFolderEdit.currentPath = str(tmp_path)
    panel.ui.cohortFolderEdit.currentPath = str(blobs)
    choose(panel, "cvae")
    assert "report has too many" in shell.ui.reasonLabel.text
    check(panel.conditions.rows[0], "kind")
    assert shell.ui.applyButton.enabled


def test_sentences_need_a_covariate_of_words_and_an_encoder(panel, blobs, cohort, tmp_path):
    from engine_data import words_folder
    from genaug.parameters import TrainingOptions

    panel, shell = panel
    panel.ui.outputFolderEdit.currentPath = str(tmp_path)
    panel.ui.cohortFolderEdit.currentPath = str(cohort)
    assert not panel.ui.textEncoderEdit.visible
    choose(panel, "text-ldm")
    assert "no covariate of words" in shell.ui.reasonLabel.text and panel.ui.textEncoderEdit.visible
    panel.ui.cohortFolderEdit.currentPath = str(blobs)
    (row,) = panel.conditions.rows
    assert [row.widget.itemText(number) for number in range(row.widget.count)] == ["kind", "report"]
    assert "sentence about every case" in shell.ui.reasonLabel.text
    row.widget.setCurrentText("radius")
    assert "no text radius" in shell.ui.reasonLabel.text
    row.widget.currentIndex = 1
    assert "text encoder" in shell.ui.reasonLabel.text
    panel.ui.textEncoderEdit.currentPath = str(tmp_path)
    assert "model.safetensors" in shell.ui.reasonLabel.text and not shell.ui.applyButton.enabled
    encoder = words_folder(tmp_path / "encoder")
    panel.ui.textEncoderEdit.currentPath = str(encoder)
    assert shell.ui.applyButton.enabled, shell.ui.reasonLabel.text
    told = TrainingOptions.model_validate(panel.apply().job.parameters)
    assert (told.text, told.text_encoder) == ("report", encoder)
    choose(panel, "vae")
    assert not panel.ui.textEncoderEdit.visible and "text" not in panel.apply().job.parameters


def test_sources_that_some_cases_lack_need_a_recipe_that_does_without(panel, blobs, tmp_path):
    panel, shell = panel
    panel.ui.outputFolderEdit.currentPath = str(tmp_path)
    panel.ui.cohortFolderEdit.currentPath = str(blobs)
    panel.ui.channelsEdit.text = "B"
    choose(panel, "mustgan")
    check(panel.conditions.rows[0], "A", "C")
    assert "1 of 6 cases lack one of A, C, B" in shell.ui.reasonLabel.text
    choose(panel, "mm-gan")
    (row,) = panel.conditions.rows
    assert row._checked() == ["A", "C"] and "lack some" in row.widget.toolTip
    assert shell.ui.applyButton.enabled, shell.ui.reasonLabel.text
    assert panel.apply().job.parameters["source_channels"] == ["A", "C"]
    check(row, "C")
    assert "1 of 6 cases have none of the sources" in shell.ui.reasonLabel.text
    check(row, "A", "B")
    panel.ui.channelsEdit.text = "C"
    assert "1 of 6 cases lack C, which is what is to be made" in shell.ui.reasonLabel.text
    choose(panel, "cyclegan")
    assert shell.ui.applyButton.enabled, "pairs are not needed"


def test_a_recipe_of_planes_takes_volumes_plane_by_plane_and_needs_no_sources(panel, blobs, tmp_path):
    panel, shell = panel
    panel.ui.outputFolderEdit.currentPath = str(tmp_path)
    panel.ui.cohortFolderEdit.currentPath = str(blobs)
    choose(panel, "madgan")
    panel.ui.channelsEdit.text = "A"
    assert shell.ui.applyButton.enabled, shell.ui.reasonLabel.text
    told = panel.apply().job.parameters
    assert told["dimension"] == 2 and told["source_channels"] == []


def test_missing_label_maps_are_counted(panel, blobs, tmp_path):
    panel, shell = panel
    panel.ui.outputFolderEdit.currentPath = str(tmp_path)
    panel.ui.cohortFolderEdit.currentPath = str(blobs)
    choose(panel, "spade")
    assert shell.ui.applyButton.enabled, shell.ui.reasonLabel.text
    manifest = json.loads((blobs / "cohort.json").read_text())
    cases = manifest["cases"]
    patients = [case["patient"] for case in cases]
    for number, (without, apart, reason) in enumerate(
        (
            (cases[:1], [], "1 of 6 have none"),
            (cases[1:], [], "no case of the cohort has one"),
            ([], patients, "kept apart"),
        )
    ):
        for case in without:
            case["label"] = None
        manifest["split"] = dict.fromkeys(apart, "test")
        (blobs / "cohort.json").write_text(json.dumps(manifest))
        panel.ui.seedSpinBox.value = number + 1
        assert reason in shell.ui.reasonLabel.text and not shell.ui.applyButton.enabled
