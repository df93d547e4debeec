"""The methods the extension offers, read from genaug/recipes/*.toml: what a panel shows before a model exists."""

import sys
from dataclasses import dataclass
from pathlib import Path

from GenerativeAugmentLib.errors import JobError, _

if sys.version_info >= (3, 11):
    import tomllib
else:
    # Slicer 5.10 and later bring Python 3.12; an older one may have the same parser as a package.
    import tomli as tomllib

FOLDER = Path(__file__).resolve().parent.parent / "genaug" / "recipes"

TASKS = ("synthesis", "translation", "label_to_image", "infill")

INHERITED = ("stages", "sampler", "defaults")
"""What a recipe that `extends` another takes over from it, as far as it is shown here; see genaug/recipe.py."""


@dataclass(frozen=True)
class StageInfo:
    """One network of a recipe.

    Attributes:
        name: as the training's settings and curves call it.
        network: kind of the network.
        iterations: the recipe's default.
        batchSize: the recipe's default.
    """

    name: str
    network: str
    iterations: int
    batchSize: int


@dataclass(frozen=True)
class RecipeInfo:
    """A recipe, for people.

    Attributes:
        name: stable name, as job.json has it.
        title: what to show.
        family: "gan", "vae", "diffusion", "translation" or "regression".
        task: one of TASKS.
        citation: the paper.
        distinct: what makes it different, one sentence.
        suits: which data and purposes.
        unsuited: when to choose another.
        conditions: what a case is made from: "label_map", "image".
        dimensions: (2, 3), (2,) or (3,).
        withLabels: whether label maps are generated together with the image.
        stages: in the order of training, for volumes.
        sampler: name of the default sampler.
        steps: network calls per case of the default sampler.
    """

    name: str
    title: str
    family: str
    task: str
    citation: str
    distinct: str
    suits: str
    unsuited: str
    conditions: tuple[str, ...]
    dimensions: tuple[int, ...]
    withLabels: bool
    stages: tuple[StageInfo, ...]
    sampler: str
    steps: int

    @property
    def iterations(self) -> dict[str, int]:
        """Stage to its default number of iterations, for volumes."""
        return {stage.name: stage.iterations for stage in self.stages}


def listRecipes(task: str | None = None, folder: Path = FOLDER) -> list[RecipeInfo]:
    """Every recipe of a folder by title, or those of one task.

    Raises:
        JobError: "bad_recipe" naming the file, "missing_file" for a folder without recipes.
    """
    paths = sorted(Path(folder).glob("*.toml"))
    if not paths:
        raise JobError(
            "missing_file",
            str(folder),
            _("no recipe (*.toml)"),
            _("the recipes that come with the extension"),
            _("Install the extension again."),
        )
    recipes = [readRecipe(path) for path in paths]
    return sorted((recipe for recipe in recipes if task in (None, recipe.task)), key=lambda recipe: recipe.title)


def findRecipe(name: str, folder: Path = FOLDER) -> RecipeInfo:
    """The recipe of that name.

    Raises:
        JobError: "bad_recipe" with the known names.
    """
    path = Path(folder) / f"{name}.toml"
    # A name with a separator would lead out of the folder.
    if path.parent != Path(folder) or not path.is_file():
        known = ", ".join(sorted(found.stem for found in Path(folder).glob("*.toml")))
        raise JobError("bad_recipe", name, _("no such recipe"), known, _("Choose one of these recipes."))
    return readRecipe(path)


def readRecipe(path: Path) -> RecipeInfo:
    """One recipe file; the worker validates the rest of it when it trains.

    Raises:
        JobError: "bad_recipe" naming file and key.
    """
    data = _readToml(Path(path))
    try:
        return _recipe(_extended(data, Path(path).parent))
    except KeyError as error:
        raise JobError(
            "bad_recipe",
            str(path),
            _("no key {key}").format(key=error),
            _("name, title, family, task, citation, distinct, suits, unsuited and stages"),
            _("Add the missing key."),
        ) from error


def _readToml(path: Path) -> dict:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise JobError(
            "bad_recipe", str(path), str(error), _("a recipe in TOML"), _("Correct the line it names.")
        ) from error


def _extended(data: dict, folder: Path) -> dict:
    """The recipe over the one that it extends, if it does, as the worker will read it."""
    base = data.get("extends")
    if base is None:
        return data
    inherited = _extended(_readToml(folder / f"{base}.toml"), folder)
    return _merged({key: value for key, value in inherited.items() if key in INHERITED}, data)


def _merged(base: dict, layer: dict) -> dict:
    """`layer` over `base`, table by table; lists and scalars are replaced."""
    merged = dict(base)
    for key, value in layer.items():
        known = merged.get(key)
        merged[key] = _merged(known, value) if isinstance(known, dict) and isinstance(value, dict) else value
    return merged


def _recipe(data: dict) -> RecipeInfo:
    overrides = data.get("defaults", {}).get("3d", {}).get("stages", {})
    sampler = data.get("sampler", {})
    return RecipeInfo(
        **{key: data[key] for key in ("name", "title", "family", "task")},
        **{key: data[key] for key in ("citation", "distinct", "suits", "unsuited")},
        conditions=tuple(data.get("conditions", ())),
        dimensions=tuple(data.get("dimensions", (2, 3))),
        withLabels=data.get("with_labels", True),
        stages=tuple(_stage(name, stage, overrides.get(name, {})) for name, stage in data["stages"].items()),
        sampler=sampler.get("name", "one_pass"),
        steps=sampler.get("steps", 1),
    )


def _stage(name: str, stage: dict, overrides: dict) -> StageInfo:
    training = {**stage["training"], **overrides.get("training", {})}
    return StageInfo(name, stage["network"]["kind"], training["iterations"], training["batch_size"])
