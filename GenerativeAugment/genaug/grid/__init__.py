"""The model's space: Grid, and the Placement of one case in it."""

from genaug.grid.intensity import Fitted, IntensityMap
from genaug.grid.model import Grid
from genaug.grid.placement import Placement

__all__ = ["Fitted", "Grid", "IntensityMap", "Placement"]
