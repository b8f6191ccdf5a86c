"""Rooms import in one direction, and no files import each other in a circle: a reader can start at the bottom."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "vddbench"
FLOORS = (
    ("system", "spec"), ("lookup",), ("protocol",), ("hub", "records"), ("data",), ("submissions",), ("evaluation",),
    ("distillation",), ("baselines",), ("leaderboard",), ("cluster",), ("commands",), ("api", "__main__", "__init__"),
)  # fmt: skip
FLOOR_OF = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
LINKED = [path for link in ("baselines", "leaderboard") for path in (PACKAGE / link).resolve().rglob("*.py")]
SOURCES = sorted([*PACKAGE.rglob("*.py"), *LINKED])


def room_of(path: Path) -> str:
    folder = PACKAGE if path.is_relative_to(PACKAGE) else PACKAGE.parent
    return path.relative_to(folder).with_suffix("").parts[0]


def imports(path: Path) -> Iterator[str]:
    """The dotted names that a file imports from this project, wherever it does so, those for type checking left out."""
    tree = ast.parse(path.read_text())
    typing_only = {id(n) for block in ast.walk(tree) if is_typing_only(block) for n in ast.walk(block)}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and id(node) not in typing_only and (node.module or "").split(".")[0] == "vddbench":
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def is_typing_only(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE.parent)))
def test_a_room_imports_lower_rooms_only(path: Path) -> None:
    here = room_of(path)
    if "studies" in path.parts:  # scripts of a clone, above everything
        return
    rooms = {name.split(".")[1] for name in imports(path)} - {here, "__version__"}
    assert {room for room in rooms if FLOOR_OF[room] >= FLOOR_OF[here]} == set()


def module_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    dotted = ".".join(parts if parts[0] == "vddbench" else ("vddbench", *parts))
    return dotted.removesuffix(".__init__")


def test_no_files_import_each_other_in_a_circle() -> None:
    """CycleError names the circle. The public names of `vddbench` are looked up when they are used, and count for nothing."""
    modules = {module_of(path): path for path in SOURCES if path != PACKAGE / "__init__.py"}
    arrows = {}
    for module, path in modules.items():
        named = {name if name in modules else name.rpartition(".")[0] for name in imports(path)}
        arrows[module] = (named & modules.keys()) - {module}
    assert sum(map(len, arrows.values())) > 300
    list(TopologicalSorter(arrows).static_order())
