"""Ways to spoil a run folder or an input; each is given the folder of a test, in which the run is `run`.

They take the files and keys that are there, so that they hold for any layout of run records.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper
from PIL import Image

from winnow.files import sealed

from conftest import blocks

Prepare = Callable[[Path], object]


@dataclass(frozen=True)
class Misuse:
    """One misuse: `words` of the command, with {places} in them, and a regular expression of what the sentence `says`.

    `prepare` spoils the run or makes inputs. Where it `may_work`, the command may also do what it can: then only a traceback
    is wrong.
    """

    name: str
    words: str
    says: str = ""
    prepare: Prepare = lambda here: None
    may_work: bool = False

    @property
    def of(self) -> str:
        """The finished run of which a copy lies at {run}, or at {patched}; none where the words name neither."""
        return "patched" if "{patched}" in self.words else "plain" if "{run}" in self.words else ""


def record(text: str | bytes) -> Prepare:
    """Replace run.json as a whole."""
    return writing("run/run.json", text)


def writing(name: str, content: str | bytes) -> Prepare:
    """Write a file."""

    def prepare(here: Path) -> None:
        path = here / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())

    return prepare


def making(name: str) -> Prepare:
    """Make a folder."""
    return lambda here: (here / name).mkdir(parents=True)


def record_with(**changes: Any) -> Prepare:
    """Change values of run.json."""
    return lambda here: rewrite(here / "run" / "run.json", lambda content: {**content, **changes})


def option_with(section: str, **values: Any) -> Prepare:
    """Change options of a section in run.json, or add some."""
    return lambda here: set_options(here / "run", section, **values)


def set_options(run: Path, section: str, **values: Any) -> None:
    """Change options of a section in a run's run.json, or add some, as somebody does who knows how it is sealed."""

    def change(content: dict[str, Any]) -> dict[str, Any]:
        options = content["options"]
        return {**content, "options": {**options, section: {**options.get(section, {}), **values}}}

    rewrite(run / "run.json", change)


def steps_as(value: Any) -> Prepare:
    """Put a value in the place of every step's record."""

    def prepare(here: Path) -> None:
        each_step(here / "run", lambda record: value)

    return prepare


def steps_with(**changes: Any) -> Prepare:
    """Change values in every step's record."""
    return lambda here: each_step(here / "run", lambda record: {**record, **changes})


def each_step(run: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """Change the record of every step, in run.json or in a file of its own."""
    files = sorted((run / "steps").glob("*.json"))
    for file in files:
        rewrite(file, change)
    if not files:
        rewrite(
            run / "run.json",
            lambda content: {**content, "steps": {name: change(record) for name, record in content["steps"].items()}},
        )


def rewrite(path: Path, change: Callable[[Any], Any]) -> None:
    """Change what a JSON file holds, and give it the seal of that: a change that no checksum shows."""
    content = change(without_seal(json.loads(path.read_text())))
    path.write_text(json.dumps(sealed(content) if isinstance(content, dict) else content))


def without_seal(content: dict[str, Any]) -> dict[str, Any]:
    """Return what a JSON file holds but for its seal."""
    return {name: value for name, value in content.items() if name != "seal"}


def missing(path: Path) -> None:
    """Remove a file."""
    path.unlink()


def truncated(path: Path) -> None:
    """Keep the first half of a file."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flipped(path: Path) -> None:
    """Flip a bit in the middle of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


def folder(path: Path) -> None:
    """Put a folder in the place of a file."""
    path.unlink()
    path.mkdir()


def each_file(pattern: str, spoil: Callable[[Path], None]) -> Prepare:
    """Spoil the files of the run that match a pattern; there must be one."""

    def prepare(here: Path) -> None:
        found = sorted((here / "run").glob(pattern))
        assert found, f"no {pattern} in the run"
        for path in found:
            spoil(path)

    return prepare


def draw(path: Path) -> None:
    """Write a picture of 32x32."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(blocks(np.random.default_rng(3), 32)).save(path, "PNG")


def drawing(*names: str) -> Prepare:
    """Write pictures."""
    return lambda here: [draw(here / name) for name in names]


def picture_and_text(here: Path) -> None:
    """Write a picture and a text, for the places where neither belongs."""
    draw(here / "picture.png")
    draw(here / "pictures" / "picture.png")
    (here / "notes.txt.bak").write_text("no picture, no weights, no run\n")


def foreign_onnx(here: Path) -> None:
    """Write a whole ONNX file that Winnow has not written and that finds no persons."""
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3, 8, 8]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "other", values[:1], values[1:])
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), str(here / "other.onnx")
    )


def bytes_name(here: Path) -> None:
    """Write a picture whose name is not UTF-8, beside one whose name is."""
    draw(here / "shots" / "plain.png")
    draw(Path(os.fsdecode(os.fsencode(here / "shots") + b"/b\xff\xfe.png")))


def loop(here: Path) -> None:
    """Make a folder that holds itself, and a link to nothing."""
    draw(here / "shots" / "plain.png")
    (here / "shots" / "again").symlink_to(here / "shots")
    (here / "shots" / "gone.png").symlink_to(here / "nothing.png")


def cut(here: Path) -> None:
    """Write half of a picture."""
    draw(here / "in.png")
    truncated(here / "in.png")


def pipe(here: Path) -> None:
    """Make a named pipe that is called a picture; nobody ever writes to it."""
    (here / "shots").mkdir()
    os.mkfifo(here / "shots" / "pipe.png")
