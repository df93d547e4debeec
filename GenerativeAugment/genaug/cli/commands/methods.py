"""The command `genaug methods`."""

from __future__ import annotations

import json
import shutil
import textwrap
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from genaug.methods import Method
    from genaug.recipe import Recipe

SHORTEST_TITLE = 20
"""Characters of a title that are shown however narrow the terminal is."""

INDENT = 12
"""Column of the texts on a method's page."""


@click.command("methods")
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
@click.option("--markdown", "as_markdown", is_flag=True, help="Print the list as a table in Markdown.")
def command(name: str | None, as_json: bool, as_markdown: bool) -> None:
    """List the methods, or say what the method NAME does, suits and does not suit.

    Score and seconds per case are those of the benchmark: kid (kernel distance to held-out real cases) of methods that
    make new cases, mae (mean absolute error) of translations. NAME may also be a .toml file of your own.
    """
    from genaug.methods import list_methods, markdown

    if name is not None:
        click.echo(_explained(name, as_json))
    elif as_json:
        described = [method.model_dump(mode="json") for method in list_methods()]
        click.echo(json.dumps(described, indent=2, ensure_ascii=False))
    elif as_markdown:
        click.echo(markdown(list_methods()))
    else:
        _table(list_methods())


def _explained(name: str, as_json: bool) -> str:
    from genaug.methods import Method, find_method
    from genaug.recipe import load_recipe, recipe_names

    if name in recipe_names() or name.endswith(".toml"):
        recipe = load_recipe(name)
        if name.endswith(".toml"):
            _check(recipe, name)
        if as_json:
            return recipe.model_dump_json(indent=2)
        stages = [f"{stage}: {one.network.kind}, {_terms(one.loss)}" for stage, one in recipe.stages.items()]
        sampler = f"{recipe.sampler.name}, {recipe.sampler.steps} step{'s' if recipe.sampler.steps > 1 else ''}"
        return _page(Method.of(recipe), (("stages", "; ".join(stages)), ("sampler", sampler)))
    method = find_method(name)
    return method.model_dump_json(indent=2) if as_json else _page(method, ())


def _check(recipe: Recipe, path: str) -> None:
    """Refuse a file of one's own that no training could follow. Those that come with the package are known to be good,
    so that they are explained without torch, which this takes.
    """
    from genaug.importing import collector_off

    with collector_off():
        from genaug.recipe_check import check_recipe

    for dimension in recipe.dimensions:
        check_recipe(recipe.resolve(dimension), dimension, path)


def _terms(loss: object) -> str:
    assert isinstance(loss, dict)
    return f"trained by {', '.join(loss)}" if loss else "fitted"


def _table(methods: tuple[Method, ...]) -> None:
    width = shutil.get_terminal_size((120, 24)).columns
    rows = {
        family: [
            (m.name, m.task, ", ".join(m.conditions) or "none", m.sizes, m.cost, m.title)
            for m in methods
            if m.family == family
        ]
        for family in dict.fromkeys(sorted(method.family for method in methods))
    }
    everything = [row for members in rows.values() for row in members]
    widths = [max(len(row[i]) for row in everything) for i in range(5)]
    for family, members in rows.items():
        click.echo(f"{family}:")
        for row in members:
            cells = [cell.ljust(widths[i]) for i, cell in enumerate(row[:5])]
            line = f"  {'  '.join(cells)}  {row[5]}"
            # A title may be cut; a name and what was measured may not.
            room = max(width, sum(widths) + 12 + SHORTEST_TITLE)
            click.echo(line if len(line) <= room else f"{line[: room - 3]}...")
        click.echo()
    click.echo(
        "Scores after eight minutes of training on one core, and seconds per case. kid: new cases against held-out\n"
        "ones; mae: translations, in the units of their target. Less is better. Only scores on the same data compare,\n"
        "which `genaug methods NAME` names."
    )


def _page(method: Method, axes: tuple[tuple[str, str], ...]) -> str:
    found = method.measured
    rows = (
        ("family", method.family),
        ("task", method.task),
        ("dimensions", method.sizes.replace(" ", ", ")),
        ("conditions", ", ".join(method.conditions) or "none"),
        *axes,
        *((("command", method.command),) if method.command else ()),
        ("distinct", method.distinct),
        ("suits", method.suits),
        ("unsuited", method.unsuited),
        (
            "measured",
            method.cost
            if found is None
            else f"{method.cost} per case, on {found.suite} after {found.budget_minutes:g} minutes on one core",
        ),
        ("citation", method.citation),
    )
    # Not broken at hyphens, so that names, commands and identifiers of papers can be copied.
    texts = [textwrap.wrap(text, 100 - INDENT, break_on_hyphens=False, break_long_words=False) for _, text in rows]
    lines = [
        f"{name:{INDENT}}" + f"\n{'':{INDENT}}".join(wrapped) for (name, _), wrapped in zip(rows, texts, strict=True)
    ]
    return "\n".join([f"{method.name}: {method.title}", "", *lines])
