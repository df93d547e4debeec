"""Write the lists of files that the extension's packaging needs, from what is in the tree.

Run it in a checkout after a file was added, removed or renamed:

    python Testing/packagingLists.py            write the lists
    python Testing/packagingLists.py --check    only say what is not up to date; exit status 1 if anything is

It fills in the module's CMakeLists.txt and the addresses of the screenshots in the extension's CMakeLists.txt and
.s4ext file. Python alone is enough, no package is needed.
"""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MODULE = "GenerativeAugment"
RAW = "https://raw.githubusercontent.com/GenerativeAugment/SlicerGenerativeAugment/main/"

PACKAGES = (f"{MODULE}Lib", "genaug")
RESOURCES = "Resources"
MODELS = "Resources/Models"
SCREENSHOTS = "Resources/Screenshots"

# Left behind by programs, never part of the source.
_IGNORED_FOLDERS = {"__pycache__"}
_IGNORED_SUFFIXES = {".pyc", ".qm"}


def scripts(root: Path = ROOT) -> list[str]:
    """Python files of the module, relative to its folder."""
    module = root / MODULE
    found = [file for package in PACKAGES for file in _files(module / package, root) if file.suffix == ".py"]
    return _relative([module / f"{MODULE}.py", *found], module)


def resources(root: Path = ROOT) -> list[str]:
    """Everything else that the module loads at run time, relative to its folder."""
    module = root / MODULE
    beside = [file for package in PACKAGES for file in _files(module / package, root) if file.suffix != ".py"]
    return _relative([*_files(module / RESOURCES, root), *beside], module)


def models(root: Path = ROOT) -> list[str]:
    """The files of the starter models, relative to the extension's folder."""
    return _relative(_files(root / MODELS, root), root)


def screenshots(root: Path = ROOT) -> list[str]:
    """Addresses of the screenshots."""
    pictures = [file for file in _files(root / SCREENSHOTS, root) if file.suffix == ".png"]
    return [RAW + name for name in _relative(pictures, root)]


def outdated(root: Path = ROOT) -> dict[Path, str]:
    """Files whose lists are not what the tree holds, each with the text it should have."""
    addresses = " ".join(screenshots(root))
    lists = {"MODULE_PYTHON_SCRIPTS": scripts, "MODULE_PYTHON_RESOURCES": resources, "EXTENSION_MODELS": models}
    expected = {}
    path = root / MODULE / "CMakeLists.txt"
    text = path.read_text(encoding="utf-8")
    for name, files in lists.items():
        text = _replaced(path, text, rf"set\({name}\n.*?^  \)", _listed(name, files(root)))
    expected[path] = text
    for path, pattern, line in (
        (
            root / "CMakeLists.txt",
            r"set\(EXTENSION_SCREENSHOTURLS .*?\)$",
            f'set(EXTENSION_SCREENSHOTURLS "{addresses}")',
        ),
        (root / f"{MODULE}.s4ext", r"^screenshoturls.*?$", f"screenshoturls {addresses}".rstrip()),
    ):
        expected[path] = _replaced(path, path.read_text(encoding="utf-8"), pattern, line)
    return {path: text for path, text in expected.items() if text != path.read_text(encoding="utf-8")}


def _listed(name: str, files: list[str]) -> str:
    return "\n".join((f"set({name}", *(f"  {file}" for file in files), "  )"))


def _replaced(path: Path, text: str, pattern: str, replacement: str) -> str:
    changed, count = re.subn(pattern, lambda match: replacement, text, count=2, flags=re.MULTILINE | re.DOTALL)
    if count != 1:
        raise SystemExit(f"{path}: found {count} times what matches {pattern}; expected it once. Restore the file.")
    return changed


def _files(folder: Path, root: Path) -> list[Path]:
    every = (file for file in folder.rglob("*") if file.is_file()) if folder.is_dir() else ()
    kept = [file for file in every if not _isLeftover(file.relative_to(folder))]
    ignored = _ignoredByGit(root, kept)
    return [file for file in kept if file not in ignored]


def _isLeftover(path: Path) -> bool:
    hidden = any(part.startswith(".") for part in path.parts)
    return hidden or bool(_IGNORED_FOLDERS & set(path.parts)) or path.suffix in _IGNORED_SUFFIXES


def _ignoredByGit(root: Path, files: list[Path]) -> set[Path]:
    """Those of the files that git is told to ignore, such as local models; none outside a checkout."""
    if not (root / ".git").exists():
        return set()
    names = "\0".join(file.relative_to(root).as_posix() for file in files)
    command = ["git", "check-ignore", "-z", "--stdin"]
    done = subprocess.run(command, cwd=root, input=names, capture_output=True, text=True, check=False)
    return {root / name for name in done.stdout.split("\0") if name}


def _relative(files: list[Path], folder: Path) -> list[str]:
    return sorted(file.relative_to(folder).as_posix() for file in files)


def main(arguments: list[str]) -> int:
    changes = outdated()
    for path, text in changes.items():
        print(f"{path.relative_to(ROOT)}: {'is not up to date' if arguments else 'written'}")
        if not arguments:
            path.write_text(text, encoding="utf-8", newline="\n")
    if not changes:
        print("All lists are up to date.")
    return 1 if arguments and changes else 0


if __name__ == "__main__":
    if sys.argv[1:] not in ([], ["--check"]):
        raise SystemExit(__doc__)
    sys.exit(main(sys.argv[1:]))
