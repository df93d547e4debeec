"""PythonQt's manners, as a running Slicer 5.13 answered them."""

import functools
import gc

import pytest


@pytest.fixture
def qt(slicerHost):
    import qt

    return qt


@pytest.fixture
def button(qt):
    return qt.QPushButton("x")


def test_properties_are_attributes(qt, button):
    assert button.text == "x"
    with pytest.raises(TypeError, match="'str' object is not callable"):
        button.text()
    button.text = "y"
    assert button.text == "y"
    button.setText("z")
    assert button.text == "z"
    assert button.enabled is True
    assert button.isEnabled() is True


def test_unknown_and_mistaken_assignments_raise(qt, button):
    with pytest.raises(AttributeError, match="creating new attributes on C"):
        button.nosuch = 1
    with pytest.raises(AttributeError, match="does not accept an object of type"):
        button.text = 5
    with pytest.raises(AttributeError, match="can not be overwritten"):
        button.click = lambda: None
    with pytest.raises(AttributeError, match="not writable"):
        qt.QComboBox().count = 3
    with pytest.raises(AttributeError):
        button.nosuch  # noqa: B018
    with pytest.raises(AttributeError):
        qt.QListWidgetItem("a").nosuch = 1


def test_a_class_derived_in_python_takes_attributes(qt):
    class Panel(qt.QWidget):
        def __init__(self):
            qt.QWidget.__init__(self)
            self.count = 3
            self.enabled = False

    panel = Panel()
    assert (panel.count, panel.isEnabled()) == (3, False)


def test_counts_and_current_values(qt):
    combo, rows, tabs, layout = qt.QComboBox(), qt.QListWidget(), qt.QTabWidget(), qt.QVBoxLayout()
    combo.addItem("one", 1)
    rows.addItem("one")
    assert (combo.count, rows.count, tabs.count, layout.count()) == (1, 1, 0, 0)
    for widget in (combo, rows, tabs):
        with pytest.raises(TypeError):
            widget.count()
    assert (combo.currentData, combo.currentText, combo.currentIndex) == (1, "one", 0)
    rows.currentRow = 0
    assert rows.currentRow == 0
    assert qt.QTimer().active is False
    text = qt.QPlainTextEdit()
    text.plainText = "abc"
    assert text.plainText == "abc"


def test_items_have_methods_only(qt):
    for item in (qt.QListWidgetItem("a"), qt.QTableWidgetItem("a")):
        assert item.text() == "a"
        item.setText("b")
        assert item.text() == "b"


def test_connecting(qt, button, capfd):
    first, second = [], []
    button.checkable = True
    assert button.clicked.connect(first.append) is True
    assert button.connect("clicked(bool)", second.append) is True
    button.click()
    assert (first, second) == ([True], [True])
    assert button.connect("nosuch()", first.append) is False
    assert "does not exist" in capfd.readouterr().err
    assert button.disconnect("clicked(bool)", second.append) is True
    assert button.clicked.disconnect(first.append) is True
    assert button.clicked.disconnect(first.append) is False
    button.click()
    assert (first, second) == ([True], [True])


def test_only_functions_and_methods_get_their_arguments_cut(qt, button):
    got = []

    class Receiver:
        def none(self):
            got.append("none")

        def everything(self, *arguments):
            got.append(arguments)

    receiver = Receiver()
    button.clicked.connect(receiver.none)
    button.clicked.connect(lambda: got.append("lambda"))
    button.clicked.connect(receiver.everything)
    button.clicked.connect(functools.partial(receiver.everything, 1))
    button.click()
    assert got == ["none", "lambda", (False,), (1, False)]


def test_a_connection_keeps_its_receiver_alive(qt, button):
    got = []

    class Receiver:
        def slot(self):
            got.append(1)

    button.clicked.connect(Receiver().slot)
    button.connect("clicked()", Receiver().slot)
    gc.collect()
    button.click()
    assert got == [1, 1]


def test_slots_by_name(qt, button):
    box = qt.QCheckBox()
    assert button.connect("clicked()", box, "toggle()") is True
    button.click()
    assert box.checked


def test_process_output_is_bytes_in_a_qbytearray(qt):
    process = qt.QProcess()
    process.start("echo", ["hello"])
    assert process.waitForFinished(5000)
    assert bytes(process.readAllStandardOutput().data()) == b"hello\n"


def test_settings_keep_types(qt, scene):
    settings = qt.QSettings()
    settings.setValue("list", ["a", "b"])
    settings.setValue("flag", True)
    settings.setValue("number", 3)
    assert settings.value("list") == ("a", "b")
    assert settings.value("flag") is True
    assert settings.value("number") == 3
    assert settings.value("missing", 7) == 7
    assert settings.allKeys() == ("flag", "list", "number")


def test_node_types_and_path_filters(slicerHost):
    import ctk
    import slicer

    selector = slicer.qMRMLNodeComboBox()
    selector.nodeTypes = ["vtkMRMLScalarVolumeNode", "vtkMRMLSegmentationNode"]
    assert selector.nodeTypes == ("vtkMRMLScalarVolumeNode", "vtkMRMLSegmentationNode")
    path = ctk.ctkPathLineEdit()
    path.filters = ctk.ctkPathLineEdit.Dirs
    assert path.filters == 1
    with pytest.raises(AttributeError):
        selector.nodeTypes = "vtkMRMLScalarVolumeNode"


def test_tool_tips_become_rich_text(button):
    button.toolTip = "x"
    assert button.toolTip == "<p>x</p>"
    button.setToolTip("<b>y</b>")
    assert button.toolTip == "<b>y</b>"


def test_finding_children(qt):
    import slicer

    window = qt.QWidget()
    line, label = qt.QLineEdit(window), qt.QLabel(window)
    label.objectName = "label"
    assert window.findChild(qt.QLineEdit) == line
    assert window.findChildren("QLineEdit") == (line,)
    assert slicer.util.findChildren(window, className="QLineEdit") == [line]
    assert slicer.util.findChild(window, "label") == label
    assert window.label == label  # PythonQt looks among the children last
    assert label.name == "label"
    assert window.children() == (line, label)


def test_words_that_python_keeps_for_itself(qt):
    dialog = qt.QDialog()
    qt.QTimer.singleShot(0, dialog.accept)
    assert dialog.exec_() == qt.QDialog.Accepted
    dialog.raise_()


def test_dynamic_properties_read_like_attributes(button):
    button.setProperty("SlicerParameterName", "pack.member")
    assert button.SlicerParameterName == "pack.member"
    assert button.property("SlicerParameterName") == "pack.member"
    assert button.property("nosuch") is None


def test_custom_signals_exist(qt):
    got = []

    class Sender(qt.QObject):
        changed = qt.Signal("int")

    sender = Sender()
    sender.changed.connect(got.append)
    sender.changed.emit(3)
    assert got == [3]


def test_an_application_class_is_named_by_its_qt_class(qt, button):
    assert button.className() == "QPushButton"
    assert qt.QVBoxLayout().className() == "QVBoxLayout"
