"""The stand-ins for CTK's and Slicer's widgets, on a real scene."""

import numpy as np
import pytest


@pytest.fixture
def volumes(scene):
    import slicer

    def add(name, className=None):
        return slicer.util.addVolumeFromArray(np.zeros((2, 3, 4), np.int16), name=name, nodeClassName=className)

    return add("first"), add("second"), add("labels", "vtkMRMLLabelMapVolumeNode")


@pytest.fixture
def selector(scene):
    import slicer

    widget = slicer.qMRMLNodeComboBox()
    widget.nodeTypes = ["vtkMRMLScalarVolumeNode"]
    return widget


def test_selector_offers_label_maps_unless_told(selector, scene, volumes):
    selector.setMRMLScene(scene)
    assert selector.nodeCount() == 3
    selector.showChildNodeTypes = False
    assert [selector.nodeFromIndex(i).GetName() for i in range(selector.nodeCount())] == ["first", "second"]


def test_selector_without_none_takes_the_first_node(selector, scene, volumes):
    seen = []
    selector.connect("currentNodeChanged(vtkMRMLNode*)", seen.append)
    selector.setMRMLScene(scene)
    assert selector.currentNode() is volumes[0]
    assert seen == [volumes[0]]
    scene.RemoveNode(volumes[0])
    assert selector.currentNode() is volumes[1]
    scene.Clear()
    assert selector.currentNode() is None


def test_selector_with_none_waits_for_a_choice(selector, scene, volumes):
    selector.noneEnabled = True
    assert not selector.enabled
    selector.setMRMLScene(scene)
    assert selector.enabled
    assert selector.currentNode() is None
    selector.setCurrentNodeID(volumes[1].GetID())
    assert selector.currentNodeID == volumes[1].GetID()
    with pytest.raises(ValueError, match="vtkMRMLNode"):
        selector.setCurrentNode("first")


def test_selector_keeps_a_choice_made_before_it_had_a_scene(selector, scene, volumes):
    selector.setCurrentNode(volumes[1])
    selector.setMRMLScene(scene)
    assert selector.currentNode() is volumes[1]


def test_selector_knows_what_is_imported_when_all_of_it_is_there(selector, scene, volumes):
    import slicer

    selector.noneEnabled = True
    selector.setMRMLScene(scene)
    scene.StartState(slicer.vtkMRMLScene.ImportState)
    imported = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "imported")
    selector.setCurrentNode(imported)
    assert selector.currentNode() is None
    scene.EndState(slicer.vtkMRMLScene.ImportState)
    selector.setCurrentNode(imported)
    assert selector.currentNode() is imported


def test_selector_filters_by_attribute_and_makes_nodes(selector, scene, volumes):
    selector.setMRMLScene(scene)
    selector.addAttribute("vtkMRMLScalarVolumeNode", "kind", "synthetic")
    assert selector.nodeCount() == 0
    volumes[1].SetAttribute("kind", "synthetic")
    selector.baseName = "Result"
    node = selector.addNode()
    assert (node.GetName(), node.GetAttribute("kind"), selector.currentNode()) == ("Result", "synthetic", node)
    assert selector.nodeCount() == 2


def test_checkable_selector(scene, volumes):
    import slicer

    widget = slicer.qMRMLCheckableNodeComboBox()
    widget.nodeTypes = ["vtkMRMLScalarVolumeNode"]
    widget.setMRMLScene(scene)
    changes = []
    widget.checkedNodesChanged.connect(lambda: changes.append(1))
    widget.check(volumes[0])
    widget.check(volumes[0])
    assert widget.checkedNodes() == (volumes[0],)
    assert changes == [1]


def test_hierarchy_tree_selects_filters_and_survives_a_scene_load(scene, volumes, tmp_path):
    import slicer
    import vtk

    def hierarchy():
        return slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)

    study = hierarchy().CreateStudyItem(hierarchy().GetSceneItemID(), "study")
    hierarchy().SetItemParent(hierarchy().GetItemByDataNode(volumes[0]), study)
    tree = slicer.qMRMLSubjectHierarchyTreeView()
    tree.multiSelection = True
    tree.setMRMLScene(scene)
    assert tree.displayedItemCount() == 4
    seen = []
    tree.connect("currentItemChanged(vtkIdType)", seen.append)
    tree.setCurrentNode(volumes[0])
    assert tree.currentItem() == seen[-1] == hierarchy().GetItemByDataNode(volumes[0])
    both = vtk.vtkIdList()
    for node in volumes[:2]:
        both.InsertNextId(hierarchy().GetItemByDataNode(node))
    tree.setCurrentItems(both)
    selected = vtk.vtkIdList()
    tree.currentItems(selected)
    assert {selected.GetId(0), selected.GetId(1)} == {both.GetId(0), both.GetId(1)}
    tree.nodeTypes = ["vtkMRMLLabelMapVolumeNode"]
    assert tree.displayedItemCount() == 1
    tree.nodeTypes = []
    tree.levelFilter = ["Study"]
    assert tree.displayedItemCount() == 1
    tree.levelFilter = []

    path = str(tmp_path / "scene.mrb")
    assert slicer.util.saveScene(path, {})
    slicer.util.loadScene(path, {"clear": True})
    assert tree.subjectHierarchyNode() is hierarchy()
    assert tree.displayedItemCount() == 4


def test_hierarchy_combo_box(scene, volumes):
    import slicer

    combo = slicer.qMRMLSubjectHierarchyComboBox()
    combo.noneEnabled = True
    combo.setMRMLScene(scene)
    assert combo.currentNode() is None
    combo.setCurrentNode(volumes[1])
    assert combo.currentNode() is volumes[1]
    combo.clearSelection()
    assert combo.currentItem() == 0


@pytest.fixture
def segmentation(scene):
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "seg")
    for name in ("lesion", "ventricle"):
        node.GetSegmentation().AddEmptySegment(name, name)
    node.CreateDefaultDisplayNodes()
    return node


def test_segments_table_and_selector(scene, segmentation):
    import slicer

    table, selector = slicer.qMRMLSegmentsTableView(), slicer.qMRMLSegmentSelectorWidget()
    for widget in (table, selector):
        widget.setMRMLScene(scene)
    table.setSegmentationNode(segmentation)
    selector.setCurrentNode(segmentation)
    table.setSelectedSegmentIDs(["ventricle"])
    assert (table.segmentCount, table.selectedSegmentIDs()) == (2, ("ventricle",))
    assert selector.currentSegmentID() == "lesion"
    segmentation.GetSegmentation().RemoveSegment("lesion")
    assert (table.segmentCount, selector.currentSegmentID()) == (1, "ventricle")
    slicer.vtkSlicerSegmentationsModuleLogic.SetSegmentStatus(segmentation.GetSegmentation().GetSegment("ventricle"), 2)
    assert table.tableWidget().item(0, 4).text() == "Completed"


def test_segment_editor_works_on_its_node(scene, segmentation, volumes):
    import slicer

    editor = slicer.qMRMLSegmentEditorWidget()
    editor.setMRMLScene(scene)
    editor.setSegmentationNode(segmentation)
    assert editor.segmentationNode() is None  # without an editor node nothing happens
    node = scene.AddNewNodeByClass("vtkMRMLSegmentEditorNode")
    editor.setMRMLSegmentEditorNode(node)
    editor.setSegmentationNode(segmentation)
    editor.setSourceVolumeNode(volumes[0])
    assert (editor.segmentationNode(), editor.sourceVolumeNode()) == (segmentation, volumes[0])
    assert editor.currentSegmentID() == "lesion"
    editor.selectNextSegment()
    assert node.GetSelectedSegmentID() == "ventricle"
    editor.setActiveEffectByName("Paint")
    assert editor.activeEffect().name == "Paint"
    assert editor.effectByName("Nonsense") is None
    editor.setSegmentationNode(None)
    assert editor.activeEffect() is None


def test_markups_place_widget(scene):
    import slicer

    widget = slicer.qSlicerMarkupsPlaceWidget()
    widget.setMRMLScene(scene)
    points = scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode")
    widget.setCurrentNode(points)
    seen = []
    widget.activeMarkupsPlaceModeChanged.connect(seen.append)
    widget.placeModeEnabled = True
    interaction = scene.GetNodeByID("vtkMRMLInteractionNodeSingleton")
    assert interaction.GetCurrentInteractionMode() == interaction.Place
    interaction.SetCurrentInteractionMode(interaction.ViewTransform)
    assert not widget.placeModeEnabled
    assert seen == [True, False]


def test_numbers(slicerHost):
    import ctk

    slider = ctk.ctkSliderWidget()
    seen = []
    slider.connect("valueChanged(double)", seen.append)
    slider.maximum, slider.decimals = 10, 1
    slider.value = 3.26
    slider.value = 99
    assert seen == [3.3, 10.0]
    with pytest.raises(AttributeError):
        slider.setMinimum(3)
    pair = ctk.ctkRangeWidget()
    pair.setRange(-10, 10)
    pair.setValues(5, -5)
    assert (pair.minimumValue, pair.maximumValue) == (-5, 5)


def test_paths(slicerHost, tmp_path):
    import ctk

    path, seen = ctk.ctkPathLineEdit(), []
    path.currentPathChanged.connect(seen.append)
    path.nameFilters = ["Packages (*.zip)"]
    path.currentPath = "/tmp/x.zip"
    path.currentPath = "/tmp/x.nrrd"
    assert seen[-1] == "/tmp/x.zip"  # what no filter accepts is not announced
    path, seen, valid = ctk.ctkPathLineEdit(), [], []
    path.currentPathChanged.connect(seen.append)
    path.validInputChanged.connect(valid.append)
    path.currentPath = "/tmp"
    path.currentPath = ""
    assert (seen, valid) == (["/tmp"], [True, False])  # nothing is no path, and is not announced as one
    button, seen = ctk.ctkDirectoryButton(), []
    button.directoryChanged.connect(seen.append)
    button.directory = str(tmp_path)
    button.directory = str(tmp_path)
    assert seen == [str(tmp_path)]


def test_collapsible_button_shows_and_hides_its_contents(slicerHost):
    import ctk
    import qt

    window = qt.QWidget()
    section = ctk.ctkCollapsibleButton("Inputs", window)
    layout = qt.QVBoxLayout(section)
    label = qt.QLabel("x")
    layout.addWidget(label)
    window.show()
    seen = []
    section.contentsCollapsed.connect(seen.append)
    section.collapsed = True
    assert label.isHidden()
    section.collapsed = False
    assert label.isVisible()
    assert seen == [True, False]


FORM = """<ui version="4.0"><class>Form</class><widget class="qMRMLWidget" name="Form">
<layout class="QVBoxLayout" name="layout">{items}</layout></widget><connections>{connections}</connections></ui>"""
ITEM = '<item><widget class="{0}" name="{1}">{2}</widget></item>'


@pytest.mark.parametrize(
    ("items", "connections", "message"),
    [
        (ITEM.format("ctkNoSuch", "w", ""), "", "Widget class ctkNoSuch"),
        (ITEM.format("QLabel", "w", '<property name="nosuch"><bool>true</bool></property>'), "", "no property nosuch"),
        (ITEM.format("QLabel", "w", "") * 2, "", "Two widgets"),
        (
            ITEM.format("QPushButton", "w", ""),
            "<connection><sender>w</sender><signal>nosuch()</signal><receiver>Form</receiver><slot>show()</slot></connection>",
            "no signal nosuch",
        ),
        (
            ITEM.format("QPushButton", "w", ""),
            "<connection><sender>w</sender><signal>clicked()</signal><receiver>Form</receiver><slot>nosuch()</slot></connection>",
            "no slot nosuch",
        ),
        (
            ITEM.format("ctkPathLineEdit", "w", '<property name="filters"><set>ctkPathLineEdit::No</set></property>'),
            "",
            "ctkPathLineEdit::No is unknown",
        ),
    ],
)
def test_forms_with_mistakes_raise(slicerHost, tmp_path, items, connections, message):
    import slicer

    (tmp_path / "form.ui").write_text(FORM.format(items=items, connections=connections))
    with pytest.raises(RuntimeError, match=message):
        slicer.util.loadUI(str(tmp_path / "form.ui"))


def test_forms_set_flags_of_stand_ins_and_tool_tips(slicerHost, tmp_path):
    import slicer

    properties = """<property name="filters"><set>ctkPathLineEdit::Files|ctkPathLineEdit::Readable</set></property>
    <property name="toolTip"><string>where</string></property>
    <property name="nameFilters"><stringlist><string>*.zip</string></stringlist></property>"""
    form = FORM.format(items=ITEM.format("ctkPathLineEdit", "path", properties), connections="")
    (tmp_path / "form.ui").write_text(form)
    top = slicer.util.loadUI(str(tmp_path / "form.ui"))
    path = slicer.util.childWidgetVariables(top).path
    assert (path.filters, path.toolTip, path.nameFilters) == (0x12, "<p>where</p>", ("*.zip",))
