"""The MRML scene with the logics a running Slicer wires to it."""

import colorsys
import importlib.util
import tempfile
from pathlib import Path

import slicer
import vtk

from .hierarchy import SubjectHierarchyKeeper

# Module name in the application: class of its logic. Order matters: later logics ask earlier ones.
LOGICS = {
    "Colors": "vtkSlicerColorLogic",
    "Units": "vtkSlicerUnitsLogic",
    "Terminologies": "vtkSlicerTerminologiesModuleLogic",
    "SubjectHierarchy": "vtkSlicerSubjectHierarchyModuleLogic",
    "Volumes": "vtkSlicerVolumesLogic",
    "Segmentations": "vtkSlicerSegmentationsModuleLogic",
    "Markups": "vtkSlicerMarkupsLogic",
    "Models": "vtkSlicerModelsLogic",
    "Transforms": "vtkSlicerTransformLogic",
    "Tables": "vtkSlicerTablesLogic",
    "Texts": "vtkSlicerTextsLogic",
    "Plots": "vtkSlicerPlotsLogic",
    "Sequences": "vtkSlicerSequencesLogic",
    "CropVolume": "vtkSlicerCropVolumeLogic",
    "VolumeRendering": "vtkSlicerVolumeRenderingLogic",
    "Data": "vtkSlicerDataModuleLogic",
}


class SceneServices:
    """One scene with its application logic, module logics and input/output."""

    def __init__(self, temporaryPath: Path):
        self.scene = slicer.vtkMRMLScene()
        self.temporaryPath = temporaryPath
        self.scene.SetRootDirectory(str(temporaryPath))
        crosshair = slicer.vtkMRMLCrosshairNode()
        crosshair.SetCrosshairName("default")
        self.scene.AddNode(crosshair)

        self.applicationLogic = slicer.vtkSlicerApplicationLogic()
        self.applicationLogic.SetTemporaryPath(str(temporaryPath))
        self.applicationLogic.SetHomeDirectory(str(temporaryPath))
        self.applicationLogic.SetShareDirectory("share")
        _writeGenericColors(temporaryPath / "share" / "ColorFiles" / "GenericColors.txt")
        self._connectInputOutput()
        self.applicationLogic.SetMRMLScene(self.scene)
        self.applicationLogic.SetMRMLSceneDataIO(self.scene, self.remoteIO, self.dataIO)
        self.applicationLogic.SetSliceLogics(vtk.vtkCollection())
        self.applicationLogic.SetViewLogics(vtk.vtkCollection())
        slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(self.scene, True)

        self.logics = {name: self._addLogic(name, className) for name, className in LOGICS.items()}
        self.subjectHierarchy = SubjectHierarchyKeeper(self.scene)

    def close(self) -> None:
        """Close the scene as the application does when it quits."""
        self.scene.Clear(1)
        self.subjectHierarchy.release()

    def _connectInputOutput(self) -> None:
        cache = Path(tempfile.mkdtemp(prefix="cache", dir=self.temporaryPath))
        self.remoteIO = slicer.vtkMRMLRemoteIOLogic()
        self.remoteIO.GetCacheManager().SetRemoteCacheDirectory(str(cache))
        self.dataIO = slicer.vtkDataIOManagerLogic()
        self.dataIO.SetMRMLApplicationLogic(self.applicationLogic)
        self.dataIO.SetAndObserveDataIOManager(self.remoteIO.GetDataIOManager())

    def _addLogic(self, name: str, className: str):
        logic = getattr(slicer, className)()
        if name == "Terminologies":
            folder = terminologyFolder()
            if folder is not None:
                logic.SetModuleShareDirectory(str(folder))
            else:
                # Without its files it still reads and writes entries, it only knows no lists; it need not complain.
                vtk.vtkObject.GlobalWarningDisplayOff()
        logic.SetMRMLApplicationLogic(self.applicationLogic)
        logic.SetMRMLScene(self.scene)
        vtk.vtkObject.GlobalWarningDisplayOn()
        self.applicationLogic.SetModuleLogic(name, logic)
        return logic


def _writeGenericColors(path: Path, count: int = 64) -> None:
    """The color table label maps start with; slicer-core comes without any color file."""
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = ["0 background 0 0 0 0"]
    for label in range(1, count + 1):
        color = colorsys.hsv_to_rgb(label * 0.618034 % 1, 0.55, 0.9)
        lines.append(f"{label} {label} {' '.join(str(round(255 * part)) for part in color)} 255")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def terminologyFolder() -> Path | None:
    """Slicer's terminology files, which slicer-core leaves out and trame-slicer brings along."""
    found = importlib.util.find_spec("trame_slicer")
    if found is None or not found.submodule_search_locations:
        return None
    folder = Path(found.submodule_search_locations[0]) / "resources" / "terminologies"
    return folder if folder.is_dir() else None
