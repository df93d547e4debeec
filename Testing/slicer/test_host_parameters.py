"""slicer.parameterNodeWrapper: what a running Slicer 5.13 answered."""

import enum
import pathlib
import typing
from types import SimpleNamespace

import numpy as np
import pytest


class Color(enum.Enum):
    red = 1
    blue = 2


@pytest.fixture
def wrapped(scene):
    """A wrapper with a parameter of each kind, over a node in the scene."""
    import slicer
    from slicer.parameterNodeWrapper import (
        Choice,
        Default,
        FloatRange,
        Maximum,
        Minimum,
        RangeBounds,
        WithinRange,
        parameterNodeWrapper,
        parameterPack,
    )

    @parameterPack
    class Pack:
        volume: slicer.vtkMRMLScalarVolumeNode
        amount: typing.Annotated[float, WithinRange(0, 10)] = 2.5
        count: typing.Annotated[int, Minimum(1), Maximum(99)] = 3

        def isValid(self):
            return self.volume is not None, "Choose a volume."

    @parameterNodeWrapper
    class Parameters:
        pack: Pack
        folder: pathlib.Path
        maybe: slicer.vtkMRMLScalarVolumeNode | None
        names: list[str]
        scores: dict[str, float]
        device: typing.Annotated[str, Choice(["auto", "cpu"])] = "auto"
        color: Color
        whole: int
        real: float
        flag: bool
        text: str
        window: typing.Annotated[FloatRange, RangeBounds(-1000, 1000), Default(FloatRange(-100, 200))]

    node = scene.AddNewNodeByClass("vtkMRMLScriptedModuleNode")
    return Parameters(node)


@pytest.fixture
def volume(scene):
    import slicer

    return slicer.util.addVolumeFromArray(np.zeros((2, 3, 4), np.int16), name="head")


def test_defaults(wrapped):
    assert wrapped.folder == pathlib.Path()
    assert wrapped.maybe is None
    assert type(wrapped.names).__name__ == "ObservedList"
    assert type(wrapped.scores).__name__ == "ObservedDict"
    assert wrapped.color is Color.red
    assert (wrapped.whole, wrapped.real, wrapped.flag, wrapped.text) == (0, 0.0, False, "")
    assert (wrapped.pack.amount, wrapped.pack.count, wrapped.pack.volume) == (2.5, 3, None)
    assert (wrapped.window.minimum, wrapped.window.maximum) == (-100, 200)


def test_what_is_refused(wrapped, scene):
    with pytest.raises(ValueError, match=r"\[0, 10\]"):
        wrapped.pack.amount = 11
    with pytest.raises(ValueError, match="auto"):
        wrapped.device = "gpu"
    for value in (2.7, "x"):
        with pytest.raises(TypeError):
            wrapped.whole = value
    with pytest.raises(TypeError):
        wrapped.pack.volume = scene.AddNewNodeByClass("vtkMRMLModelNode")
    with pytest.raises(AttributeError):
        wrapped.pack.nosuch = 1
    with pytest.raises(ValueError, match="pack"):
        wrapped.getValue("nosuch")
    assert (wrapped.pack.amount, wrapped.device, wrapped.whole) == (2.5, "auto", 0)


def test_what_is_accepted(wrapped, scene):
    wrapped.real = 1
    assert wrapped.real == 1.0
    assert isinstance(wrapped.real, float)
    label = scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode")
    wrapped.pack.volume = label
    assert wrapped.pack.volume is label
    wrapped.nosuch = 1  # silently, so guard against typing errors


def test_what_the_node_keeps(wrapped, volume):
    node = wrapped.parameterNode
    wrapped.color = Color.blue
    wrapped.pack.volume = volume
    wrapped.names = ["a", "b"]
    wrapped.names.append("c")
    wrapped.scores["dice"] = 0.5
    wrapped.maybe = volume
    assert node.GetParameter("color") == "blue"
    assert node.GetParameter("pack.count") == "3"
    assert node.GetNodeReferenceID("pack.volume") == volume.GetID()
    assert [node.GetParameter(f"names.{index}") for index in range(3)] == ["a", "b", "c"]
    again = type(wrapped)(node)
    assert (again.color, list(again.names), dict(again.scores)) == (Color.blue, ["a", "b", "c"], {"dice": 0.5})
    assert again.pack == wrapped.pack
    assert again.maybe is volume


def test_packs_share_their_defaults(slicerHost):
    from slicer.parameterNodeWrapper import Default, FloatRange, parameterPack

    @parameterPack
    class Sized:
        size: typing.Annotated[FloatRange, Default(generator=lambda: FloatRange(1, 2))]

    first = Sized()
    first.size.setRange(3, 4)
    assert Sized().size == FloatRange(3, 4)
    assert Sized(size=FloatRange(5, 6)).size == FloatRange(5, 6) and Sized().size == FloatRange(3, 4)


def test_a_dictionary_takes_no_default(wrapped):
    wrapped.scores["dice"] = 0.5
    assert (wrapped.scores.get("dice"), wrapped.scores.get("nosuch")) == (0.5, None)
    for method in (wrapped.scores.get, wrapped.scores.pop):
        with pytest.raises(TypeError):
            method("nosuch", 0.0)
    assert wrapped.scores.pop("dice") == 0.5 and not type(wrapped)(wrapped.parameterNode).scores


def test_the_same_value_twice_is_one_event(wrapped):
    events = []
    wrapped.AddObserver("ModifiedEvent", lambda *_: events.append(1))
    wrapped.pack.count = 5
    wrapped.pack.count = 5
    assert len(events) == 1


def test_a_removed_node_leaves_none(wrapped, volume, scene):
    wrapped.pack.volume = volume
    scene.RemoveNode(volume)
    assert wrapped.pack.volume is None


def test_a_cleared_scene_leaves_the_wrapper_with_its_own_node(wrapped, scene):
    wrapped.pack.count = 7
    scene.Clear()
    assert wrapped.pack.count == 7
    assert wrapped.parameterNode.GetScene() is None


def _connected(wrapped, **widgets):
    import qt

    window = qt.QWidget()
    for name, (parameter, widget) in widgets.items():
        widget.setParent(window)
        widget.objectName = name
        widget.setProperty("SlicerParameterName", parameter)
    ui = SimpleNamespace(**{name: widget for name, (_, widget) in widgets.items()})
    return window, wrapped.connectGui(window), ui


def test_connected_widgets_and_parameters_follow_each_other(wrapped, volume, scene):
    import ctk
    import qt
    import slicer

    selector = slicer.qMRMLNodeComboBox()
    selector.noneEnabled = True
    selector.setMRMLScene(scene)
    _window, tag, ui = _connected(
        wrapped,
        selector=("pack.volume", selector),
        amount=("pack.amount", ctk.ctkSliderWidget()),
        count=("pack.count", qt.QSpinBox()),
        device=("device", qt.QComboBox()),
        color=("color", ctk.ctkComboBox()),
        flag=("flag", qt.QCheckBox()),
        text=("text", qt.QLineEdit()),
        folder=("folder", ctk.ctkPathLineEdit()),
        window=("window", ctk.ctkRangeWidget()),
    )
    assert tag is not None
    assert (ui.count.minimum, ui.count.maximum, ui.amount.maximum) == (1, 99, 10)
    assert (ui.device.count, ui.color.currentText) == (2, "red")
    assert selector.nodeTypes == ("vtkMRMLScalarVolumeNode",)

    selector.setCurrentNode(volume)
    ui.amount.value, ui.count.value, ui.device.currentIndex, ui.color.currentIndex = 4.5, 9, 1, 1
    ui.flag.checked, ui.text.text, ui.folder.currentPath = True, "hello", "/tmp"
    ui.window.setValues(-50, 60)
    assert wrapped.pack.volume is volume
    assert (wrapped.pack.amount, wrapped.pack.count, wrapped.device, wrapped.color) == (4.5, 9, "cpu", Color.blue)
    assert (wrapped.flag, wrapped.text, wrapped.folder) == (True, "hello", pathlib.Path("/tmp"))
    assert (wrapped.window.minimum, wrapped.window.maximum) == (-50, 60)

    wrapped.pack.count, wrapped.text, wrapped.color, wrapped.pack.volume = 2, "bye", Color.red, None
    assert (ui.count.value, ui.text.text, ui.color.currentIndex, selector.currentNode()) == (2, "bye", 0, None)

    wrapped.disconnectGui(tag)
    ui.count.value = 8
    assert wrapped.pack.count == 2


def test_connections_that_cannot_be(wrapped):
    import ctk
    import qt

    with pytest.raises(RuntimeError, match="QPlainTextEdit"):
        _connected(wrapped, text=("text", qt.QPlainTextEdit()))
    with pytest.raises(ValueError, match="nosuch"):
        _connected(wrapped, text=("nosuch", qt.QLineEdit()))
    with pytest.raises(RuntimeError, match="bounds"):
        _connected(wrapped, real=("real", ctk.ctkSliderWidget()))
    with pytest.raises(RuntimeError, match="Choice"):
        _connected(wrapped, text=("text", qt.QComboBox()))


def test_a_pack_can_be_copied_by_hand_and_checked(wrapped, volume):
    kind = type(wrapped).dataType("pack")
    assert wrapped.pack.isValid() == (False, "Choose a volume.")
    frozen = kind(volume=volume, amount=3.0)
    wrapped.pack = frozen
    wrapped.pack.amount = 9
    assert (frozen.amount, wrapped.pack.amount) == (3.0, 9)
    assert wrapped.pack.isValid()[0]
    with pytest.raises(TypeError):
        kind(nosuch=1)


def test_reserved_names_and_empty_packs(scene):
    from slicer.parameterNodeWrapper import parameterNodeWrapper, parameterPack

    with pytest.raises(ValueError, match="reserved"):

        @parameterNodeWrapper
        class Reserved:
            default: int

    with pytest.raises(ValueError, match="no parameters"):

        @parameterPack
        class Empty:
            pass
