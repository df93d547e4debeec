"""The Review panel, by its widgets and its keys."""

import json
import shutil

import numpy as np
import pytest
from panelKit import blob, tissueOf, visible


@pytest.fixture
def panel(moduleWidget):
    """The panel in the opened module, and its shell."""
    widget = moduleWidget()
    widget.shell.selectPanel("review")
    yield widget.shell.panel, widget.shell
    widget.logic.shutdown()


@pytest.fixture
def cohort(slicerHost, scene, tmp_path):
    """A copy of the sample cases without any review."""
    return sample("REVIEW", tmp_path / "review")


def sample(name, folder):
    from GenerativeAugmentLib import sampleData

    shutil.copytree(sampleData.sampleFolder(getattr(sampleData, name)), folder)
    for log in folder.glob("*.jsonl"):
        log.unlink()
    return folder


def openQueue(panel, cohort, reviewer="AB"):
    panel.ui.cohortFolderEdit.currentPath = str(cohort)
    panel.ui.reviewerEdit.text = reviewer
    panel.ui.openButton.click()


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def volumes():
    import slicer

    return slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")


def paint(panel, value=1):
    """Add a cube to a segment, as an effect of the segment editor would."""
    import slicer

    segmentation, volume = panel.viewer.segmentation, panel.viewer.volume
    voxels = slicer.util.arrayFromSegmentBinaryLabelmap(segmentation, f"Segment_{value}", volume)
    voxels[2:6, 2:6, 2:6] = 1
    slicer.util.updateSegmentBinaryLabelmapFromArray(voxels, segmentation, f"Segment_{value}", volume)


def discard(panel):
    """Twice, for it cannot be undone."""
    panel.ui.discardButton.click()
    assert panel.viewer.maskChanged
    panel.ui.discardButton.click()


def test_a_review_goes_through_the_cases_and_resumes_where_it_stopped(panel, cohort):
    import slicer

    panel, shell = panel
    assert not shell.ui.applyButton.enabled
    panel.ui.openButton.click()
    assert "Choose the folder" in shell.ui.reasonLabel.text
    openQueue(panel, cohort, "")
    assert "name or initials" in shell.ui.reasonLabel.text
    openQueue(panel, cohort)
    assert "Case 1 of 4: subject-000, not reviewed, original mask" in panel.ui.caseLabel.text
    assert [node.GetName() for node in volumes()] == ["subject-000 (synthetic)"]
    segmentation = panel.viewer.segmentation.GetSegmentation()
    names = [segmentation.GetNthSegment(index).GetName() for index in range(3)]
    assert names == ["cerebrospinal fluid", "grey matter", "white matter"]
    composite = slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")
    assert all(node.GetBackgroundVolumeID() == panel.viewer.volume.GetID() for node in composite)

    panel.ui.acceptButton.click()
    assert "Case 2 of 4" in panel.ui.caseLabel.text and "1 accepted, 3 not reviewed" in panel.ui.countsLabel.text
    panel.ui.reasonSelector.currentIndex = panel.ui.reasonSelector.findData("artifact")
    panel.ui.difficultySelector.currentIndex = panel.ui.difficultySelector.findData(4)
    panel.ui.commentEdit.text = "ringing"
    panel.ui.rejectButton.click()
    said = lines(cohort / "reviews.jsonl")
    assert [line["decision"] for line in said] == ["accepted", "rejected"]
    assert (said[1]["reason"], said[1]["comment"], said[1]["difficulty"]) == ("artifact", "ringing", 4)
    # What was said about one case is not said about the next, and comes back with its own.
    assert panel.ui.commentEdit.text == "" and panel.ui.reasonSelector.currentData == ""
    panel.ui.previousButton.click()
    assert panel.ui.commentEdit.text == "ringing" and panel.ui.difficultySelector.currentData == 4
    assert [node.GetName() for node in volumes()] == ["subject-001 (synthetic)"]

    # Another name is another queue; the first one goes on where it stopped.
    openQueue(panel, cohort, "CD")
    assert "Case 1 of 4" in panel.ui.caseLabel.text
    panel.ui.needsEditButton.click()
    panel.ui.acceptButton.click()
    assert "2 cases" in panel.ui.agreementLabel.text and "They differ about" in panel.ui.agreementLabel.text
    openQueue(panel, cohort)
    assert "Case 3 of 4" in panel.ui.caseLabel.text
    panel.ui.acceptButton.click()
    panel.ui.acceptButton.click()
    assert "every case" in shell.ui.reasonLabel.text and "3 accepted, 1 rejected" in panel.ui.countsLabel.text
    assert not any(node.GetSaveWithScene() for node in volumes())


def test_a_case_has_the_views_to_itself_until_the_review_is_left(panel, cohort):
    import slicer

    panel, shell = panel
    composite = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSliceCompositeNode")
    own = blob(name="patient")
    tissueOf(own, "own mask")
    tissueOf(own, "hidden mask").SetDisplayVisibility(False)
    composite.SetBackgroundVolumeID(own.GetID())
    openQueue(panel, cohort)
    panel.ui.acceptButton.click()
    assert visible() == ["subject-001 (synthetic) mask"]
    for leave, comeBack in (
        (lambda: shell.selectPanel("models"), lambda: shell.selectPanel("review")),
        (shell.exit, shell.enter),
    ):
        leave()
        assert visible() == ["own mask"] and composite.GetBackgroundVolumeID() == own.GetID()
        comeBack()
        assert visible() == ["subject-001 (synthetic) mask"]
        assert composite.GetBackgroundVolumeID() == panel.viewer.volume.GetID()
    # Another reviewer's queue is another one.
    panel.ui.reviewerEdit.text = "CD"
    assert panel.queue is None
    assert visible() == ["own mask"] and composite.GetBackgroundVolumeID() == own.GetID()


def test_every_key_does_what_its_button_says(panel, cohort, waitFor):
    from PySide6 import QtTest
    from PySide6.QtCore import Qt

    panel, _shell = panel
    openQueue(panel, cohort)
    panel.widget.window().activateWindow()
    assert QtTest.QTest.qWaitForWindowActive(panel.widget.window())
    panel.ui.acceptButton.setFocus()

    def press(key):
        QtTest.QTest.keyClick(panel.ui.acceptButton, key)

    press(Qt.Key_N)
    waitFor(lambda: "Case 2 of 4" in panel.ui.caseLabel.text)
    press(Qt.Key_P)
    waitFor(lambda: "Case 1 of 4" in panel.ui.caseLabel.text)
    log = cohort / "reviews.jsonl"
    for key, decision in ((Qt.Key_A, "accepted"), (Qt.Key_X, "rejected"), (Qt.Key_E, "needs_edit")):
        press(key)
        waitFor(lambda decision=decision: log.exists() and lines(log)[-1]["decision"] == decision)
    # A key is text where text is entered.
    panel.ui.commentEdit.setFocus()
    QtTest.QTest.keyClicks(panel.ui.commentEdit, "axe")
    assert panel.ui.commentEdit.text == "axe" and len(lines(log)) == 3
    for name in ("accept", "reject", "needsEdit", "next", "previous", "store", "discard", "edit", "real", "synthetic"):
        button = getattr(panel.ui, f"{name}Button")
        assert button.text.endswith(f"({button.shortcut.toString()})")


def test_a_key_that_is_meant_for_the_editor_stores_no_decision(panel, cohort, waitFor, slicerHost):
    from PySide6 import QtTest
    from PySide6.QtCore import Qt

    panel, _shell = panel
    openQueue(panel, cohort)
    panel.widget.window().activateWindow()
    assert QtTest.QTest.qWaitForWindowActive(panel.widget.window())
    decisions = (panel.ui.acceptButton, panel.ui.rejectButton, panel.ui.needsEditButton)
    log = cohort / "reviews.jsonl"

    def pressAll():
        panel.ui.nextButton.setFocus()
        # Draw applies its outline with A, and takes its last point back with X.
        for key in (Qt.Key_A, Qt.Key_X, Qt.Key_E):
            QtTest.QTest.keyClick(panel.ui.nextButton, key)
        slicerHost.processEvents()

    panel.ui.editButton.checked = True
    pressAll()
    assert not log.exists() and not any(button.enabled for button in decisions)
    # Also where the mask is another already.
    paint(panel)
    panel.ui.editButton.checked = False
    panel.ui.editButton.checked = True
    pressAll()
    assert not log.exists() and panel.ui.storeButton.enabled
    panel.ui.storeButton.click()
    stored = lines(log)
    pressAll()
    assert lines(log) == stored
    panel.ui.editButton.checked = False
    assert all(button.enabled for button in decisions)
    pressAll()
    waitFor(lambda: lines(log) != stored)


def test_a_corrected_mask_is_a_new_version_that_the_worker_takes(panel, cohort):
    from genaug.cohort import Cohort
    from genaug.imageio import read_volume
    from genaug.review import corrected_mask, decisions_about, read_reviews
    from GenerativeAugmentLib import exchange

    panel, shell = panel
    openQueue(panel, cohort)
    case = panel.queue.current
    before = read_volume(case.label).array
    assert not panel.ui.storeButton.enabled
    panel.ui.editButton.click()
    assert panel._editor.visible and panel._editor.segmentationNode() is panel.viewer.segmentation
    assert not panel.viewer.maskChanged
    paint(panel)
    assert panel.ui.storeButton.enabled and panel.ui.discardButton.enabled
    # What was drawn is not lost by going on.
    panel.ui.nextButton.click()
    panel.ui.acceptButton.click()
    assert "store it (S)" in shell.ui.reasonLabel.text and "Case 1 of 4" in panel.ui.caseLabel.text
    discard(panel)
    assert not panel.viewer.maskChanged and not panel.ui.editButton.checked
    assert not (cohort / "reviews.jsonl").exists()

    paint(panel)
    panel.ui.storeButton.click()
    assert "version 1" in shell.ui.reasonLabel.text and "corrected mask, version 1" in panel.ui.caseLabel.text
    assert not panel.ui.storeButton.enabled
    panel.ui.acceptButton.click()
    log = cohort / "reviews.jsonl"
    review = decisions_about(read_reviews(log), Cohort.read(cohort)[case.id])[-1]
    assert (review.decision, review.mask_version) == ("accepted", 1)
    after = read_volume(corrected_mask(log, review))
    assert exchange.sameGeometry(exchange.fileGeometry(corrected_mask(log, review)), _geometry(case.label))
    changed = np.argwhere(after.array != before)
    assert changed.min() == 2 and changed.max() == 5 and set(np.unique(after.array)) == {0, 1, 2, 3}
    # The case comes back with the mask that stands.
    panel.ui.previousButton.click()
    panel.ui.editButton.click()
    paint(panel, 2)
    panel.ui.storeButton.click()
    assert panel.queue.maskVersion(case.id) == 2


def test_another_name_or_cohort_takes_no_changed_mask_away(panel, cohort, tmp_path):
    panel, shell = panel
    openQueue(panel, cohort)
    paint(panel)
    mask = panel.viewer.segmentation
    for change in (
        lambda: setattr(panel.ui.reviewerEdit, "text", "ABC"),
        lambda: setattr(panel.ui.cohortFolderEdit, "currentPath", str(tmp_path)),
        lambda: panel.ui.sampleButton.click(),
    ):
        change()
        assert panel.viewer.segmentation is mask and panel.viewer.maskChanged and panel.queue is not None
        assert panel.ui.reviewerEdit.text == "AB" and panel.ui.cohortFolderEdit.currentPath == str(cohort)
        assert "store it (S)" in shell.ui.reasonLabel.text
        shell.showStatus("")
    discard(panel)
    panel.ui.reviewerEdit.text = "ABC"
    assert panel.queue is None and panel.viewer.segmentation is None


def test_a_changed_mask_outlives_the_scene_and_is_taken_up_by_the_next_review(panel, cohort):
    import slicer

    panel, shell = panel
    openQueue(panel, cohort)
    panel.ui.acceptButton.click()
    case = panel.queue.current.id
    panel.ui.editButton.click()
    paint(panel)
    # Not even a segment that could not be stored is lost.
    panel.viewer.segmentation.GetSegmentation().AddEmptySegment("new", "tumor")
    draft = panel.queue.draft(case)
    slicer.mrmlScene.Clear(0)
    assert draft.is_file() and str(draft) in shell.ui.reasonLabel.text and str(draft) in shell.ui.logText.plainText
    assert len(lines(cohort / "reviews.jsonl")) == 1 and panel.queue is None

    # It is nobody else's, and no version yet.
    shell.selectPanel("review")
    openQueue(panel, cohort, "CD")
    assert not panel.viewer.maskChanged and "original mask" in panel.ui.caseLabel.text
    before = panel.viewer.segmentation.GetSegmentation().GetNumberOfSegments()
    openQueue(panel, cohort)
    segmentation = panel.viewer.segmentation.GetSegmentation()
    assert panel.queue.current.id == case and "not stored" in shell.ui.reasonLabel.text
    assert panel.viewer.maskChanged and panel.ui.storeButton.enabled and panel.ui.discardButton.enabled
    assert segmentation.GetNumberOfSegments() == before + 1 and segmentation.GetSegment("new").GetName() == "tumor"
    voxels = slicer.util.arrayFromSegmentBinaryLabelmap(panel.viewer.segmentation, "Segment_1", panel.viewer.volume)
    assert voxels[2:6, 2:6, 2:6].all()
    panel.ui.storeButton.click()
    assert draft.is_file(), "the segment of another name was refused"
    segmentation.RemoveSegment("new")
    panel.ui.storeButton.click()
    assert panel.queue.maskVersion(case) == 1 and not draft.exists() and not panel.viewer.maskChanged


def test_a_change_that_was_left_can_be_discarded_and_a_broken_one_is_named(panel, cohort):
    import slicer

    panel, shell = panel
    openQueue(panel, cohort)
    paint(panel)
    draft = panel.queue.draft(panel.queue.current.id)
    slicer.mrmlScene.Clear(0)
    whole = draft.read_bytes()
    shell.selectPanel("review")
    openQueue(panel, cohort)
    assert panel.viewer.maskChanged
    discard(panel)
    assert not draft.exists() and not panel.viewer.maskChanged and shell.ui.reasonLabel.text.startswith("Decisions")
    for content in (b"", b"NRRD", whole[: len(whole) // 2], whole[:-1]):
        draft.write_bytes(content)
        openQueue(panel, cohort)
        assert str(draft) in shell.ui.reasonLabel.text and not panel.viewer.maskChanged
        assert panel.ui.acceptButton.enabled


def test_a_segment_that_is_no_label_is_refused_and_nothing_is_stored(panel, cohort):
    panel, shell = panel
    openQueue(panel, cohort)
    panel.ui.editButton.click()
    panel.viewer.segmentation.GetSegmentation().AddEmptySegment("new", "tumor")
    panel.ui.storeButton.click()
    assert "tumor" in shell.ui.reasonLabel.text and "white matter" in shell.ui.reasonLabel.text
    assert panel.viewer.maskChanged and not (cohort / "reviews.jsonl").exists()


def test_a_corrected_mask_keeps_a_large_label_value(panel, cohort):
    import slicer
    from GenerativeAugmentLib.imageFiles import readImageInto
    from GenerativeAugmentLib.labelMaps import nodeValues

    panel, _shell = panel
    openQueue(panel, cohort)
    panel.viewer.segmentation.GetSegmentation().AddEmptySegment("Segment_70000", "label 70000")
    paint(panel, 70_000)
    panel.ui.storeButton.click()
    stored = slicer.vtkMRMLLabelMapVolumeNode()
    readImageInto(panel.queue.latestMask(panel.queue.current.id), stored)
    assert panel.queue.maskVersion(panel.queue.current.id) == 1 and 70_000 in nodeValues(stored)


def test_a_mask_that_another_reviewer_corrects_meanwhile_is_seen_before_it_is_judged(panel, cohort):
    from GenerativeAugmentLib.reviewQueue import ReviewQueue

    panel, shell = panel
    openQueue(panel, cohort)
    case = panel.queue.current
    other = ReviewQueue(cohort, "CD")
    other.storeCorrectedMask(case.id, lambda path: panel.viewer.writeMask(path, {}))
    panel.ui.acceptButton.click()
    assert panel.queue.current.id == case.id and "Another reviewer" in shell.ui.reasonLabel.text
    assert len(lines(cohort / "reviews.jsonl")) == 1 and "version 1" in panel.ui.caseLabel.text
    panel.ui.acceptButton.click()
    last = lines(cohort / "reviews.jsonl")[-1]
    assert (last["reviewer"], last["decision"], last["mask_version"]) == ("AB", "accepted", 1)


def test_another_channel_is_seen_while_a_mask_is_corrected(panel, cohort):
    import SimpleITK
    import slicer

    manifest = json.loads((cohort / "cohort.json").read_text())
    manifest["channels"].update({"T2": "MR", "coarse": "MR"})
    for case in manifest["cases"]:
        image = SimpleITK.ReadImage(str(cohort / case["images"]["T1"]))
        SimpleITK.WriteImage(image * 2, str(cohort / f"{case['id']}-T2.nrrd"))
        SimpleITK.WriteImage(image[::2, ::2, ::2], str(cohort / f"{case['id']}-coarse.nrrd"))
        case["images"].update({name: f"{case['id']}-{name}.nrrd" for name in ("T2", "coarse")})
    (cohort / "cohort.json").write_text(json.dumps(manifest))
    panel, shell = panel
    openQueue(panel, cohort)
    panel.ui.editButton.click()
    paint(panel)
    panel.ui.commentEdit.text = "ringing"
    first, volume, mask = slicer.util.arrayFromVolume(panel.viewer.volume).copy(), panel.viewer.volume, voxelsOf(panel)
    selector = panel.ui.channelSelector
    selector.currentIndex = selector.findData("T2")
    assert panel.viewer.volume is volume and panel._editor.sourceVolumeNode() is volume
    np.testing.assert_allclose(slicer.util.arrayFromVolume(volume), 2 * first)
    assert panel.viewer.maskChanged and (voxelsOf(panel) == mask).all() and panel.ui.editButton.checked
    assert panel.ui.commentEdit.text == "ringing"
    # The mask of another grid would be another.
    selector.currentIndex = selector.findData("coarse")
    assert "one grid" in shell.ui.reasonLabel.text and selector.currentData == "T2"
    panel.ui.storeButton.click()
    assert panel.queue.maskVersion(panel.queue.current.id) == 1
    panel.ui.editButton.click()
    panel.ui.nextButton.click()
    assert selector.currentData == "T2" and "Case 2 of 4" in panel.ui.caseLabel.text


def voxelsOf(panel):
    """The first segment of the mask in the views."""
    import slicer

    viewer = panel.viewer
    return slicer.util.arrayFromSegmentBinaryLabelmap(viewer.segmentation, "Segment_1", viewer.volume)


def test_a_mask_of_another_reviewer_is_not_stored_over_unseen(panel, cohort):
    from GenerativeAugmentLib.reviewQueue import ReviewQueue

    panel, shell = panel
    openQueue(panel, cohort)
    case = panel.queue.current
    paint(panel)
    ReviewQueue(cohort, "CD").storeCorrectedMask(case.id, lambda path: shutil.copy(case.label, path))
    panel.ui.storeButton.click()
    assert "Another reviewer" in shell.ui.reasonLabel.text and panel.viewer.maskChanged
    assert panel.queue.maskVersion(case.id) == 1 and "version 1" in panel.ui.caseLabel.text
    panel.ui.storeButton.click()
    assert panel.queue.maskVersion(case.id) == 2 and not panel.viewer.maskChanged


def test_one_key_loses_no_drawing(panel, cohort):
    panel, shell = panel
    openQueue(panel, cohort)
    button, key = panel.ui.discardButton, panel.ui.discardButton.shortcut.toString()
    for between in (panel.ui.nextButton, panel.ui.acceptButton, panel.ui.editButton):
        paint(panel)
        button.click()
        assert "cannot be undone" in shell.ui.reasonLabel.text and button.text == "Really discard (D)"
        assert button.shortcut.toString() == key
        # Only one right after the other is meant.
        between.click()
        assert button.text == "Discard (D)" and panel.viewer.maskChanged
    # What was drawn after the question was not meant by it.
    button.click()
    paint(panel, 2)
    discard(panel)
    assert not panel.viewer.maskChanged and button.text == "Discard (D)" and not button.enabled


def test_a_segment_of_another_name_is_a_change_of_the_mask(panel, cohort):
    import slicer
    from GenerativeAugmentLib.imageFiles import readImageInto

    panel, _shell = panel
    openQueue(panel, cohort)
    panel.ui.editButton.click()
    segmentation = panel.viewer.segmentation.GetSegmentation()
    first, second = (segmentation.GetSegment(key) for key in ("Segment_1", "Segment_2"))
    first.SetColor(1.0, 0.0, 0.0)
    assert not panel.viewer.maskChanged
    # Two tissues were confused.
    names = first.GetName(), second.GetName()
    first.SetName(names[1])
    second.SetName(names[0])
    assert panel.viewer.maskChanged and panel.ui.storeButton.enabled
    before, after = slicer.vtkMRMLLabelMapVolumeNode(), slicer.vtkMRMLLabelMapVolumeNode()
    readImageInto(panel.queue.current.label, before)
    panel.ui.storeButton.click()
    readImageInto(panel.queue.latestMask(panel.queue.current.id), after)
    swapped = np.array([0, 2, 1, 3])[slicer.util.arrayFromVolume(before).astype(int)]
    assert (slicer.util.arrayFromVolume(after) == swapped).all()


def test_a_blinded_test_hides_what_a_case_is_and_ends_with_an_interval(panel, cohort, tmp_path):
    panel, shell = panel
    real = sample("COHORT", tmp_path / "real")
    manifest = json.loads((real / "cohort.json").read_text())
    for case in manifest["cases"]:
        case["origin"] = "real"
        case["id"] = case["id"].replace("subject", "patient")
    (real / "cohort.json").write_text(json.dumps(manifest))
    openQueue(panel, cohort)
    panel.ui.blindedGroupBox.collapsed = False
    panel.ui.startTestButton.click()
    assert "real cases" in shell.ui.reasonLabel.text
    panel.ui.realCohortEdit.currentPath = str(real)
    panel.ui.casesOfEachSpinBox.value = 3
    panel.ui.seedSpinBox.value = 5
    panel.ui.startTestButton.click()
    assert panel.queue is None and not panel.ui.caseGroupBox.enabled and not panel.ui.startTestButton.enabled
    windows = set()
    for number in range(1, 5):
        assert panel.ui.testLabel.text == f"Case {number} of 6"
        (node,) = volumes()
        assert node.GetName() == f"Case {number} of 6"
        assert node.GetAttribute("GenerativeAugment.synthetic") is None and panel.viewer.segmentation is None
        assert not node.GetDisplayNode().GetAutoWindowLevel()
        windows.add(round(node.GetDisplayNode().GetWindow()))
        panel.ui.confidenceSelector.currentIndex = panel.ui.confidenceSelector.findData(5)
        panel.ui.realButton.click()
    log = cohort / "blinded-AB-1.jsonl"
    text = log.read_text()
    assert "patient" not in text and "subject" not in text and len(lines(log)) == 5

    # Interrupted, it goes on where it stopped, and ends with the score.
    panel.blinded.stop()
    panel.ui.startTestButton.click()
    assert panel.ui.testLabel.text == "Case 5 of 6"
    panel.ui.syntheticButton.click()
    panel.ui.syntheticButton.click()
    assert not panel.blinded.running and not volumes()
    result = panel.ui.resultLabel.text
    last = lines(log)[-1]
    assert last["event"] == "result" and f"{last['overall']['correct']} of 6 right" in result
    assert "95% Wilson interval" in result and "confidence" in result.lower()
    # The next test has a log of its own.
    panel.ui.startTestButton.click()
    assert panel.ui.testLabel.text == "Case 1 of 6"
    panel.ui.realButton.click()
    panel.ui.finishTestButton.click()
    assert lines(cohort / "blinded-AB-2.jsonl")[-1]["event"] == "result" and "of 1 right" in panel.ui.resultLabel.text


def test_a_missing_image_cannot_be_accepted_unseen(panel, cohort):
    panel, shell = panel
    next(iter((cohort / "subject-000").glob("T1*"))).unlink()
    openQueue(panel, cohort)
    assert "T1" in shell.ui.reasonLabel.text and not panel.ui.acceptButton.enabled
    panel.ui.nextButton.click()
    assert panel.ui.acceptButton.enabled


def test_the_sample_can_be_tried_and_closing_the_scene_ends_the_review(panel):
    import slicer

    panel, _shell = panel
    panel.ui.sampleButton.click()
    panel.ui.reviewerEdit.text = "AB"
    panel.ui.openButton.click()
    assert panel.viewer.volume is not None
    panel.ui.editButton.click()
    slicer.mrmlScene.Clear()
    assert panel.queue is None and panel.ui.caseLabel.text == "" and not panel.ui.acceptButton.enabled


def _geometry(path):
    from GenerativeAugmentLib.imageFiles import imageGeometry

    return imageGeometry(path)
