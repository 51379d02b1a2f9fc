"""Parts of one's own: found as 'module:name', or by the name under which an installed package offers them."""

from __future__ import annotations

import importlib
import inspect
import os
import sys
from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from winnow.errors import OptionError, did_you_mean

GROUP = "winnow.plugins"
"""The group of entry points in which a package offers scorers, models and selectors."""


def find(role: str, name: str, known: Mapping[str, Any]) -> Any:
    """Return the part `name`: one of `known`, one that an installed package offers, or 'module:name'.

    An entry of `known` may itself be 'module:name', where its module is heavy to import. `role` is what messages call the part.
    Raises `OptionError` when there is none.
    """
    if name in known:
        entry = known[name]
        return load(entry, role) if isinstance(entry, str) else entry
    offered = installed()
    if name in offered:
        return load(offered[name].value, role)
    module, _, attribute = name.partition(":")
    if not (module and attribute):
        remedy = did_you_mean(name, [*known, *offered])
        raise OptionError(f"There is no {role} '{name}'.", f"{remedy} Your own is 'module:name'.")
    return load(name, role)


def load(name: str, role: str) -> Any:
    """Return the object 'module:name'; the module may be installed or stand in the current folder.

    Raises `OptionError` when the module cannot be imported or has no such name.
    """
    module, _, attribute = name.partition(":")
    here = os.getcwd()
    if here not in sys.path and "" not in sys.path:
        # A console script has its own folder on the path, not the current one. Last: a file here must not hide a library.
        sys.path.append(here)
    importlib.invalidate_caches()  # the file may be newer than the last look into its folder
    try:
        found = importlib.import_module(module)
    except Exception as error:  # the module's own code runs, and may fail in any way
        raise OptionError(
            f"The {role} '{name}' cannot be imported ({type(error).__name__}: {error}).",
            "Check the name, and the module, which must be installed or stand in the current folder.",
        ) from error
    for part in attribute.split("."):
        if not hasattr(found, part):
            raise OptionError(
                f"The module '{module}' has no '{attribute}'.", f"Check the name of the {role} after the colon."
            )
        found = getattr(found, part)
    return found


def check_call(role: str, name: str, part: Any, form: str, *arguments: Any, **keywords: Any) -> None:
    """Raise `OptionError` unless a part is a function of such arguments; `form` is how it is called, for the message.

    A function of C that does not say what it takes is believed.
    """
    try:
        signature = inspect.signature(part)
    except TypeError:  # it is no function
        signature = inspect.Signature()
    except ValueError:
        return
    try:
        signature.bind(*arguments, **keywords)
    except TypeError:
        raise OptionError(f"'{name}' is not a {role}.", f"Make it a function {form}.") from None


def installed() -> dict[str, EntryPoint]:
    """Return the parts that installed packages offer, by name; nothing is imported."""
    return {entry.name: entry for entry in entry_points(group=GROUP)}
