"""Slice and 3D views of the scene, drawn off screen by slicer-core's own slice logics and displayable managers.

Everything from the MRML nodes to the pixels is the application's code; what stands in is only the Qt widget around a
view, and the layout manager, of which `Views` has what `slicer.util` asks for.

Where there is no screen, VTK draws by EGL or OSMesa; `canDraw` says whether that works here.
"""

import os
import sys
from pathlib import Path

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import vtk_to_numpy

# Name, label, orientation and color as in the application's conventional layout.
SLICE_VIEWS = (
    ("Red", "R", "Axial", (0.953, 0.290, 0.200)),
    ("Green", "G", "Coronal", (0.431, 0.690, 0.294)),
    ("Yellow", "Y", "Sagittal", (0.929, 0.835, 0.298)),
)
THREE_D_VIEW = ("View1", "1", (0.748, 0.748, 0.906))

SLICE_MANAGERS = (
    "vtkMRMLVolumeGlyphSliceDisplayableManager",
    "vtkMRMLModelSliceDisplayableManager",
    "vtkMRMLCrosshairDisplayableManager",
    "vtkMRMLOrientationMarkerDisplayableManager",
    "vtkMRMLRulerDisplayableManager",
    "vtkMRMLColorLegendDisplayableManager",
    "vtkMRMLSegmentationsDisplayableManager2D",
    "vtkMRMLTransformsDisplayableManager2D",
    "vtkMRMLMarkupsDisplayableManager",
)
THREE_D_MANAGERS = (
    "vtkMRMLCameraDisplayableManager",
    "vtkMRMLViewDisplayableManager",
    "vtkMRMLModelDisplayableManager",
    "vtkMRMLThreeDReformatDisplayableManager",
    "vtkMRMLCrosshairDisplayableManager3D",
    "vtkMRMLOrientationMarkerDisplayableManager",
    "vtkMRMLRulerDisplayableManager",
    "vtkMRMLSegmentationsDisplayableManager3D",
    "vtkMRMLMarkupsDisplayableManager",
)


def preferOffScreen() -> None:
    """Have VTK take a window without a screen at once, instead of asking an X server that is not there."""
    if sys.platform == "linux" and not os.environ.get("DISPLAY"):
        os.environ.setdefault("VTK_DEFAULT_OPENGL_WINDOW", "vtkEGLRenderWindow")


def canDraw() -> bool:
    """Whether a window can be drawn off screen on this machine."""
    preferOffScreen()
    window = vtk.vtkRenderWindow()
    window.SetOffScreenRendering(True)
    return bool(window.SupportsOpenGL())


class View:
    """An off-screen window, and the displayable managers that draw a view node into it."""

    def __init__(self, factory, managers: tuple[str, ...], width: int, height: int) -> None:
        preferOffScreen()
        self.window = vtk.vtkRenderWindow()
        self.window.SetOffScreenRendering(True)
        # Edges without smoothing, so that the same scene gives the same pixels.
        self.window.SetMultiSamples(0)
        self.window.SetSize(width, height)
        self.renderer = vtk.vtkRenderer()
        self.window.AddRenderer(self.renderer)
        self.interactor = vtk.vtkGenericRenderWindowInteractor()
        self.interactor.SetRenderWindow(self.window)
        self._factory, self._names = factory, managers
        self.group = slicer.vtkMRMLDisplayableManagerGroup()

    def _connect(self, node) -> None:
        """Let the displayable managers follow a view node; its logic and the renderers are there already."""
        self._factory.SetMRMLApplicationLogic(slicer.app.applicationLogic())
        for name in self._names:
            if not self._factory.IsDisplayableManagerRegistered(name):
                self._factory.RegisterDisplayableManager(name)
        self.group.Initialize(self._factory, self.renderer)
        self.group.SetMRMLDisplayableNode(node)
        missing = [name for name in self._names if self.group.GetDisplayableManagerByClassName(name) is None]
        if missing:
            raise RuntimeError(f"slicer-core has no {', '.join(missing)}")

    def pixels(self) -> np.ndarray:
        """What the view shows: (height, width, 3) bytes, the top row first."""
        self.window.Render()
        grab = vtk.vtkWindowToImageFilter()
        grab.SetInput(self.window)
        grab.SetInputBufferTypeToRGB()
        grab.ReadFrontBufferOff()
        grab.Update()
        image = grab.GetOutput()
        width, height, _ = image.GetDimensions()
        return vtk_to_numpy(image.GetPointData().GetScalars()).reshape(height, width, -1)[::-1].copy()

    def save(self, path: Path) -> None:
        """Write what the view shows as a PNG."""
        from PySide6 import QtGui

        pixels = self.pixels()
        height, width, _ = pixels.shape
        image = QtGui.QImage(pixels.data, width, height, 3 * width, QtGui.QImage.Format.Format_RGB888)
        if not image.save(str(path), "PNG"):
            raise OSError(f"{path} could not be written")

    def forceRender(self) -> None:
        """Draw now."""
        self.window.Render()

    scheduleRender = forceRender

    def renderWindow(self):
        """The VTK window."""
        return self.window

    def displayableManagerByClassName(self, name: str):
        """One of the displayable managers, None if it is none of these."""
        return self.group.GetDisplayableManagerByClassName(name)

    def _release(self) -> None:
        self.group.SetMRMLDisplayableNode(None)
        self.window.Finalize()


class SliceView(View):
    """One slice view; has what is asked of a qMRMLSliceWidget and of its slice view."""

    def __init__(self, name: str, label: str, orientation: str, color: tuple, width: int, height: int) -> None:
        factory = slicer.vtkMRMLSliceViewDisplayableManagerFactory.GetInstance()
        super().__init__(factory, SLICE_MANAGERS, width, height)
        self.name = name
        # The image has a renderer of its own, below that of everything drawn upon it.
        self.window.SetNumberOfLayers(2)
        self.renderer.SetLayer(1)
        self._below = vtk.vtkRenderer()
        self.window.AddRenderer(self._below)
        # The logic's image has its final colors already.
        self._mapper = vtk.vtkImageMapper()
        self._mapper.SetColorWindow(255)
        self._mapper.SetColorLevel(127.5)
        self._actor = vtk.vtkActor2D()
        self._actor.SetMapper(self._mapper)
        self._below.AddViewProp(self._actor)

        self._node = self._makeNode(name, label, orientation, color)
        self._logic = slicer.vtkMRMLSliceLogic()
        self._logic.SetMRMLApplicationLogic(slicer.app.applicationLogic())
        self._logic.SetMRMLScene(slicer.mrmlScene)
        self._logic.SetSliceNode(self._node)
        slicer.app.applicationLogic().GetSliceLogics().AddItem(self._logic)
        self._connect(self._node)
        self.resize(width, height)

    @staticmethod
    def _makeNode(name: str, label: str, orientation: str, color: tuple):
        # By the scene, whose default node knows the orientations.
        node = slicer.mrmlScene.CreateNodeByClass("vtkMRMLSliceNode")
        node.UnRegister(None)
        node.SetName(name)
        node.SetSingletonTag(name)
        node.SetLayoutName(name)
        node.SetLayoutLabel(label)
        node.SetLayoutColor(*color)
        node.SetOrientation(orientation)
        return slicer.mrmlScene.AddNode(node)

    def mrmlSliceNode(self):
        """The node that says where the slice lies."""
        return self._node

    def sliceLogic(self):
        """The logic that cuts and blends the volumes."""
        return self._logic

    def mrmlSliceCompositeNode(self):
        """The node that says which volumes are shown."""
        return self._logic.GetSliceCompositeNode()

    def sliceView(self) -> "SliceView":
        """The view in the widget: here they are one."""
        return self

    def resize(self, width: int, height: int) -> None:
        """Make the view larger or smaller, in pixels."""
        self.window.SetSize(width, height)
        self._logic.ResizeSliceNode(width, height)

    def fitSliceToBackground(self) -> None:
        """Show the background volume whole."""
        self._logic.FitSliceToBackground()

    def pixels(self) -> np.ndarray:
        """What the view shows: (height, width, 3) bytes, the top row first."""
        self._update()
        return super().pixels()

    def forceRender(self) -> None:
        """Draw now."""
        self._update()
        super().forceRender()

    def toPixel(self, ras: tuple[float, float, float]) -> tuple[int, int]:
        """Row and column of `pixels` at which a point of the slice is drawn."""
        matrix = vtk.vtkMatrix4x4()
        vtk.vtkMatrix4x4.Invert(self._node.GetXYToRAS(), matrix)
        column, row, _, _ = matrix.MultiplyPoint((*ras, 1.0))
        return self.window.GetSize()[1] - 1 - round(row), round(column)

    def _update(self) -> None:
        connection = self._logic.GetImageDataConnection()
        self._mapper.SetInputConnection(connection)
        self._actor.SetVisibility(connection is not None)

    def close(self) -> None:
        """Take the view out of the scene."""
        self._release()
        slicer.app.applicationLogic().GetSliceLogics().RemoveItem(self._logic)
        composite = self._logic.GetSliceCompositeNode()
        self._logic.DeleteSliceModel()
        self._logic.SetMRMLScene(None)
        for node in (composite, self._node):
            if node is not None and node.GetScene() is not None:
                node.GetScene().RemoveNode(node)


class ThreeDView(View):
    """The 3D view; has what is asked of a qMRMLThreeDWidget and of its view."""

    def __init__(self, width: int, height: int) -> None:
        factory = slicer.vtkMRMLThreeDViewDisplayableManagerFactory.GetInstance()
        super().__init__(factory, THREE_D_MANAGERS, width, height)
        self.name, label, color = THREE_D_VIEW
        node = slicer.mrmlScene.CreateNodeByClass("vtkMRMLViewNode")
        node.UnRegister(None)
        node.SetName(self.name)
        node.SetSingletonTag(self.name[-1])
        node.SetLayoutName(self.name[-1])
        node.SetLayoutLabel(label)
        node.SetLayoutColor(*color)
        self._node = slicer.mrmlScene.AddNode(node)
        self._logic = slicer.vtkMRMLViewLogic()
        self._logic.SetMRMLApplicationLogic(slicer.app.applicationLogic())
        self._logic.SetMRMLScene(slicer.mrmlScene)
        self._logic.AddViewNode(self._node.GetLayoutName())
        slicer.app.applicationLogic().GetViewLogics().AddItem(self._logic)
        self._connect(self._node)

    def mrmlViewNode(self):
        """The node that says how the view looks."""
        return self._node

    def threeDView(self) -> "ThreeDView":
        """The view in the widget: here they are one."""
        return self

    def resize(self, width: int, height: int) -> None:
        """Make the view larger or smaller, in pixels."""
        self.window.SetSize(width, height)

    def resetFocalPoint(self) -> None:
        """Look at the middle of what is there, all of it in the picture."""
        self.renderer.ResetCamera()

    def close(self) -> None:
        """Take the view out of the scene."""
        self._release()
        slicer.app.applicationLogic().GetViewLogics().RemoveItem(self._logic)
        self._logic.SetMRMLScene(None)
        scene = self._node.GetScene()
        if scene is None:
            return
        for camera in scene.GetNodesByClass("vtkMRMLCameraNode"):
            if camera.GetLayoutName() == self._node.GetLayoutName():
                scene.RemoveNode(camera)
        scene.RemoveNode(self._node)


class Views:
    """The views of the current scene: axial, coronal and sagittal, and a 3D view if asked for.

    It is slicer.app.layoutManager() until it is closed, and answers as that does, as far as slicer.util goes. Close it
    before the scene is.

    Args:
        width: of each view, pixels.
        height: of each view.
        threeD: whether there is a 3D view.
    """

    tableViewCount = 0
    plotViewCount = 0

    def __init__(self, width: int = 300, height: int = 300, threeD: bool = False) -> None:
        self._slices = {view[0]: SliceView(*view, width, height) for view in SLICE_VIEWS}
        self._threeD = [ThreeDView(width, height)] if threeD else []
        slicer.app.setLayoutManager(self)

    @property
    def threeDViewCount(self) -> int:
        """Number of 3D views."""
        return len(self._threeD)

    def sliceViewNames(self) -> tuple[str, ...]:
        """Names of the slice views."""
        return tuple(self._slices)

    def sliceWidget(self, name: str) -> SliceView | None:
        """The slice view of a name."""
        return self._slices.get(name)

    def threeDWidget(self, index: int) -> ThreeDView | None:
        """The 3D view of a number."""
        return self._threeD[index] if index < len(self._threeD) else None

    def mrmlSliceLogics(self):
        """Logics of all slice views, a vtkCollection."""
        return slicer.app.applicationLogic().GetSliceLogics()

    def resetSliceViews(self) -> None:
        """Show everything there is whole in each slice view."""
        for view in self._slices.values():
            view.sliceLogic().FitSliceToAll()

    def jumpTo(self, ras: tuple[float, float, float]) -> None:
        """Move every slice through a point."""
        for view in self._slices.values():
            view.mrmlSliceNode().JumpSliceByOffsetting(*ras)

    def close(self) -> None:
        """Take all views out of the scene."""
        slicer.app.setLayoutManager(None)
        for view in (*self._slices.values(), *self._threeD):
            view.close()
        self._slices, self._threeD = {}, []
