"""Recipes by name, and which of them a run is made with: one that needs weights gives way to another where there are none."""

from __future__ import annotations

import tomllib
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict

from winnow.errors import OptionError, did_you_mean
from winnow.options import Options
from winnow.progress import begin

TASKS = ("oneclass", "inspect", "select", "classify")
"""What the names of recipes begin with, in the order in which they are listed."""


class Recipe(BaseModel):
    """A named set of option values, with what it costs and what to expect of it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: str
    source: str
    cost: str
    expect: str
    options: Options
    set_by_recipe: frozenset[str] = frozenset()
    without_weights: str = ""
    """The recipe that takes its place where the weights of its pretrained network are not at hand."""
    for_strips: str = ""
    """The recipe that takes its place where most pictures are strips, more than four times as long as wide."""


def recipe_names() -> list[str]:
    """Return the recipes that come with Winnow, in the order of the tasks, what is best for each first."""
    folder = resources.files("winnow") / "recipes"
    names = (entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml"))
    return sorted(names, key=lambda name: (TASKS.index(name.partition("-")[0]), name))


def text_of_recipe(name: str) -> str:
    """Return the text of a recipe by its name, or of any `.toml` file by its path; `OptionError` when it is unknown or no text."""
    if name.endswith(".toml"):
        path: Any = Path(name)
        if not path.is_file():
            raise OptionError(
                f"There is no recipe file {name}.", f"Give a .toml file or one of: {', '.join(recipe_names())}."
            )
    elif name in recipe_names():
        path = resources.files("winnow") / "recipes" / f"{name}.toml"
    else:
        raise OptionError(f"There is no recipe '{name}'.", did_you_mean(name, recipe_names()))
    try:
        return str(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise _no_toml(name, error) from None


def _no_toml(name: str, error: ValueError) -> OptionError:
    return OptionError(
        f"Recipe {name} is not valid TOML: {error}.", "Correct the file; winnow recipes NAME prints examples."
    )


def load_recipe(name: str) -> Recipe:
    """Reads a recipe by its name, or any `.toml` file by its path; `OptionError` when it is unknown or wrong."""
    try:
        content = tomllib.loads(text_of_recipe(name))
    except tomllib.TOMLDecodeError as error:
        raise _no_toml(name, error) from None
    about = {
        key: str(content.pop(key, "")) for key in ("title", "source", "cost", "expect", "without_weights", "for_strips")
    }
    loose = [key for key, value in content.items() if not isinstance(value, dict)]
    if loose:
        raise OptionError(
            f"Recipe {name}: '{loose[0]}' stands outside a section.",
            f"Put it under one of: {', '.join(f'[{section}]' for section in Options.model_fields)}.",
        )
    options = Options().updated(content, f"Recipe {name}")
    return Recipe(
        **about,
        options=options,
        set_by_recipe=frozenset(f"{section}.{option}" for section, values in content.items() for option in values),
    )


class Chosen(NamedTuple):
    """A recipe, its name as it is recorded, and why it was taken: a sentence, empty where there was no choice."""

    recipe: Recipe
    name: str
    why: str


def choose_recipe(name: str, given: dict[str, dict[str, Any]], *, from_scratch: bool = False) -> Chosen:
    """Load a recipe, or the one it names for a machine without weights; `given` are the user's options by section.

    Weights are at hand when a file is given (`weights`), when the hub's cache holds them or when the hub answers; what a
    file or a hub then gives is checked when they are loaded. `from_scratch`, and another `model`, ask for the other recipe.
    Raises `OptionError` for an unknown recipe, and for `from_scratch` with a recipe that has no other.
    """
    recipe = load_recipe(name)
    other, model = recipe.without_weights, given.get("model", {})
    if not other:
        if from_scratch:
            raise OptionError(f"--from-scratch has nothing to change in the recipe '{name}'.", "Leave it out.")
        return Chosen(recipe, name, "")
    backbone = model.get("backbone", recipe.options.model.backbone)
    if from_scratch or model.get("model", recipe.options.model.model) != recipe.options.model.model:
        asked = "--from-scratch" if from_scratch else f"--model {model['model']}"
        return Chosen(
            load_recipe(other), other, f"{name}: a network trained from scratch ({other}), as {asked} asks for."
        )
    place = str(model.get("weights") or "")
    if not place:
        begin(f"Looking for the weights of {backbone}, in the hub's cache and at the hub ...")
        from winnow.models.pretrained import weights_at_hand  # loads torch, which takes seconds

        place = weights_at_hand(backbone)
    if place:
        return Chosen(recipe, name, f"{name}: embeddings of the pretrained {backbone}, its weights from {place}.")
    why = (
        f"{name}: a network trained from scratch ({other}), because no weights of {backbone} are at hand: no --weights FILE, "
        "none in the hub's cache, and the hub does not answer. Figures of both: docs/benchmarks.md"
    )
    return Chosen(load_recipe(other), other, why)


def own_parts(values: dict[str, dict[str, Any]]) -> set[str]:
    """Return the parts of the user's own that options (section to option to value) name."""
    return {value for given in values.values() for value in given.values() if _is_own(value)}


def _is_own(value: Any) -> bool:
    """Return whether an option's value names a part of the user's own, 'module:Class'."""
    return isinstance(value, str) and ":" in value
