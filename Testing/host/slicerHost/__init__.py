"""Stands in for the Slicer application in tests: Qt, ctk, qMRML widgets and slicer.app over the real MRML scene.

`install()` arranges that `import slicer, qt, ctk, vtk` work in the module's code and in slicer.util. The scene, the
logics and slicer.util are those of the application, from the wheel slicer-core; Qt is PySide6 on the offscreen
platform. What the host does not know raises.

surface.json holds what a running Slicer 5.13 (Qt 5.15) showed; the tests hold the host to it. PySide6 has a switch
of its own that turns properties into attributes (`from __feature__ import true_property`), but it takes setText and
isEnabled away, accepts unknown attributes and works only in the files that ask for it, slicer.util not among them.
So the classes are changed in place (pythonqt.py, signals.py, patches.py).

The same in both, and different from plain PySide6
    properties are attributes, setters and isX exist too       PythonQt/src/PythonQtClassInfo.cpp, member
    QTimer.singleShot is a method, `name` means objectName     ditto
    exec_ finds exec, raise_ finds raise                       ditto
    no new attributes on C++ objects, AttributeError           PythonQt/src/PythonQtInstanceWrapper.cpp, setattro
    dynamic properties and named children read as attributes   ditto, getattro
    connect("signal(type)", f) answers True or False           PythonQt/src/PythonQtStdDecorators.cpp
    functions and methods get their arguments cut, all other
    callables get every argument; a receiver is kept alive     PythonQt/src/PythonQtSignalReceiver.cpp
    lists come back as tuples                                  PythonQt/src/PythonQtConversion.cpp
    a plain tool tip reads back as <p>...</p>                  CTK/Libs/Widgets/ctkToolTipTrapper.cpp, switched on in
                                                               Slicer/Base/QTGUI/qSlicerApplication.cxx
    errors in slots go to the console                          PythonQt/src/PythonQt.cpp; tests fail on them

Different from the application: stricter here
    a property takes its own type only; PythonQt turns 5 into "5" and 2.7 into 2   PythonQt/src/PythonQtConversion.cpp
    enumerations are no integers: combo.sizeAdjustPolicy == 0 is False             PythonQt/src/PythonQtClassInfo.cpp
    a class, property or connection in a .ui file that does not exist raises       Qt's QUiLoader only warns
    names of Qt 6 only are hidden, names of Qt 5 only do not exist (layout.margin, currentIndexChanged(QString))
    slicer.loadVolume and other leaks of slicer-core are removed                   slicer/__init__.py of the wheel

Different from the application: to keep in mind
    hasattr is True for a hidden method (it raises when called), see pythonqt.Hidden
    while Qt's event loop runs, so do threads of Python's; there they get on only while Python is called, because
    nobody enables PythonQt's thread support                        PythonQt/src/PythonQtThreadSupport.cpp
    one disconnect undoes all connections of a signal and receiver; PythonQt undoes one   PythonQtSignalReceiver.cpp
    a form without a parent is deleted with its last Python reference; there it stays     PythonQtInstanceWrapper.cpp
    the stand-ins have the properties and signals of the widgets, and the methods that somebody has needed; they look
    simpler, have no menus, and the segment editor paints nothing                         Slicer/Libs/MRML/Widgets
    segments are no items of the subject hierarchy, and only the commonest node types
    are filed in it              Slicer/Modules/Loadable/Segmentations/SubjectHierarchyPlugins and others
    slicer.parameterNodeWrapper has no typing.Any, no QColor, no own serializers, no createGui, see its docstring
    slicer.app.layoutManager() is None, as with --no-main-window, unless a test opens slicerHost.views.Views
    slicer.packaging and PyTorchUtils install nothing
"""
