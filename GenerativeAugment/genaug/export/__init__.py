"""Laying out real and synthetic cases for whoever trains on them, with a manifest that says where each came from.

`export_cohort` does it; `selection` decides who is in, `folds` keeps descendants of a validation patient out of that
fold's training, `nnunet`, `datalist` and `plain` are the layouts, `manifest` writes the account.
"""

from genaug.account import ExportManifest, read_manifest
from genaug.export.export import export_cohort

__all__ = ["ExportManifest", "export_cohort", "read_manifest"]
