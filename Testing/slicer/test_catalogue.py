"""The catalog of models: what it reads from packages, and that nothing foreign gets in."""

import io
import json
import shutil
import stat
import sys
import warnings
import zipfile
from pathlib import Path

import pytest

BACKEND = Path(__file__).parents[1] / "backend"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A package as the worker writes it, trained for one step."""
    sys.path.insert(0, str(BACKEND))
    from engine_data import blob_cohort, tiny_options
    from genaug.progress import Silent
    from genaug.training import train

    folder = tmp_path_factory.mktemp("trained")
    return train(blob_cohort(folder / "data", 2), tiny_options("vae", 1), folder / "tiny-vae", "cpu", Silent())


@pytest.fixture
def package(trained, tmp_path):
    return shutil.copytree(trained, tmp_path / "outside" / "tiny-vae")


class Settings:
    """What is used of QSettings."""

    def __init__(self):
        self.values = {}

    def value(self, key):
        return self.values.get(key)

    def setValue(self, key, value):
        self.values[key] = value


@pytest.fixture
def catalogue(slicerHost, tmp_path):
    from GenerativeAugmentLib.catalogue import Catalogue

    return Catalogue([tmp_path / "builtIn", tmp_path / "settings" / "Models"], Settings())


def change(package, **values):
    """Change the description of a package; a key may reach into a table by "__"."""
    path = package / "configs" / "genaug.json"
    info = json.loads(path.read_text())
    for key, value in values.items():
        *tables, last = key.split("__")
        place = info
        for table in tables:
            place = place[table]
        place[last] = value
    path.write_text(json.dumps(info))


def zipped(package, path, prefix="tiny-vae/"):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(package.rglob("*")):
            archive.write(file, prefix + file.relative_to(package).as_posix())
    return path


def refused(catalogue, path):
    """Import, expect a refusal, and require that nothing was left behind."""
    from GenerativeAugmentLib.errors import JobError

    before = sorted(catalogue.userFolder.parent.rglob("*")) if catalogue.userFolder.exists() else []
    with pytest.raises(JobError) as caught:
        catalogue.importPackage(path)
    left = [found for found in catalogue.userFolder.parent.rglob("*") if found not in before]
    assert left in ([], [catalogue.userFolder])
    return caught.value


def test_an_entry_says_what_the_package_says(catalogue, package):
    from genaug.package import read_info, weights_sha256

    info, entry = read_info(package), catalogue.importPackage(package)
    assert entry.name == info.name and entry.title == info.title
    assert entry.sha256 == weights_sha256(info)
    assert (entry.task, entry.recipe, entry.family) == ("synthesis", "vae", "vae")
    assert entry.modality == {"A": "MR"} or entry.modality == {"A": "MR", "B": "MR"}
    assert entry.inputs == () and entry.outputs == ("A", "label map")
    assert entry.targets == ("A",) and entry.makesLabels
    assert entry.size == info.grid.size and entry.spacing == info.grid.spacing
    assert entry.fieldOfView == (info.grid.fov_min, info.grid.fov_max)
    assert entry.labels == {1: "sphere"}
    assert entry.licence == "Apache-2.0" and entry.cases == 2 and entry.seconds == {}
    assert entry.bytes == sum(file.stat().st_size for file in (package / "models").iterdir())
    assert entry.folder == catalogue.userFolder / info.name and not entry.builtIn
    assert catalogue.models() == [entry] == catalogue.models("synthesis") and catalogue.models("translation") == []
    read_info(entry.folder)


@pytest.mark.parametrize("prefix", ["", "tiny-vae/", "some folder/"])
def test_an_archive_of_a_package_is_imported(catalogue, package, tmp_path, prefix):
    told = []
    entry = catalogue.importPackage(zipped(package, tmp_path / "model.zip", prefix), lambda *done: told.append(done))
    assert entry.name == "tiny-vae" and told[-1][0] == told[-1][1] > 0
    for file in package.rglob("*"):
        assert file.is_dir() or (entry.folder / file.relative_to(package)).read_bytes() == file.read_bytes()
    # Again: nothing changes.
    assert catalogue.importPackage(package) == entry
    assert [path.name for path in catalogue.userFolder.iterdir()] == ["tiny-vae"]


@pytest.mark.parametrize(
    "name",
    [
        "../evil",
        "tiny-vae/../../evil",
        "/tmp/evil",
        "C:/evil",
        "C:evil",
        "a\\..\\..\\evil",
        "\\\\server\\share\\evil",
        "tiny-vae/nul",
        "tiny-vae/.. /.. /evil",
        "tiny-vae/evil.",
        "tiny-vae/COM1.txt",
        "tiny-vae/a\x00b",
        "tiny-vae/LICENSE",
        "tiny-vae/license",
        "link",
        "device",
    ],
)
def test_an_archive_writes_nowhere_else(catalogue, package, tmp_path, name):
    path = zipped(package, tmp_path / "model.zip")
    warnings.simplefilter("ignore")  # a name that is there twice is what is tried
    with zipfile.ZipFile(path, "a") as archive:
        member = zipfile.ZipInfo("placeholder")
        member.filename = member.orig_filename = name
        kinds = {"link": stat.S_IFLNK, "device": stat.S_IFCHR}
        member.external_attr = (kinds.get(name, stat.S_IFREG) | 0o777) << 16
        archive.writestr(member, "../../../evil" if name == "link" else "evil")
    before = sorted(tmp_path.rglob("*"))
    error = refused(catalogue, path)
    assert error.reason == "bad_package" and "archive" in error.remedy
    assert [found for found in sorted(tmp_path.rglob("*")) if found not in before] in (
        [catalogue.userFolder.parent, catalogue.userFolder],
        [],
    )
    assert not Path("/tmp/evil").exists()


def test_archives_that_are_too_large_or_lie_about_it_are_refused(catalogue, package, tmp_path, monkeypatch):
    from GenerativeAugmentLib import packageFiles

    path = zipped(package, tmp_path / "model.zip")
    size = sum(file.stat().st_size for file in package.rglob("*") if file.is_file())
    for limit, value in (("LARGEST_BYTES", size - 1), ("LARGEST_COUNT", 3)):
        with monkeypatch.context() as patch:
            patch.setattr(packageFiles, limit, value)
            error = refused(catalogue, path)
            assert error.reason == "bad_package" and "at most" in error.expected
            assert refused(catalogue, package).reason == "bad_package"
    # A bomb: one member whose directory entry announces less than it holds.
    bomb = tmp_path / "bomb.zip"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("configs/genaug.json", b" " * 1_000_000)
    data = bytearray(bomb.read_bytes())
    for signature, offset in ((b"PK\x01\x02", 24), (b"PK\x03\x04", 22)):
        at = data.index(signature) + offset
        data[at : at + 4] = (1000).to_bytes(4, "little")
    bomb.write_bytes(bytes(data))
    assert refused(catalogue, bomb).reason == "bad_package"
    monkeypatch.setattr("GenerativeAugmentLib.catalogue.freeBytes", lambda folder: 10)
    assert refused(catalogue, path).reason == "disk_full"


def test_damaged_archives_are_refused(catalogue, package, tmp_path):
    path = zipped(package, tmp_path / "model.zip")
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 0xFF
    path.write_bytes(bytes(data))
    assert refused(catalogue, path).reason == "bad_package"
    path.write_bytes(bytes(data[: len(data) // 2]))
    assert "neither a folder nor a zip" in refused(catalogue, path).found
    assert refused(catalogue, tmp_path / "nowhere.zip").reason == "missing_file"
    empty = io.BytesIO()
    zipfile.ZipFile(empty, "w").close()
    path.write_bytes(empty.getvalue())
    assert "0 files" in refused(catalogue, path).found


def test_a_folder_of_several_packages_is_none(catalogue, package):
    shutil.copytree(package, package.parent / "second")
    assert "2 files" in refused(catalogue, package.parent).found


def test_links_out_of_a_folder_are_refused_and_links_within_are_copied(catalogue, package, tmp_path):
    secret = tmp_path / "secret.txt"
    secret.write_text("private")
    (package / "docs" / "link.txt").symlink_to(secret)
    assert "link" in refused(catalogue, package).found
    (package / "docs" / "link.txt").unlink()
    (package / "docs" / "link.txt").symlink_to(package / "LICENSE")
    entry = catalogue.importPackage(package)
    copied = entry.folder / "docs" / "link.txt"
    assert not copied.is_symlink() and copied.read_text() == (package / "LICENSE").read_text()


@pytest.mark.parametrize("damage", ["changed", "missing", "outside", "pickle"])
def test_weights_that_are_not_those_described_never_become_a_model(catalogue, package, tmp_path, damage):
    weights = package / "models" / "vae.safetensors"
    if damage == "changed":
        data = bytearray(weights.read_bytes())
        data[-1] ^= 1
        weights.write_bytes(bytes(data))
    elif damage == "missing":
        weights.unlink()
    elif damage == "outside":
        shutil.copy(weights, package.parent / "vae.safetensors")
        change(package, stages__vae__file="../vae.safetensors")
    else:
        weights.rename(package / "models" / "vae.pt")
        change(package, stages__vae__file="models/vae.pt")
    error = refused(catalogue, package)
    assert error.reason == "bad_package"
    assert ("SHA-256" in error.expected) == (damage in ("changed", "missing"))
    assert refused(catalogue, zipped(package, tmp_path / "model.zip")).reason == "bad_package"
    assert catalogue.models() == []


@pytest.mark.parametrize(
    ("key", "value", "named"),
    [
        ("schema_version", 2, "schema version 2"),
        ("title", 3, "title: 3 is no string"),
        ("grid__spacing", [1, 2], "spacing"),
        ("grid__spacing", [1, 2, 0], "spacing"),
        ("recipe__task", "magic", "task"),
        ("roles", [], "key"),
        ("name", "../evil", "name"),
        ("name", "con", "con"),
        ("stages", {}, "stages"),
        ("stages", [], "key"),
    ],
)
def test_a_damaged_description_is_named(catalogue, package, key, value, named):
    change(package, **{key: value})
    error = refused(catalogue, package)
    assert error.reason == "bad_package" and named in error.found


def test_a_damaged_model_keeps_no_other_from_being_listed(catalogue, package):
    entry = catalogue.importPackage(package)
    shutil.copytree(entry.folder, catalogue.userFolder / "broken")
    (catalogue.userFolder / "broken" / "configs" / "genaug.json").write_text("{")
    (catalogue.userFolder / "notes.txt").write_text("no package")
    assert catalogue.models() == [entry]
    assert [Path(problem.subject).parts[-3] for problem in catalogue.problems] == ["broken"]
    from GenerativeAugmentLib.errors import JobError

    with pytest.raises(JobError, match=r"genaug\.json"):
        catalogue.entry("broken")
    with pytest.raises(JobError, match="no model of this name"):
        catalogue.entry("other")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("trained_on__labels", [{"value": "one", "name": "a"}]),
        ("trained_on__labels", [{"value": float("inf"), "name": "a"}]),
        ("trained_on__labels", [{"value": -1, "name": "a"}]),
        ("trained_on__modalities", "MR"),
        ("recipe__stages", {}),
        ("stages__vae__sha256", "\ud800"),
        ("stages__vae__file", "x" * 300 + ".safetensors"),
    ],
)
def test_a_hostile_description_keeps_no_other_from_being_listed(catalogue, slicerHost, key, value):
    from GenerativeAugmentLib.catalogue import builtInFolder

    sound = shutil.copytree(builtInFolder() / "brain-t1-gan", catalogue.userFolder / "brain-t1-gan")
    hostile = shutil.copytree(builtInFolder() / "brain-t1-vae", catalogue.userFolder / "hostile")
    change(hostile, **{key: value})
    assert [entry.folder for entry in catalogue.models()] == [sound]
    assert len(catalogue.problems) == 1


@pytest.mark.parametrize("file", ["models/a\0b.safetensors", "models/\ud800.safetensors", "models/loop.safetensors"])
def test_weights_at_no_place_at_all_are_refused(catalogue, slicerHost, tmp_path, file):
    from GenerativeAugmentLib.catalogue import builtInFolder
    from GenerativeAugmentLib.errors import JobError
    from GenerativeAugmentLib.packageFiles import verifyPackage

    package = shutil.copytree(builtInFolder() / "brain-t1-vae", tmp_path / "package")
    (package / "models" / "loop.safetensors").symlink_to("loop.safetensors")
    change(package, stages__vae__file=file)
    with pytest.raises(JobError, match="inside the package"):
        verifyPackage(package)


@pytest.mark.parametrize(
    "name", ["nul .txt", "COM\u00b9", "conin$", "lpt0.a.b", "aux  ", "NUL", "com\u00b3.safetensors"]
)
def test_no_device_of_windows_is_written_to(catalogue, slicerHost, tmp_path, name):
    with zipfile.ZipFile(tmp_path / "model.zip", "w") as archive:
        archive.writestr(f"package/{name}", "text")
    error = refused(catalogue, tmp_path / "model.zip")
    assert error.reason == "bad_package" and "archive" in error.remedy and "name" in error.found


def test_a_scanner_delays_an_import_on_windows(catalogue, slicerHost, monkeypatch):
    from GenerativeAugmentLib import files
    from GenerativeAugmentLib.catalogue import builtInFolder

    left, replace = [3], Path.replace

    def rename(source, target):
        left[0] -= 1
        if left[0] >= 0:
            raise PermissionError(13, "another process is using the file", str(target))
        return replace(source, target)

    monkeypatch.setattr(Path, "replace", rename)
    assert refused(catalogue, builtInFolder() / "brain-t1-vae").reason == "no_permission"
    left[0] = 3
    monkeypatch.setattr(files, "_REPLACES_OPEN_FILES", False)
    assert catalogue.importPackage(builtInFolder() / "brain-t1-vae").name == "brain-t1-vae"


def test_a_name_that_is_taken_is_refused(catalogue, package, tmp_path):
    from GenerativeAugmentLib.errors import JobError

    builtIn = shutil.copytree(package, tmp_path / "builtIn" / "tiny-vae")
    (entry,) = catalogue.models()
    assert entry.builtIn and entry.folder == builtIn
    assert catalogue.importPackage(package) == entry  # the same weights: nothing to do
    with pytest.raises(JobError) as caught:
        catalogue.delete("tiny-vae")
    assert caught.value.reason == "no_permission" and builtIn.is_dir()
    change(package, stages__vae__sha256="0" * 64)
    assert refused(catalogue, package).reason == "bad_package"


def test_another_model_of_the_same_name_is_refused(catalogue, package, trained):
    from genaug.package import load_package, write_package

    catalogue.importPackage(package)
    loaded = load_package(trained)
    write_package(package, loaded.info, loaded.systems, half=True, replace=True)
    error = refused(catalogue, package)
    assert "second model named tiny-vae" in error.found and "Delete" in error.remedy
    # A folder of that name that holds nothing readable is not overwritten either.
    shutil.rmtree(catalogue.userFolder / "tiny-vae" / "configs")
    assert "no readable model" in refused(catalogue, package).found


def test_deleting_removes_the_folder(catalogue, package):
    from GenerativeAugmentLib.errors import JobError

    catalogue.importPackage(package)
    catalogue.delete("tiny-vae")
    assert list(catalogue.userFolder.iterdir()) == [] and catalogue.models() == []
    with pytest.raises(JobError):
        catalogue.delete("tiny-vae")


def test_the_card(catalogue, package):
    entry = catalogue.importPackage(package)
    assert catalogue.card(entry.name) == (package / "docs" / "README.md").read_text()
    (entry.folder / "docs" / "README.md").unlink()
    assert entry.title in catalogue.card(entry.name) and "Apache-2.0" in catalogue.card(entry.name)


def test_a_permissive_license_needs_no_question_and_any_other_is_asked_once(slicerHost, catalogue, package, tmp_path):
    import qt
    from GenerativeAugmentLib.catalogue import Catalogue
    from GenerativeAugmentLib.errors import JobError

    entry = catalogue.importPackage(package)
    assert catalogue.licenceAccepted(entry)
    catalogue.requireLicence(entry)
    catalogue.delete(entry.name)

    change(package, licence="CC-BY-NC-4.0")
    (package / "LICENSE").write_text("Not for money.\n")
    entry = catalogue.importPackage(package)
    assert catalogue.licenceText(entry) == "Not for money." and not catalogue.licenceAccepted(entry)
    with pytest.raises(JobError) as caught:
        catalogue.requireLicence(entry)
    assert caught.value.reason == "licence_not_accepted" and "CC-BY-NC-4.0" in caught.value.found

    file = str(tmp_path / "settings.ini")
    folders = [tmp_path / "builtIn", catalogue.userFolder]
    stored = Catalogue(folders, qt.QSettings(file, qt.QSettings.IniFormat))
    assert not stored.licenceAccepted(entry)
    stored.acceptLicence(entry)
    assert stored.licenceAccepted(entry)
    stored._settings.sync()
    again = Catalogue(folders, qt.QSettings(file, qt.QSettings.IniFormat))
    assert again.licenceAccepted(again.entry(entry.name))
    # Other words have not been accepted.
    (entry.folder / "LICENSE").write_text("Not for money, and not on Sundays.\n")
    assert not again.licenceAccepted(again.entry(entry.name))


def test_the_catalogue_file_adds_measured_times(catalogue, package, tmp_path):
    from GenerativeAugmentLib.catalogue import makeCatalogue, readCatalogue

    folder = tmp_path / "builtIn"
    shutil.copytree(package, folder / "tiny-vae")
    made = makeCatalogue(folder, {"tiny-vae": {"cpu": 0.25}}, {"cpu": "2 cores"})
    (folder / "catalogue.json").write_text(json.dumps(made))
    assert readCatalogue(folder / "catalogue.json") == made
    (entry,) = catalogue.models()
    assert entry.seconds == {"cpu": 0.25} and catalogue.problems == []

    # A model of the catalog that is not installed is told as such.
    made["models"].append({**made["models"][0], "name": "elsewhere", "title": "Elsewhere"})
    (folder / "catalogue.json").write_text(json.dumps(made))
    assert [(entry.name, entry.folder is None) for entry in catalogue.models()] == [
        ("elsewhere", True),
        ("tiny-vae", False),
    ]
    # Built-in weights that are not those of the catalog are not offered.
    made["models"][0]["sha256"] = "0" * 64
    (folder / "catalogue.json").write_text(json.dumps(made))
    assert [entry.name for entry in catalogue.models()] == ["elsewhere"]
    assert "as catalogue.json says" in catalogue.problems[0].expected
    # A damaged catalog takes no model away.
    made["models"][0]["licence"] = 3
    (folder / "catalogue.json").write_text(json.dumps(made))
    assert [entry.name for entry in catalogue.models()] == ["tiny-vae"]
    assert "models[0].licence: 3 is no string" in catalogue.problems[0].found


def test_what_a_panel_offers_is_what_the_worker_accepts_of_every_recipe(slicerHost, monkeypatch):
    monkeypatch.syspath_prepend(str(BACKEND))
    from types import SimpleNamespace

    from engine_data import tiny
    from genaug.errors import GenaugError
    from genaug.networks import build_system
    from genaug.networks.base import Signature
    from genaug.parameters import SamplerChoice
    from genaug.recipe import load_recipe, recipe_names
    from genaug.sampling import chosen_sampler
    from GenerativeAugmentLib.jobBuilders.synthesize import TASKS
    from GenerativeAugmentLib.packageFiles import askable

    def systems(recipe, dimension):
        made = {}
        for name, stage in recipe.stages.items():
            size = 4 if stage.space == "latent" else 32
            given = recipe.task != "synthesis" or stage.makes == "images"
            signature = Signature(dimension, (size,) * dimension, stage.makes != "labels", 2, 2 * given, ())
            made[name] = build_system(stage.network, signature)
        return made

    def accepts(package, **choice):
        try:
            chosen_sampler(package, SamplerChoice(**choice))
        except GenaugError:
            return False
        return True

    seen = set()
    for name in recipe_names():
        recipe = load_recipe(name)
        if recipe.task not in TASKS:
            continue
        dimension = max(recipe.dimensions)
        recipe = recipe.resolve(dimension, tiny(name))
        made = systems(recipe, dimension)
        package = SimpleNamespace(info=SimpleNamespace(recipe=recipe), systems=made, system=list(made.values())[-1])
        ways = {"steps": {"steps": recipe.sampler.steps + 2}, "guidance": {"guidance": 2.0}}
        ways["truncation"] = {"truncation": 0.5}
        accepted = [way for way, choice in ways.items() if accepts(package, **choice)]
        assert askable(recipe.model_dump(mode="json")) == accepted, name
        # What the form says where nobody has chosen anything is always accepted.
        assert accepts(package)
        seen.add((name, *accepted))
    assert {("vae", "truncation"), ("stylegan",), ("ldm", "steps"), ("cldm", "steps", "guidance")} <= seen
    assert ("fast-ddpm",) in seen and ("progressive-distillation", "steps") in seen


def test_the_script_measures_and_notices_what_changed(slicerHost, package, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(BACKEND.parents[1]))
    from GenerativeAugmentLib.catalogue import readCatalogue

    from demo.model_catalogue import differences, write_catalogue

    folder = package.parent
    path = write_catalogue(folder, "cpu")
    (model,) = readCatalogue(path)["models"]
    assert model["seconds"]["cpu"] > 0 and "CPU" in readCatalogue(path)["measured_on"]["cpu"]
    assert differences(folder) == []
    # Times of another machine stay, until the weights are others.
    catalogue = readCatalogue(path)
    catalogue["models"][0]["seconds"]["cuda"] = 0.01
    path.write_text(json.dumps(catalogue))
    assert readCatalogue(write_catalogue(folder, "cpu"))["models"][0]["seconds"]["cuda"] == 0.01
    change(package, title="Another")
    shutil.copytree(package, folder / "second")
    change(folder / "second", name="second")
    assert differences(folder) == ["second", "tiny-vae"]


def test_the_models_that_come_with_the_extension_are_those_of_their_catalogue(slicerHost, tmp_path):
    from GenerativeAugmentLib.catalogue import Catalogue, builtInFolder, modelFolders, readCatalogue
    from GenerativeAugmentLib.packageFiles import verifyPackage

    assert modelFolders(tmp_path)[0] == builtInFolder() and modelFolders(tmp_path)[1].is_relative_to(tmp_path)
    packages = {path.parent.parent for path in builtInFolder().glob("*/configs/genaug.json")}
    if (builtInFolder() / "catalogue.json").is_file():
        listed = {model["name"] for model in readCatalogue(builtInFolder() / "catalogue.json")["models"]}
        assert listed == {package.name for package in packages}
    catalogue = Catalogue(modelFolders(tmp_path), Settings())
    assert {entry.folder for entry in catalogue.models()} == packages and catalogue.problems == []
    for package in packages:
        verifyPackage(package)


def test_the_schema_validator(slicerHost):
    from GenerativeAugmentLib.jsonSchema import schemaProblems

    schema = {
        "type": "object",
        "required": ["a"],
        "additionalProperties": {"$ref": "#/$defs/whole"},
        "properties": {"a": {"type": ["string", "null"], "pattern": "^x", "minLength": 2}, "b": {"enum": [1, 2]}},
        "$defs": {"whole": {"type": "integer", "minimum": 3}},
    }
    for sound in ({"a": "xy"}, {"a": None, "b": 2, "c": 3}):
        assert schemaProblems(sound, schema) == []
    for faulty, places in (
        ([], ["top level"]),
        ({}, ["top level"]),
        ({"a": "y"}, ["a", "a"]),
        ({"a": 1, "b": 3}, ["a", "b"]),
        ({"a": None, "c": 2, "d": 3.5, "e": True}, ["c", "d", "e"]),
    ):
        assert [problem.split(":")[0] for problem in schemaProblems(faulty, schema)] == places
    names = {"propertyNames": {"pattern": "^[0-9]+$"}, "additionalProperties": {"type": "string"}}
    assert schemaProblems({"1": "a"}, names) == []
    assert [problem.split(":")[0] for problem in schemaProblems({"x": "a", "2": 3}, names)] == ["x", "2"]
    items = {"type": "array", "minItems": 1, "maxItems": 2, "items": {"type": "number", "exclusiveMinimum": 0}}
    assert schemaProblems([1, 0.5], items) == []
    assert len(schemaProblems([1, 2, 0], items)) == 2
    with pytest.raises(ValueError, match="oneOf"):
        schemaProblems(1, {"oneOf": []})
