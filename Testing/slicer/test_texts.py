"""What the user reads: all of it goes through the translation, explains itself, and never stands in the way."""

import ast
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

MODULE = Path(__file__).parents[2] / "GenerativeAugment"
FORMS = sorted((MODULE / "Resources" / "UI").glob("*.ui"))
SOURCES = [MODULE / "GenerativeAugment.py", *sorted((MODULE / "GenerativeAugmentLib").rglob("*.py"))]

PASSIVE = {"QLabel", "QWidget", "qMRMLWidget", "QGroupBox", "QFrame", "Line"}
"""Nothing can be done with these; everything else is a control."""

SHOWN = {"text", "toolTip", "title", "plainText", "html", "placeholderText", "prefix", "suffix", "specialValueText"}
SHOWING = {"setText", "setToolTip", "setTitle", "addItem", "showStatus", "appendPlainText", "addButton", "addAction"}

OBSTRUCTING = {
    *("setOverrideCursor", "WaitCursor", "QMessageBox", "QInputDialog", "QProgressDialog", "createProgressDialog"),
    *("errorDisplay", "warningDisplay", "infoDisplay", "messageBox", "tryWithErrorDisplay", "delayDisplay"),
    *("confirmOkCancelDisplay", "confirmYesNoDisplay", "confirmRetryCloseDisplay"),
}
ALLOWED = {("environment.py", "confirmOkCancelDisplay")}
"""Nothing is installed without asking; Slicer from 5.12 on asks by itself."""

STYLING = {"styleSheet", "setStyleSheet", "setStyle", "setPalette"}


def words(node: ast.expr) -> str:
    """Words in a literal, "" for everything that is no literal."""
    parts = node.values if isinstance(node, ast.JoinedStr) else [node]
    text = " ".join(part.value for part in parts if isinstance(part, ast.Constant) and isinstance(part.value, str))
    return " ".join(re.findall(r"[A-Za-z]{2,}", text))


@pytest.mark.parametrize("form", FORMS, ids=lambda path: path.stem)
def test_every_control_says_what_it_does_and_no_form_has_a_style(form):
    tree = ElementTree.parse(form)
    for widget in tree.iter("widget"):
        properties = {element.get("name"): element for element in widget.findall("property")}
        name = f"{form.name}: {widget.get('name')}"
        assert "styleSheet" not in properties, name
        if widget.get("class") not in PASSIVE:
            assert properties.get("toolTip") is not None and properties["toolTip"].findtext("string"), name
    untranslated = [element.text for element in tree.iter("string") if element.get("notr") == "true"]
    assert not [text for text in untranslated if re.search("[A-Za-z]{2,}", text or "")]


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_every_text_is_translated_and_nothing_stands_in_the_way(source):
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        where = f"{source.name}, line {getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.Attribute | ast.Name):
            name = node.attr if isinstance(node, ast.Attribute) else node.id
            if (source.name, name) not in ALLOWED:
                assert name not in OBSTRUCTING | STYLING, f"{where}: {name}"
        if isinstance(node, ast.Assign):
            shown = [target for target in node.targets if isinstance(target, ast.Attribute) and target.attr in SHOWN]
            assert not (shown and words(node.value)), f"{where}: {words(node.value)}"
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in SHOWING:
            text = words(node.args[0]) if node.args else ""
            assert not text, f"{where}: {text}"


def test_the_check_of_texts_finds_one_that_is_not_translated():
    assert words(ast.parse('"Choose one"', mode="eval").body) == "Choose one"
    assert words(ast.parse('f"{a}, version {b}"', mode="eval").body) == "version"
    assert words(ast.parse('_("Choose one")', mode="eval").body) == ""
