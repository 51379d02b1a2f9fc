"""The commands that are no step: runs from and to buckets, the list of recipes, the check of this machine."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from winnow import show
from winnow.arguments import LocalPath, say


def pull(
    address: str, /, folder: Annotated[LocalPath, Parameter(name=("--to", "--run"), help="The folder to make.")]
) -> None:
    """Copy a run in a bucket to a folder, or bring the folder that was copied from there up to date; labels of both are kept.

    Args:
        address: The run, s3://bucket/run.
    """
    from winnow.run.working_copy import pull as copied

    say(f"{folder}: {show.count(len(copied(address, folder).agreed.base.files), 'file')} as at {address}.")


def push(
    folder: Annotated[LocalPath, Parameter(name="--run", help="The run folder.")],
    address: Annotated[str, Parameter(name="--to", help="Where the run is to be, s3://bucket/run.")],
) -> None:
    """Make a run in a bucket what a run folder is; labels of both are kept, and a run that another has changed is refused."""
    from winnow.run.working_copy import push_to

    changed = push_to(folder, address)
    say(f"{folder} is at {address}{'' if changed else ', which has not changed'}.")


def recipes(name: str = "", /) -> None:
    """List the recipes with what they cost and what to expect, or print one.

    Args:
        name: The recipe, which is printed as the file that it is: change a copy of it, and give that: winnow run MINE.toml
    """
    from winnow.run.recipe import load_recipe, recipe_names, text_of_recipe

    if name:
        say(text_of_recipe(name).rstrip("\n"))
        return
    for name in recipe_names():
        recipe = load_recipe(name)
        say(f"{name}\n  {recipe.title}\n  source: {recipe.source}\n  cost:   {recipe.cost}\n  expect: {recipe.expect}")


def doctor() -> None:
    """Check this machine: versions, formats, devices, extras, and one tiny training."""
    from winnow.steps.doctor import doctor as step

    lines, healthy = step()
    say("\n".join(lines))
    if not healthy:
        raise SystemExit(1)
