"""Packaging: what is installed is what the tree holds, and the descriptions of the extension agree with each other."""

import importlib.util
import json
import re
import shutil
import struct
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
MODULE = ROOT / "GenerativeAugment"
RENEW = "run: python Testing/packagingLists.py"
RAW = "https://raw.githubusercontent.com/GenerativeAugment/SlicerGenerativeAugment/main/"


def load(path: Path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


LISTS = load(ROOT / "Testing" / "packagingLists.py")


def rootVariables() -> dict[str, str]:
    """The EXTENSION_ variables of the extension's CMakeLists.txt."""
    text = (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")
    return dict(re.findall(r'^set\(EXTENSION_(\w+) "(.*)"\)', text, re.MULTILINE))


def s4ext() -> dict[str, str]:
    lines = (ROOT / "GenerativeAugment.s4ext").read_text(encoding="utf-8").splitlines()
    pairs = (line.partition(" ") for line in lines if line and not line.startswith("#"))
    return {key: value for key, _space, value in pairs}


def cmakeList(name: str) -> list[str]:
    text = (MODULE / "CMakeLists.txt").read_text(encoding="utf-8")
    return re.search(rf"set\({name}\n(.*?)^  \)", text, re.MULTILINE | re.DOTALL)[1].split()


def test_the_lists_are_what_the_tree_holds():
    assert not LISTS.outdated(), RENEW


def test_every_python_file_and_resource_is_listed():
    """The same, said without the tool that writes the lists."""
    for name, patterns in {
        "MODULE_PYTHON_SCRIPTS": ("GenerativeAugment.py", "GenerativeAugmentLib/**/*.py", "genaug/**/*.py"),
        "MODULE_PYTHON_RESOURCES": ("Resources/**/*.*", "genaug/**/*.toml", "genaug/**/*.json", "genaug/**/py.typed"),
    }.items():
        found = {file.relative_to(MODULE).as_posix() for pattern in patterns for file in MODULE.glob(pattern)}
        listed = cmakeList(name)
        assert set(listed) == found, RENEW
        assert listed == sorted(listed)
    for kept in ("Resources/requirements.txt", "genaug/recipes/ldm.toml", "Resources/SampleData/SampleHeadT1.nrrd"):
        assert kept in cmakeList("MODULE_PYTHON_RESOURCES")
    assert "Resources/Models/catalogue.schema.json" in cmakeList("EXTENSION_MODELS")


def test_the_tool_finds_what_was_forgotten(tmp_path):
    for name in ("CMakeLists.txt", "GenerativeAugment.s4ext", "GenerativeAugment/CMakeLists.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copyfile(ROOT / name, tmp_path / name)
    for name in (
        "GenerativeAugment/GenerativeAugment.py",
        "GenerativeAugment/GenerativeAugmentLib/panels/new.py",
        "GenerativeAugment/GenerativeAugmentLib/__pycache__/new.cpython-312.pyc",
        "GenerativeAugment/Resources/UI/NewPanel.ui",
        "GenerativeAugment/genaug/recipes/new.toml",
        "Resources/Models/new/model.safetensors",
        "Resources/Screenshots/new.png",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    changes = {path.relative_to(tmp_path).as_posix(): text for path, text in LISTS.outdated(tmp_path).items()}
    module = changes["GenerativeAugment/CMakeLists.txt"]
    for file in (
        "Lib/panels/new.py",
        "Resources/UI/NewPanel.ui",
        "genaug/recipes/new.toml",
        "Models/new/model.safetensors",
    ):
        assert file in module
    assert "pycache" not in module
    assert f'set(EXTENSION_SCREENSHOTURLS "{RAW}Resources/Screenshots/new.png")' in changes["CMakeLists.txt"]
    assert f"\nscreenshoturls {RAW}Resources/Screenshots/new.png\n" in changes["GenerativeAugment.s4ext"]
    for name, text in changes.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    assert not LISTS.outdated(tmp_path)


STUB = """
set(BUILD_TESTING ON)
set(Slicer_QTSCRIPTEDMODULES_LIB_DIR lib)
macro(slicerMacroBuildScriptedModule)
  cmake_parse_arguments(MY "WITH_GENERIC_TESTS;WITH_SUBDIR;VERBOSE" "NAME" "SCRIPTS;RESOURCES" ${ARGN})
  if(MY_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "Unknown arguments: ${MY_UNPARSED_ARGUMENTS}")
  endif()
  foreach(file IN LISTS MY_SCRIPTS MY_RESOURCES)
    if(NOT EXISTS ${CMAKE_CURRENT_LIST_DIR}/${file})
      message(FATAL_ERROR "No such file: ${file}")
    endif()
  endforeach()
  list(LENGTH MY_SCRIPTS scripts)
  message("module ${MY_NAME} ${scripts} ${MY_WITH_GENERIC_TESTS}")
endmacro()
macro(slicer_add_python_unittest)
  message("test ${ARGN}")
endmacro()
"""


@pytest.mark.skipif(shutil.which("cmake") is None, reason="cmake is not installed")
def test_cmake_reads_the_modules_file(tmp_path):
    """The real file with stand-ins for Slicer's two macros; the models get to where the module looks for them."""
    script = tmp_path / "stub.cmake"
    script.write_text(
        f'{STUB}\nset(CMAKE_BINARY_DIR "{tmp_path.as_posix()}")\ninclude({MODULE.as_posix()}/CMakeLists.txt)\n'
    )
    done = subprocess.run(["cmake", "-P", script.name], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    count = len(cmakeList("MODULE_PYTHON_SCRIPTS"))
    assert f"module GenerativeAugment {count} TRUE" in done.stderr
    assert "test SCRIPT;GenerativeAugment.py" in done.stderr
    assert (tmp_path / "lib" / "Resources" / "Models" / "catalogue.schema.json").is_file()


def test_names_agree_and_are_what_the_index_asks_for():
    cmake = (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")
    name = re.search(r"^project\((\w+)\)", cmake, re.MULTILINE)[1]
    assert name == MODULE.name == "GenerativeAugment" and not name.startswith("Slicer")
    assert (ROOT / f"{name}.json").is_file() and (ROOT / f"{name}.s4ext").is_file()
    for line in ("cmake_minimum_required(VERSION 3.28.0...3.28.0 FATAL_ERROR)", "find_package(Slicer REQUIRED)"):
        assert line in cmake
    order = ["find_package(Slicer", "include(${Slicer_USE_FILE})", f"add_subdirectory({name})", "## NEXT_MODULE"]
    order += ["include(${Slicer_EXTENSION_GENERATE_CONFIG})", "include(${Slicer_EXTENSION_CPACK})"]
    places = [cmake.index(text) for text in order]
    assert places == sorted(places)
    assert set(rootVariables()) >= {"HOMEPAGE", "CONTRIBUTORS", "DESCRIPTION", "ICONURL", "SCREENSHOTURLS"}
    assert re.search(r'set\(EXTENSION_DEPENDS "PyTorch"\)', cmake)


def test_the_entry_for_the_index_is_valid():
    raw = (ROOT / "GenerativeAugment.json").read_bytes()
    assert b"\r" not in raw
    entry = json.loads(raw)
    # The keys and values that slicer-extension-catalog-entry-schema-v1.0.1 allows, all strings unless said here.
    assert set(entry) <= {
        "$schema",
        "build_dependencies",
        "build_subdirectory",
        "category",
        "enabled",
        "scm_revision",
        "scm_type",
        "scm_url",
        "tier",
    }
    assert entry["$schema"].endswith("slicer-extension-catalog-entry-schema-v1.0.1.json#")
    assert entry["category"] == "Image Synthesis" and entry["tier"] in (1, 3, 5)
    assert entry["build_dependencies"] == ["PyTorch"]
    repository = entry["scm_url"].rsplit("/", 1)[1]
    assert entry["scm_url"].startswith("https://") and repository.startswith("Slicer")


def test_s4ext_says_the_same():
    entry = json.loads((ROOT / "GenerativeAugment.json").read_text(encoding="utf-8"))
    described, variables = s4ext(), rootVariables()
    assert described["scmurl"] == entry["scm_url"] and described["scmrevision"] == entry["scm_revision"]
    assert described["depends"].split() == entry["build_dependencies"]
    assert described["category"] == entry["category"] and described["tier"] == str(entry["tier"])
    assert described["build_subdirectory"] == entry["build_subdirectory"]
    for key, variable in (("homepage", "HOMEPAGE"), ("contributors", "CONTRIBUTORS"), ("iconurl", "ICONURL")):
        assert described[key] == variables[variable]
    assert described["description"] == variables["DESCRIPTION"]
    assert described.get("screenshoturls", "") == variables["SCREENSHOTURLS"]
    assert described["enabled"] == "1"


def pngSize(path: Path) -> tuple[int, int]:
    head = path.read_bytes()[:24]
    assert head[:8] == b"\x89PNG\r\n\x1a\n", f"{path} is no PNG"
    return struct.unpack(">II", head[16:24])


def test_the_icon_is_there_and_has_the_size_the_index_asks_for():
    url = rootVariables()["ICONURL"]
    assert url.startswith(RAW)
    assert pngSize(ROOT / url.removeprefix(RAW)) == (128, 128)


def test_screenshots_are_there():
    urls = rootVariables()["SCREENSHOTURLS"].split()
    assert urls, "no screenshots: run make screenshots, then python Testing/packagingLists.py"
    for url in urls:
        width, height = pngSize(ROOT / url.removeprefix(RAW))
        assert min(width, height) >= 300


def test_the_license_stands_in_the_root():
    assert "Apache License" in (ROOT / "LICENSE").read_text(encoding="utf-8")[:400]


def test_the_workflow_is_sound():
    text = (ROOT / ".github" / "workflows" / "slicer.yml").read_text(encoding="utf-8")
    workflow = yaml.safe_load(text)
    # YAML 1.1 reads the key "on" as true.
    assert set(workflow) == {"name", True, "permissions", "jobs"}
    steps = workflow["jobs"]["self-test"]["steps"]
    assert all(("uses" in step) != ("run" in step) for step in steps)
    assert all(re.fullmatch(r"[\w-]+/[\w-]+@v\d+", step["uses"]) for step in steps if "uses" in step)
    runs = "\n".join(step.get("run", "") for step in steps)
    for part in ("download.slicer.org", "stability=release", "xvfb-run", "runUnitTest", "GenerativeAugment"):
        assert part in runs
    for script in re.findall(r"(?:Testing|GenerativeAugment)/[\w/]+\.(?:py|txt)", runs):
        assert (ROOT / script).is_file()


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_the_commands_of_the_workflow_are_bash():
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "slicer.yml").read_text(encoding="utf-8"))
    for step in workflow["jobs"]["self-test"]["steps"]:
        if "run" in step:
            done = subprocess.run(["bash", "-n"], input=step["run"], capture_output=True, text=True, check=False)
            assert done.returncode == 0, f"{step.get('name')}: {done.stderr}"


def test_the_script_for_screenshots_compiles():
    path = ROOT / "Testing" / "application" / "screenshots.py"
    compile(path.read_text(encoding="utf-8"), path.name, "exec")
