"""Taking a job's cohort into the scene: geometry, place, names, marks, and undo."""

import json
import time
from pathlib import Path

import numpy as np
import pytest
from genaug.case import write_case
from genaug.cohort import Cohort
from genaug.imageio import write_volume
from genaug.record import Record, Weights
from genaug.volume import LABEL, Volume

NAMES = {1: "cerebrospinal fluid", 2: "grey matter", 3: "white matter", 7: "lesion", 9: "gizmo"}

# Oblique, anisotropic, left-handed.
OBLIQUE = np.array([[0.0, -1.2, 0.3, 11.0], [0.9, 0.0, 0.0, -20.0], [0.0, -0.16, -2.25, 5.5], [0.0, 0.0, 0.0, 1.0]])
SHAPE = (6, 7, 8)


def image(modality="MR", affine=OBLIQUE, shape=SHAPE, seed=0):
    voxels = np.random.default_rng(seed).normal(100, 20, shape).astype(np.float32)
    return Volume(voxels, affine, modality)


def label(affine=OBLIQUE, shape=SHAPE):
    array = np.zeros(shape, np.uint8)
    for index, value in enumerate(NAMES):
        array[index, :, 1:3] = value
    return Volume(array, affine, LABEL)


def make(folder, count=2, channels=("T1", "T2"), labels=True, file_format="nrrd", affine=OBLIQUE, **changes):
    """A cohort as the worker writes it."""
    cases = []
    for index in range(count):
        case_id = f"brain-{index:04d}"
        record = Record(
            case_id=case_id,
            kind="synthesize",
            seed=41,
            parameters={"index": index},
            weights=Weights(package="tiny", sha256="a" * 64, recipe="ldm"),
            patients=["p0", "p1"],
        )
        images = {channel: image(affine=affine, seed=n) for n, channel in enumerate(channels)}
        made = write_case(
            folder, case_id, case_id, images, label(affine) if labels else None, record, file_format=file_format
        )
        cases.append(made)
    settings = {"name": "made", "channels": dict.fromkeys(channels, "MR"), "label_names": NAMES if labels else {}}
    Cohort(root=folder, cases=cases, **{**settings, **changes}).write(folder)
    return folder


def nodeList(scene):
    """Everything there is: ids and names of nodes, items of the hierarchy."""
    import slicer
    import vtk

    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    items = vtk.vtkIdList()
    hierarchy.GetItemChildren(hierarchy.GetSceneItemID(), items, True)
    nodes = [scene.GetNthNode(index) for index in range(scene.GetNumberOfNodes())]
    return (
        sorted((node.GetID(), node.GetName()) for node in nodes),
        sorted((items.GetId(i), hierarchy.GetItemName(items.GetId(i))) for i in range(items.GetNumberOfIds())),
    )


@pytest.fixture
def host(scene):
    """A head in a study of a patient: its item and its node."""
    import slicer

    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    node = slicer.util.addVolumeFromArray(np.zeros(SHAPE[::-1], np.int16), OBLIQUE, "head")
    subject = hierarchy.CreateSubjectItem(hierarchy.GetSceneItemID(), "patient")
    study = hierarchy.CreateStudyItem(subject, "study")
    item = hierarchy.GetItemByDataNode(node)
    hierarchy.SetItemParent(item, study)
    return item, node


@pytest.fixture
def promise(host):
    from GenerativeAugmentLib.results import PromisedResult

    return PromisedResult("Synthesis 1", hostItem=host[0], kind="synthesize", recipe="none", seed=3, channels=("T1",))


def test_images_arrive_where_and_as_they_were_made(scene, promise, tmp_path):
    import slicer
    from GenerativeAugmentLib import exchange
    from GenerativeAugmentLib.results import importCohort

    imported = importCohort(make(tmp_path / "outputs"), promise)
    assert [node.GetName() for node in imported.volumes] == [
        f"brain-{index:04d} (synthetic) {channel}" for index in range(2) for channel in ("T1", "T2")
    ]
    node = imported.volume("brain-0001", "T2")
    assert exchange.sameGeometry(exchange.volumeGeometry(node), (SHAPE, OBLIQUE))
    np.testing.assert_array_equal(slicer.util.arrayFromVolume(node), image(seed=1).array.T)
    assert node.GetDisplayNode() is not None and node.GetStorageNode() is None
    assert imported.volume("brain-0001", "CT") is None


@pytest.mark.parametrize("file_format", ["nrrd", "nii.gz"])
def test_label_maps_become_segmentations_in_the_reference_geometry(scene, promise, tmp_path, file_format):
    import slicer
    import vtk
    from GenerativeAugmentLib.results import importCohort

    imported = importCohort(make(tmp_path / "outputs", 1, file_format=file_format), promise)
    node, volume = imported.segmentation("brain-0000"), imported.volume("brain-0000", "T1")
    segmentation = node.GetSegmentation()
    assert segmentation.GetNumberOfLayers() == 1
    assert not node.GetDisplayVisibility(), "it would lie over whatever the views show"
    names = [segmentation.GetNthSegment(n).GetName() for n in range(segmentation.GetNumberOfSegments())]
    assert names == list(NAMES.values())
    assert node.GetNodeReference(node.GetReferenceImageGeometryReferenceRole()) is volume
    for value in NAMES:
        mask = slicer.util.arrayFromSegmentBinaryLabelmap(node, f"Segment_{value}", volume)
        np.testing.assert_array_equal(mask, (label().array == value).T)
        assert segmentation.GetSegment(f"Segment_{value}").GetLabelValue() == value
    # The whole goes back into a label map on the same grid.
    back = scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode")
    ids = vtk.vtkStringArray()
    segmentation.GetSegmentIDs(ids)
    assert slicer.modules.segmentations.logic().ExportSegmentsToLabelmapNode(node, ids, back, volume)
    assert (slicer.util.arrayFromVolume(back) > 0).sum() == (label().array > 0).sum()


def test_segments_have_valid_terminology_and_colors(scene, promise, tmp_path):
    import slicer
    from GenerativeAugmentLib.results import importCohort

    imported = importCohort(make(tmp_path / "outputs", 1), promise)
    segmentation = imported.segmentations[0].GetSegmentation()
    segments = [segmentation.GetNthSegment(n) for n in range(segmentation.GetNumberOfSegments())]
    logic = slicer.modules.terminologies.logic()
    codes = {}
    for segment in segments:
        entry = slicer.vtkSlicerTerminologyEntry()
        text = segment.GetTerminology()
        assert logic.DeserializeTerminologyEntry(text, entry), text
        assert logic.SerializeTerminologyEntry(entry) == text
        codes[segment.GetName()] = (entry.GetTypeObject().GetCodeValue(), entry.GetTypeObject().GetCodeMeaning())
    assert codes == {
        "cerebrospinal fluid": ("65216001", "Cerebrospinal Fluid"),
        "grey matter": ("389081007", "Gray Matter"),
        "white matter": ("389080008", "White Matter"),
        "lesion": ("52988006", "Lesion"),
        "gizmo": ("85756007", "Tissue"),
    }
    assert len({segment.GetColor() for segment in segments}) == len(segments)


def test_every_coded_concept_is_one_that_slicer_knows(scene):
    """A lesion is the exception: SNOMED CT has it, the lists of Slicer have only its kinds."""
    import slicer
    from GenerativeAugmentLib import terminology

    logic = slicer.modules.terminologies.logic()
    if not logic.IsTerminologyContextLoaded(terminology.MASTER):
        pytest.skip("Slicer's terminology files are not there")
    unknown = []
    for context, _category, _kind, _color, names in terminology._CONCEPTS:
        entry = slicer.vtkSlicerTerminologyEntry()
        assert logic.DeserializeTerminologyEntry(terminology.segmentStyle(names[0]).terminology, entry)
        wanted = entry.GetTypeObject()
        types = [
            slicer.vtkSlicerTerminologyType()
            for _ in range(logic.GetNumberOfTypesInTerminologyCategory(context, entry.GetCategoryObject()))
        ]
        for index, found in enumerate(types):
            logic.GetNthTypeInTerminologyCategory(context, entry.GetCategoryObject(), index, found)
        if (wanted.GetCodeValue(), wanted.GetCodeMeaning()) not in {
            (found.GetCodeValue(), found.GetCodeMeaning()) for found in types
        }:
            unknown.append(wanted.GetCodeMeaning())
    assert unknown == ["Lesion"]


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("White_Matter", "389080008^White Matter~^^"),
        ("WM", "389080008^White Matter~^^"),
        ("left hippocampus", "5366008^Hippocampus~SCT^7771000^Left"),
        ("Hippocampus-Right", "5366008^Hippocampus~SCT^24028007^Right"),
        ("white matter lesion", "52988006^Lesion"),
        ("MS plaques", "52988006^Lesion"),
        ("liver tumour", "108369006^Neoplasm"),
        ("oedema", "79654002^Edema"),
        ("Anterior", "85756007^Tissue"),
        ("", "85756007^Tissue"),
    ],
)
def test_names_are_recognized_as_people_write_them(scene, name, code):
    from GenerativeAugmentLib.terminology import segmentStyle

    assert code in segmentStyle(name, 3).terminology


def test_results_lie_in_a_folder_under_the_study_of_the_host(scene, promise, host, tmp_path):
    import slicer
    from GenerativeAugmentLib.results import importCohort

    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    study = hierarchy.GetItemParent(host[0])
    folder = make(tmp_path / "outputs", 1)
    imported = importCohort(folder, promise)
    assert hierarchy.GetItemName(imported.folderItem) == "Synthesis 1"
    assert hierarchy.GetItemParent(imported.folderItem) == study
    for node in [*imported.volumes, *imported.segmentations]:
        assert hierarchy.GetItemParent(hierarchy.GetItemByDataNode(node)) == imported.folderItem
    # A second import gets a folder and names of its own.
    second = importCohort(folder, promise)
    assert hierarchy.GetItemName(second.folderItem) == "Synthesis 1 2"
    names = [node.GetName() for node in [*imported.volumes, *second.volumes]]
    assert len(set(names)) == len(names) == 4


def test_results_find_a_place_without_a_study_or_without_the_host(scene, promise, host, tmp_path):
    from dataclasses import replace

    import slicer
    from GenerativeAugmentLib.results import importCohort

    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    top = hierarchy.GetSceneItemID()
    folder = make(tmp_path / "outputs", 1, labels=False)
    place = hierarchy.CreateFolderItem(top, "mine")
    hierarchy.SetItemParent(host[0], place)
    assert hierarchy.GetItemParent(importCohort(folder, promise).folderItem) == place
    scene.RemoveNode(host[1])
    assert hierarchy.GetItemParent(importCohort(folder, promise).folderItem) == top
    assert hierarchy.GetItemParent(importCohort(folder, replace(promise, hostItem=0)).folderItem) == top


def test_nodes_say_where_they_come_from(scene, promise, tmp_path):
    from GenerativeAugmentLib.results import importCohort

    imported = importCohort(make(tmp_path / "outputs", 1), promise)
    for node in [*imported.volumes, *imported.segmentations]:
        said = {name.removeprefix("GenerativeAugment."): node.GetAttribute(name) for name in node.GetAttributeNames()}
        assert said["synthetic"] == "true"
        # The Record knows better than the promise.
        assert (said["recipe"], said["packageSha256"], said["seed"]) == ("ldm", "a" * 64, "41")
        assert said["caseId"] == "brain-0000" and said["jobTitle"] == "Synthesis 1" and said["kind"] == "synthesize"
        assert Record.read(Path(said["record"])).case_id == "brain-0000"
    assert imported.volumes[1].GetAttribute("GenerativeAugment.channel") == "T2"
    assert imported.volumes[1].GetAttribute("GenerativeAugment.modality") == "MR"


def test_marks_and_places_survive_an_mrb_and_undo_works_after_it(scene, promise, host, tmp_path):
    import slicer
    from GenerativeAugmentLib.results import importCohort, undo

    imported = importCohort(make(tmp_path / "outputs", 1), promise)
    before = {node.GetName(): attributesOf(node) for node in [*imported.volumes, *imported.segmentations]}
    terms = {segment.GetName(): (segment.GetTerminology(), segment.GetColor()) for segment in segments(imported)}
    assert scene.WriteToMRB(str(tmp_path / "scene.mrb"))
    scene.Clear(0)
    assert imported.nodes == [] and imported.folderItem == 0
    assert scene.ReadFromMRB(str(tmp_path / "scene.mrb"), True)
    after = {node.GetName(): attributesOf(node) for node in [*imported.volumes, *imported.segmentations]}
    assert after == before and len(after) == 3
    assert {
        s.GetName(): (s.GetTerminology(), pytest.approx(s.GetColor(), abs=1e-6)) for s in segments(imported)
    } == terms
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    assert hierarchy.GetItemName(imported.folderItem) == "Synthesis 1"
    assert hierarchy.GetItemName(hierarchy.GetItemParent(imported.folderItem)) == "study"
    node, volume = imported.segmentation("brain-0000"), imported.volume("brain-0000", "T1")
    # In the patient, for Slicer turns left-handed grids over when it loads them.
    expected = OBLIQUE @ np.vstack([np.argwhere(label().array == 7).T, np.ones(14)])
    assert places(points(node, volume, 7)) == places(expected[:3])
    # Saving gave the nodes storage nodes, which go with them.
    assert volume.GetStorageNode() is not None
    undo(imported)
    names = [name for _id, name in nodeList(scene)[0]]
    assert not any(name and name.startswith("brain") for name in names) and "head" in names
    assert not scene.GetNodesByClass("vtkMRMLSegmentationStorageNode").GetNumberOfItems()
    assert imported.folderItem == 0


def attributesOf(node):
    return {name: node.GetAttribute(name) for name in node.GetAttributeNames() if name.startswith("GenerativeAugment")}


def points(node, volume, value):
    """Where the voxels of a segment lie, (3, n) RAS."""
    import slicer
    from GenerativeAugmentLib import exchange

    mask = slicer.util.arrayFromSegmentBinaryLabelmap(node, f"Segment_{value}", volume)
    indices = np.argwhere(mask.T).T
    return (exchange.ijkToRAS(volume) @ np.vstack([indices, np.ones(indices.shape[1])]))[:3]


def places(coordinates):
    """As a set, in hundredths of a millimeter."""
    return {tuple(point) for point in np.rint(100 * coordinates).astype(int).T}


def segments(imported):
    segmentation = imported.segmentations[0].GetSegmentation()
    return [segmentation.GetNthSegment(index) for index in range(segmentation.GetNumberOfSegments())]


def test_undo_removes_exactly_what_was_added(scene, promise, tmp_path):
    from GenerativeAugmentLib.results import UndoStack, importCohort

    stack = UndoStack()
    assert stack.last is None and stack.undoLast() is None
    empty = nodeList(scene)
    folder = make(tmp_path / "outputs")
    first = importCohort(folder, promise)
    stack.push(first)
    one = nodeList(scene)
    assert len(one[0]) == len(empty[0]) + 2 * 3 * 2  # two images and a segmentation a case, a display node each
    second = importCohort(folder, promise)
    stack.push(second)
    assert stack.last is second
    # What showing and storing adds belongs to the result.
    second.volumes[0].AddDefaultStorageNode()
    second.segmentations[0].AddDefaultStorageNode()
    assert second.segmentations[0].CreateClosedSurfaceRepresentation()
    assert stack.undoLast() is second
    assert nodeList(scene) == one
    assert stack.undoLast() is first
    assert nodeList(scene) == empty and stack.last is None


def test_undo_leaves_what_the_user_put_there_and_forgets_what_is_gone(scene, promise, tmp_path):
    import slicer
    from GenerativeAugmentLib.results import UndoStack, importCohort, undo

    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    folder = make(tmp_path / "outputs", 1)
    imported = importCohort(folder, promise)
    mine = slicer.util.addVolumeFromArray(np.zeros((2, 3, 4)), name="mine")
    hierarchy.SetItemParent(hierarchy.GetItemByDataNode(mine), imported.folderItem)
    scene.RemoveNode(imported.volumes[0])
    assert undo(imported) > 0
    assert mine.GetScene() is scene and imported.volumes == [] and imported.folderItem != 0
    assert hierarchy.GetItemParent(hierarchy.GetItemByDataNode(mine)) == imported.folderItem
    stack = UndoStack()
    stack.push(importCohort(folder, promise))
    scene.Clear(0)
    assert stack.last is None
    stack.push(importCohort(folder, promise))
    stack.clear()
    assert stack.undoLast() is None


@pytest.mark.parametrize("names", [("T1.nii.gz", "T1.nii"), ("T1.NII.GZ", "T1.NII")])
def test_a_file_is_read_by_its_name_also_beside_its_twin(scene, tmp_path, names):
    import slicer
    from GenerativeAugmentLib.imageFiles import readImageInto

    for value, name in enumerate(names, start=1):
        volume = Volume(np.full((3, 4, 5), value, np.int16), np.eye(4))
        write_volume(tmp_path / name.lower(), volume)
        (tmp_path / name.lower()).rename(tmp_path / name)
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode")
    for value, name in enumerate(names, start=1):
        readImageInto(tmp_path / name, node)
        assert np.unique(slicer.util.arrayFromVolume(node)).tolist() == [value]


def test_undo_leaves_the_users_copies_with_all_that_they_show(scene, promise, tmp_path):
    import slicer
    from GenerativeAugmentLib import hierarchy, sliceViews
    from GenerativeAugmentLib.results import importCohort, undo

    imported = importCohort(make(tmp_path / "outputs", 1), promise)
    before, after = imported.volumes
    difference = sliceViews.addDifference(before, after)
    clone = slicer.modules.volumes.logic().CloneVolume
    edited, shown = clone(after, "edited"), clone(difference, "shown")
    tree, logic = hierarchy.hierarchyNode(), slicer.vtkSlicerSubjectHierarchyModuleLogic
    item = logic.CloneSubjectHierarchyItem(tree, hierarchy.itemOf(imported.segmentations[0]), "corrected")
    corrected = tree.GetItemDataNode(item)
    assert not {edited, shown, corrected} & set(imported.nodes) and difference in imported.nodes
    undo(imported)
    assert imported.volumes == imported.segmentations == [] and difference.GetScene() is None
    for copy in (edited, shown, corrected):
        assert copy.GetScene() is scene and copy.GetDisplayNode() is not None
    assert shown.GetDisplayNode().GetColorNode() is not None
    assert corrected.GetSegmentation().GetNumberOfSegments() == len(NAMES)
    # They lie where the copied ones did.
    assert tree.GetItemParent(item) == imported.folderItem != 0


def test_undo_leaves_what_a_saved_scene_brings_a_second_time(scene, promise, tmp_path):
    from GenerativeAugmentLib.results import importCohort, undo

    imported = importCohort(make(tmp_path / "outputs", 1), promise)
    assert scene.WriteToMRB(str(tmp_path / "scene.mrb")) and scene.ReadFromMRB(str(tmp_path / "scene.mrb"), False)
    assert scene.GetNodesByClass("vtkMRMLScalarVolumeNode").GetNumberOfItems() == 2 * 3
    assert len(imported.volumes) == 2
    undo(imported)
    assert scene.GetNodesByClass("vtkMRMLScalarVolumeNode").GetNumberOfItems() == 2 * 2


@pytest.mark.parametrize(
    "damage", ["promise", "size", "label", "channel", "missing", "truncated", "record", "fraction"]
)
def test_what_was_not_promised_is_refused_and_leaves_the_scene_as_it_was(scene, promise, tmp_path, damage):
    from dataclasses import replace

    from genaug.nrrd import write_nrrd
    from GenerativeAugmentLib.errors import JobError
    from GenerativeAugmentLib.results import importCohort

    folder = make(tmp_path / "outputs")
    place, reason, named = folder / "brain-0001", "geometry_mismatch", "mm apart"
    promise = replace(promise, referenceGeometry=(SHAPE, OBLIQUE))
    if damage == "promise":
        shifted = OBLIQUE.copy()
        shifted[0, 3] += 0.5
        promise = replace(promise, referenceGeometry=(SHAPE, shifted))
    elif damage == "size":
        write_nrrd(place / "T2.nrrd", image(shape=(6, 7, 9)))
        named = "6 x 7 x 8"
    elif damage == "label":
        promise = replace(promise, referenceGeometry=None)
        write_nrrd(place / "label.nrrd", label(np.diag([1, 1, 2.0, 1])))
    elif damage == "channel":
        promise = replace(promise, channels=("T1", "FLAIR"))
        reason, named = "unpaired", "T1, T2"
    elif damage == "missing":
        (place / "T2.nrrd").unlink()
        reason, named = "missing_file", "no such file"
    elif damage == "truncated":
        (place / "T2.nrrd").write_bytes((place / "T2.nrrd").read_bytes()[:-7])
        reason, named = "unreadable_file", ""
    elif damage == "record":
        (place / "brain-0001.record.json").write_text("{")
        reason, named = "unreadable_file", "line 1"
    else:
        write_nrrd(place / "label.nrrd", Volume(label().array + np.float32(0.5), OBLIQUE, "MR"))
        reason, named = "wrong_labels", "0.5"
    before = nodeList(scene)
    with pytest.raises(JobError) as caught:
        importCohort(folder, promise)
    assert caught.value.reason == reason and named in caught.value.found
    assert damage in ("promise", "channel") or "brain-0001" in caught.value.subject
    assert nodeList(scene) == before


def test_a_scene_that_is_closed_on_the_way_ends_the_import(scene, promise, tmp_path):
    from GenerativeAugmentLib.errors import JobError
    from GenerativeAugmentLib.results import importCohort

    told = []

    def afterCase(done, total):
        told.append((done, total))
        scene.Clear(0)

    with pytest.raises(JobError) as caught:
        importCohort(make(tmp_path / "outputs"), promise, afterCase=afterCase)
    assert caught.value.reason == "cancelled" and told == [(1, 2)]
    assert not scene.GetNodesByClass("vtkMRMLScalarVolumeNode").GetNumberOfItems()


def test_a_limit_and_cohorts_without_labels_or_names(scene, promise, tmp_path):
    from GenerativeAugmentLib.results import importCohort

    folder = make(tmp_path / "outputs", 3, ("T1",), label_names={})
    imported = importCohort(folder, promise, limit=1)
    assert [node.GetName() for node in imported.volumes] == ["brain-0000 (synthetic)"]
    assert [segment.GetName() for segment in segments(imported)] == [f"label {value}" for value in NAMES]
    plain = importCohort(make(tmp_path / "plain", 1, labels=False), promise)
    assert plain.segmentations == [] and plain.segmentation("brain-0000") is None
    named = importCohort(folder, type(promise)("T", labelNames={7: "seven"}), limit=1)
    assert "seven" in [segment.GetName() for segment in segments(named)]


def test_a_real_case_is_not_marked_as_synthetic(scene, promise, tmp_path):
    from GenerativeAugmentLib.results import importCohort

    folder = tmp_path / "real"
    cases = [write_case(folder, "c", "p", {"T1": image()}, file_format="nrrd")]
    Cohort(name="real", root=folder, channels={"T1": "MR"}, cases=cases).write(folder)
    (node,) = importCohort(folder, promise).volumes
    assert node.GetAttribute("GenerativeAugment.synthetic") is None
    assert node.GetAttribute("GenerativeAugment.recipe") == "none"  # as promised, having no Record


def test_taking_in_a_large_result_is_quick(scene, promise, tmp_path, capsys):
    from genaug.nrrd import write_nrrd
    from GenerativeAugmentLib.results import importCohort

    folder = make(tmp_path / "outputs", 1, ("T1",))
    shape, affine = (192, 192, 192), np.diag([1.0, 1.0, 1.0, 1.0])
    voxels = np.zeros(shape, np.int16)
    write_nrrd(folder / "brain-0000" / "T1.nrrd", Volume(voxels, affine, "MR"))
    array = np.zeros(shape, np.uint8)
    array[40:150, 40:150, 40:150] = 1
    write_nrrd(folder / "brain-0000" / "label.nrrd", Volume(array, affine, LABEL))
    start = time.perf_counter()
    importCohort(folder, promise)
    seconds = time.perf_counter() - start
    with capsys.disabled():
        print(f"\n192³ volume and label map into the scene: {seconds * 1000:.0f} ms")
    assert seconds < 2.0  # loose, for a loaded machine


def test_the_promise_is_kept_apart_from_the_cohorts_text(scene, promise, tmp_path):
    """The manifest may be rewritten by anyone: what it says is only ever compared."""
    from GenerativeAugmentLib.errors import JobError
    from GenerativeAugmentLib.results import importCohort

    folder = make(tmp_path / "outputs", 1)
    manifest = json.loads((folder / "cohort.json").read_text())
    for damage in ({"cases": 3}, {"channels": {}}, {"schema_version": 2}, {"cases": [{"id": "a"}]}):
        (folder / "cohort.json").write_text(json.dumps({**manifest, **damage}))
        before = nodeList(scene)
        with pytest.raises(JobError) as caught:
            importCohort(folder, promise)
        assert caught.value.reason == "unreadable_file" and nodeList(scene) == before
