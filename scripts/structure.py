"""Count the structure of the package: lines of each room, longest functions, import circles, and imports against the layers.

python scripts/structure.py [--tree CHECKOUT]

Imports inside functions and for type checking count. The tables of `winnow.stages`, `winnow.cli` and `winnow` name modules as text,
which is loaded on call; those are no imports.
"""

from __future__ import annotations

import argparse
import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

LAYERS = (
    "version errors estimator torchrun options files arrays progress plugins tables onnx embeddings results stages",
    "data scale web",
    "pool objects synthetic",
    "models",
    "learn",
    "metrics",
    "detect select label classify",
    "inspect report deploy watch",
    "run",
    "show steps",
    "api arguments usage commands judge_commands other_commands check",
    "cli winnow __main__",
)
"""The rooms from the lowest layer to the highest: a room imports from its own and from lower layers; see docs/architecture.md."""

APART = frozenset({"detect", "select", "label", "classify"})
"""These never import one another."""

Arrow = tuple[str, str]
Function = tuple[int, str]


def modules_of(tree: Path) -> dict[str, Path]:
    """Return the package's modules by name, such as 'winnow.pool.pool'."""
    names = {}
    for path in sorted((tree / "winnow").rglob("*.py")):
        names[".".join(path.relative_to(tree).with_suffix("").parts).removesuffix(".__init__")] = path
    return names


def room_of(module: str) -> str:
    """Return a module's room: the folder below winnow/, or the module itself where it has none."""
    return module.split(".")[1] if "." in module else module


def imports_of(module: str, modules: dict[str, Path]) -> set[str]:
    """Return the modules of the package that a module imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(modules[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            inside = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in modules else str(node.module) for name in inside}
    return found & modules.keys() - {module}


def arrows(modules: dict[str, Path]) -> dict[str, set[str]]:
    """Return what each module imports."""
    return {module: imports_of(module, modules) for module in modules}


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Return the groups of nodes that all reach one another (strongly connected components of two or more)."""
    reached = {node: _reached(graph, node) for node in graph}
    groups = {frozenset({node, *(other for other in reached[node] if node in reached[other])}) for node in graph}
    return sorted(sorted(group) for group in groups if len(group) > 1)


def _reached(graph: dict[str, set[str]], start: str) -> set[str]:
    found: set[str] = set()
    waiting = [start]
    while waiting:
        new = graph.get(waiting.pop(), set()) - found
        found |= new
        waiting += new
    return found


def back_arrows(graph: dict[str, set[str]]) -> list[Arrow]:
    """Return the imports of a room in a higher layer, and those between the rooms that are `APART`.

    Raises `KeyError` for a room that is in no layer.
    """
    rank = {room: number for number, rooms in enumerate(LAYERS) for room in rooms.split()}
    found = []
    for module, others in sorted(graph.items()):
        here = room_of(module)
        for other in sorted(others):
            there = room_of(other)
            if rank[there] > rank[here] or (here != there and {here, there} <= APART):
                found.append((module, other))
    return found


def rooms(graph: dict[str, set[str]]) -> dict[str, set[str]]:
    """Return which rooms each room imports."""
    found: dict[str, set[str]] = defaultdict(set)
    for module, others in graph.items():
        found[room_of(module)] |= {room_of(other) for other in others} - {room_of(module)}
    return dict(found)


def lines_of(path: Path) -> int:
    """Return the number of a file's lines."""
    return len(path.read_text(encoding="utf-8").splitlines())


def functions(path: Path) -> Iterator[Function]:
    """Yield each function's lines, first decorator and docstring included, and its name."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            yield (node.end_lineno or first) - first + 1, node.name


def report(tree: Path) -> Iterator[str]:
    """Yield the lines of the report on a checkout."""
    modules = modules_of(tree)
    sizes: dict[str, list[int]] = defaultdict(list)
    for module, path in modules.items():
        top = path.parent == tree / "winnow"
        sizes["(top)" if top else room_of(module)].append(lines_of(path))
    yield "Room, lines, files, longest file"
    for room, lines in sorted(sizes.items(), key=lambda pair: -sum(pair[1])):
        yield f"  {room:10} {sum(lines):6,} {len(lines):4} {max(lines):5}"
    yield f"  {'all':10} {sum(map(sum, sizes.values())):6,} {len(modules):4}"

    found = sorted(
        ((size, f"{path.relative_to(tree)} {name}") for path in modules.values() for size, name in functions(path)),
        key=lambda pair: (-pair[0], pair[1]),
    )
    yield f"Functions: {len(found):,}, median {found[len(found) // 2][0]} lines; the ten longest:"
    yield from (f"  {size:3} {name}" for size, name in found[:10])

    graph = arrows(modules)
    for title, group in (("modules", circles(graph)), ("rooms", circles(rooms(graph)))):
        yield f"Import circles of {title}: {len(group)}"
        yield from (f"  {', '.join(members)}" for members in group)
    back = back_arrows(graph)
    yield f"Imports against the layers: {len(back)}"
    yield from (f"  {module} -> {other}" for module, other in back)


def main() -> None:
    """Print the report on this checkout, or on another one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tree", type=Path, default=Path(__file__).parent.parent, help="the checkout to count")
    print("\n".join(report(parser.parse_args().tree.resolve())))


if __name__ == "__main__":
    main()
