"""The module SampleData: registers and fetches sample data; knows no data of its own.

Source: Slicer/Modules/Scripted/SampleData/SampleData.py.
"""

import logging
import os
import urllib.parse
import uuid
from pathlib import Path

import slicer


class SampleDataSource:
    """A set of files: one text for each field, or lists of one length."""

    def __init__(
        self,
        sampleName=None,
        sampleDescription=None,
        uris=None,
        fileNames=None,
        nodeNames=None,
        checksums=None,
        loadFiles=None,
        customDownloader=None,
        thumbnailFileName=None,
        loadFileTypes=None,
        loadFileProperties=None,
        loadFileType=None,
    ):
        if loadFileType is not None and loadFileTypes is not None:
            raise ValueError("loadFileType and loadFileTypes cannot be given together")
        loadFileTypes = loadFileTypes if loadFileType is None else loadFileType
        self.sampleName = sampleName
        self.sampleDescription = sampleDescription or sampleName
        self.customDownloader = customDownloader
        self.thumbnailFileName = thumbnailFileName
        self.loadFileProperties = loadFileProperties or {}
        fields = {"fileNames": fileNames, "nodeNames": nodeNames, "checksums": checksums, "loadFiles": loadFiles}
        fields["loadFileTypes"] = loadFileTypes
        several = isinstance(uris, list | tuple)
        self.uris = list(uris) if several else [uris]
        for name, value in fields.items():
            repeated = value is None or (name == "loadFileTypes" and isinstance(value, str))
            setattr(self, name, [value] * len(self.uris) if not several or repeated else value)
        lengths = {name: len(getattr(self, name)) for name in ("uris", *fields)}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"All fields of a sample data source must have the same length: {lengths}")

    def __str__(self) -> str:
        return str(vars(self))

    def __eq__(self, other: object) -> bool:
        return str(self) == str(other)


class SampleDataLogic:
    """Keeps slicer.modules.sampleDataSources: category to list of sources."""

    def __init__(self, logMessage=None):
        if logMessage:
            self.logMessage = logMessage
        self.registerCustomSampleDataCategory("General", "General")

    @staticmethod
    def registerCustomSampleDataCategory(category: str, title: str) -> None:
        _kept("sampleDataSourceCategories").setdefault(category, {})["title"] = title

    @staticmethod
    def registerCustomSampleDataSource(
        category="Custom",
        sampleName=None,
        uris=None,
        fileNames=None,
        nodeNames=None,
        customDownloader=None,
        thumbnailFileName=None,
        loadFileTypes=None,
        loadFiles=None,
        loadFileProperties={},  # noqa: B006
        checksums=None,
        loadFileType=None,
    ) -> None:
        source = SampleDataSource(
            sampleName=sampleName,
            uris=uris,
            fileNames=fileNames,
            nodeNames=nodeNames,
            thumbnailFileName=thumbnailFileName,
            loadFileTypes=loadFileTypes,
            loadFiles=loadFiles,
            loadFileProperties=loadFileProperties,
            checksums=checksums,
            customDownloader=customDownloader,
            loadFileType=loadFileType,
        )
        sources = _kept("sampleDataSources").setdefault(category, [])
        if source not in sources:
            sources.append(source)

    @staticmethod
    def categoryTitle(category: str) -> str:
        return _kept("sampleDataSourceCategories").get(category, {}).get("title", category)

    @staticmethod
    def sampleDataSourcesByCategory(category: str | None = None):
        sources = _kept("sampleDataSources")
        return sources if category is None else sources.get(category, [])

    @staticmethod
    def isSampleDataSourceRegistered(category: str, sampleDataSource: SampleDataSource) -> bool:
        if not isinstance(sampleDataSource, SampleDataSource):
            raise TypeError(f"A SampleDataSource is expected, not {type(sampleDataSource)}")
        return sampleDataSource in _kept("sampleDataSources").get(category, [])

    def logMessage(self, message: str, logLevel: int = logging.DEBUG) -> None:
        logging.log(logLevel, message)

    def sourceForSampleName(self, sampleName: str) -> SampleDataSource | None:
        every = (source for sources in _kept("sampleDataSources").values() for source in sources)
        return next((source for source in every if source.sampleName == sampleName), None)

    def categoryForSource(self, a_source: SampleDataSource) -> str | None:
        return next((name for name, sources in _kept("sampleDataSources").items() if a_source in sources), None)

    def downloadSample(self, sampleName: str):
        return self.downloadSamples(sampleName)[0]

    def downloadSamples(self, sampleName: str) -> list:
        source = self.sourceForSampleName(sampleName)
        return self.downloadFromSource(source) if source is not None else []

    def downloadFromURL(
        self,
        uris=None,
        fileNames=None,
        nodeNames=None,
        checksums=None,
        loadFiles=None,
        customDownloader=None,
        loadFileTypes=None,
        loadFileProperties={},  # noqa: B006
        forceDownload=False,
    ) -> list:
        source = SampleDataSource(
            uris=uris,
            fileNames=fileNames,
            nodeNames=nodeNames,
            loadFiles=loadFiles,
            loadFileTypes=loadFileTypes,
            loadFileProperties=loadFileProperties,
            checksums=checksums,
            customDownloader=customDownloader,
        )
        return self.downloadFromSource(source, forceDownload=forceDownload)

    def downloadSourceIntoCache(self, source: SampleDataSource) -> list[str]:
        fields = zip(source.uris, source.fileNames, source.checksums, strict=True)
        return [self.downloadFileIntoCache(uri, name, checksum) for uri, name, checksum in fields]

    def downloadFileIntoCache(self, uri: str, name: str, checksum: str | None = None, forceDownload=False) -> str:
        folder = slicer.mrmlScene.GetCacheManager().GetRemoteCacheDirectory()
        return self.downloadFile(uri, folder, name, checksum, forceDownload)

    def downloadFile(
        self, uri: str, destFolderPath: str, name: str, checksum: str | None = None, forceDownload: bool = False
    ) -> str:
        path = Path(destFolderPath) / name
        if forceDownload:
            path.unlink(missing_ok=True)
        if not slicer.util.downloadFile(uri, str(path), checksum=checksum):
            raise ValueError(f"Download of {uri} failed")
        return path.as_posix()

    def downloadFromSource(
        self, source: SampleDataSource, maximumAttemptsCount: int = 3, forceDownload: bool = False
    ) -> list:
        """Nodes if any was loaded, else the paths."""
        results, paths = [], []
        useDefaultNames = all(name is None for name in source.nodeNames)
        files = zip(source.uris, source.fileNames, source.checksums, strict=True)
        uses = zip(source.nodeNames, source.loadFiles, source.loadFileTypes, strict=True)
        for (uri, fileName, checksum), (nodeName, loadFile, fileType) in zip(files, uses, strict=True):
            base, extension = os.path.splitext(Path(fileName or urllib.parse.urlparse(uri).path).name)  # noqa: PTH122
            if nodeName is None and loadFile is not False and useDefaultNames:
                nodeName = base
            fileName = fileName or f"{nodeName or base}-{uuid.uuid4().hex}{extension}"
            path = self._attempt(uri, fileName, checksum, maximumAttemptsCount, forceDownload)
            if fileType is None and nodeName is None:
                fileType = {".mrml": "SceneFile", ".mrb": "SceneFile", ".zip": "ZipFile"}.get(extension.lower())
            if fileType is None and nodeName is None:
                paths.append(path)
            else:
                results.append(self._take(path, nodeName, loadFile, fileType, dict(source.loadFileProperties)))
        return results or paths

    def _attempt(self, uri: str, name: str, checksum: str | None, attempts: int, force: bool) -> str:
        for attempt in range(attempts):
            try:
                return self.downloadFileIntoCache(uri, name, checksum, force)
            except ValueError as error:
                self.logMessage(f"{error} (attempt {attempt + 1} of {attempts})", logging.ERROR)
        raise ValueError(f"Download of {uri} failed {attempts} times")

    def _take(self, path: str, nodeName: str | None, loadFile: bool | None, fileType: str | None, properties: dict):
        if loadFile is False or (fileType == "SceneFile" and not loadFile):
            return path
        if fileType == "ZipFile":
            folder = Path(path).with_suffix("")
            folder.mkdir(exist_ok=True)
            slicer.util.extractArchive(path, str(folder))
            return folder.as_posix()
        if fileType == "SceneFile":
            slicer.util.loadScene(path, properties)
            return path
        return slicer.util.loadNodeFromFile(path, fileType, {"name": nodeName, **properties})


def _kept(name: str) -> dict:
    if not hasattr(slicer.modules, name):
        setattr(slicer.modules, name, {})
    return getattr(slicer.modules, name)


def downloadFromURL(*arguments, **named) -> list:
    return SampleDataLogic().downloadFromURL(*arguments, **named)


def downloadSample(sampleName: str):
    return SampleDataLogic().downloadSample(sampleName)


def downloadSamples(sampleName: str) -> list:
    return SampleDataLogic().downloadSamples(sampleName)
