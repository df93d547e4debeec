"""genaug: the torch side of GenerativeAugment.

Importing this package costs nothing: torch, MONAI and SimpleITK are imported by the modules that need them.
"""

__version__ = "0.1.0"
