"""Scorers by name: 'knn', 'knn(k=3, metric=cosine)', 'fisher(error, knn)', 'my_module:MyScorer(alpha=2)'."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from typing import Any

from winnow import plugins
from winnow.detect.combine import Combination
from winnow.detect.scorer import Scorer, as_scorer, name_of
from winnow.detect.scorers.error import Error
from winnow.detect.scorers.error_ratio import ErrorOverBackground, ErrorOverVariance
from winnow.detect.scorers.fisher import Fisher
from winnow.detect.scorers.gradient import Gradient
from winnow.detect.scorers.knn import Knn
from winnow.detect.scorers.latent import Latent
from winnow.detect.scorers.mahalanobis import Mahalanobis
from winnow.detect.scorers.padim import Padim
from winnow.detect.scorers.patchcore import Patchcore
from winnow.detect.scorers.variance_corrected import VarianceCorrected
from winnow.detect.scorers.zsum import ZSum
from winnow.errors import OptionError, did_you_mean

SCORERS: dict[str, type[Scorer]] = {
    "error": Error,
    "error_over_variance": ErrorOverVariance,
    "error_over_background": ErrorOverBackground,
    "variance_corrected": VarianceCorrected,
    "latent": Latent,
    "gradient": Gradient,
    "mahalanobis": Mahalanobis,
    "knn": Knn,
    "padim": Padim,
    "patchcore": Patchcore,
    "zsum": ZSum,
    "fisher": Fisher,
}
"""Every scorer of Winnow by its name; a new one is a class in a file of `winnow/detect/scorers/` and a line here."""

BEST = "best"
"""'best(padim, patchcore)': which of them is decided by the run's own pictures (`winnow.detect.election`)."""
TOKEN = re.compile(r"\s*([^\s(),=]+|[(),=])")


def make_scorer(text: str) -> Scorer:
    """Return an unfitted scorer: a name in `SCORERS` or of an installed plugin, or one's own 'module:Class', with options.

    Options and components follow in brackets: 'knn(k=3, metric=cosine)', 'fisher(error, knn)'. Raises `OptionError` when there
    is no such scorer or option, or the name is not of a scorer.
    """
    node = parse(text)
    if node.name == BEST:
        raise OptionError(
            f"'{text}' is decided by the good pictures of a run.",
            f"Name a scorer here, such as '{candidates(text)[0]}'.",
        )
    return _build(node, lambda name: plugins.find("scorer", name, SCORERS))


def candidates(text: str) -> list[str]:
    """Return the scorers that 'best(padim, patchcore)' leaves the choice between; any other scorer is the only one.

    Raises `OptionError` for 'best' of fewer than two, or with options.
    """
    node = parse(text)
    if node.name != BEST:
        return [text]
    if len(node.components) < 2 or node.options:
        raise OptionError(f"'{text}' leaves no choice.", "Name two scorers or more: best(padim, patchcore).")
    return [str(part) for part in node.components]


def remake_scorer(text: str, own: Collection[type] = ()) -> Scorer | str:
    """Return the unfitted scorer that a file names, or the name in it that may not be loaded, because no file may name code to run.

    The scorers of `SCORERS`, the classes `own` and those of installed plugins may be loaded.
    """
    given = {name_of(kind): kind for kind in own}
    offered = {entry.value for entry in plugins.installed().values()}
    unknown = [
        name for name in parse(text).names() if name not in SCORERS and name not in given and name not in offered
    ]
    if unknown:
        return unknown[0]
    return _build(parse(text), lambda name: given[name] if name in given else plugins.find("scorer", name, SCORERS))


def fewest_of(text: str) -> int:
    """Return the fewest normals that a scorer's text can be calibrated with; one's own takes what scorers take."""
    return max(SCORERS.get(parse(name).name, Scorer).calibrates_from for name in candidates(text))


def own_names(text: str) -> list[str]:
    """Return the names 'module:Class' in a scorer's text."""
    return [name for name in parse(text).names() if ":" in name]


@dataclass
class Node:
    """A scorer as it is written: name, options and components."""

    name: str
    options: dict[str, str] = field(default_factory=dict)
    components: list[Node] = field(default_factory=list)

    def __str__(self) -> str:
        parts = [*map(str, self.components), *(f"{name}={value}" for name, value in self.options.items())]
        return f"{self.name}({', '.join(parts)})" if parts else self.name

    def names(self) -> Iterator[str]:
        """Yield its name and those of its components."""
        yield self.name
        for part in self.components:
            yield from part.names()


def parse(text: str) -> Node:
    """Return a scorer's text as a tree; `OptionError` where it cannot be parsed."""
    tokens = TOKEN.findall(text)
    try:
        node = _node(tokens)
        if tokens:
            raise IndexError
    except IndexError:
        raise OptionError(
            f"The scorer '{text}' cannot be read{f' from {tokens[0]!r} on' if tokens else ''}.",
            "Write NAME, NAME(option=value) or fisher(NAME, NAME(option=value)).",
        ) from None
    return node


def _node(tokens: list[str]) -> Node:
    """Take a scorer from the front of the tokens; `IndexError` at an unexpected one."""
    node = Node(_word(tokens))
    if tokens[:1] != ["("]:
        return node
    tokens.pop(0)
    while tokens[:1] != [")"]:
        if tokens[1:2] == ["="]:
            option = _word(tokens)
            tokens.pop(0)
            node.options[option] = _word(tokens)
        else:
            node.components.append(_node(tokens))
        if tokens[:1] == [","]:
            tokens.pop(0)
        elif tokens[:1] != [")"]:
            raise IndexError
    tokens.pop(0)
    return node


def _word(tokens: list[str]) -> str:
    if not tokens or tokens[0] in "(),=":
        raise IndexError
    return tokens.pop(0)


def _build(node: Node, find: Callable[[str], Any]) -> Scorer:
    kind = find(node.name)
    if not (isinstance(kind, type) and callable(getattr(kind, "fit", None)) and callable(getattr(kind, "score", None))):
        raise OptionError(
            f"'{node.name}' is not a scorer.", "Make it a class with fit(embeddings) and score(embeddings) -> (n,)."
        )
    given: dict[str, Any] = {name: _value(word) for name, word in node.options.items()}
    # A parameter whose default is None takes an array or another object, which no text can express.
    signature = inspect.signature(kind)
    known = [name for name, each in signature.parameters.items() if name != "components" and each.default is not None]
    for name in given:
        if name not in known:
            remedy = did_you_mean(name, known) if known else "It takes none."
            raise OptionError(f"The scorer '{node.name}' has no option '{name}'.", remedy)
    if node.components:
        if not issubclass(kind, Combination):
            raise OptionError(
                f"The scorer '{node.name}' has no components.",
                f"Write fisher({', '.join(node.names())}) to combine scorers.",
            )
        given["components"] = [_build(part, find) for part in node.components]
    try:
        signature.bind(**given)
    except TypeError as error:
        raise OptionError(
            f"The scorer '{node.name}' cannot be made: {error}.", f"Write {node.name}(option=value)."
        ) from None
    return as_scorer(kind(**given))


def _value(word: str) -> bool | int | float | str:
    """Return the value of an option's word."""
    if word in ("true", "false"):
        return word == "true"
    for kind in (int, float):
        try:
            return kind(word)
        except ValueError:
            continue
    return word
