"""A module PyTorchUtils for tests; installs nothing and remembers what it was asked.

The PyTorch extension is not there unless a test asks for it (fixture pyTorchUtils).
Source: SlicerPyTorch/PyTorchUtils/PyTorchUtils.py.
"""

import types


def build() -> types.ModuleType:
    """A new module with a class PyTorchUtilsLogic; set its class attributes to choose the answers."""

    class PyTorchUtilsLogic:
        installed = False
        declined = False
        error: Exception | None = None
        calls: list[dict] = []  # noqa: RUF012

        @classmethod
        def torchInstalled(cls) -> bool:
            return cls.installed

        @classmethod
        def installTorch(
            cls,
            askConfirmation=False,
            forceComputationBackend=None,
            torchVersionRequirement=None,
            torchvisionVersionRequirement=None,
        ):
            cls.calls.append(
                {
                    "askConfirmation": askConfirmation,
                    "forceComputationBackend": forceComputationBackend,
                    "torchVersionRequirement": torchVersionRequirement,
                    "torchvisionVersionRequirement": torchvisionVersionRequirement,
                }
            )
            if cls.error is not None:
                raise cls.error
            cls.installed = not cls.declined
            return types.ModuleType("torch") if cls.installed else None

        @classmethod
        def uninstallTorch(cls, askConfirmation=False, forceComputationBackend=None) -> bool:
            cls.installed = False
            return True

    PyTorchUtilsLogic.calls = []
    module = types.ModuleType("PyTorchUtils", __doc__)
    module.PyTorchUtilsLogic = PyTorchUtilsLogic
    return module
