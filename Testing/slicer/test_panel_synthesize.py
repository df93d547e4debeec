"""The Synthesize panel, by its widgets and with a real worker."""

import json

import numpy as np
import pytest
from panelKit import blob, choose, finish, hierarchyItems, nodeIds, recordOf, tissueOf, visible, written


@pytest.fixture
def panel(shell):
    shell.selectPanel("synthesize")
    return shell.panel


def test_cases_appear_with_names_and_provenance_and_undo_takes_them_out(shell, panel, waitFor):
    import slicer

    choose(panel.ui.modelSelector, "vae")
    panel.ui.countSpinBox.value = 2
    panel.ui.seedSpinBox.value = 5
    before, items = nodeIds(), hierarchyItems()
    finish(shell, waitFor)
    volumes = slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
    segmentations = slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
    assert len(volumes) == 2 and len(segmentations) == 2
    for node in volumes:
        assert node.GetAttribute("GenerativeAugment.synthetic") == "true"
        assert node.GetAttribute("GenerativeAugment.seed") == "5"
        assert node.GetAttribute("GenerativeAugment.recipe") == "vae"
        assert recordOf(node)["seed"] == 5
    assert segmentations[0].GetSegmentation().GetNthSegment(0).GetName() == "sphere"
    assert "2 in the scene" in shell.ui.reasonLabel.text
    assert any("Synthesis with" in item for item in hierarchyItems())
    shell.ui.undoButton.click()
    assert nodeIds() == before and hierarchyItems() == items
    assert not shell.ui.undoButton.enabled


def test_the_first_case_is_shown_alone_and_undo_shows_again_what_was_there(shell, panel, waitFor):
    import slicer

    composite = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSliceCompositeNode")
    own = blob(name="patient")
    tissueOf(own, "own mask")
    tissueOf(own, "hidden mask").SetDisplayVisibility(False)
    composite.SetBackgroundVolumeID(own.GetID())
    composite.SetForegroundVolumeID(own.GetID())
    composite.SetForegroundOpacity(0.3)
    choose(panel.ui.modelSelector, "vae")
    panel.ui.countSpinBox.value = 3
    finish(shell, waitFor)
    result = shell.jobs.undoStack.last
    first, segmentation = result.volumes[0], result.segmentations[0]
    assert len(result.segmentations) == 3 and visible() == [segmentation.GetName()]
    assert segmentation.GetDisplayNode().GetOpacity2DFill() < 0.5
    assert composite.GetBackgroundVolumeID() == first.GetID() and composite.GetForegroundVolumeID() is None
    # The next result takes its place, and gives it back.
    finish(shell, waitFor)
    assert visible() == [shell.jobs.undoStack.last.segmentations[0].GetName()] != [segmentation.GetName()]
    shell.ui.undoButton.click()
    assert visible() == [segmentation.GetName()] and composite.GetBackgroundVolumeID() == first.GetID()
    shell.ui.undoButton.click()
    assert visible() == ["own mask"] and composite.GetBackgroundVolumeID() == own.GetID()
    assert composite.GetForegroundVolumeID() == own.GetID() and composite.GetForegroundOpacity() == 0.3


def test_a_result_does_not_change_the_views_under_other_work(shell, panel, waitFor):
    import slicer

    composite = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSliceCompositeNode")
    own = blob(name="patient")
    tissueOf(own, "own mask")
    composite.SetBackgroundVolumeID(own.GetID())
    choose(panel.ui.modelSelector, "vae")
    shell.ui.applyButton.click()
    shell.exit()
    waitFor(lambda: not shell.jobs.busy)
    result = shell.jobs.undoStack.last
    assert visible() == ["own mask"] and composite.GetBackgroundVolumeID() == own.GetID()
    shell.enter()
    assert visible() == [result.segmentations[0].GetName()]
    assert composite.GetBackgroundVolumeID() == result.volumes[0].GetID()
    # What was removed before it could be shown is no problem.
    shell.ui.applyButton.click()
    shell.exit()
    waitFor(lambda: not shell.jobs.busy)
    shell.jobs.undoLast()
    shell.enter()
    assert visible() == [result.segmentations[0].GetName()]


def test_the_same_seed_gives_the_same_case_and_later_edits_do_not_reach_a_job(shell, panel, waitFor):
    import slicer

    choose(panel.ui.modelSelector, "vae")
    arrays = []
    for _ in range(2):
        panel.ui.seedSpinBox.value = 3
        shell.ui.applyButton.click()
        panel.ui.seedSpinBox.value = 4
        waitFor(lambda: not shell.jobs.busy)
        node = slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")[-1]
        assert node.GetAttribute("GenerativeAugment.seed") == "3"
        arrays.append(slicer.util.arrayFromVolume(node).copy())
    np.testing.assert_array_equal(*arrays)


def test_a_label_map_is_asked_for_and_followed_on_its_own_voxels(shell, panel, waitFor):
    import slicer
    from GenerativeAugmentLib import exchange, hierarchy

    choose(panel.ui.modelSelector, "vae")
    assert not panel.ui.labelSelector.visible
    choose(panel.ui.modelSelector, "spade")
    assert panel.ui.labelSelector.visible
    assert "label map" in shell.ui.reasonLabel.text and not shell.ui.applyButton.enabled
    head = blob()
    wrong = tissueOf(head, "wrong", segment="liver")
    panel.ui.labelSelector.setCurrentNode(wrong)
    assert "liver" in shell.ui.reasonLabel.text and "sphere" in shell.ui.reasonLabel.text
    wrong.GetSegmentation().GetNthSegment(0).SetName("sphere")
    slicer.app.processEvents()
    assert shell.ui.applyButton.enabled, shell.ui.reasonLabel.text
    tissue = tissueOf(head, "given")
    panel.ui.labelSelector.setCurrentNode(tissue)
    finish(shell, waitFor)
    (made,) = [n for n in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode") if n is not head]
    assert exchange.sameGeometry(exchange.volumeGeometry(made), exchange.volumeGeometry(head))
    folder = hierarchy.hierarchyNode().GetItemParent(hierarchy.itemOf(made))
    assert "Synthesis with" in hierarchy.hierarchyNode().GetItemName(folder)
    assert "given" in recordOf(made)["patients"]


def test_a_label_map_of_another_field_of_view_is_refused_before_a_job(shell, panel):
    choose(panel.ui.modelSelector, "spade")
    panel.ui.labelSelector.setCurrentNode(tissueOf(blob(size=24)))
    assert not shell.ui.applyButton.enabled
    assert "field of view" in shell.ui.reasonLabel.text and "mm" in shell.ui.reasonLabel.text


def test_results_are_kept_where_the_user_wants_them(shell, panel, waitFor, tmp_path):
    choose(panel.ui.modelSelector, "vae")
    assert panel.ui.outputFolderEdit.currentPath == ""
    panel.ui.outputFolderEdit.currentPath = str(tmp_path)
    finish(shell, waitFor)
    (folder,) = tmp_path.iterdir()
    assert (folder / "cohort.json").is_file()


def test_a_model_is_told_how_to_draw_as_far_as_it_has_a_use_for_it(shell, panel, waitFor):
    """A vae has noise with a middle and learns nothing of guidance; a translator has neither."""
    import slicer

    choose(panel.ui.modelSelector, "vae")
    assert panel.ui.truncationSpinBox.enabled and not panel.ui.guidanceSpinBox.enabled
    assert not panel.ui.stepsSpinBox.enabled
    panel.ui.truncationSpinBox.value = 0.5
    finish(shell, waitFor)
    (made,) = slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
    assert recordOf(made)["parameters"]["sampler"]["truncation"] == 0.5


def test_what_was_set_for_another_model_is_forgotten(shell, panel, models):
    declare(models, "spade", sampler="ddim", kind="denoiser", drop=0.1)
    shell.services.modelsChanged()
    choose(panel.ui.modelSelector, "vae")
    panel.ui.truncationSpinBox.value = 0.5
    choose(panel.ui.modelSelector, "spade")
    assert panel.ui.guidanceSpinBox.enabled and not panel.ui.truncationSpinBox.enabled
    assert panel.ui.truncationSpinBox.value == 0 and panel.parameters.truncation == 0
    panel.ui.stepsSpinBox.value = 200
    choose(panel.ui.modelSelector, "vae")
    assert not panel.ui.stepsSpinBox.enabled and panel.parameters.steps == 0


def test_no_value_is_asked_for_that_is_not_shown(shell, panel, models):
    from genaug.covariates import Covariate

    def has(model, **covariate):
        declare(models, model, task="synthesis", covariates=[Covariate(**covariate).model_dump(mode="json")])

    has("vae", **COVARIATES[1])
    has("spade", **{**COVARIATES[1], "high": 60.0})
    has("pix2pix", name="age", kind="class", levels=["old", "young"])
    shell.services.modelsChanged()

    def shown(model):
        choose(panel.ui.modelSelector, model)
        return panel.conditions.rows[-1].widget

    shown("vae").value = 75
    # Another model has the same covariate in a smaller range, a third one in words.
    assert shown("spade").text == "As a training case" and panel.parameters.conditions["age"] == ""
    choose(shown("pix2pix"), "old")
    assert shown("vae").text == "As a training case" and panel.parameters.conditions["age"] == ""
    shown("vae").value = 80
    assert shown("vae").value == 80 and panel.parameters.conditions["age"] == "80.0"
    assert shown("pix2pix").currentText == "As a training case" and panel.parameters.conditions["age"] == ""


def test_without_a_model_the_panel_says_what_to_do(moduleWidget, scene, tmp_path):
    from GenerativeAugmentLib.catalogue import Catalogue

    shell = moduleWidget().shell
    shell.services.catalogue = Catalogue([tmp_path / "none", tmp_path / "mine"], {})
    shell.selectPanel("synthesize")
    assert "Models panel" in shell.ui.reasonLabel.text and not shell.ui.applyButton.enabled


COVARIATES = [
    {"name": "sex", "kind": "class", "levels": ["F", "M"]},
    {"name": "age", "kind": "number", "low": 20.0, "high": 80.0, "mean": 50.0, "deviation": 10.0},
    {"name": "report", "kind": "text", "encoder": "0" * 64, "width": 8},
]


def declare(models, name, task=None, sampler=None, kind=None, drop=None, **roles):
    """Have a package declare more conditions than it has."""
    path = models / name / "configs" / "genaug.json"
    info = json.loads(path.read_text())
    info["roles"].update(roles)
    info["recipe"]["task"] = task or info["recipe"]["task"]
    info["recipe"]["sampler"]["name"] = sampler or info["recipe"]["sampler"]["name"]
    for stage in info["recipe"]["stages"].values():
        stage["network"]["kind"] = kind or stage["network"]["kind"]
        stage["training"]["drop_condition"] = drop or stage["training"]["drop_condition"]
    path.write_text(json.dumps(info))


def test_a_form_has_a_row_for_each_covariate_and_the_job_says_what_was_chosen(shell, panel, models, tmp_path):
    import qt
    from genaug.covariates import Covariate
    from genaug.parameters import SynthesisParameters

    rows = panel.ui.conditionsLayout.rowCount()
    declare(models, "vae", covariates=[Covariate(**one).model_dump(mode="json") for one in COVARIATES])
    shell.services.modelsChanged()
    choose(panel.ui.modelSelector, "vae")
    sex, age, report = [control.widget for control in panel.conditions.rows]
    assert not panel.ui.labelSelector.visible and panel.ui.conditionsLayout.rowCount() == rows + 3
    fields = [panel.ui.conditionsLayout.itemAt(row, qt.QFormLayout.FieldRole) for row in range(rows + 3)]
    places = [next(row for row, field in enumerate(fields) if field and field.widget() is each) for each in (sex, age)]
    assert places == [4, 5], "in the order in which the model declares them"
    assert all(widget.toolTip for widget in (sex, age, report)) and "20 to 80" in age.toolTip
    assert sex.currentText == age.text == "As a training case" and panel.ui.textEncoderEdit.visible
    chain = [panel.ui.modelSelector]
    while chain[-1] is not panel.ui.seedSpinBox:
        chain.append(chain[-1].nextInFocusChain())
    order = [chain.index(one) for one in (sex, age, report, panel.ui.countSpinBox)]
    assert order == sorted(order), "Tab goes through the form as it is read"
    assert "conditions" not in panel.apply().job.parameters
    choose(sex, "M")
    age.value = 64.5
    report.setText("a small lesion")
    report.textEdited.emit("a small lesion")
    assert "text encoder" in shell.ui.reasonLabel.text and not shell.ui.applyButton.enabled
    panel.ui.textEncoderEdit.currentPath = str(tmp_path)
    assert shell.ui.applyButton.enabled, shell.ui.reasonLabel.text
    told = panel.apply().job.parameters
    assert told["conditions"] == {"sex": "M", "age": 64.5, "report": "a small lesion"}
    assert SynthesisParameters.model_validate(told).conditions == told["conditions"]
    choose(sex, "")
    age.value = age.minimum
    assert panel.apply().job.parameters["conditions"] == {"report": "a small lesion"}
    panel.parameters.conditions["age"] = "30.0"
    assert age.value == 30.0
    choose(panel.ui.modelSelector, "spade")
    assert panel.ui.conditionsLayout.rowCount() == rows and not panel.ui.textEncoderEdit.visible
    assert panel.ui.labelSelector.visible


def test_a_value_that_a_covariate_cannot_have_is_refused(panel, models, shell):
    from GenerativeAugmentLib.errors import JobError

    sex = {"name": "sex", "kind": "class", "levels": ["F", "M"], "low": 0.0, "high": 0.0}
    declare(models, "vae", covariates=[sex, {**sex, "name": "age", "kind": "number", "levels": []}])
    shell.services.modelsChanged()
    choose(panel.ui.modelSelector, "vae")
    for name, value, named in (("sex", "X", "F, M"), ("age", "old", "a number"), ("age", "nan", "a number")):
        with pytest.raises(JobError, match=named):
            logicJob(panel, {name: value})


def logicJob(panel, conditions):
    """The job as a script would ask for it."""
    from GenerativeAugmentLib.jobBuilders import synthesizeJob
    from GenerativeAugmentLib.parameters import SynthesizeParameters

    entry = panel.services.catalogue.entry("vae")
    return synthesizeJob(SynthesizeParameters(model="vae", conditions=conditions), entry)


def test_a_model_that_fills_a_label_map_asks_for_the_image(shell, panel, models):
    from genaug.readers import read_cohort
    from GenerativeAugmentLib import exchange

    declare(models, "spade", task="infill", hole=True)
    shell.services.modelsChanged()
    choose(panel.ui.modelSelector, "spade")
    assert panel.ui.imageSelector.visible and panel.ui.labelSelector.visible
    head = blob()
    panel.ui.labelSelector.setCurrentNode(tissueOf(head, "hole"))
    assert "image" in shell.ui.reasonLabel.text and not shell.ui.applyButton.enabled
    panel.ui.imageSelector.setCurrentNode(head)
    planned = written(panel.apply())
    (case,) = read_cohort(planned.job.inputs["labels"]).cases
    assert list(case.images) == ["A"] and case.label_map().array.max() == 1
    assert exchange.sameGeometry(planned.promise.referenceGeometry, exchange.volumeGeometry(head))
