"""The model card: what a person should know before using a package (after Mitchell 2019, arXiv:1810.03993)."""

from __future__ import annotations

from typing import Any


def model_card(info: dict[str, Any]) -> str:
    """Markdown from a PackageInfo as a plain dictionary."""
    recipe, grid, trained = info["recipe"], info["grid"], info["trained_on"]
    dimension = len(grid["size"])
    space = f"{_cross(grid['size'])} voxels of {_cross(grid['spacing'][:dimension])} mm, {grid['orientation']}"
    cohort = f"{trained['cases']} cases of {len(trained['patients'])} patients, cohort “{trained['cohort']}”"
    lines = [
        f"# {info['title']}",
        "",
        *([info["note"], ""] if info["note"] else []),
        "Everything this model makes is **synthetic** and marked as such. It is for research, not for diagnosis.",
        "",
        "| | |",
        "|---|---|",
        f"| method | {recipe['title']} (`{recipe['name']}`) |",
        f"| reference | {recipe['citation']} |",
        f"| makes | {_makes(info)} |",
        f"| space | {space} |",
        f"| field of view seen | {_cross(grid['fov_min'])} to {_cross(grid['fov_max'])} mm |",
        f"| trained on | {cohort} |",
        f"| sampler | {recipe['sampler']['name']}, {recipe['sampler']['steps']} steps |",
        f"| licence | {info['licence']} |",
        "",
        "## Suits",
        recipe["suits"],
        "",
        "## Does not suit",
        recipe["unsuited"],
        "",
        "## Training",
    ]
    for name, stage in info["stages"].items():
        lines.append(f"- {name}: {stage['iterations']} iterations, {stage['seconds']:.0f} s on {stage['device']}")
    if trained["labels"]:
        lines += ["", "## Label volumes of the training cases", "", "| label | smallest | mean | largest (mm³) |"]
        lines.append("|---|---|---|---|")
        for label in trained["labels"]:
            volumes = " | ".join(f"{label[key]:.0f}" for key in ("smallest", "mean", "largest"))
            lines.append(f"| {label['value']} {label['name']} | {volumes} |")
    if info["scores"]:
        lines += ["", "## Scores", "", "| score | value | interval | real against real |", "|---|---|---|---|"]
        lines += [_score(score) for score in info["scores"]]
    return "\n".join(lines) + "\n"


def _makes(info: dict[str, Any]) -> str:
    roles = info["roles"]
    made = ", ".join(roles["target"]) + (" with label map" if roles["generate_labels"] else "")
    given = [*roles["source"], *(["label map"] if roles["given_labels"] else [])]
    return made + (f" from {', '.join(given)}" if given else "")


def _score(score: dict[str, Any]) -> str:
    interval = score.get("interval")
    floor = score.get("floor")
    return (
        f"| {score['name']} | {score['value']:.4g} | {f'{interval[0]:.4g} to {interval[1]:.4g}' if interval else ''} "
        f"| {f'{floor:.4g}' if floor is not None else ''} |"
    )


def _cross(values: Any) -> str:
    return " x ".join(f"{value:g}" for value in values)
