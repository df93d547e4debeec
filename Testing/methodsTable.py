"""Write the table of methods in docs/METHODS.md, from the recipes.

Run it in a checkout after a recipe was added, removed or described anew:

    python Testing/methodsTable.py            write the table
    python Testing/methodsTable.py --check    only say whether it is up to date; exit status 1 if it is not
"""

import sys
from pathlib import Path

from genaug.methods import list_methods, markdown

DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "METHODS.md"
BEGIN, END = "<!-- methods: made by Testing/methodsTable.py -->", "<!-- end of methods -->"


def renewed(text: str) -> str:
    """The document with the table as the recipes are now."""
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n{markdown(list_methods())}\n{END}{after}"


def main() -> int:
    """The exit status."""
    text = DOCUMENT.read_text(encoding="utf-8")
    new = renewed(text)
    if new == text:
        return 0
    if "--check" in sys.argv[1:]:
        print(f"{DOCUMENT.name} is not up to date; run python Testing/methodsTable.py")
        return 1
    DOCUMENT.write_text(new, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
