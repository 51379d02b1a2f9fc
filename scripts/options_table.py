"""Prints docs/options.md: every option with its default and meaning, read off winnow/options.py.

python scripts/options_table.py > docs/options.md
"""

from __future__ import annotations

from winnow.options import Options
from winnow.run.recipe import Recipe, load_recipe, recipe_names

HEADINGS = {
    "ingest": "Reading",
    "model": "Model",
    "train": "Training",
    "detect": "Anomaly score and threshold",
    "score": "Mode",
    "select": "Choice of pictures to label",
    "classify": "Classifier",
    "tune": "Fine-tuning",
    "segments": "Segments of a video",
}


def text() -> str:
    """Return the whole page."""
    lines = [
        "# Options",
        "",
        "Made by `python scripts/options_table.py`. The flag of an option is its name with `--` and dashes for underscores;",
        "in a recipe it stands under its section; in Python it is a keyword of `winnow.Run`.",
        "",
    ]
    for section, options in Options():
        lines += [f"## {HEADINGS[section]} `[{section}]`", "", "| option | default | meaning |", "|---|---|---|"]
        for name, field in type(options).model_fields.items():
            lines.append(f"| `{name}` | {_shown(field.default)} | {(field.description or '').replace('|', '/')} |")
        lines.append("")
    lines += ["## Recipes", "", "| recipe | what | cost | sets |", "|---|---|---|---|"]
    for name in recipe_names():
        recipe = load_recipe(name)
        chosen = ", ".join(
            f"`{key.split('.')[1]} = {_shown(_value(recipe, key))}`" for key in sorted(recipe.set_by_recipe)
        )
        lines.append(f"| `{name}` | {recipe.title} | {recipe.cost} | {chosen} |")
    return "\n".join(lines) + "\n"


def _value(recipe: Recipe, key: str) -> object:
    section, name = key.split(".")
    return getattr(getattr(recipe.options, section), name)


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None or value == "":
        return "-"
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)


if __name__ == "__main__":
    print(text(), end="")
