"""The methods the extension offers, read from genaug/recipes/*.toml: what a panel shows before a model exists."""

from __future__ import annotations

import sys
from collections.abc import Mapping
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

FAMILIES = ("gan", "vae", "diffusion", "translation", "regression")

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
        makes: "all" of a case, its "images" or its "labels".
    """

    name: str
    network: str
    iterations: int
    batchSize: int
    makes: str = "all"


@dataclass(frozen=True)
class RecipeInfo:
    """A recipe, for people.

    Attributes:
        name: stable name, as job.json has it.
        title: what to show.
        family: one of FAMILIES.
        task: one of TASKS.
        citation: the paper.
        distinct: what makes it different, one sentence.
        suits: which data and purposes.
        unsuited: when to choose another.
        conditions: what a case is made for: "label_map", "image", "images", "covariates", "text", "neighbours".
        offsets: planes of the source that a plane is made from, relative to it.
        unpaired: whether source and target of a translation may show different patients.
        dimensions: (2, 3), (2,) or (3,).
        withLabels: whether label maps are generated together with the image.
        stages: in the order of training, for volumes where it can take these.
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
    offsets: tuple[int, ...]
    unpaired: bool
    dimensions: tuple[int, ...]
    withLabels: bool
    stages: tuple[StageInfo, ...]
    sampler: str
    steps: int

    @property
    def iterations(self) -> dict[str, int]:
        """Stage to its default number of iterations."""
        return {stage.name: stage.iterations for stage in self.stages}

    @property
    def asked(self) -> tuple[str, ...]:
        """What a training has to be told or given, in the order in which a form shows it."""
        # What a model fills, and what it makes a label map of its own for, is learnt from label maps as well.
        labelled = self.task == "infill" or any(stage.makes != "all" for stage in self.stages)
        return tuple(dict.fromkeys((*(("label_map",) if labelled else ()), *self.conditions)))

    @property
    def needsSources(self) -> bool:
        """Whether it has to be said which channels a translation starts from; else they are those that are made."""
        return self.task == "translation" and 0 in self.offsets

    def matches(self, text: str) -> bool:
        """Whether each word of a text stands in the name or the description."""
        known = " ".join((self.name, self.title, self.distinct, self.suits, self.citation)).casefold()
        return all(word in known for word in text.casefold().split())


def taskTitle(task: str) -> str:
    """What to show for one of TASKS."""
    return {
        "synthesis": _("New images"),
        "translation": _("One contrast from another"),
        "label_to_image": _("Images for label maps"),
        "infill": _("Content for a region of an image"),
    }[task]


def familyTitle(family: str) -> str:
    """What to show for one of FAMILIES."""
    return {
        "gan": _("Adversarial (GAN)"),
        "vae": _("Autoencoder (VAE)"),
        "diffusion": _("Diffusion"),
        "translation": _("Translation"),
        "regression": _("Regression"),
    }[family]


def needs(recipe: RecipeInfo) -> str:
    """What a recipe is conditioned on and takes, in a few words; "" for nothing but images."""
    words = {
        "label_map": _("a label map of every case"),
        "image": _("channels to start from"),
        "images": _("several channels to start from, of which a case may lack some"),
        "covariates": _("a class or a number of every case"),
        "text": _("a sentence about every case and a text encoder"),
        "neighbours": _("volumes, for the planes beside a plane"),
    }
    parts = [words[condition] for condition in recipe.asked]
    if recipe.unpaired:
        parts.append(_("no pairs"))
    if recipe.dimensions == (2,):
        parts.append(_("planes: volumes are taken plane by plane"))
    return ", ".join(parts)


def adviceTitle(name: str, recipes: Mapping[str, RecipeInfo]) -> str:
    """What to show for a recipe that was advised, or for lesion mixing, which is none."""
    return recipes[name].title if name in recipes else {"carvemix": _("Lesion mixing (Lesions panel)")}.get(name, name)


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
    """`layer` over `base`, table by table; lists and scalars are replaced, and `false` removes what is not a switch."""
    merged = dict(base)
    for key, value in layer.items():
        known = merged.get(key)
        if value is False and known is not None and not isinstance(known, bool):
            del merged[key]
        else:
            merged[key] = _merged(known, value) if isinstance(known, dict) and isinstance(value, dict) else value
    return merged


def _recipe(data: dict) -> RecipeInfo:
    dimensions = tuple(data.get("dimensions", (2, 3)))
    overrides = data.get("defaults", {}).get(f"{max(dimensions)}d", {}).get("stages", {})
    sampler = data.get("sampler", {})
    return RecipeInfo(
        **{key: data[key] for key in ("name", "title", "family", "task")},
        **{key: data[key] for key in ("citation", "distinct", "suits", "unsuited")},
        conditions=tuple(data.get("conditions", ())),
        offsets=tuple(data.get("offsets", (0,))),
        unpaired=data.get("unpaired", False),
        dimensions=dimensions,
        withLabels=data.get("with_labels", True),
        stages=tuple(_stage(name, stage, overrides.get(name, {})) for name, stage in data["stages"].items()),
        sampler=sampler.get("name", "one_pass"),
        steps=sampler.get("steps", 1),
    )


def _stage(name: str, stage: dict, overrides: dict) -> StageInfo:
    training = {**stage["training"], **overrides.get("training", {})}
    return StageInfo(
        name, stage["network"]["kind"], training["iterations"], training["batch_size"], stage.get("makes", "all")
    )
