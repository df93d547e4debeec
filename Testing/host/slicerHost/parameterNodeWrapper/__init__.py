"""slicer.parameterNodeWrapper: typed parameters in a vtkMRMLScriptedModuleNode, connected to widgets.

The application's package (Slicer/Base/Python/slicer/parameterNodeWrapper) is not part of slicer-core. This one stores
the same text under the same names in the node and fails where that one fails. Left out: typing.Any, QColor,
own serializers and createGui.
"""

from .annotations import Decimals, Default, SingleStep
from .connectors import createGuiConnector, parameterNodeGuiConnector
from .floatRange import FloatRange
from .guiConnector import GuiConnector
from .packs import isParameterPack, nestedParameterNames, parameterPack
from .validators import (
    Choice,
    Exclude,
    IsInstance,
    Maximum,
    Minimum,
    NotNone,
    RangeBounds,
    Validator,
    WithinRange,
)
from .wrapper import SlicerParameterNamePropertyName, isParameterNodeWrapper, parameterNodeWrapper

__all__ = [
    "Choice",
    "Decimals",
    "Default",
    "Exclude",
    "FloatRange",
    "GuiConnector",
    "IsInstance",
    "Maximum",
    "Minimum",
    "NotNone",
    "RangeBounds",
    "SingleStep",
    "SlicerParameterNamePropertyName",
    "Validator",
    "WithinRange",
    "createGuiConnector",
    "isParameterNodeWrapper",
    "isParameterPack",
    "nestedParameterNames",
    "parameterNodeGuiConnector",
    "parameterNodeWrapper",
    "parameterPack",
]
