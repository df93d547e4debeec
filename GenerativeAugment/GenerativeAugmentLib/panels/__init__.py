"""The panels of the module, in the order of the work."""

from GenerativeAugmentLib.panels.base import Panel, Services
from GenerativeAugmentLib.panels.data import DataPanel
from GenerativeAugmentLib.panels.export import ExportPanel
from GenerativeAugmentLib.panels.lesions import LesionsPanel
from GenerativeAugmentLib.panels.models import ModelsPanel
from GenerativeAugmentLib.panels.review import ReviewPanel
from GenerativeAugmentLib.panels.synthesize import SynthesizePanel
from GenerativeAugmentLib.panels.train import TrainPanel
from GenerativeAugmentLib.panels.translate import TranslatePanel

__all__ = ["PANELS", "Panel", "Services"]

PANELS: tuple[type[Panel], ...] = (
    DataPanel,
    TrainPanel,
    SynthesizePanel,
    TranslatePanel,
    LesionsPanel,
    ReviewPanel,
    ExportPanel,
    ModelsPanel,
)
"""One line per panel."""
