"""The module qt: PySide6 classes, dressed as PythonQt shows them, under one name."""

import types

from PySide6 import QtCore

from . import facts, loader, patches, pythonqt, signals

# Classes the application has too, though nobody has asked it for their members; only what slicer.util and
# the module's code need.
_UNSEEN = """
    QAbstractButton QAbstractItemModel QAbstractScrollArea QAbstractSpinBox QActionGroup QBrush QByteArray
    QCloseEvent QColorDialog QCompleter QCoreApplication QDate QDoubleValidator QFile QFontDatabase QFontMetrics
    QIODevice QIntValidator QItemSelectionModel QKeyEvent QLayout QListView QLocale QMargins QMimeData QModelIndex
    QMouseEvent QPainter QPalette QPen QPointF QRectF QRegularExpression QScreen QScrollBar QSizeF
    QSortFilterProxyModel QSpacerItem QStyle QStyledItemDelegate QSysInfo QTextCursor QTextDocument QThread QTime
    QTreeView QValidator QWidgetAction
"""


def build() -> types.ModuleType:
    """Make the module; PySide6 is dressed on the way."""
    module = types.ModuleType("qt", __doc__)
    names = [*facts.classNames("qt"), *_UNSEEN.split()]
    patches.addMissingNames()
    pythonqt.dress(names)
    signals.install()
    patches.install()
    for name in names:
        setattr(module, name, pythonqt.pysideClass(name))
    module.Qt = QtCore.Qt
    module.Signal = QtCore.Signal
    module.Slot = QtCore.Slot
    module.QUiLoader = loader.UiLoader
    module.__getattr__ = _unknown
    return module


def _unknown(name: str):
    raise AttributeError(f"module 'qt' has no attribute '{name}' in the host; add it if the application has it")
