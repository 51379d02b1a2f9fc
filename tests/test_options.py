"""Options are declared once: recipes, flags, errors and the docs' table are read off the declaration."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from winnow.errors import OptionError
from winnow.options import Options
from winnow.run.recipe import load_recipe, recipe_names

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_is_whole(name: str):
    recipe = load_recipe(name)
    assert recipe.title and recipe.source and recipe.cost and recipe.expect
    for key in recipe.set_by_recipe:
        section, option = key.split(".")
        assert getattr(getattr(recipe.options, section), option) is not None


def test_the_user_wins_over_the_recipe_and_the_recipe_over_the_default():
    recipe = load_recipe("oneclass-vae")
    assert recipe.options.model.latent == 256 != Options().model.latent
    assert recipe.options.updated({"model": {"latent": 7}}, "test").model.latent == 7
    assert recipe.options.updated({"model": {"latent": 7}}, "test").model.variational


def test_a_recipe_is_values_from_a_file_of_ones_own(tmp_path: Path):
    path = tmp_path / "mine.toml"
    path.write_text('title = "mine"\n[train]\niterations = 12\n', encoding="utf-8")
    assert load_recipe(str(path)).options.train.iterations == 12
    assert load_recipe(str(path)).set_by_recipe == {"train.iterations"}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("[train]\niteration = 3\n", ["iteration", "iterations"]),
        ("[trane]\niterations = 3\n", ["trane", "train"]),
        ("[train]\niterations = 'many'\n", ["--iterations", "many"]),
        ("[train]\niterations = 0\n", ["--iterations", "greater than or equal to 1"]),
        ("[train]\nlr = nan\n", ["--lr"]),
        ("iterations = 3\n", ["iterations", "section"]),
        ("[train\n", ["TOML"]),
        ("[ingest]\non_error = 'ignore'\n", ["--on-error", "skip"]),
    ],
)
def test_a_wrong_recipe_is_one_clear_error(tmp_path: Path, content: str, words: list[str]):
    path = tmp_path / "wrong.toml"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(OptionError) as caught:
        load_recipe(str(path))
    for word in words:
        assert word in str(caught.value)


def test_an_unknown_recipe_names_the_nearest():
    with pytest.raises(OptionError, match="oneclass"):
        load_recipe("oneclas")
    with pytest.raises(OptionError, match="no recipe file"):
        load_recipe("absent.toml")


def test_the_table_in_the_docs_is_current():
    made = subprocess.run(
        [sys.executable, "scripts/options_table.py"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert (ROOT / "docs" / "options.md").read_text(encoding="utf-8") == made


def test_every_option_says_what_it_is():
    for _, section in Options():
        for name, field in type(section).model_fields.items():
            assert field.description and field.description.endswith("."), name
