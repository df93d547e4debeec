"""The console: its documented examples are run, each on a scene of its own; and the module's self test."""

import doctest
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from panelKit import Heartbeat, blob, tissueOf

MODULE = Path(__file__).parents[2] / "GenerativeAugment"


@pytest.fixture
def logic(models, moduleWidget, warmWorker):
    widget = moduleWidget()
    warmWorker.lend(widget.logic.jobs.runner)
    yield widget.logic
    warmWorker.takeBack(widget.logic.jobs.runner)


def examples():
    """Names of what has an example, found without importing the application."""
    source = (MODULE / "GenerativeAugmentLib" / "console.py").read_text()
    parts = source.split("\n    def ")
    names = [part.partition("(")[0] for part in parts[1:] if ">>> " in part]
    return ["Console", *names]


@pytest.mark.parametrize("name", examples())
def test_the_examples_of_the_documentation_work(logic, tmp_path, trained, name):
    from GenerativeAugmentLib.console import Console

    documented = Console if name == "Console" else getattr(Console, name)
    volume = blob(32, spacing=(1, 1, 1)) if name == "insertLesions" else blob(32)
    names = {
        "logic": logic,
        "volumeNode": volume,
        "tissueNode": tissueOf(volume),
        "workFolder": tmp_path,
        "cohortFolder": trained / ("large" if name == "trainModel" else "cohort"),
        "trainedFolder": trained,
    }
    (example,) = doctest.DocTestFinder(recurse=False).find(documented, name, globs=names)
    said = []
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    results = runner.run(example, out=said.append)
    assert results.attempted > 0 and results.failed == 0, "".join(said)


def test_lesions_at_points_are_made_again_from_their_record(logic, scene, tmp_path):
    """By the command line, in a process that has never seen the scene: the same voxels, bit for bit."""
    host = blob(32, spacing=(1, 1, 1))
    points = scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode")
    places = [(11.0, 16.0, 16.0), (21.0, 16.0, 16.0)]
    for place in places:
        points.AddControlPoint(*place)
    options = {"diameter": (3, 4), "margin": 0.0, "seed": 3, "outputFolder": tmp_path / "kept"}
    volume, _lesions = logic.insertLesions(host, tissueOf(host), pointsNode=points, **options)
    record = Path(volume.GetAttribute("GenerativeAugment.record"))
    told = json.loads(record.read_text())
    assert [tuple(place) for place in told["parameters"]["at"]] == places
    run = "from genaug.cli import main; main()"
    command = [sys.executable, "-c", run, "replay", str(record.parent), "--json"]
    environment = {**os.environ, "PYTHONPATH": str(MODULE)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)["summary"]["same"]


def test_a_job_of_the_console_leaves_the_defaults_alone(logic, scene):
    from GenerativeAugmentLib.parameters import LesionsParameters

    head = blob(24, spacing=(1, 1, 1))
    logic.insertLesions(head, tissueOf(head), diameter=(4, 6), waitForCompletion=False)
    asked = logic.jobs.current.job.parameters["diameter_mm"]
    logic.cancel()
    usual = LesionsParameters().diameter
    assert asked == [4, 6] and (usual.minimum, usual.maximum) == (8, 20)


def test_every_public_job_has_an_example(slicerHost):
    from GenerativeAugmentLib.console import Console

    without = {"models", "cancel", "undoLast", "shutdown"}
    public = {name for name in vars(Console) if not name.startswith("_") and callable(getattr(Console, name))}
    assert public - without == set(examples()) - {"Console"}


def test_a_console_job_shows_in_the_panel_and_an_error_is_raised(logic, waitFor):
    import slicer
    from GenerativeAugmentLib.errors import JobError

    shell = slicer.modules.GenerativeAugmentWidget.shell
    jobId = logic.synthesize("vae", waitForCompletion=False)
    assert shell.ui.applyButton.text == "Cancel"
    assert logic.outcome(jobId).imported.volumes
    assert shell.ui.applyButton.text == "Apply" and shell.ui.undoButton.enabled
    with pytest.raises(JobError) as raised:
        logic.translate(blob(8), "pix2pix")
    assert raised.value.reason == "field_of_view"
    with pytest.raises(JobError) as raised:
        logic.synthesize("no such model")
    assert "vae" in raised.value.expected


def test_a_failed_step_before_a_job_is_its_cause(logic, trained):
    import slicer
    from GenerativeAugmentLib.errors import JobError

    head = blob(32, spacing=(1, 1, 1))
    weights = next((trained / "packages" / "vae" / "models").iterdir())
    folder = logic.catalogue.entry("vae").folder
    (folder / "models" / weights.name).write_bytes(b"damaged")
    before = slicer.mrmlScene.GetNumberOfNodes()
    tissue = tissueOf(head)
    with pytest.raises(JobError) as raised:
        logic.insertLesions(head, tissue, model="vae")
    assert raised.value.reason == "bad_package", raised.value.message
    assert slicer.mrmlScene.GetNumberOfNodes() > before
    assert logic.undoLast() is None


def test_the_self_test_of_the_module_passes(logic):
    from GenerativeAugment import GenerativeAugmentTest

    GenerativeAugmentTest().runTest()


def test_a_cohort_is_written_while_the_window_goes_on_and_a_split_of_too_few_is_refused(logic, tmp_path):
    from GenerativeAugmentLib.cohorts import SceneCase
    from GenerativeAugmentLib.errors import JobError

    large = blob(192)
    case = SceneCase("patient", "case", {"A": large}, tissueOf(large))
    heart = Heartbeat()
    heart.restart()
    logic.cohortFromScene([case], tmp_path / "large", fileFormat="nii.gz")
    heart.stop()
    print(f"longest time between two beats while a cohort is written: {1000 * heart.longest:.0f} ms")
    assert heart.longest < 0.1
    with pytest.raises(JobError) as raised:
        logic.cohortFromScene([case], tmp_path / "divided", testShare=20)
    assert raised.value.reason == "empty_cohort" and not (tmp_path / "divided").exists()


@pytest.mark.parametrize(
    ("call", "found"),
    [
        (lambda logic, volume: logic.translate([volume] * 4, "pix2pix"), "4 volumes"),
        (lambda logic, volume: logic.translate(volume, "pix2pix", modality="PET"), '"PET"'),
        (lambda logic, volume: logic.insertLesions(volume, None, shape="round"), '"round"'),
        (lambda logic, volume: logic.insertLesions(volume, None, contrastUnit="HU"), '"HU"'),
        (lambda logic, volume: logic.fingerprint("cohort", "segmentation"), '"segmentation"'),
        (lambda logic, volume: logic.exportCohort("export", layout="bids"), '"bids"'),
    ],
)
def test_what_is_no_choice_is_refused_with_the_choices(logic, call, found):
    from GenerativeAugmentLib.errors import JobError

    with pytest.raises(JobError) as raised:
        call(logic, blob(16))
    assert raised.value.reason == "bad_parameter" and raised.value.found == found


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda logic, volume: logic.synthesize("vae", count=0), r"count: .*within \[1, 1000\]"),
        (lambda logic, volume: logic.synthesize("vae", count="2"), "count: .*'2'"),
        (lambda logic, volume: logic.translate("head", "pix2pix"), "volumeNode: .*'head'"),
        (lambda logic, volume: logic.translate(volume, "pix2pix", overlap=1.0), "overlap: "),
        (lambda logic, volume: logic.insertLesions(volume, volume), "tissueNode: "),
        (lambda logic, volume: logic.insertLesions(volume, tissueOf(volume), "white"), '"sphere" \\(sphere\\)'),
        (lambda logic, volume: logic.insertLesions(volume, labelsOf(volume), "white"), "one of 3"),
        (lambda logic, volume: logic.insertLesions(volume, None, diameter=5), "diameter: "),
        (lambda logic, volume: logic.insertLesions(volume, None, diameter=(9, 4)), "diameter: found 9, 4.*Swap"),
        (lambda logic, volume: logic.trainModel("cohort", "vae", "models", iterations=-1), "iterations: "),
        (lambda logic, volume: logic.exportCohort("export", fileFormat="nii"), "fileFormat: .*nii.gz"),
    ],
)
def test_a_wrong_argument_is_named(logic, call, named):
    from GenerativeAugmentLib.errors import JobError

    with pytest.raises(JobError, match=named) as raised:
        call(logic, blob(16))
    assert raised.value.reason in ("bad_parameter", "wrong_labels") and not logic.jobs.busy


@pytest.mark.parametrize(
    ("call", "argument"),
    [
        (lambda logic, volume: logic.synthesize("vae", conditions={"Age": 60}), "conditions"),
        (lambda logic, volume: logic.synthesize("vae", labelNode=tissueOf(volume)), "labelNode"),
        (lambda logic, volume: logic.synthesize("spade", imageNode=volume), "imageNode"),
        (lambda logic, volume: logic.trainModel("cohort", "vae", "models", covariates=["age"]), "covariates"),
        (lambda logic, volume: logic.trainModel("cohort", "vae", "models", sourceChannels=["T1"]), "sourceChannels"),
        (lambda logic, volume: logic.trainModel("cohort", "vae", "models", text="report"), "text"),
    ],
)
def test_an_argument_that_would_be_ignored_is_refused(logic, call, argument):
    from GenerativeAugmentLib.errors import JobError

    with pytest.raises(JobError) as raised:
        call(logic, blob(16))
    assert raised.value.subject == argument and not logic.jobs.busy


def labelsOf(volumeNode):
    """A label map of the bright part, with the value 3."""
    import slicer

    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "labels")
    slicer.util.updateVolumeFromArray(node, 3 * (slicer.util.arrayFromVolume(volumeNode) > 100).astype("uint8"))
    node.CopyOrientation(volumeNode)
    return node


def test_a_label_may_be_a_number_and_one_name_may_stand_for_a_list(logic, trained, tmp_path):
    volume = blob(32, spacing=(1, 1, 1))
    made, _lesions = logic.insertLesions(volume, labelsOf(volume), 3, diameter=(4, 6), outputFolder=None)
    assert made.GetName()
    exported = logic.exportCohort(tmp_path / "export", synthetic=str(trained / "cohort"))
    assert exported["counts"]


def test_a_case_is_made_of_nodes(scene):
    from GenerativeAugmentLib.cohorts import SceneCase
    from GenerativeAugmentLib.errors import JobError

    for images, label in (({"T1": None}, None), ({"T1": "head"}, None), ({"T1": blob(8)}, "tissue")):
        with pytest.raises(JobError, match=r"patient-1-a .*a node of the scene"):
            SceneCase("patient-1", "patient-1-a", images, label)


def test_nothing_keeps_the_jobs_of_a_module_that_was_reloaded(logic):
    import gc
    import weakref

    import slicer

    logic.jobs._watchScene()
    former = weakref.ref(logic.jobs)
    logic.jobs.shutdown()
    watching = [one for one in gc.get_referrers(former()) if getattr(one, "__name__", "") in ("shutdown", "_stopAll")]
    assert not watching
    logic.jobs._watchScene()
    slicer.app.aboutToQuit.emit()
    assert not logic.jobs.busy


def test_a_channel_that_is_missing_is_none(logic):
    node = blob(32)
    assert logic.translate([None, node], "mm-gan").GetName()
