"""The packs: complete or not and why, frozen copies, and values that survive in the scene."""

from pathlib import Path

import pytest


@pytest.fixture
def node(scene):
    from GenerativeAugmentLib.parameters import GenerativeAugmentParameterNode

    return GenerativeAugmentParameterNode(scene.AddNewNodeByClass("vtkMRMLScriptedModuleNode"))


PACKS = ("data", "train", "synthesize", "translate", "lesions", "review", "export", "models")


def complete(node, name, folder):
    """Fill in what a pack asks for."""
    from panelKit import blob, tissueOf

    pack = getattr(node, name)
    head = blob()
    values = {
        "data": {"outputFolder": folder},
        "train": {"cohortFolder": folder, "recipe": "vae", "outputFolder": folder},
        "synthesize": {"model": "vae"},
        "translate": {"model": "pix2pix", "firstInput": head},
        "lesions": {"hostVolume": head, "tissueNode": tissueOf(head), "tissueSegment": "sphere"},
        "review": {"cohortFolder": folder, "reviewer": "AB"},
        "export": {"realCohort": folder, "outputFolder": folder},
        "models": {"model": "vae"},
    }[name]
    for key, value in values.items():
        setattr(pack, key, value)
    return pack


@pytest.mark.parametrize("name", PACKS)
def test_an_empty_pack_says_in_a_sentence_what_to_do_and_a_filled_one_is_valid(node, name, tmp_path):
    valid, reason = getattr(node, name).isValid()
    assert not valid and reason.endswith(".") and reason[0].isupper()
    assert complete(node, name, tmp_path).isValid() == (True, "")


@pytest.mark.parametrize(
    "change, word",
    [
        ({"source": "BANK"}, "annotated cases"),
        ({"source": "MODEL"}, "lesion model"),
        ({"placement": "POINTS"}, "point list"),
        ({"contrastLow": 3.0, "contrastHigh": 1.0}, "swap"),
        ({"lesionName": " "}, "Name"),
        ({"tissueSegment": ""}, "segment"),
    ],
)
def test_lesions_ask_for_what_their_source_and_place_need(node, tmp_path, change, word):
    from GenerativeAugmentLib.parameters import LesionSource, Placement

    pack = complete(node, "lesions", tmp_path)
    kinds = {"source": LesionSource, "placement": Placement}
    for key, value in change.items():
        setattr(pack, key, kinds[key][value] if key in kinds else value)
    valid, reason = pack.isValid()
    assert not valid and word in reason


@pytest.mark.parametrize("name", PACKS)
def test_a_frozen_copy_does_not_follow_the_panel(node, name, tmp_path):
    from GenerativeAugmentLib.parameters import frozen

    pack = complete(node, name, tmp_path)
    copy = frozen(pack)
    assert copy.isValid() == (True, "")
    before = {key: getattr(copy, key) for key in type(copy).allParameters}
    for key, value in before.items():
        if isinstance(value, str):
            choices = {"fileFormat": ("nii.gz", "nrrd"), "task": ("synthesis", "infill")}.get(key, ("changed",))
            setattr(pack, key, next(choice for choice in choices if choice != value))
        elif isinstance(value, bool):
            setattr(pack, key, not value)
        elif isinstance(value, list):
            value_ = getattr(pack, key)
            value_.append("new" if key == "covariates" else Path("new"))
        elif isinstance(value, dict):
            getattr(pack, key)["new"] = "changed"
    assert {key: getattr(copy, key) for key in before} == before


def test_a_range_of_a_frozen_copy_is_its_own(node):
    from GenerativeAugmentLib.parameters import frozen

    copy = frozen(node.lesions)
    node.lesions.diameter.minimum = 1.0
    assert copy.diameter.minimum == 8.0


def test_values_out_of_range_are_refused(node):
    with pytest.raises(ValueError):
        node.synthesize.count = 0
    with pytest.raises(ValueError):
        node.device = "quantum"
    with pytest.raises(AttributeError):
        node.synthesize.cuont = 3


def test_parameters_survive_saving_and_loading_the_scene(node, tmp_path):
    import slicer
    from GenerativeAugmentLib.parameters import GenerativeAugmentParameterNode, LesionSource

    node.lesions.source = LesionSource.BANK
    node.lesions.diameter.setRange(3.0, 4.0)
    node.export.syntheticCohorts = [tmp_path]
    node.train.advice = {"rhvae": "few", "ae": "another", "vae": "more, and more"}
    node.train.covariates = ["age", "sex"]
    node.parameterNode.SetName("kept")
    slicer.util.saveScene(str(tmp_path / "scene.mrb"))
    slicer.mrmlScene.Clear(0)
    slicer.util.loadScene(str(tmp_path / "scene.mrb"))
    again = GenerativeAugmentParameterNode(slicer.util.getNode("kept"))
    assert again.lesions.source is LesionSource.BANK
    assert (again.lesions.diameter.minimum, again.lesions.diameter.maximum) == (3.0, 4.0)
    assert list(again.export.syntheticCohorts) == [tmp_path]
    assert list(again.train.advice) == ["rhvae", "ae", "vae"], "the recommended recipe stays the first"
    assert list(again.train.covariates) == ["age", "sex"]
    assert again.lesions.tissueNode is None


def test_a_scene_of_an_older_version_is_read_with_defaults_for_what_it_lacks(scene):
    from GenerativeAugmentLib.parameters import (
        CohortSource,
        GenerativeAugmentParameterNode,
        LesionShape,
        parameterNodeOf,
    )

    written = scene.AddNewNodeByClass("vtkMRMLScriptedModuleNode")
    first = GenerativeAugmentParameterNode(written)
    first.data.name, first.data.source, first.lesions.margin = "mine", CohortSource.DISK, 5.0
    first.synthesize.labelNode = segmentation = scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    # Also the first member of a pack, without which the whole pack would be taken for new.
    lacking = ("data.splitSeed", "data.source", "lesions.shape", "train.covariates.len", "device")
    lacking += ("lesions.diameter._minimum", "lesions.diameter._maximum")
    assert set(lacking) < set(written.GetParameterNames())
    stored = scene.AddNewNodeByClass("vtkMRMLScriptedModuleNode")
    for name in set(written.GetParameterNames()) - set(lacking):
        stored.SetParameter(name, written.GetParameter(name))
    stored.SetNodeReferenceID("synthesize.labelNode.0", segmentation.GetID())
    node = parameterNodeOf(stored)
    assert node.data.splitSeed == 0 and node.data.source is CohortSource.SCENE and node.device == "auto"
    assert node.lesions.shape is LesionShape.IRREGULAR and list(node.train.covariates) == []
    assert node.synthesize.labelNode is segmentation
    assert node.data.name == "mine" and node.lesions.margin == 5.0 and node.lesions.diameter.maximum == 20.0
    # A node that lacks everything, and one that lacks nothing.
    assert parameterNodeOf(scene.AddNewNodeByClass("vtkMRMLScriptedModuleNode")).lesions.diameter.minimum == 8.0
    changed = []
    stored.AddObserver("ModifiedEvent", lambda *event: changed.append(event))
    assert parameterNodeOf(stored).data.name == "mine" and not changed


def test_every_choice_has_a_text_of_its_own(slicerHost):
    import enum

    from GenerativeAugmentLib import parameters

    kinds = [kind for kind in vars(parameters).values() if isinstance(kind, type) and issubclass(kind, enum.Enum)]
    kinds = [kind for kind in kinds if kind.__module__ == parameters.__name__]
    assert len(kinds) == 8
    for kind in kinds:
        labels = [value.label() for value in kind]
        assert all(labels) and len(set(labels)) == len(labels)
