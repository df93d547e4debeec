"""slicer.i18n without translation files: every text is its own translation."""


def getContext(sourceFile: str) -> str:
    """Translation context of a source file: its name without extension."""
    from pathlib import Path

    return Path(sourceFile).stem


def translate(context: str, text: str) -> str:
    """The text in the application's language, which is English here."""
    if not isinstance(context, str) or not isinstance(text, str):
        raise TypeError(f"translate takes two strings, not {type(context).__name__} and {type(text).__name__}")
    return text


def tr(text: str) -> str:
    """The text in the application's language, in the context of the calling file."""
    if not isinstance(text, str):
        raise TypeError(f"tr takes a string, not {type(text).__name__}")
    return text
