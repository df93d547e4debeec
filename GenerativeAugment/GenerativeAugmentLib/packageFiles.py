"""Model packages as files: what one holds, whether it is whole, and how one gets in from outside.

A package is a folder with configs/genaug.json, models/<stage>.safetensors, docs/README.md and LICENSE. Nothing in it is
ever run, here or in the worker; an archive from outside may write nowhere but into the folder it is given.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

from GenerativeAugmentLib.errors import JobError, _
from GenerativeAugmentLib.files import readJson, sha256File

INFO = "configs/genaug.json"
CARD = "docs/README.md"
LICENCE = "LICENSE"

LABEL_MAP = "label map"
"""How a label map is named among the channels a model takes or makes."""

ONE_PASS = "one_pass"
"""The sampler of a network that makes a case in a single call."""

FEW_LEVELS = frozenset({"diffusion_gan", "syndiff"})
"""Networks that are trained at the few noise levels that they are sampled at, whatever their options."""

OF_A_CODE = frozenset(
    {
        "adversarial_autoencoder",
        "attention_generator",
        "deconvolution_generator",
        "dense_generator",
        "flow_autoencoder",
        "generator_mixture",
        "hamiltonian_autoencoder",
        "independent_autoencoder",
        "introspective_autoencoder",
        "latent_generator",
        "progressive_generator",
        "spade",
        "vector_autoencoder",
    }
)
"""Networks whose noise is one point of a normal code, near whose middle a case may be drawn."""

LARGEST_BYTES = 16 << 30
LARGEST_COUNT = 10_000
"""More than any model needs: what an archive may hold at most, unpacked."""

Progress = Callable[[int, int], None]
"""Told of the bytes that are done and of all of them."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,79}")
_UNSAFE = re.compile(r'[<>:"|?*\\\x00-\x1f]')
_RESERVED = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[\d¹²³]) *(\..*)?", re.IGNORECASE)
"""Devices of Windows, whatever suffix follows; spaces before that do not matter, and raised digits are digits."""
_PIECE = 1 << 20
_LARGEST_INFO = 64 << 20
_LARGEST_TEXT = 1 << 20


def describePackage(folder: Path) -> dict:
    """What the catalog says about a package, from its own description; the weights are not looked at.

    Returns:
        An entry of catalogue.json, see Resources/Models/catalogue.schema.json, without measured times.

    Raises:
        JobError: "bad_package" naming the file and the key at fault.
    """
    folder = Path(folder)
    info = _readInfo(folder)
    try:
        recipe, grid, roles, trained = info["recipe"], info["grid"], info["roles"], info["trained_on"]
        # A model that fills what a label map covers does so in an image of its own channels.
        sources = roles["target"] if roles.get("hole") else roles["source"]
        given = list(sources) + ([LABEL_MAP] if roles["given_labels"] else [])
        keys = ("name", "kind", "levels", "low", "high")
        covariates = [{key: covariate[key] for key in keys} for covariate in roles.get("covariates", [])]
        files = [folder / stage["file"] for stage in info["stages"].values()]
        return {
            "name": info["name"],
            "title": info["title"],
            "task": recipe["task"],
            "recipe": recipe["name"],
            "method": recipe["title"],
            "family": recipe["family"],
            "modality": dict(trained["modalities"]),
            "inputs": given,
            "outputs": list(roles["target"]) + ([LABEL_MAP] if roles["generate_labels"] else []),
            "conditions": list(recipe["conditions"]),
            "askable": askable(recipe),
            **({"covariates": covariates} if covariates else {}),
            "labels": {str(label["value"]): label["name"] for label in trained["labels"]},
            "dimension": grid["dimension"],
            "size": list(grid["size"]),
            "spacing": list(grid["spacing"]),
            "field_of_view": {"smallest": list(grid["fov_min"]), "largest": list(grid["fov_max"])},
            "cases": trained["cases"],
            "licence": info["licence"],
            "sha256": weightsSha256(info),
            "bytes": sum(path.stat().st_size for path in files if path.is_file()),
            "note": info["note"],
            "seconds": {},
        }
    except (LookupError, TypeError, AttributeError, ValueError) as error:
        raise _bad(
            folder / INFO,
            _("no readable key {key}").format(key=error),
            _("the description of a model package"),
            _("Get the package again from where it came."),
        ) from error


def askable(recipe: dict) -> list[str]:
    """How a model can be asked to draw its cases: "steps", "guidance", "truncation".

    The worker decides by the same rules (`genaug.sampling`); here they are applied to what the recipe of a package
    says, so that what it would refuse is not offered.

    Args:
        recipe: as a package's description holds it.
    """
    last = list(recipe["stages"].values())[-1]
    kind, options = last["network"]["kind"], last["network"]["options"]
    few = kind in FEW_LEVELS or "levels" in {**options, **options.get("diffusion", {})}
    sampled = recipe["sampler"]["name"] != ONE_PASS
    ways = {
        # A student of few levels has its teacher for all other numbers of steps.
        "steps": sampled and not (few and last.get("follows") is None),
        "guidance": sampled and bool(recipe["conditions"]) and bool(last["training"].get("drop_condition")),
        "truncation": kind in OF_A_CODE,
    }
    return [way for way, possible in ways.items() if possible]


def weightsSha256(info: dict) -> str:
    """One hash for all weights of a package, the one that Records name: over the stages' names and file hashes."""
    lines = [f"{name} {stage['sha256']}\n" for name, stage in sorted(info["stages"].items())]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def verifyPackage(folder: Path) -> None:
    """Compare every weight file with the hash its description names.

    Raises:
        JobError: "bad_package" for a missing, changed or foreign file.
    """
    folder = Path(folder)
    again = _("The weights were changed or damaged: get the package again from where it came.")
    stages = _readInfo(folder).get("stages")
    if not isinstance(stages, dict) or not stages:
        raise _bad(folder / INFO, _("no stages"), _("at least one network with its weights"), again)
    for name, stage in stages.items():
        file, expected = str(stage.get("file")), str(stage.get("sha256"))
        path = folder / file
        if not file.endswith(".safetensors") or not _isInside(path, folder):
            raise _bad(
                path,
                _("weights of '{stage}' in {file}").format(stage=name, file=file),
                _("a .safetensors file inside the package"),
                _("Do not use this package."),
            )
        found = sha256File(path) if path.is_file() else ""
        if found != expected:
            raise _bad(
                path,
                f"SHA-256 {found[:16]}" if found else _("no such file"),
                _("SHA-256 {hash}, as the package's description says").format(hash=expected[:16]),
                again,
            )


def requireName(name: str, subject: Path) -> str:
    """`name` if it can be a folder's name on every system.

    Raises:
        JobError: "bad_package".
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name) or _RESERVED.fullmatch(name) or name.endswith("."):
        raise _bad(
            subject,
            _("the name {name}").format(name=repr(name)),
            _("letters, digits and . _ + -, at most 80"),
            _("Rename the model in its configs/genaug.json."),
        )
    return name


def unpack(source: Path, target: Path, progress: Progress | None = None) -> Path:
    """Copy a package folder, or the package in a zip archive, into the empty folder `target`.

    Returns:
        The package: `target`, or the one folder in it.

    Raises:
        JobError: "missing_file"; "bad_package" for an archive that would write outside `target`, holds links, is
            damaged or too large, or holds no package.
        OSError: from writing.
    """
    source, target = Path(source), Path(target)
    if source.is_dir():
        # Looked for before anything is copied, or a wrong choice would have half a disk copied first.
        _copyFolder(_packageIn(source, source), target, progress)
        return target
    if zipfile.is_zipfile(source):
        _extract(source, target, progress)
    elif source.is_file():
        raise _bad(
            source,
            _("neither a folder nor a zip archive"),
            _("a model package"),
            _("Choose the folder of a package, or the zip file it came in."),
        )
    else:
        raise JobError("missing_file", source, _("nothing there"), _("a model package"), _("Check the path."))
    return _packageIn(target, source)


def _readInfo(folder: Path) -> dict:
    """The package's description as plain data; the worker checks every key of it."""
    path = folder / INFO
    if not path.is_file():
        raise _bad(
            folder,
            _("no configs/genaug.json"),
            _("a model package folder"),
            _("Choose the folder that the training wrote."),
        )
    if path.stat().st_size > _LARGEST_INFO:
        raise _bad(
            path,
            _("{size} MB").format(size=path.stat().st_size >> 20),
            _("at most {size} MB of description").format(size=_LARGEST_INFO >> 20),
            _("Do not use this package."),
        )
    try:
        info = readJson(path, _("the description of a model package"))
    except JobError as error:
        raise _bad(path, error.found, error.expected, _("Get the package again from where it came.")) from error
    if info.get("schema_version") != 1:
        raise _bad(
            path,
            _("schema version {version}").format(version=info.get("schema_version")),
            "1",
            _("Install the version of this extension that the package was made with, or a later one."),
        )
    return info


def _packageIn(folder: Path, subject: Path) -> Path:
    """The folder itself, or the one in it, that is a package."""
    packages = [path for path in (folder, *folder.iterdir()) if (path / INFO).is_file()]
    if len(packages) != 1:
        raise _bad(
            subject,
            _("{count} files configs/genaug.json").format(count=len(packages)),
            _("exactly one, at the top or in a folder there"),
            _("Choose the folder that the training wrote, or a zip file of it."),
        )
    return packages[0]


def _copyFolder(source: Path, target: Path, progress: Progress | None) -> None:
    files = sorted(path for path in source.rglob("*") if path.is_symlink() or not path.is_dir())
    for path in files:
        # A link into the user's other files would copy them into a place from which packages are passed on.
        if not path.is_file() or (path.is_symlink() and not _isInside(path, source)):
            raise _bad(
                path,
                _("a link out of the package, or another special file"),
                _("the files themselves"),
                _("Copy the package with its files in place of links, and import the copy."),
            )
    total = _requireLimits(source, [path.stat().st_size for path in files])
    done = 0
    for path in files:
        place = target / path.relative_to(source)
        place.parent.mkdir(parents=True, exist_ok=True)
        with path.open("rb") as stream:
            done = _pour(stream.read, place, done, total, progress)


def _extract(source: Path, target: Path, progress: Progress | None) -> None:
    damaged = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError)
    try:
        with zipfile.ZipFile(source) as archive:
            members = list(_safeMembers(source, archive))
            total = _requireLimits(source, [member.file_size for member, _place in members])
            done = 0
            for member, place in members:
                path = target.joinpath(*place.parts)
                path.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(member) as stream:
                    done = _pour(stream.read, path, done, total, progress)
    except JobError:
        raise
    except damaged as error:
        raise _bad(
            source, str(error), _("a whole, unencrypted zip archive"), _("Get the archive again from where it came.")
        ) from error


def _safeMembers(source: Path, archive: zipfile.ZipFile) -> Iterator[tuple[zipfile.ZipInfo, PurePosixPath]]:
    """The files of an archive with their places; anything that could lead elsewhere is refused, not repaired."""
    seen: set[str] = set()
    for member in archive.infolist():
        # The name as it is in the archive: zipfile itself cuts it at a NUL and turns backslashes on Windows.
        name = member.orig_filename
        place = PurePosixPath(name)
        kind = stat.S_IFMT(member.external_attr >> 16)
        # Windows drops spaces and dots at the end of a name, so ".. " would lead upwards there as well.
        odd = any(_RESERVED.fullmatch(part) or part != part.rstrip(". ") for part in place.parts)
        if place.is_absolute() or not place.parts or odd or _UNSAFE.search(name):
            raise _bad(
                source,
                _("the name {name} in the archive").format(name=repr(name)),
                _("relative names that stay inside the package"),
                _("Do not use this archive."),
            )
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise _bad(
                source,
                _("{name}, a link or another special file").format(name=name),
                _("plain files and folders"),
                _("Do not use this archive."),
            )
        if member.is_dir():
            continue
        if name.lower() in seen:
            raise _bad(source, _("{name} twice").format(name=name), _("every name once"), _("Do not use this archive."))
        seen.add(name.lower())
        yield member, place


def _requireLimits(source: Path, sizes: list[int]) -> int:
    """The sum of the sizes."""
    if len(sizes) > LARGEST_COUNT or sum(sizes) > LARGEST_BYTES:
        raise _bad(
            source,
            _("{count} files with {size} MB").format(count=len(sizes), size=sum(sizes) >> 20),
            _("at most {count} files with {size} MB").format(count=LARGEST_COUNT, size=LARGEST_BYTES >> 20),
            _("Choose the folder of one package; training folders and data do not belong into it."),
        )
    return sum(sizes)


def _pour(read: Callable[[int], bytes], place: Path, done: int, total: int, progress: Progress | None) -> int:
    """Write one file piece by piece, never more than was announced, and return the new count of bytes."""
    with place.open("xb") as stream:
        while piece := read(_PIECE):
            done += len(piece)
            if done > total:
                raise _bad(
                    place, _("more bytes than announced"), f"{total}", _("Do not use this archive: it is damaged.")
                )
            stream.write(piece)
            if progress is not None:
                progress(done, total)
    return done


def readText(path: Path) -> str:
    """The text of a card or a license, its beginning if somebody made it huge; "" where there is none."""
    if not path.is_file():
        return ""
    with path.open(encoding="utf-8", errors="replace") as stream:
        return stream.read(_LARGEST_TEXT)


def freeBytes(folder: Path) -> int:
    """Room on the disk of a folder."""
    return shutil.disk_usage(folder).free


def _isInside(path: Path, folder: Path) -> bool:
    try:
        return path.resolve().is_relative_to(folder.resolve())
    except (ValueError, RuntimeError):
        # What is no path on any system, such as one with a NUL, and links that go in a circle.
        return False


def _bad(subject: Path, found: str, expected: str, remedy: str) -> JobError:
    return JobError("bad_package", subject, found, expected, remedy)
