"""How the commands are used: what `--help` shows, and what is said of a call that does not fit."""

from __future__ import annotations

import re
import shlex
from typing import Any

from cyclopts import CycloptsError, MissingArgumentError, UnknownCommandError, UnusedCliTokensError

COMMON = {
    "run": "to resume overwrite from-scratch size every only iterations false-alarm-rate number folders weights device",
    "ingest": "run recipe size grey patches tiles people every only keyframes on-error max-refused",
    "train": "run resume model backbone weights variational latent iterations batch-size lr device seed",
    "select": "run n also method per-group random-share duplicate-distance outliers",
    "classify": "run labels head folds pseudo tracks fine-tune fine-tune-weights",
    "score": "run to heatmaps false-discoveries drift-alarm mode smooth min-length",
    "predict": "run onnx to heatmaps by object-detector mode",
    "serve": "run host port token name workers object-detector drift-alarm mode",
    "watch": "run onnx to post run-on keep drift-alarm smooth min-length mode",
}
"""Of commands with many flags those that `--help` shows; `--help-all` shows every one."""


class Help:
    """Help pages: of a long command the common flags alone, unless all are asked for, and with a recipe that recipe's values.

    `words` are those of the command line, by which it is known what is asked for. Raises `OptionError` for a recipe that
    there is not.
    """

    def __init__(self, words: list[str]) -> None:
        from winnow.options import Options

        common = None if "--help-all" in words else COMMON.get(words[0])
        self.common = None if common is None else set(common.split())
        self.recipe, options, own = "", Options(), frozenset[str]()
        if name := _recipe_of(words):
            from winnow.run.recipe import load_recipe

            recipe = load_recipe(name)
            options, own = recipe.options, frozenset(key.partition(".")[2] for key in recipe.set_by_recipe)
        values = {name: value for _, section in options for name, value in section}
        self.defaults = {_flag(name): _shown(value) for name, value in values.items()}
        if self.common and options.model.model in ("pretrained", "dense"):
            self.common -= {"iterations"}  # nothing is trained
        self.own = {_flag(name) for name in own}
        if name:
            chosen = (_given(flag, values[flag.replace("-", "_")]) for flag in self.defaults if flag in self.own)
            self.recipe = f"{name}: {recipe.title}. It sets {', '.join(chosen)}."

    def __call__(self, console: Any, options: Any, panel: Any) -> None:
        """Print a panel of flags."""
        from cyclopts.help.formatters import DefaultFormatter

        entries = [self._entry(entry) for entry in panel.entries if self._shows(entry)]
        DefaultFormatter()(console, options, panel.copy(entries=entries))

    def render_usage(self, console: Any, options: Any, usage: Any) -> None:
        """Print how the command is called."""
        from cyclopts.help.formatters import DefaultFormatter

        DefaultFormatter().render_usage(console, options, usage)

    def render_description(self, console: Any, options: Any, description: Any) -> None:
        """Print what the command does and, where a recipe is named, what that is and sets."""
        console.print(description)
        if self.recipe:
            console.print(self.recipe + "\n", markup=False, highlight=False)

    def _shows(self, entry: Any) -> bool:
        return self.common is None or not entry.positive_names or bool(_flags(entry) & self.common)

    def _entry(self, entry: Any) -> Any:
        """Return an entry whose default is said as in the texts of the options, "What it is [default: x].", the recipe's first."""
        from rich.text import Text

        text = str(entry.description.primary_renderable)
        flag = next(iter(_flags(entry) & self.defaults.keys()), "")
        value = (
            self.defaults[flag]
            if flag
            else {"False": "", "True": "on", "()": "", '""': ""}.get(entry.default, entry.default)
        )
        if flag in self.own:
            text = re.sub(r" \[default: [^]]*\]", "", text)
        if value and "[default: " not in text:
            text = f"{text.removesuffix('.')} [default: {value}]."
        return entry.copy(description=Text(text), default=None)


def _flags(entry: Any) -> set[str]:
    return {name.lstrip("-") for name in (*entry.positive_names, *entry.positive_shorts)}


def _recipe_of(words: list[str]) -> str:
    """Return the recipe that a call names, "" for none: the first word behind `run`, or that of `--recipe`."""
    if words[:1] == ["run"] and len(words) > 1 and not words[1].startswith("-"):
        return words[1]
    place = words.index("--recipe") + 1 if "--recipe" in words else len(words)
    return words[place] if place < len(words) else ""


def _flag(name: str) -> str:
    return name.replace("_", "-")


def _given(flag: str, value: Any) -> str:
    """Return an option as it is given on the command line."""
    if isinstance(value, bool):
        return f"--{'' if value else 'no-'}{flag}"
    return f"--{flag} {_shown(value) if isinstance(value, tuple) else shlex.quote(str(value))}"


def _shown(value: Any) -> str:
    """Return a value as it is given on the command line, "" where there is none to give."""
    if isinstance(value, bool):
        return "on" if value else ""
    if isinstance(value, tuple):
        return " ".join(map(str, value))
    return "" if value is None else str(value)


def explained(error: CycloptsError) -> tuple[str, str]:
    """Return what is wrong with a call, in a sentence, and what to do about it."""
    from pydantic import ValidationError

    from winnow.options import explain

    command = " ".join(("winnow", *(error.command_chain or ())))
    helped = f"{command} --help lists what it takes."
    if isinstance(error.__cause__, ValidationError):
        return explain(error.__cause__), f"{command} --help-all lists every option and its values."
    if isinstance(error, MissingArgumentError) and error.argument is not None:
        return _missing(error, command, helped)
    if isinstance(error, UnusedCliTokensError):
        unused = error.unused_tokens or []
        many = len(unused) > 1
        words = ", ".join(f"'{word}'" for word in unused)
        return f"{command} does not take the word{'s' if many else ''} {words}.", helped
    if isinstance(error, UnknownCommandError):
        return " ".join(str(error).split("Available commands:")[0].split()), "winnow --help lists the commands."
    return " ".join(str(error).split()), helped


def _missing(error: MissingArgumentError, command: str, helped: str) -> tuple[str, str]:
    """Return what is said of a value that is missing: of all, or of some of several."""
    argument: Any = error.argument
    name = argument.name if argument.name.startswith("-") else argument.name.lstrip("-").upper()
    what = " ".join((argument.parameter.help or "").split())
    wanted, _ = argument.token_count()
    got = len(error.tokens_so_far or ())
    if got:
        return f"{name} takes {wanted} values, and {got} {'was' if got == 1 else 'were'} given.", what or helped
    if error.keyword:
        return f"{name} was given without a value.", what or helped
    remedy = f"Add {name}{' ' + name.lstrip('-').upper() if name.startswith('-') else ''}"
    return f"{command} needs {name}.", f"{remedy}: {what}" if what else helped
