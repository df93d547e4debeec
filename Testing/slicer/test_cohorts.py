"""Cohorts made from the scene are cohorts of the worker, and those of the worker are read."""

import json
from pathlib import Path

import numpy as np
import pytest
from genaug.case import write_case
from genaug.cohort import Cohort
from genaug.imageio import is_marked_synthetic, read_volume
from genaug.record import Record
from genaug.volume import LABEL, Volume

AFFINE = np.array([[0.0, -1.5, 0.0, 4.0], [1.0, 0.0, 0.0, -7.0], [0.0, 0.0, 2.0, 9.0], [0.0, 0.0, 0.0, 1.0]])
SHAPE = (6, 7, 8)


def addVolume(name="head", seed=0, affine=AFFINE, shape=SHAPE):
    import slicer

    voxels = np.random.default_rng(seed).integers(-100, 2000, shape).astype(np.int16)
    return slicer.util.addVolumeFromArray(voxels.T, affine, name)


def addSegmentation(volume, masks):
    """A segmentation with a segment for each (name, first, last) slab along I."""
    import slicer

    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "segmentation")
    node.CreateDefaultDisplayNodes()
    node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    for name, first, last in masks:
        mask = np.zeros(SHAPE, np.uint8)
        mask[first:last] = 1
        segmentId = node.GetSegmentation().AddEmptySegment("", name)
        slicer.util.updateSegmentBinaryLabelmapFromArray(mask.T, node, segmentId, volume)
    return node


def addLabelMap(array, name="labels", names=None):
    import slicer

    node = slicer.util.addVolumeFromArray(array.T, AFFINE, name, "vtkMRMLLabelMapVolumeNode")
    node.CreateDefaultDisplayNodes()
    if names:
        colors = slicer.vtkMRMLColorTableNode()
        colors.SetTypeToUser()
        colors.SetName("my labels")
        colors.SetNumberOfColors(max(names) + 1)
        for value, text in names.items():
            colors.SetColor(value, text, 1.0, 0.0, 0.0, 1.0)
        slicer.mrmlScene.AddNode(colors)
        node.GetDisplayNode().SetAndObserveColorNodeID(colors.GetID())
    return node


def sceneCase(caseId="c0", **changes):
    from GenerativeAugmentLib.cohorts import SceneCase

    images = changes.pop("images", None) or {"T1": addVolume(caseId)}
    return SceneCase(**{"patient": caseId, "caseId": caseId, "images": images, **changes})


def write(items, folder, **options):
    from GenerativeAugmentLib.cohorts import FrozenCohort
    from GenerativeAugmentLib.steps import finish

    return finish(FrozenCohort(items, **options).writing(folder))


def addPatient(name, identity, study="Brain (20240101)", attributes=True):
    """A patient with a study as Slicer's DICOM import makes them; the items of both."""
    from GenerativeAugmentLib import hierarchy

    tree = hierarchy.hierarchyNode()
    patient = tree.CreateSubjectItem(tree.GetSceneItemID(), f"{name} ({identity})")
    if attributes:
        tree.SetItemUID(patient, "DICOM", identity)
        tree.SetItemAttribute(patient, "DICOM.PatientID", identity)
        tree.SetItemAttribute(patient, "DICOM.PatientName", name)
    return patient, tree.CreateStudyItem(patient, study)


def addSeries(study, name="3: T1", seed=0):
    from GenerativeAugmentLib import hierarchy

    volume = addVolume(name, seed)
    hierarchy.hierarchyNode().SetItemAttribute(hierarchy.place(volume, study), "DICOM.Modality", "MR")
    return volume


@pytest.mark.parametrize("attributes", [True, False])
def test_nobody_reads_who_a_dicom_patient_is_from_a_cohort(scene, tmp_path, attributes):
    from GenerativeAugmentLib import hierarchy, pseudonyms
    from GenerativeAugmentLib.sceneCases import distinct, draftCases, sceneCase

    found = [addPatient(*who, attributes=attributes) for who in (("DOE^JANE", "4711"), ("ROE^RICHARD", "4712"))]
    for _patient, study in found:
        addSeries(study)
    directly = addSeries(found[0][0], "4: T1")
    items = [*(study for _patient, study in found), hierarchy.itemOf(directly)]
    drafts = distinct(draftCases(items[:2], "T1") + draftCases(items[2:], "T1"), [])
    folder = write([sceneCase(draft) for draft in drafts], tmp_path / "cohort")
    files = [path for path in folder.rglob("*") if path.is_file()]
    for path in files:
        content = str(path).encode() + path.read_bytes()
        assert not any(word in content for word in (b"DOE", b"JANE", b"ROE", b"4711", b"4712", b"20240101")), path
    # One patient is one, in the table too, which says who it is.
    assert drafts[0].patient == drafts[2].patient != drafts[1].patient
    table = json.loads(pseudonyms.tablePath().read_text())
    assert set(table) >= {draft.patient for draft in drafts}
    assert "DOE^JANE" in table[drafts[0].patient]["name"]
    assert not folder.is_relative_to(pseudonyms.tablePath().parent)


def test_a_patient_has_one_pseudonym_in_every_session_and_on_this_machine_only(scene):
    import qt
    import slicer
    from GenerativeAugmentLib import pseudonyms
    from GenerativeAugmentLib.jobBuilders.common import patientOf

    volume = addSeries(addPatient("DOE^JANE", "4711")[1])
    first = patientOf(volume)
    # Loaded again another day, under another spelling.
    slicer.mrmlScene.Clear(0)
    again = addSeries(addPatient("Doe^Jane", "4711", "Follow-up")[1])
    assert patientOf(again) == pseudonyms.patientOf(again) == first
    qt.QSettings().remove(pseudonyms.KEY_SETTING)
    assert patientOf(again) != first


def test_what_a_user_called_a_subject_stays(scene):
    from GenerativeAugmentLib import hierarchy
    from GenerativeAugmentLib.jobBuilders.common import patientOf
    from GenerativeAugmentLib.sceneCases import draftCases

    tree = hierarchy.hierarchyNode()
    subject = tree.CreateSubjectItem(tree.GetSceneItemID(), "subject 7")
    volume = addVolume("T1")
    hierarchy.place(volume, subject)
    [draft] = draftCases([subject], "T1")
    assert (draft.caseId, draft.patient) == ("subject-7", "subject 7") and patientOf(volume) == "subject 7"
    assert patientOf(addVolume("alone")) == "alone"


@pytest.mark.parametrize("fileFormat", ["nrrd", "nii.gz"])
def test_the_worker_reads_what_the_scene_wrote(scene, tmp_path, fileFormat):
    items = []
    for index in range(2):
        images = {"T1": addVolume(f"t1 {index}", index), "CT": addVolume(f"ct {index}", 9)}
        segmentation = addSegmentation(images["T1"], [("core", 0, 2), ("edema", 2, 3)])
        about = {"modality": {"CT": "CT"}, "covariates": {"age": 60 + index, "sex": "F"}}
        items.append(sceneCase(f"c{index}", patient="anna", images=images, label=segmentation, **about))
    folder = write(items, tmp_path / "cohort", name="my cases", fileFormat=fileFormat)
    cohort = Cohort.read(folder)
    assert cohort.name == "my cases" and cohort.channels == {"T1": "MR", "CT": "CT"}
    assert cohort.label_names == {1: "core", 2: "edema"} and cohort.patients == ["anna"]
    cohort.check()
    for index, case in enumerate(cohort.cases):
        assert case.covariates == {"age": 60 + index, "sex": "F"}
        assert case.origin == "real" and case.images["T1"] == folder / case.id / f"T1.{fileFormat}"
        volume = case.volume("T1")
        np.testing.assert_array_equal(volume.array, np.random.default_rng(index).integers(-100, 2000, SHAPE))
        np.testing.assert_allclose(volume.affine, AFFINE, atol=1e-5)
        expected = np.zeros(SHAPE, np.uint8)
        expected[:2], expected[2:3] = 1, 2
        np.testing.assert_array_equal(case.label_map().array, expected)
        assert not is_marked_synthetic(case.images["T1"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cohort"]


def test_segments_of_one_name_get_one_value_in_every_case(scene, tmp_path):
    first, second, third = (addVolume(name) for name in ("a", "b", "c"))
    slabs = {"core": (0, 2), "edema": (2, 3), "necrosis": (4, 6)}

    def segmentation(volume, *names):
        return addSegmentation(volume, [(name, *slabs[name]) for name in names])

    items = [
        sceneCase("c0", images={"T1": first}, label=segmentation(first, "core", "edema")),
        sceneCase("c1", images={"T1": second}, label=segmentation(second, "necrosis", "edema", "core")),
        sceneCase("c2", images={"T1": third}, label=segmentation(third, "edema")),
    ]
    cohort = Cohort.read(write(items, tmp_path / "cohort"))
    assert cohort.label_names == {1: "core", 2: "edema", 3: "necrosis"}
    for case, names in zip(cohort.cases, (("core", "edema"), tuple(slabs), ("edema",))):
        expected = np.zeros(SHAPE, np.uint8)
        for value, name in cohort.label_names.items():
            if name in names:
                expected[slice(*slabs[name])] = value
        np.testing.assert_array_equal(case.label_map().array, expected)
    cohort.check()


def test_label_maps_keep_their_values_and_segments_join_them(scene, tmp_path):
    array = np.zeros(SHAPE, np.int16)
    array[0], array[1] = 4, 2
    volume = addVolume("a")
    items = [
        sceneCase("c0", label=addSegmentation(volume, [("vessel", 0, 1), ("lesion", 3, 4)]), images={"T1": volume}),
        sceneCase("c1", label=addLabelMap(array, names={2: "liver", 4: "lesion"})),
        sceneCase("c2"),
    ]
    cohort = Cohort.read(write(items, tmp_path / "cohort"))
    assert cohort.label_names == {2: "liver", 4: "lesion", 5: "vessel"}
    assert [sorted(np.unique(case.label_map().array)) for case in cohort.cases[:2]] == [[0, 4, 5], [0, 2, 4]]
    assert cohort.cases[2].label is None
    # The shared tables of Slicer have names that were not meant.
    plain = Cohort.read(write([sceneCase("c3", label=addLabelMap(array))], tmp_path / "plain"))
    assert plain.label_names == {2: "label 2", 4: "label 4"}


def test_what_a_generator_made_stays_recognizable(scene, tmp_path):
    """The way round: from the worker into the scene and back into a cohort, for example one to train on."""
    from GenerativeAugmentLib.results import PromisedResult, importCohort

    record = Record(case_id="made", kind="translate", seed=1, parameters={}, parents=["c0"], patients=["anna", "ben"])
    images = {"T2": Volume(np.ones(SHAPE, np.float32), AFFINE, "MR")}
    label = Volume(np.ones(SHAPE, np.uint8), AFFINE, LABEL)
    outputs = tmp_path / "outputs"
    made = write_case(outputs, "made", "anna", images, label, record, "nrrd")
    Cohort(name="made", root=outputs, channels={"T2": "MR"}, label_names={1: "lesion"}, cases=[made]).write(outputs)
    imported = importCohort(outputs, PromisedResult("T2"))
    item = sceneCase("made", patient="anna", images={"T2": imported.volumes[0]}, label=imported.segmentations[0])
    for fileFormat in ("nrrd", "nii.gz"):
        folder = write([item], tmp_path / fileFormat, fileFormat=fileFormat)
        cohort = Cohort.read(folder)
        (case,) = cohort.cases
        assert case.origin == "synthetic" and case.parents == ["c0"] and case.derived_from == ["anna", "ben"]
        assert Record.read(case.record) == Record.read(made.record)
        assert is_marked_synthetic(case.images["T2"]) and is_marked_synthetic(case.label)
        assert cohort.label_names == {1: "lesion"} and cohort.notes == []
        cohort.check()
    # Without its Record nobody knows whom it shows; the cohort says so.
    Path(imported.volumes[0].GetAttribute("GenerativeAugment.record")).unlink()
    cohort = Cohort.read(write([item], tmp_path / "lost"))
    assert cohort.cases[0].origin == "synthetic" and "Record is gone" in cohort.notes[0]


@pytest.mark.parametrize(
    ("problem", "reason", "named"),
    [
        ("nothing", "empty_cohort", "no case"),
        ("no image", "bad_parameter", "0 images"),
        ("no patient", "bad_parameter", "patient ''"),
        ("same id", "bad_parameter", "patient"),
        ("case name", "bad_parameter", "'../evil'"),
        ("channel name", "bad_parameter", "'label'"),
        ("format", "bad_parameter", "mhd"),
        ("image geometry", "geometry_mismatch", "mm apart"),
        ("label geometry", "geometry_mismatch", "size 6 x 7 x 9"),
        ("modality", "wrong_modality", "as CT"),
        ("label names", "wrong_labels", "called 'liver'"),
        ("fraction", "wrong_labels", "0.5"),
        ("not empty", "bad_parameter", "not empty"),
    ],
)
def test_what_cannot_be_a_cohort_is_refused_and_leaves_nothing(scene, tmp_path, problem, reason, named):
    from GenerativeAugmentLib.errors import JobError

    ones = np.ones(SHAPE, np.uint8)
    shifted = AFFINE.copy()
    shifted[0, 3] += 1
    items = {
        "nothing": lambda: [],
        "no image": lambda: [type(sceneCase())("p", "c", {})],
        "no patient": lambda: [sceneCase(patient="")],
        "same id": lambda: [sceneCase("c"), sceneCase("C")],
        "case name": lambda: [sceneCase("../evil")],
        "channel name": lambda: [sceneCase(images={"label": addVolume()})],
        "image geometry": lambda: [sceneCase(images={"a": addVolume(), "b": addVolume(affine=shifted)})],
        "label geometry": lambda: [sceneCase(label=addLabelMap(np.ones((6, 7, 9), np.uint8)))],
        "modality": lambda: [sceneCase("a"), sceneCase("b", modality={"T1": "CT"})],
        "label names": lambda: [
            sceneCase("a", label=addLabelMap(ones, names={1: "lung"})),
            sceneCase("b", label=addLabelMap(ones, names={1: "liver"})),
        ],
        "fraction": lambda: [sceneCase(label=addLabelMap(ones * np.float32(0.5)))],
    }.get(problem, lambda: [sceneCase()])()
    folder = tmp_path / "cohort"
    if problem == "not empty":
        folder.mkdir()
        (folder / "thesis.txt").write_text("mine")
    with pytest.raises(JobError) as caught:
        write(items, folder, fileFormat="mhd" if problem == "format" else "nrrd")
    assert caught.value.reason == reason and named in caught.value.found
    left = [path.name for path in tmp_path.rglob("*")]
    assert left == (["cohort", "thesis.txt"] if problem == "not empty" else [])


def test_writing_leaves_the_scene_as_it_is(scene, tmp_path):
    volume = addVolume()
    segmentation = addSegmentation(volume, [("b", 0, 1), ("a", 1, 2)])
    other = addSegmentation(volume, [("a", 0, 1), ("b", 1, 2)])
    before = [scene.GetNthNode(index).GetID() for index in range(scene.GetNumberOfNodes())]
    items = [
        sceneCase("c0", images={"T1": volume}, label=segmentation),
        sceneCase("c1", images={"T1": volume}, label=other),
    ]
    write(items, tmp_path / "cohort")
    assert [scene.GetNthNode(index).GetID() for index in range(scene.GetNumberOfNodes())] == before


def test_the_workers_cohorts_are_read(scene, tmp_path):
    from GenerativeAugmentLib.cohorts import cohortCases, labelNames, readCohort

    folder = tmp_path / "outputs"
    images = {"T1": Volume(np.ones(SHAPE, np.float32), AFFINE, "MR")}
    label = Volume(np.ones(SHAPE, np.uint8), AFFINE, LABEL)
    record = Record(case_id="b", kind="synthesize", seed=1, parameters={}, parents=["a"], patients=["p", "q"])
    cases = [
        write_case(folder, "a", "p", images),
        write_case(folder, "b", "b", images, label, record, covariates={"age": 40.0}),
    ]
    cohort = Cohort(name="n", root=folder, channels={"T1": "MR"}, label_names={1: "lesion"}, cases=cases)
    cohort.write(folder)
    (tmp_path / "scratch/deep").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "scratch/deep")
    cohort.write(tmp_path / "link")
    for path in (folder, folder / "cohort.json", tmp_path / "link", tmp_path / "scratch/deep/cohort.json"):
        read = readCohort(path)
        assert labelNames(read) == {1: "lesion"} and read["name"] == "n"
        for entry, case in zip(cohortCases(read), Cohort.read(folder).cases):
            for ours, theirs in (("id", "id"), ("patient", "patient"), ("images", "images"), ("label", "label")):
                assert getattr(entry, ours) == getattr(case, theirs)
            assert (entry.record, entry.origin, entry.modalities) == (case.record, case.origin, case.modalities)
            assert (list(entry.parents), list(entry.derivedFrom)) == (case.parents, case.derived_from)


@pytest.mark.parametrize(
    "damage",
    [
        {"schema_version": 2},
        {"channels": []},
        {"cases": {}},
        {"cases": [{"id": "a"}]},
        {"cases": [{"id": "a", "patient": ""}]},
        {"cases": [{"id": "a", "patient": "p", "images": {"T9": "x"}}]},
        {"cases": [{"id": "a", "patient": "p"}, {"id": "a", "patient": "q"}]},
    ],
)
def test_both_sides_refuse_the_same_manifests(scene, tmp_path, damage):
    from genaug.errors import GenaugError
    from GenerativeAugmentLib.cohorts import readCohort
    from GenerativeAugmentLib.errors import JobError

    manifest = {"schema_version": 1, "name": "n", "channels": {"T1": "MR"}, "cases": [], **damage}
    (tmp_path / "cohort.json").write_text(json.dumps(manifest))
    with pytest.raises(JobError, match=r"cohort\.json"):
        readCohort(tmp_path)
    with pytest.raises(GenaugError):
        Cohort.read(tmp_path)


def test_a_folder_without_a_cohort_is_named(scene, tmp_path):
    from GenerativeAugmentLib.cohorts import readCohort
    from GenerativeAugmentLib.errors import JobError

    with pytest.raises(JobError) as caught:
        readCohort(tmp_path)
    assert caught.value.reason == "missing_file" and caught.value.subject == str(tmp_path / "cohort.json")
    (tmp_path / "cohort.json").write_text("[]")
    with pytest.raises(JobError, match="JSON list"):
        readCohort(tmp_path)


def test_file_names_are_made_safe_as_the_worker_makes_them(scene):
    from genaug.case import safe_name
    from GenerativeAugmentLib.cohorts import safeName

    for text in ("MR head", "Kopf über Kopf", "../x", "a/b\\c", "", "...", "T1+C", "_x_"):
        assert safeName(text) == safe_name(text)


def addCt(name="ct"):
    """A CT as a NIfTI file leaves it in the scene: air around tissue, and nothing that says so."""
    import slicer

    voxels = np.full(SHAPE, -1000, np.int16)
    voxels[1:5, 1:5, 1:6] = 40
    return slicer.util.addVolumeFromArray(voxels.T, AFFINE, name)


def test_a_ct_is_never_silently_taken_for_mr(scene, tmp_path):
    from GenerativeAugmentLib.errors import JobError

    unknown = sceneCase("a", images={"image": addCt()})
    with pytest.raises(JobError) as caught:
        write([unknown], tmp_path / "unknown")
    assert caught.value.reason == "wrong_modality" and "Hounsfield" in caught.value.found
    assert "Choose the modality" in caught.value.remedy and not (tmp_path / "unknown").exists()
    several = [unknown, sceneCase("b", images={"image": addVolume()}), sceneCase("c", images={"image": addVolume()})]
    for number, (items, expected) in enumerate(
        (
            ([sceneCase("a", images=unknown.images, modality={"image": "CT"})], {"image": "CT"}),
            ([sceneCase("a", images={"head_ct": addCt(), "T1": addVolume()})], {"head_ct": "CT", "T1": "MR"}),
            # One odd case does not make a channel CT, and one that says it speaks for those that look like it.
            (several, {"image": "MR"}),
            ([unknown, sceneCase("d", images=unknown.images, modality={"image": "CT"})], {"image": "CT"}),
        )
    ):
        folder = write(items, tmp_path / str(number))
        assert Cohort.read(folder).channels == expected
        for case in Cohort.read(folder).cases:
            assert {name: read_volume(path).modality for name, path in case.images.items()} == expected


def test_a_name_says_ct_here_as_on_the_command_line(scene):
    from genaug.readers.options import ReaderOptions
    from GenerativeAugmentLib.modalities import isCalledCt

    for name in ("CT", "ct", "head_ct", "CT2", "low-dose.CT", "ACT", "ct1", "T1", "contrast", "PCT", "image"):
        assert isCalledCt(name) == (ReaderOptions().modality_of(name) == "CT"), name


def test_read_volumes_name_their_modality(scene, tmp_path):
    folder = write([sceneCase(images={"CT": addVolume()}, modality={"CT": "CT"})], tmp_path / "cohort")
    assert read_volume(folder / "c0" / "CT.nrrd").modality == "CT"
