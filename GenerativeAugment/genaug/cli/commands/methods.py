"""The command `genaug methods`."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from genaug.recipe import Recipe


@click.command("methods")
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def command(name: str | None, as_json: bool) -> None:
    """List the methods, or say what the method NAME does, suits and does not suit."""
    from genaug.recipe import list_recipes, load_recipe

    if name is None:
        recipes = list_recipes()
        if as_json:
            click.echo(json.dumps([_described(recipe) for recipe in recipes], indent=2, ensure_ascii=False))
        else:
            _table(recipes)
        return
    recipe = load_recipe(name)
    click.echo(recipe.model_dump_json(indent=2) if as_json else _page(recipe))


def _described(recipe: Recipe) -> dict[str, object]:
    """What a person or a catalogue wants to know; the networks and losses come with NAME only."""
    keys = {"name", "title", "family", "task", "conditions", "dimensions", "citation", "distinct", "suits", "unsuited"}
    return recipe.model_dump(mode="json", include=keys)


def _table(recipes: tuple[Recipe, ...]) -> None:
    for family in dict.fromkeys(recipe.family for recipe in recipes):
        members = [recipe for recipe in recipes if recipe.family == family]
        formatter = click.HelpFormatter(width=min(shutil.get_terminal_size().columns, 120))
        with formatter.section(family):
            formatter.write_dl([(recipe.name, f"{recipe.title}. {recipe.suits}") for recipe in members])
        click.echo(formatter.getvalue())


def _page(recipe: Recipe) -> str:
    rows = (
        ("family", recipe.family),
        ("task", recipe.task),
        ("dimensions", ", ".join(f"{dimension}D" for dimension in recipe.dimensions)),
        ("conditions", ", ".join(recipe.conditions) or "none"),
        ("stages", ", ".join(f"{name} ({stage.network.kind})" for name, stage in recipe.stages.items())),
        ("sampler", f"{recipe.sampler.name}, {recipe.sampler.steps} steps"),
        ("distinct", recipe.distinct),
        ("suits", recipe.suits),
        ("unsuited", recipe.unsuited),
        ("citation", recipe.citation),
    )
    formatter = click.HelpFormatter(width=100)
    formatter.write_dl(rows)
    return f"{recipe.name}: {recipe.title}\n\n{formatter.getvalue().rstrip()}"
