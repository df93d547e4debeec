"""Base of the qMRML widgets, and those that only show a number."""

from PySide6 import QtCore, QtWidgets

from ..signals import spells
from .sliders import ctkDoubleSpinBox, ctkSliderWidget
from .stored import setter, stored


def requireScene(scene) -> None:
    """TypeError for anything but a MRML scene or None."""
    if scene is not None and not (hasattr(scene, "IsA") and scene.IsA("vtkMRMLScene")):
        raise TypeError(f"setMRMLScene takes a vtkMRMLScene, not {scene!r}")


@spells("mrmlSceneChanged(vtkMRMLScene*)")
class qSlicerWidget(QtWidgets.QWidget):
    """A widget that knows the scene, but tells only C++ which one it is."""

    mrmlSceneChanged = QtCore.Signal(object)
    _scene = None

    def setMRMLScene(self, scene) -> None:
        requireScene(scene)
        if scene is not self._scene:
            self._scene = scene
            self._onScene()
            self.mrmlSceneChanged.emit(scene)

    def _onScene(self) -> None:
        """For subclasses: the scene has been set."""


class qMRMLWidget(qSlicerWidget):
    """A widget that knows the scene and passes it on."""

    def mrmlScene(self):
        return self._scene


class _WithUnits:
    """What qMRMLSliderWidget and qMRMLSpinBox have in common."""

    _scene = None

    def mrmlScene(self):
        return self._scene

    def setMRMLScene(self, scene) -> None:
        requireScene(scene)
        self._scene = scene


class qMRMLSliderWidget(ctkSliderWidget, _WithUnits):
    """A slider that could follow the scene's units."""

    quantity = stored("quantity", str, "")
    unitAwareProperties = stored("unitAwareProperties", int, 0x13)
    orientation = stored("orientation", int, 1)
    setQuantity = setter("quantity")
    setUnitAwareProperties = setter("unitAwareProperties")
    setOrientation = setter("orientation")


class qMRMLSpinBox(ctkDoubleSpinBox, _WithUnits):
    """A spin box that could follow the scene's units."""

    quantity = stored("quantity", str, "")
    unitAwareProperties = stored("unitAwareProperties", int, 0x13)
    setQuantity = setter("quantity")
    setUnitAwareProperties = setter("unitAwareProperties")
