"""How fast and how lean the engine is, beside plain MONAI, ITK and torchmetrics doing the same work."""
