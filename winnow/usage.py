"""How the commands are used: what `--help` shows, and what is said of a call that does not fit."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cyclopts import App, Argument, ArgumentCollection, CycloptsError, MissingArgumentError, Parameter

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
BEGINNING = ("run", "ingest", "lambda")
"""The commands that begin a run, so that their defaults are those that hold."""
KEPT = "Where the run has another value than a default shown here, the run's holds."


def show_commands(groups: Mapping[str, Mapping[str, str]]) -> None:
    """Print the list of commands, `groups` by title, and how to begin."""
    from rich.console import Console
    from rich.panel import Panel
    from rich.table import Table

    console = Console(highlight=False)
    about = "Learn from pictures nobody has labelled: what belongs, what does not, and how sure that is."
    console.print(f"[bold]Usage: winnow COMMAND[/]\n\n{about}\n")
    for title, commands in groups.items():
        table = Table.grid(padding=(0, 2, 0, 0))
        for name, text in commands.items():
            table.add_row(f"[cyan]{name}[/]", text)
        console.print(Panel(table, title=title, title_align="left"))
    console.print(
        "\nTo begin: winnow run oneclass GOOD --to runs/first, then winnow score NEW --run runs/first.\n"
        "winnow recipes lists what else there is to run; winnow COMMAND --help says what a command takes."
    )


class Help:
    """The help page of a command: of a long one the common flags alone, unless all are asked for, and with a recipe its values.

    `words` are those of the command line, by which it is known what is asked for, `flags` those that ask for help. Raises
    `OptionError` for a recipe that there is not.
    """

    def __init__(self, words: list[str], flags: Sequence[str]) -> None:
        from winnow.options import Options

        self.options: set[str] = set()  # the flags that are options of a run, not of the command alone
        self.placed: dict[str, str] = {}  # arguments that have their place: what Cyclopts calls them, and what we do
        self.name, self.asked = words[0], words[: min(words.index(flag) for flag in flags if flag in words)]
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

    def show(self, app: App) -> None:
        """Print the page.

        Cyclopts would make it too, but reads the source text of every class of options for docstrings, and goes through all options
        three times: that took four fifths of the time.
        """
        from cyclopts.group import sort_groups
        from cyclopts.help import DefaultFormatter, create_parameter_help_panel

        command, console, formatter = app[self.name], app.console, DefaultFormatter()
        arguments = _explained(command, app.default_parameter)
        console.print(f"Usage: {_usage(self.name, arguments)}\n", markup=False, highlight=False, style="bold")
        for text in filter(None, (command.help, self.recipe)):
            console.print(f"{text}\n", markup=False, highlight=False)
        self.options = {name.lstrip("-") for argument in arguments if argument.keys for name in argument.names}
        self.placed = {
            _label(argument): _place(argument) for argument in arguments if argument.field_info.is_positional
        }
        groups = [group for group in arguments.groups if group.show]
        for group in sort_groups(groups, groups)[0]:
            panel = create_parameter_help_panel(group, arguments.filter_by(group=group), "plaintext")
            entries = [self._entry(entry) for entry in panel.entries if self._shows(entry)]
            formatter(console, console.options, panel.copy(entries=entries))
        if self.options and self.name not in BEGINNING:
            console.print(f"\n{KEPT}", markup=False, highlight=False)
        if self.common is not None:
            epilogue = f"\nThese are the common flags; all of them: winnow {' '.join(self.asked)} --help-all"
            console.print(epilogue, markup=False, highlight=False)

    def _shows(self, entry: Any) -> bool:
        return self.common is None or not entry.positive_names or bool(_flags(entry) & self.common)

    def _entry(self, entry: Any) -> Any:
        """Return an entry whose default is said as in the texts of the options, "What it is [default: x].", the recipe's first."""
        from rich.text import Text

        text = str(entry.description.primary_renderable)
        flag = next(iter(_flags(entry) & self.options & self.defaults.keys()), "")
        value = (
            self.defaults[flag]
            if flag
            else {"False": "", "True": "on", "()": "", '""': ""}.get(entry.default, entry.default)
        )
        if flag in self.own:
            text = re.sub(r" \[default: [^]]*\]", "", text)
        if value and "[default: " not in text:
            text = f"{text.removesuffix('.')} [default: {value}]."
        label = self.placed.get(entry.positional_label, entry.positional_label)
        return entry.copy(description=Text(text), default=None, positional_label=label)


def _explained(command: App, default: Parameter | None) -> ArgumentCollection:
    """Return what a command takes, each with its text: that of its option, or the one in the docstring of the command."""
    from cyclopts import Parameter
    from docstring_parser import parse

    arguments = command.assemble_argument_collection(default_parameter=default)
    texts = {param.arg_name: param.description for param in parse(command.default_command.__doc__ or "").params}
    for argument in arguments:
        text = argument.field_info.help or texts.get(argument.field_info.name)
        if text and not argument.parameter.help:
            argument.parameter = Parameter.combine(argument.parameter, Parameter(help=text))
    return arguments


def _usage(name: str, arguments: ArgumentCollection) -> str:
    """Return how a command is called: what has its place, in brackets where it may be left out, and the flags that must be given."""
    shown = [argument for argument in arguments if argument.show]
    placed = [argument for argument in shown if argument.field_info.is_positional]
    words = [_word(argument) if argument.required else f"[{_word(argument)}]" for argument in placed]
    words += [_word(argument) for argument in shown if argument.required and argument not in placed]
    return " ".join(("winnow", name, *words, "[OPTIONS]"))


def _word(argument: Argument) -> str:
    """Return an argument as it stands in a call: SOURCES..., or --run RUN."""
    if not argument.field_info.is_positional:
        return f"{argument.name} {argument.parameter.metavar or _label(argument)}"
    return _place(argument) + ("..." if argument.field_info.kind is argument.field_info.VAR_POSITIONAL else "")


def _label(argument: Argument) -> str:
    """Return what Cyclopts calls an argument: its first name, which may be a flag's."""
    return argument.name.lstrip("-").upper()


def _place(argument: Argument) -> str:
    """Return what an argument that has its place is called: FOLDER, whatever flags it may be given by."""
    return argument.field_info.name.upper()


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
    from cyclopts import MissingArgumentError, UnknownCommandError, UnusedCliTokensError
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
    name = _place(argument) if argument.field_info.is_positional and not error.keyword else argument.name
    what = " ".join((argument.parameter.help or "").split())
    wanted, _ = argument.token_count()
    got = len(error.tokens_so_far or ())
    if got:
        return f"{name} takes {wanted} values, and {got} {'was' if got == 1 else 'were'} given.", what or helped
    if error.keyword:
        return f"{name} was given without a value.", what or helped
    remedy = f"Add {_word(argument).removesuffix('...')}"
    return f"{command} needs {name}.", f"{remedy}: {what}" if what else helped
