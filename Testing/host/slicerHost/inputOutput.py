"""slicer.app.coreIOManager(): readers and writers for slicer.util's load, save and export functions.

slicer-core has the storage nodes and logics; the choice among them is Qt code in the application
(Slicer/Base/QTCore/qSlicerCoreIOManager.cxx, Base/QTGUI/qSlicerNodeWriter.cxx and the modules' readers).
"""

from pathlib import Path

import slicer
import vtk

VOLUME_OPTIONS = {"labelmap": 0x1, "center": 0x2, "singleFile": 0x4, "autoWindowLevel": 0x8, "discardOrientation": 0x10}
EXTENSIONS = {
    "SegmentationFile": (".seg.nrrd", ".seg.nhdr", ".seg.vtm"),
    "MarkupsFile": (".mrk.json", ".fcsv"),
    "SceneFile": (".mrml", ".mrb"),
    "TransformFile": (".h5", ".tfm"),
    "ModelFile": (".vtk", ".vtp", ".ply", ".stl", ".obj"),
    "TextFile": (".txt", ".json", ".xml"),
    "TableFile": (".tsv", ".csv"),
    "VolumeFile": (".nrrd", ".nhdr", ".nii", ".nii.gz", ".mha", ".mhd", ".hdr", ".img", ".dcm", ".png", ".tif", ".jpg"),
}


class InputOutputManager:
    """Loads files into the current scene and writes its nodes."""

    def __init__(self, application):
        self._application = application
        self._readers = {
            "VolumeFile": self._readVolume,
            "SegmentationFile": self._readSegmentation,
            "SceneFile": self._readScene,
            "MarkupsFile": self._readMarkups,
            "ModelFile": self._readModel,
            "TransformFile": self._readTransform,
            "TextFile": lambda properties, messages: self._readStorable("vtkMRMLTextNode", properties, messages),
            "TableFile": lambda properties, messages: self._readStorable("vtkMRMLTableNode", properties, messages),
        }

    @property
    def _scene(self):
        return self._application._services.scene

    @property
    def _logics(self) -> dict:
        return self._application._services.logics

    # reading

    def fileType(self, fileName: str) -> str:
        """The type whose reader knows the extension best."""
        name = Path(fileName).name.lower()
        return next((kind for kind, known in EXTENSIONS.items() if name.endswith(known)), "NoFile")

    def loadNodes(self, fileType: str, properties: dict, loaded=None, messages=None) -> bool:
        """Read a file; the new nodes are appended to the collection."""
        if fileType not in self._readers:
            raise ValueError(f"The host has no reader for {fileType}")
        if not isinstance(properties["fileName"], str):
            raise TypeError(f"fileName has to be a string, not {type(properties['fileName']).__name__}")
        nodes = self._readers[fileType](properties, messages) if Path(properties["fileName"]).exists() else None
        if nodes is None:
            if messages is not None:
                messages.AddMessage(vtk.vtkCommand.ErrorEvent, f"Loading {properties['fileName']} failed")
            return False
        for node in nodes:
            if loaded is not None:
                loaded.AddItem(node)
        return True

    def _readVolume(self, properties: dict, messages) -> list | None:
        fileName = properties["fileName"]
        options = sum(flag for name, flag in VOLUME_OPTIONS.items() if properties.get(name))
        name = properties.get("name", Path(fileName).name.split(".")[0])
        files = None
        if "fileNames" in properties:
            files = vtk.vtkStringArray()
            for file in properties["fileNames"]:
                files.InsertNextValue(file)
        node = self._logics["Volumes"].AddArchetypeVolume(fileName, name, options, files)
        if node is None:
            return None
        if properties.get("colorNodeID"):
            node.GetDisplayNode().SetAndObserveColorNodeID(properties["colorNodeID"])
        if properties.get("show", True):
            selection = self._application.applicationLogic().GetSelectionNode()
            isLabel = node.IsA("vtkMRMLLabelMapVolumeNode")
            (selection.SetActiveLabelVolumeID if isLabel else selection.SetActiveVolumeID)(node.GetID())
            self._application.applicationLogic().PropagateVolumeSelection()
        return [node]

    def _readSegmentation(self, properties: dict, messages) -> list | None:
        colors = self._scene.GetNodeByID(properties["colorNodeID"]) if "colorNodeID" in properties else None
        node = self._logics["Segmentations"].LoadSegmentationFromFile(
            properties["fileName"], properties.get("autoOpacities", True), properties.get("name", ""), colors, messages
        )
        return None if node is None else [node]

    def _readScene(self, properties: dict, messages) -> list | None:
        fileName, clear = properties["fileName"], bool(properties.get("clear", False))
        if fileName.lower().endswith(".mrb"):
            return [] if self._scene.ReadFromMRB(fileName, clear, messages) else None
        self._scene.SetURL(fileName)
        done = self._scene.Connect(messages) if clear else self._scene.Import(messages)
        return [] if done else None

    def _readMarkups(self, properties: dict, messages) -> list | None:
        node = self._logics["Markups"].LoadMarkups(properties["fileName"], properties.get("name", ""), messages)
        return [self._scene.GetNodeByID(identifier) for identifier in node.split(",")] if node else None

    def _readModel(self, properties: dict, messages) -> list | None:
        node = self._logics["Models"].AddModel(properties["fileName"], slicer.vtkMRMLStorageNode.CoordinateSystemLPS)
        return None if node is None else [node]

    def _readTransform(self, properties: dict, messages) -> list | None:
        node = self._logics["Transforms"].AddTransform(properties["fileName"], self._scene, messages)
        return None if node is None else [node]

    def _readStorable(self, className: str, properties: dict, messages) -> list | None:
        fileName = properties["fileName"]
        node = self._scene.AddNewNodeByClass(className, properties.get("name", Path(fileName).stem))
        node.AddDefaultStorageNode()
        node.GetStorageNode().SetFileName(fileName)
        if node.GetStorageNode().ReadData(node):
            return [node]
        self._scene.RemoveNode(node)
        return None

    # writing

    def fileWriterFileType(self, node, fileFormat: str = "") -> str:
        return "SceneFile" if node.IsA("vtkMRMLScene") else f"{node.GetNodeTagName()}File"

    def fileWriterExtensions(self, node) -> tuple[str, ...]:
        """File formats of a node, for instance "NRRD (.nrrd)", the default first."""
        node.AddDefaultStorageNode()  # the application does it here too
        types = node.GetStorageNode().GetSupportedWriteFileTypes()
        return tuple(types.GetValue(index) for index in range(types.GetNumberOfValues()))

    def extractKnownExtension(self, fileName: str, node) -> str:
        """The longest extension of the file name that the node can be written with."""
        helper = slicer.vtkDataFileFormatHelper
        known = [helper.GetFileExtensionFromFormatString(text) for text in self.fileWriterExtensions(node)]
        return max((extension for extension in known if fileName.endswith(extension)), key=len, default="")

    def saveNodes(self, fileType: str, properties: dict, messages=None, scene=None) -> bool:
        """Write the scene or one node with its own storage node."""
        scene = scene or self._scene
        if not isinstance(properties["fileName"], str):
            raise TypeError(f"fileName has to be a string, not {type(properties['fileName']).__name__}")
        Path(properties["fileName"]).resolve().parent.mkdir(parents=True, exist_ok=True)
        if fileType == "SceneFile":
            return self._writeScene(scene, properties["fileName"], messages)
        node = scene.GetNodeByID(properties["nodeID"])
        node.AddDefaultStorageNode()
        storage = node.GetStorageNode()
        storage.SetFileName(properties["fileName"])
        if properties.get("fileFormat"):
            storage.SetWriteFileFormat(properties["fileFormat"])
        storage.SetURI(None)
        if "useCompression" in properties:
            storage.SetUseCompression(int(properties["useCompression"]))
        if "compressionParameter" in properties:
            storage.SetCompressionParameter(properties["compressionParameter"])
        written = bool(storage.WriteData(node))
        if messages is not None:
            messages.AddMessages(storage.GetUserMessages())
        return written

    def _writeScene(self, scene, fileName: str, messages) -> bool:
        if fileName.endswith(".mrb"):
            return bool(scene.WriteToMRB(fileName, None, messages))
        if fileName.endswith(".mrml"):
            scene.SetURL(fileName)
            return bool(scene.Commit("", messages))
        return bool(scene.SaveSceneToSlicerDataBundleDirectory(fileName, None, messages))

    def exportNodes(self, nodeIDs, fileNames, properties: dict, hardenTransform: bool, messages=None) -> bool:
        """Write copies of nodes, so that their storage nodes stay as they are."""
        written = True
        for nodeID, name in zip(nodeIDs, fileNames, strict=True):
            node = self._scene.GetNodeByID(nodeID)
            written &= self._exportNode(node, {**properties, "fileName": name}, hardenTransform, messages)
        return written

    def _exportNode(self, node, properties: dict, hardenTransform: bool, messages) -> bool:
        scene = slicer.vtkMRMLScene()
        for copy in ("CopyDefaultNodesToScene", "CopyRegisteredNodesToScene", "CopySingletonNodesToScene"):
            getattr(self._scene, copy)(scene)
        scene.SetDataIOManager(self._scene.GetDataIOManager())
        copied = scene.AddNewNodeByClass(node.GetClassName())
        copied.CopyContent(node, hardenTransform)
        if hardenTransform and node.GetParentTransformNode():
            transform = vtk.vtkGeneralTransform()
            node.GetParentTransformNode().GetTransformFromWorld(transform)
            parent = scene.AddNewNodeByClass("vtkMRMLTransformNode")
            parent.SetAndObserveTransformFromParent(transform)
            copied.SetAndObserveTransformNodeID(parent.GetID())
            copied.HardenTransform()
        self._copyDisplay(node, copied, scene)
        return self.saveNodes("NodeFile", {**properties, "nodeID": copied.GetID()}, messages, scene)

    def _copyDisplay(self, node, copied, scene) -> None:
        display = node.GetDisplayNode() if node.IsA("vtkMRMLDisplayableNode") else None
        if display is not None:
            copiedDisplay = scene.AddNewNodeByClass(display.GetClassName())
            copiedDisplay.CopyContent(display, False)
            copied.SetAndObserveDisplayNodeID(copiedDisplay.GetID())
