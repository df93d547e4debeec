"""slicer.modules and slicer.app.moduleManager()."""

from PySide6 import QtCore


class Module:
    """A module of the application: what getModule returns."""

    def __init__(self, name: str, manager: "ModuleManager"):
        self.name = self.objectName = name
        self.title = name
        self._manager = manager

    def logic(self):
        """The module's logic in the current scene."""
        services = self._manager._application._services
        logic = services.logics.get(self.name) if services else None
        if logic is None:
            raise RuntimeError(f"The host has no logic for the module {self.name}: slicer-core lacks it or its files")
        return logic


class ModuleManager(QtCore.QObject):
    """Knows the modules, as qSlicerModuleManager does."""

    moduleLoaded = QtCore.Signal(str)
    moduleAboutToBeUnloaded = QtCore.Signal(str)

    def __init__(self, application):
        super().__init__(application)
        self._application = application
        self._modules: dict[str, object] = {}

    def add(self, module) -> None:
        """Make a module known and announce it."""
        self._modules[module.name] = module
        self.moduleLoaded.emit(module.name)

    def remove(self, module) -> None:
        """Take a module out, after its widget has cleaned up."""
        self.moduleAboutToBeUnloaded.emit(module.name)
        del self._modules[module.name]

    def module(self, name: str):
        """The module of a name, None if there is none."""
        return self._modules.get(name)

    def modulesNames(self) -> tuple[str, ...]:
        return tuple(self._modules)

    def factoryManager(self) -> "ModuleManager":
        return self

    def loadedModuleNames(self) -> tuple[str, ...]:
        return tuple(self._modules)


class Modules:
    """slicer.modules: one attribute a module, in lower case, and whatever modules leave there."""

    def __init__(self, manager: ModuleManager):
        self.__dict__["_manager"] = manager

    def __getattr__(self, name: str):
        for moduleName in self._manager.modulesNames():
            if moduleName.lower() == name:
                return self._manager.module(moduleName)
        raise AttributeError(f"module 'modules' has no attribute '{name}'")
