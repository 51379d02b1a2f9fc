"""The tree of errors a user can meet: each says what is wrong and what to do about it.

    WinnowError
    ├── OptionError       an option, recipe or argument has no meaning here
    ├── InputError        a source (file, folder, list, s3 address) cannot be used
    │   └── Unreadable    one picture or video is broken; ingest lists it in quarantine.csv and goes on
    ├── DataError         the pictures or numbers are not enough, or not finite; a ValueError too
    ├── RunError          the run folder is not in the state the step needs
    │   ├── Damaged       a file of the run folder is not what was written
    │   └── StoreLost     the open label store was moved, deleted or replaced (winnow/label/database.py)
    ├── ModelError        a model, its weights or its name do not fit
    ├── TrainingError     training cannot go on (not a number, ...)
    ├── Interrupted       the user stopped it; what was done is saved
    └── MissingExtra      an optional dependency is not installed

Errors are raised with the user's own words in them and shown as one line and one remedy at the edge (`cli.py`).
"""

from __future__ import annotations


class WinnowError(Exception):
    """Base of all errors: a sentence that says what went wrong and names the file or option, and a remedy in another."""

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message}\n  {self.remedy}" if self.remedy else self.message


class OptionError(WinnowError):
    """An option, recipe or argument has no meaning here."""


class InputError(WinnowError):
    """A source (file, folder, list, s3 address) cannot be used."""


class Unreadable(InputError):
    """One picture or video is broken; ingest lists it in `quarantine.csv` and goes on."""


class DataError(WinnowError, ValueError):
    """The pictures or numbers are not enough, or not finite; a `ValueError` too, which is what users of scikit-learn expect of data."""


class RunError(WinnowError):
    """The run folder is not in the state the step needs."""


class Damaged(RunError):
    """A file of the run folder is not what was written."""


class LossWarning(UserWarning):
    """A sentence about a damaged file of a person's work, of which what is whole is used: what is lost, or that nothing is."""


class ModelError(WinnowError):
    """A model, its weights or its name do not fit."""


class TrainingError(WinnowError):
    """Training cannot go on."""


class Interrupted(WinnowError):
    """The user stopped it; what was done is saved."""


EXTRAS = {
    **dict.fromkeys(
        ("torch", "torchvision", "timm", "safetensors", "onnx", "sklearn", "scipy", "faiss", "array_api_compat"),
        "learn",
    ),
    **dict.fromkeys(("matplotlib", "jinja2"), "learn"),
    **dict.fromkeys(("fastapi", "starlette", "uvicorn", "h11"), "serve"),
    "onnxruntime": "runtime",
    "python_multipart": "serve",
    "onnxscript": "export",
}
"""The extra that installs a library, by its import name."""


class MissingExtra(WinnowError):
    """An optional dependency is not installed."""

    def __init__(self, what: str, extra: str, library: str = "") -> None:
        missing = library or f"the extra '{extra}'"
        super().__init__(
            f"{what} needs {missing}, which is not installed.", f"Install it: pip install 'winnow-vision[{extra}]'"
        )


def in_one_line(error: BaseException) -> str:
    """Return a library's message in one line, short enough for the inside of a sentence."""
    text = " ".join(str(error).split())
    if not any(char.isalpha() for char in text):  # a bare number or key, which says nothing
        text = f"{type(error).__name__} {text}"
    return text[:200].strip().rstrip(".")


def did_you_mean(word: str, known: list[str]) -> str:
    """Return the sentence that names the closest known words, or, when none is close, lists them, of many the nearest few."""
    import difflib

    word = word[:60]
    close = difflib.get_close_matches(word, known, n=2, cutoff=0.6)
    if close:
        return f"Did you mean {' or '.join(repr(name) for name in close)}?"
    if len(known) > 40:
        nearest = difflib.get_close_matches(word, known, n=5, cutoff=0.0)
        return f"The nearest of the {len(known):,} that are known: {', '.join(nearest)}."
    return f"Known are: {', '.join(sorted(known))}."
