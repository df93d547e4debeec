"""From frozen packs to jobs: what is written is what the worker accepts, and refusals are the worker's own."""

import json
from pathlib import Path

import numpy as np
import pytest
from panelKit import blob, tissueOf, written


@pytest.fixture
def entry(models):
    """entry(name): one of the small models."""
    import qt
    from GenerativeAugmentLib.catalogue import Catalogue

    return Catalogue([models / "none", models], qt.QSettings()).entry


def accepted(planned):
    """The planned job as the worker reads and validates it."""
    from genaug.jobs.folder import resolve
    from genaug.jobs.kinds import KINDS
    from genaug.jobs.schema import read_job

    folder = written(planned).job.write()
    return resolve(read_job(folder), folder, KINDS)


def lesions(host, tissue, **changes):
    from GenerativeAugmentLib.parameters import LesionsParameters

    segment = tissue.GetSegmentation().GetSegmentIDs()[0]
    return LesionsParameters(hostVolume=host, tissueNode=tissue, tissueSegment=segment, **changes)


def test_synthesis_is_accepted_and_promises_the_models_channels(entry):
    from GenerativeAugmentLib.jobBuilders import synthesizeJob
    from GenerativeAugmentLib.parameters import SynthesizeParameters

    planned = synthesizeJob(SynthesizeParameters(model="vae", count=3, seed=9), entry("vae"), "cpu")
    task = accepted(planned)
    assert (task.parameters.count, task.job.seed, task.job.device) == (3, 9, "cpu")
    assert planned.promise.channels == ("A",) and planned.promise.referenceGeometry is None
    assert planned.promise.labelNames == {1: "sphere"}
    own = task.parameters
    assert (own.steps, own.guidance, own.truncation) == (None, None, None)


def test_how_a_model_is_to_draw_is_passed_on(entry):
    from GenerativeAugmentLib.jobBuilders import synthesizeJob
    from GenerativeAugmentLib.parameters import SynthesizeParameters

    parameters = SynthesizeParameters(model="vae", steps=4, guidance=1.5, truncation=0.7)
    asked = accepted(synthesizeJob(parameters, entry("vae"))).parameters
    assert (asked.steps, asked.guidance, asked.truncation) == (4, 1.5, 0.7)


def test_a_followed_segmentation_gets_the_models_label_values(entry):
    from genaug.readers import read_cohort
    from GenerativeAugmentLib import exchange
    from GenerativeAugmentLib.jobBuilders import synthesizeJob
    from GenerativeAugmentLib.parameters import SynthesizeParameters

    head = blob()
    tissue = tissueOf(head, "given", segment="SPHERE")
    planned = synthesizeJob(SynthesizeParameters(model="spade", labelNode=tissue), entry("spade"))
    (case,) = read_cohort(accepted(planned).input("labels")).cases
    assert set(np.unique(case.label_map().array)) == {0, 1}
    assert case.patient == "given" and case.origin == "real"
    geometry = exchange.volumeGeometry(head)
    assert exchange.sameGeometry(planned.promise.referenceGeometry, geometry)
    np.testing.assert_allclose(case.label_map().affine, geometry[1], atol=1e-6)


def test_translation_is_accepted_and_says_whom_it_shows(entry):
    from genaug.readers import read_cohort
    from GenerativeAugmentLib.jobBuilders import translateJob
    from GenerativeAugmentLib.parameters import TranslateParameters

    head = blob(32, "a head: 1")
    planned = translateJob(TranslateParameters(model="pix2pix", firstInput=head, overlap=0.25), entry("pix2pix"))
    task = accepted(planned)
    assert task.parameters.overlap == 0.25
    (case,) = read_cohort(task.input("cohort")).cases
    assert (case.id, case.patient, case.volume("A").modality) == ("a-head-1", "a head: 1", "MR")


def test_what_was_generated_is_handed_on_as_synthetic_with_its_ancestors(entry, tmp_path):
    from genaug.readers import read_cohort
    from GenerativeAugmentLib.jobBuilders import translateJob
    from GenerativeAugmentLib.parameters import TranslateParameters

    head = blob(32)
    record = tmp_path / "r.record.json"
    record.write_text(json.dumps({"patients": ["p1", "p2"], "parents": ["c1"]}))
    head.SetAttribute("GenerativeAugment.synthetic", "true")
    head.SetAttribute("GenerativeAugment.record", str(record))
    planned = written(translateJob(TranslateParameters(model="pix2pix", firstInput=head), entry("pix2pix")))
    (case,) = read_cohort(planned.job.inputs["cohort"]).cases
    assert case.origin == "synthetic" and case.derived_from == ["p1", "p2"]


def test_insertion_is_accepted_with_every_setting(scene):
    from genaug.volume import LABEL
    from GenerativeAugmentLib.jobBuilders import lesionsJob
    from GenerativeAugmentLib.parameters import ContrastUnit, LesionShape, Placement

    host = blob(32)
    points = scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode")
    points.AddControlPoint(3.0, 4.0, 5.0)
    points.AddControlPoint(6.0, 7.0, 8.0)
    changes = {"shape": LesionShape.SPICULATED, "contrastUnit": ContrastUnit.FRACTION, "count": 7, "margin": 3.0}
    parameters = lesions(host, tissueOf(host), placement=Placement.POINTS, points=points, allowOutside=True, **changes)
    planned = lesionsJob(parameters)
    task = accepted(planned)
    assert task.parameters.at == ((3.0, 4.0, 5.0), (6.0, 7.0, 8.0)) and task.parameters.count == 2
    assert (task.parameters.source.shape, task.parameters.contrast_unit) == ("spiculated", "fraction")
    assert task.parameters.allow_outside and task.parameters.margin_mm == 3.0
    from genaug.imageio import read_volume

    assert read_volume(task.input("tissue"), LABEL).array.max() == 1
    assert planned.context == {"host": host.GetID()}


def test_a_bank_needs_annotated_images_of_the_hosts_modality(scene, trained):
    from GenerativeAugmentLib.errors import JobError
    from GenerativeAugmentLib.jobBuilders import lesionsJob
    from GenerativeAugmentLib.parameters import InputModality, LesionSource

    host = blob(32)
    parameters = lesions(host, tissueOf(host), source=LesionSource.BANK, bankFolder=trained / "cohort")
    planned = lesionsJob(parameters)
    assert planned.promise.channels == ("A",)
    assert accepted(planned).parameters.channel == "A"
    parameters.modality = InputModality.CT
    with pytest.raises(JobError) as raised:
        lesionsJob(parameters)
    assert raised.value.reason == "wrong_modality" and "CT" in raised.value.message


def test_what_a_user_calls_relative_begins_in_the_working_folder_and_never_in_a_job(
    scene, entry, trained, tmp_path, monkeypatch
):
    import shutil

    from GenerativeAugmentLib.jobBuilders import exportJob, synthesizeJob, trainJob
    from GenerativeAugmentLib.jobBuilders.cohort import isUnfinished, modelFolder
    from GenerativeAugmentLib.parameters import ExportParameters, SynthesizeParameters, TrainParameters
    from GenerativeAugmentLib.recipes import findRecipe

    shutil.copytree(trained / "cohort", tmp_path / "study" / "cohort")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    for study in (Path("study"), Path("~/study")):
        train = TrainParameters(cohortFolder=study / "cohort", recipe="vae", outputFolder=study / "models", name="m")
        planned = [trainJob(train, findRecipe("vae")) for _ in range(2)]
        # The same call again goes on, so it has to mean the same folder.
        assert {one.output for one in planned} == {tmp_path / "study" / "models" / "m"} == {modelFolder(train)}
        written = json.loads((planned[0].job.write() / "job.json").read_text())
        assert written["inputs"]["cohort"] == str(tmp_path / "study" / "cohort")
        assert not isUnfinished(modelFolder(train))
        export = exportJob(ExportParameters(realCohort=study / "cohort", outputFolder=study / "export"))
        assert export.output == tmp_path / "study" / "export"
        made = synthesizeJob(SynthesizeParameters(model="vae", outputFolder=study), entry("vae"))
        assert made.output.parent == tmp_path / "study"
    # What nobody has chosen stays in the job.
    made = synthesizeJob(SynthesizeParameters(model="vae"), entry("vae"))
    assert made.output == made.job.folder / "outputs"


def test_a_lesion_model_makes_the_bank_first(scene, entry):
    from GenerativeAugmentLib.jobBuilders import lesionsJob
    from GenerativeAugmentLib.parameters import LesionSource

    host = blob(32)
    planned = lesionsJob(lesions(host, tissueOf(host), source=LesionSource.MODEL, modelCases=4), entry("vae"))
    (first,) = planned.before
    assert (first.kind, first.parameters["count"]) == ("synthesize", 4)
    assert planned.job.inputs["bank"] == first.folder / "outputs"


def test_a_model_of_another_task_is_refused(scene, entry):
    from GenerativeAugmentLib.errors import JobError
    from GenerativeAugmentLib.jobBuilders import lesionsJob, synthesizeJob, translateJob
    from GenerativeAugmentLib.parameters import LesionSource, SynthesizeParameters, TranslateParameters

    host = blob(32)
    for build in (
        lambda: synthesizeJob(SynthesizeParameters(), entry("pix2pix")),
        lambda: translateJob(TranslateParameters(firstInput=host), entry("vae")),
        lambda: lesionsJob(lesions(host, tissueOf(host), source=LesionSource.MODEL), entry("pix2pix")),
    ):
        with pytest.raises(JobError) as raised:
            build()
        assert raised.value.reason == "bad_package"


def test_the_scene_refuses_the_same_fields_of_view_as_the_worker(slicerHost):
    """Random grids and volumes, oblique and flipped: the worker's own code decides alike."""
    from genaug.errors import GenaugError
    from genaug.grid import Grid
    from genaug.volume import Volume
    from GenerativeAugmentLib.modelFit import geometryProblem

    rng = np.random.default_rng(0)
    counts = {True: 0, False: 0}
    for _ in range(400):
        dimension = int(rng.choice([2, 3]))
        size = [int(n) for n in 8 * rng.integers(2, 6, dimension)]
        low = rng.uniform(10, 40, 3)
        grid = Grid(
            dimension=dimension,
            orientation=str(rng.choice(["RAS", "LPS", "ASR", "PIR"])),
            spacing=tuple(rng.uniform(0.5, 2, 3)),
            size=tuple(size),
            channels={},
            fov_min=tuple(low),
            fov_max=tuple(low + rng.uniform(0, 60, 3)),
        )
        turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
        affine = np.eye(4)
        affine[:3, :3] = turn * rng.uniform(0.5, 2, 3)
        shape = tuple(int(n) for n in rng.integers(8, 50, 3))
        volume = Volume(np.broadcast_to(np.float32(0), shape), affine, "MR")
        for whole in (True, False):
            try:
                grid.require_field_of_view(volume, whole=whole)
                grid.place(volume, whole=whole)
                taken = True
            except GenaugError:
                taken = False
            counts[taken] += 1
            assert (geometryProblem(grid.model_dump(mode="json"), (shape, affine), whole) == "") == taken
    assert min(counts.values()) > 50, counts
