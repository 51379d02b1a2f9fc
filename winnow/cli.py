"""The command line: the list of commands and what becomes of errors; `winnow.commands` and its like hold them."""

from __future__ import annotations

import contextlib
import os
import sys
import warnings
from functools import cache
from keyword import iskeyword
from typing import TYPE_CHECKING, Any

from winnow import torchrun
from winnow.errors import EXTRAS, Interrupted, LossWarning, MissingExtra, OptionError, RunError, WinnowError
from winnow.label.events import is_seen
from winnow.version import __version__

if TYPE_CHECKING:
    from cyclopts import App

# Their first sentences stand here too, so that `winnow --help` loads neither the commands nor pydantic.
GROUPS = {
    "One command for all": {
        "run": "All steps of a recipe in one command: ingest, train, encode, calibrate, choose pictures to label (--number), report.",
    },
    "Step by step": {
        "ingest": "Read sources into a run folder's pool; run it again to add more.",
        "train": "Train the model on normal pictures (a pretrained one is only loaded).",
        "encode": "Write the embedding and the losses of every picture of the pool.",
        "calibrate": "Fit the scorer and set the threshold for a stated false-alarm rate.",
        "select": "Choose the pictures worth a person's time: an ordered list, a contact sheet and a map; ask for more later, and it "
        "grows.",
        "label": "Label pictures on a page of this machine, and take labels to and from other tools.",
        "classify": "Learn classes from a few labels, on the embeddings or by fine-tuning; measure by folds whether more labels pay.",
        "round": "Choose the next pictures to label: those whose class is uncertain, and not all of one kind.",
        "report": "Write the run folder's report.html, a single file that needs no network.",
        "evaluate": "Measure a run where the truth is known: AUROC, average precision, rates at the threshold, for each anomalous group.",
        "lambda": "Search the weight of a VAE's latent loss (lambda) by synthetic defects, without a real one.",
        "step": "Do a step of your own, a winnow.stages.Stage, with the guarantees of Winnow's steps.",
    },
    "Production": {
        "score": "Judge new pictures and videos: a row each, the defects of a picture, the segments of a video with a cut list.",
        "predict": "Tell the class of new pictures and videos, how probable it is, and what does not belong.",
        "export": "Write what the run has learnt as one ONNX file that gives the same results, with a model card; refuse if it does not.",
        "serve": "Answer over HTTP what pictures are and what does not belong, by an exported file or a run, until Ctrl-C.",
        "watch": "Judge what comes, until Ctrl-C: a folder that fills, a video that is written, a camera, by an exported file or a run.",
        "recalibrate": "Set the threshold anew by reviewed pictures that came since; the old one decides until the new one is confirmed.",
    },
    "Folder and machine": {
        "recipes": "List the recipes with what they cost and what to expect, or print one.",
        "doctor": "Check this machine: versions, formats, devices, extras, and one tiny training.",
        "join": "Do the steps of which a folder holds shards, made by `--shard`, with those; what is missing is named.",
        "pull": "Copy a run in a bucket to a folder, or bring the folder that was copied from there up to date; labels of both are kept.",
        "push": "Make a run in a bucket what a run folder is; labels of both are kept, and a run that another has changed is refused.",
    },
    "Everywhere": {
        "--help": "Show this page or, behind a command, that command's; --help-all shows all flags of a long one.",
        "--version": "Show the version.",
        "--debug": "Show the full traceback of an error.",
        "--install-completion": "Let the shell complete commands and flags by Tab.",
    },
}
"""What may follow `winnow`, in the order of work."""
COMMANDS = {name: text for group in GROUPS.values() for name, text in group.items() if not name.startswith("-")}

HELP = ("--help", "-h", "--help-all")
"""The flags that ask for a help page."""
JUDGING = ("predict", "export", "report", "score", "evaluate", "serve", "watch")
"""Commands of `winnow.judge_commands`."""
OTHERS = ("pull", "push", "recipes", "doctor")
"""Commands of `winnow.other_commands`."""


@cache
def application() -> App:
    """Return the commands as Cyclopts knows them, which takes a tenth of a second to import: the list of commands does without."""
    from cyclopts import App, Parameter

    app = App(
        name="winnow",
        version=__version__,
        default_parameter=Parameter(negative_iterable=()),
        help_flags=HELP,
        suppress_keyboard_interrupt=False,  # or nothing would be said of it
        help_format="plaintext",  # the others load a Markdown reader
    )
    for name, text in COMMANDS.items():
        module = f"winnow.{'other_' if name in OTHERS else 'judge_' if name in JUDGING else ''}commands"
        app.command(f"{module}:{name}{'_' * iskeyword(name)}", name=name, help=text)
    app.register_install_completion_command()
    return app


def main(arguments: list[str] | None = None) -> None:
    """Entry point of the command `winnow`: errors are one sentence and one remedy, exit status 1 (2 for wrong usage)."""
    words = sys.argv[1:] if arguments is None else arguments
    words = words[words[:1] == ["--"] :]  # which tells torchrun that the options behind it are not its own
    debug = "--debug" in words
    # Before torch is loaded: threads that spin while they wait take cores from one another.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    warnings.showwarning = _show_warning
    if torchrun.rank():
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 (for as long as the process lives)
    try:
        _check_processes(words)
        if not words or words[0] in HELP:
            from winnow.usage import show_commands

            show_commands(GROUPS)
        elif words[0] in COMMANDS and any(word in HELP for word in words):
            from winnow.usage import Help

            Help(words, HELP).show(application())
        else:
            given = [word for word in words if word != "--debug"]
            application()(given, exit_on_error=False, print_error=False)
        sys.stdout.flush()
    except BrokenPipeError:
        if debug:
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is left to print would fail again at exit
        with contextlib.suppress(OSError):  # nothing may read that either
            print(
                "winnow: stopped, for nothing reads what it prints any more. What was finished is kept.",
                file=sys.stderr,
                flush=True,
            )
        raise SystemExit(141) from None
    except Exception as error:
        from cyclopts import CycloptsError
        from pydantic import ValidationError

        if isinstance(error, ModuleNotFoundError) and error.name in EXTRAS and not debug:
            error = MissingExtra(f"winnow {words[0]}", EXTRAS[error.name], error.name)
        if isinstance(error, OSError) and error.filename is not None and not debug:
            what = error.filename if isinstance(error.filename, str) else repr(error.filename)
            error = RunError(
                f"{what} cannot be read or written ({(error.strerror or str(error)).lower()}).",
                "Correct its permissions or those of the folders above it, or put it back.",
            )
        if debug or not isinstance(error, (WinnowError, CycloptsError, ValidationError)):
            raise
        _tell(f"winnow: {_told(error)}")
        status = 130 if isinstance(error, Interrupted) else 1 if isinstance(error, WinnowError) else 2
        raise SystemExit(status) from None
    except KeyboardInterrupt:
        if debug:
            raise
        _tell("winnow: stopped. What was finished is kept: the same command goes on, with --resume where it has that.")
        raise SystemExit(130) from None


def _check_processes(words: list[str]) -> None:
    """Raise `OptionError` for a command of which torchrun has started several processes that cannot share its work."""
    number = torchrun.processes()
    if number > 1 and words[:1] not in (["train"], ["classify"]):
        raise OptionError(
            f"{number} processes of 'winnow {' '.join(words[:1])}' were started, and only those of train and classify share their work.",
            "Leave torchrun out; before a training by it: winnow ingest SOURCES --run RUN",
        )


def _tell(text: str) -> None:
    """Say why this process ends; of several only the first that does, for all end then."""
    if torchrun.processes() == 1:
        print(text, file=sys.stderr)
        return
    from winnow.learn.processes import leave, tells

    if tells():
        print(text, file=sys.stderr, flush=True)
    leave()


_usual_warning = warnings.showwarning


def _show_warning(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
    if issubclass(category, LossWarning):
        from winnow.run.working_copy import told

        print(f"winnow: {_line(told(str(message)))}", file=sys.stderr)
    else:
        _usual_warning(message, category, *where, **more)


def _sentence(error: Exception) -> str:
    from cyclopts import CycloptsError
    from pydantic import ValidationError

    from winnow.options import explain

    message, remedy = str(error), ""
    if isinstance(error, CycloptsError):
        from winnow.usage import explained

        message, remedy = explained(error)
    elif isinstance(error, ValidationError):
        message = explain(error)
    elif isinstance(error, WinnowError):
        message, remedy = error.message, error.remedy
    return _line(message) + (f"\n  {_line(remedy)}" if remedy else "")


def _told(error: Exception) -> str:
    """Return what is said of an error, with the addresses of runs in buckets in the place of their working copies."""
    from winnow.run.copies import NotPushed
    from winnow.run.working_copy import advised

    return _sentence(error) if isinstance(error, NotPushed) else advised(_sentence(error))


def _line(text: str) -> str:
    """Return a text in one line of printable characters: a name in it may hold line breaks, or bytes that are not UTF-8."""
    printable = (char if is_seen(char) else char.encode("unicode_escape").decode() for char in text)
    return "".join(printable)


if __name__ == "__main__":
    main()
