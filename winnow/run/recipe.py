"""Which recipe a run is made with: one that needs weights gives way to another where there are none."""

from __future__ import annotations

from typing import Any, NamedTuple

from winnow.errors import OptionError
from winnow.options import Recipe, load_recipe


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
    from winnow.models.pretrained import weights_at_hand

    place = str(model["weights"]) if model.get("weights") else weights_at_hand(backbone)
    if place:
        return Chosen(recipe, name, f"{name}: embeddings of the pretrained {backbone}, its weights from {place}.")
    why = (
        f"{name}: a network trained from scratch ({other}), because no weights of {backbone} are at hand: no --weights FILE, "
        "none in the hub's cache, and the hub does not answer. Figures of both: docs/benchmarks.md"
    )
    return Chosen(load_recipe(other), other, why)
