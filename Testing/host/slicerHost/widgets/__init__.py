"""Stand-ins for the widgets of CTK and of Slicer, written on PySide6."""
