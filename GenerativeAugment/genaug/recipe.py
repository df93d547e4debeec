"""Recipe: what a method is, as data.

A method of the literature is one combination of four axes (network x objective x condition x sampler) with defaults for
its training. Each is a TOML file in `recipes/`; a new method is a new file, and at most a new term in one of the axes.
A file that differs from another in little `extends` it, table by table; `false` takes a loss term or a critic away.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, model_validator

from genaug.errors import GenaugError, Reason
from genaug.files import invalid
from genaug.strict import Strict

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

FOLDER = Path(__file__).parent / "recipes"
UNTRAINED = FOLDER / "untrained"
"""Methods that another command than `train` runs; see `methods`."""

INHERITED = ("multiple_of", "window", "stages", "sampler", "defaults")
"""What a recipe takes over from the one that it `extends`: the axes. It says itself what it is and what it needs."""

MOST_HEIRS = 4
"""Recipes in a row that extend one another."""

Task = Literal["synthesis", "translation", "label_to_image", "infill"]
"""New cases; one channel from others; images for given label maps; what a given label map covers, in a given image."""

Condition = Literal["label_map", "image", "images", "covariates", "text", "neighbours"]
"""What a case is made for: a label map; a source image; several, some of which may be missing; class and numbers;
sentences; planes beside its own."""

Dimension = Literal[2, 3]


class Term(Strict):
    """One summand of a player's loss: a name from `objectives.LOSSES` or CRITIC_LOSSES with its weight and options.

    In TOML a bare number stands for the weight alone.
    """

    kind: str | None = Field(default=None, description="name of the term where the recipe's key is another one")
    weight: float = 1.0
    start: int = Field(default=0, ge=0, description="first iteration at which the term counts")
    every: int = Field(default=1, ge=1, description="counts in one iteration of so many only; weigh it so much more")
    options: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _from_number(cls, value: Any) -> Any:
        if isinstance(value, bool):
            raise ValueError("false takes a term away, and there is none of this name; true means nothing here")
        return {"weight": value} if isinstance(value, (int, float)) else value


class Network(Strict):
    """A network by its kind (`networks.SYSTEMS` or `networks.CRITICS`) and its constructor's arguments."""

    kind: str
    options: dict[str, Any] = Field(default_factory=dict)


class Training(Strict):
    """Defaults of one stage's training."""

    iterations: int = Field(ge=0, description="0 keeps the weights that the stage starts from")
    batch_size: int = Field(ge=1)
    learning_rate: float = Field(gt=0)
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = Field(default=0.0, ge=0)
    warmup: int = Field(default=0, ge=0, description="iterations of linear learning-rate warm-up")
    decay: Literal["none", "cosine"] = "cosine"
    clip_weights: float | None = Field(default=None, gt=0, description="largest absolute weight of the critics")
    clip: float | None = Field(default=1.0, gt=0, description="largest gradient norm of the network's player")
    critic_updates: int = Field(default=1, ge=1, description="critic updates per network update")
    critic_learning_rate: float | None = Field(default=None, gt=0, description="as the network's where not given")
    ema: float = Field(
        default=0.995, ge=0, lt=1, description="decay of the averaged weights, the ones that are packaged"
    )
    shift: int = Field(default=0, ge=0, description="augmentation: largest random shift in voxels")
    flip: bool = Field(default=False, description="augmentation: random left-right mirror")
    drop_condition: float = Field(
        default=0.0, ge=0, lt=1, description="share of cases whose conditions are hidden, which guidance needs"
    )


class Stage(Strict):
    """One network trained with its critics. A stage in the space "latent" sees the codes of the autoencoder before it.

    See `stages` for the parts that stages make. A stage that `follows` another starts from its weights, or from those
    of the part that it goes on with, and the terms of its loss have that one beside them as the teacher.
    """

    makes: Literal["all", "images", "labels"] = "all"
    blind: bool = Field(default=False, description="is not told what the case is made for")
    follows: str | None = Field(default=None, description="an earlier stage to start from and to be taught by")
    network: Network
    critics: dict[str, Network] = Field(default_factory=dict)
    space: Literal["voxel", "latent"] = "voxel"
    loss: dict[str, Term]
    critic_loss: dict[str, dict[str, Term]] = Field(default_factory=dict, description="per critic")
    training: Training

    @model_validator(mode="after")
    def _every_critic_has_a_loss(self) -> Stage:
        if set(self.critics) != set(self.critic_loss):
            raise ValueError(f"critics {sorted(self.critics)} and critic_loss {sorted(self.critic_loss)} must agree")
        return self


class Sampler(Strict):
    """How cases are drawn: a name from `samplers.SAMPLERS`, or "one_pass" for networks that need a single call."""

    name: str = "one_pass"
    steps: int = Field(default=1, ge=1)
    guidance: float = Field(default=1.0, ge=0, description="classifier-free guidance scale; 1 is none")
    truncation: float = Field(default=1.0, ge=0, le=1, description="scale of a generator's noise; 1 is as trained")
    options: dict[str, Any] = Field(default_factory=dict)


class Recipe(Strict):
    """A method: its description for people, and its four axes for the trainer."""

    name: str
    title: str
    family: Literal["gan", "vae", "diffusion", "translation", "regression"]
    task: Task
    citation: str
    distinct: str
    suits: str
    unsuited: str
    conditions: tuple[Condition, ...] = ()
    offsets: tuple[int, ...] = Field(
        default=(0,), min_length=1, description="planes of the source, relative to a plane's"
    )
    unpaired: bool = Field(default=False, description="source and target of a translation may show different patients")
    dimensions: tuple[Dimension, ...] = (2, 3)
    with_labels: bool = Field(default=True, description="whether label maps are generated together with the image")
    multiple_of: int = Field(default=8, ge=1, description="the network's window is a multiple of this along every axis")
    window: tuple[int, ...] | None = Field(
        default=None, description="voxels of the windows a translation is learnt on where nobody asks for others"
    )
    stages: dict[str, Stage]
    sampler: Sampler = Field(default_factory=lambda: Sampler.model_validate({}))
    defaults: dict[Literal["2d", "3d"], dict[str, Any]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _stages_follow_earlier_ones(self) -> Recipe:
        names = list(self.stages)
        for index, stage in enumerate(self.stages.values()):
            if stage.follows is not None and stage.follows not in names[:index]:
                raise ValueError(f"stage {names[index]} follows {stage.follows}, which is no stage before it")
        for size, layer in self.defaults.items():
            for unknown in set(layer.get("stages", {})) - set(names):
                raise ValueError(f"defaults.{size} changes the stage {unknown}, which is none of {', '.join(names)}")
        if self.unpaired and (self.task != "translation" or {"images", "label_map"} & set(self.conditions)):
            raise ValueError("only a translation from images that no case lacks can be learnt from unpaired cases")
        if self.window is not None and self.task != "translation":
            raise ValueError(f"only a translation is learnt on windows; the task is {self.task}")
        if len({stage.makes for stage in self.stages.values() if stage.space == "latent"}) > 1:
            raise ValueError("only one part of a case can be made in a latent space")
        return self

    def resolve(self, dimension: int, *overrides: dict[str, Any]) -> Recipe:
        """The recipe for 2D or 3D data: its defaults for that dimension and then each of `overrides` merged over it.

        What these change of a network's options they change of those that follow it as well, unless they say otherwise.

        Raises:
            GenaugError: BAD_RECIPE when the dimension is not offered or an override names an unknown key.
        """
        if dimension not in self.dimensions:
            raise GenaugError(
                Reason.BAD_RECIPE,
                self.name,
                f"{dimension}D data",
                f"one of {list(self.dimensions)}",
                "Choose another recipe; `genaug methods` lists what each one suits.",
            )
        merged = self.model_dump(exclude={"defaults"})
        for layer in (self.defaults.get("2d" if dimension == 2 else "3d", {}), *overrides):
            merged = _merge(merged, self._with_followers(layer))
        return parse_recipe(merged, self.name)

    def _with_followers(self, layer: dict[str, Any]) -> dict[str, Any]:
        """`layer`, where a stage that follows another has the same change of its network's options."""
        for name, stage in self.stages.items():
            options = _table(layer, "stages", stage.follows, "network", "options")
            if options:
                layer = _merge({"stages": {name: {"network": {"options": options}}}}, layer)
        return layer


def parse_recipe(data: dict[str, Any], subject: str | Path) -> Recipe:
    """Validate a plain dictionary; raises BAD_RECIPE with every key at fault."""
    try:
        return Recipe.model_validate(data)
    except ValidationError as error:
        raise invalid(error, subject, "recipe", Reason.BAD_RECIPE) from error


def load_recipe(name: str | Path) -> Recipe:
    """A recipe by name, or from a TOML file.

    Raises:
        GenaugError: BAD_RECIPE, with the known names, MISSING_FILE for a file of one's own.
    """
    path = recipe_path(name)
    return parse_recipe(_read(path, name, ()), path)


def recipe_path(name: str | Path) -> Path:
    """The file of a recipe that comes with the package, or of one's own."""
    return Path(name) if str(name).endswith(".toml") else FOLDER / f"{name}.toml"


def _read(path: Path, name: str | Path, heirs: tuple[str, ...]) -> dict[str, Any]:
    """A recipe file over the axes of the one that it extends, if it does; how it describes itself is its own."""
    if not path.is_file():
        if not heirs and path == Path(name):
            raise GenaugError(
                Reason.MISSING_FILE,
                path,
                "no such file",
                "a recipe's .toml file, or the name of a recipe of genaug",
                "Check the path; `genaug methods` lists the names.",
            )
        if (UNTRAINED / path.name).is_file():
            raise GenaugError(
                Reason.BAD_RECIPE,
                str(name),
                "a method that needs no training",
                "a recipe to train",
                f"`genaug methods {name}` says which command runs it.",
            )
        raise GenaugError(
            Reason.BAD_RECIPE,
            str(name),
            "no such recipe",
            f"one of {listed(name, recipe_names())}, or a .toml file",
            "`genaug methods` describes each.",
        )
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise GenaugError(Reason.BAD_RECIPE, path, str(error), "a TOML file", "Correct the line it names.") from error
    base = data.pop("extends", None)
    if base is None:
        return data
    if base in heirs or len(heirs) > MOST_HEIRS:
        raise GenaugError(
            Reason.BAD_RECIPE, path, f"extends {base!r}, which extends it", "a recipe of its own", "Correct `extends`."
        )
    axes = _read(FOLDER / f"{base}.toml", base, (*heirs, path.stem))
    return _merge({key: value for key, value in axes.items() if key in INHERITED}, data)


def listed(name: object, known: Iterable[str]) -> str:
    """The known names, and the nearest to what was written first."""
    names = list(known)
    nearest = get_close_matches(str(name), names, n=1, cutoff=0.0)
    return ", ".join([*nearest, *(one for one in names if one not in nearest)]) or "none"


def recipe_names() -> list[str]:
    """Names of the recipes that come with the package."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


@lru_cache(maxsize=1)
def list_recipes() -> tuple[Recipe, ...]:
    """Every recipe that comes with the package, by name."""
    return tuple(load_recipe(name) for name in recipe_names())


def _table(layer: Any, *keys: str | None) -> dict[str, Any]:
    """The table at these keys, one within the other; an empty one where something else stands, which parsing tells."""
    for key in keys:
        layer = layer.get(key) if isinstance(layer, dict) else None
    return layer if isinstance(layer, dict) else {}


def _merge(base: dict[str, Any], layer: dict[str, Any]) -> dict[str, Any]:
    """`layer` over `base`, table by table; lists and scalars are replaced, and `false` removes what is not a switch."""
    merged = dict(base)
    for key, value in layer.items():
        known = merged.get(key)
        if value is False and known is not None and not isinstance(known, bool):
            del merged[key]
        else:
            merged[key] = _merge(known, value) if isinstance(known, dict) and isinstance(value, dict) else value
    return merged
