"""Runs only those statements of a file that some of its names need, so that settings are read without importing PyTorch.

`Config`, `PRESETS` and `ABOUT` of a baseline are plain values, although its file imports PyTorch for everything else. A
statement is needed if it binds or changes a needed name, and then so are the names that it uses. Bodies of methods do not run
here, so their names are not needed, except those of properties and of `__post_init__`. Files of this package that needed
statements import are read in the same way.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

PACKAGE = __name__.partition(".")[0]


def parts_of(path: Path, *names: str) -> SimpleNamespace:
    """The values of `names` in a file of Python. Names that it does not bind are left out.

    Raises what the needed statements raise, NameError for one that needs a statement which was not recognised as needed, and
    ImportError for a package that is not installed.
    """
    return SimpleNamespace(**_parts(path, path.stat().st_mtime_ns, names))


@cache
def _parts(path: Path, changed: int, names: tuple[str, ...]) -> dict[str, Any]:
    """The values by name. changed: the time of the file's last change, so that an edited file is read again."""
    values: dict[str, Any] = {"__name__": __name__, "__file__": str(path)}  # dataclasses look their module up by its name
    needed, statements = set(names), ast.parse(path.read_bytes()).body
    count = -1
    while count != len(needed):  # until no statement needs a further name
        count = len(needed)
        for statement in statements:
            if needed & _bound(statement):
                needed |= {n.id for n in _run(statement) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}
    attributes = [node for one in statements if needed & _bound(one) for node in _run(one) if isinstance(node, ast.Attribute)]
    for statement in statements:
        if not needed & _bound(statement):
            continue
        if isinstance(statement, ast.ImportFrom) and (statement.module or "").partition(".")[0] == PACKAGE:
            for alias in statement.names:
                if (name := alias.asname or alias.name) in needed:
                    used = [a.attr for a in attributes if isinstance(a.value, ast.Name) and a.value.id == name]
                    values[name] = _imported(str(statement.module), alias.name, used)
        else:
            exec(compile(ast.Module([statement], []), str(path), "exec"), values)  # noqa: S102 - a file that importing would run
    return {name: values[name] for name in names if name in values}


def _imported(module: str, name: str, used: list[str]) -> Any:
    """The value of `from module import name`. used: attributes of it that are needed if it is a module."""
    spec = find_spec(module)
    if spec is not None and spec.submodule_search_locations and (inner := find_spec(f"{module}.{name}")):
        return parts_of(Path(str(inner.origin)), *used)
    if spec is None or spec.origin is None:
        raise ImportError(f"no module {module}")
    return getattr(parts_of(Path(spec.origin), name), name)


def _bound(statement: ast.stmt) -> set[str]:
    """The names that a statement binds, or whose values it changes, as in `PRESETS["fast"] = ...`."""
    if isinstance(statement, ast.Import | ast.ImportFrom):
        return {alias.asname or alias.name.partition(".")[0] for alias in statement.names}
    if isinstance(statement, ast.ClassDef | ast.FunctionDef):
        return {statement.name}
    targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
    return {node.id for target in targets if target is not None for node in ast.walk(target) if isinstance(node, ast.Name)}


def _run(node: ast.AST, in_class: bool = False) -> Iterator[ast.AST]:
    """The nodes that run with a statement: all but annotations and the bodies of most methods."""
    yield node
    for field, value in ast.iter_fields(node):
        if field in {"annotation", "returns"}:
            continue
        if field == "body" and in_class and isinstance(node, ast.FunctionDef) and not _runs_with_class(node):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield from _run(child, isinstance(node, ast.ClassDef))


def _runs_with_class(method: ast.FunctionDef) -> bool:
    """Whether reading a value of an instance runs a method."""
    decorators = {decorator.id for decorator in method.decorator_list if isinstance(decorator, ast.Name)}
    return "property" in decorators or method.name == "__post_init__"
