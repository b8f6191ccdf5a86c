"""Finds a dataset, decoder, student or baseline by its file's name. The file is the registration.

Files outside the repository are found in the folders that the environment variable VDDBENCH_PLUGINS names (`--plugins DIR`
sets it): DIR/datasets/NAME.py, DIR/decoders/NAME.py, DIR/students/NAME.py, DIR/baselines/NAME.py.
"""

from __future__ import annotations

import ast
import difflib
import importlib
import inspect
import os
import pkgutil
import re
import traceback
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal, overload

from vddbench.system.progress import say

if TYPE_CHECKING:  # the contracts live in the rooms of their files
    from vddbench.data.datasets import DatasetModule
    from vddbench.distillation.contract import BaselineModule, IterativeBaselineModule
    from vddbench.evaluation.students import StudentModule
    from vddbench.submissions.decoders import DecoderModule

Kind = Literal["dataset", "decoder", "student", "baseline"]
PACKAGES: dict[Kind, str] = {
    "dataset": "vddbench.data.datasets",
    "decoder": "vddbench.submissions.decoders",
    "student": "vddbench.evaluation.students",
    "baseline": "vddbench.baselines",
}
CONTRACTS: dict[Kind, tuple[tuple[str, str], ...]] = {  # (module, Protocol); a file must fulfil one of them
    "dataset": (("vddbench.data.datasets", "DatasetModule"),),
    "decoder": (("vddbench.submissions.decoders", "DecoderModule"),),
    "student": (("vddbench.evaluation.students", "StudentModule"),),
    "baseline": (
        ("vddbench.distillation.contract", "BaselineModule"),
        ("vddbench.distillation.contract", "IterativeBaselineModule"),
    ),
}
PLUGINS = "VDDBENCH_PLUGINS"  # folders with the user's files, separated as in PATH; child processes inherit it
# What importing a plug-in may raise. Other errors, such as those of memory, keep their traceback.
FAULTS = (
    ImportError, SyntaxError, NameError, AttributeError, TypeError, ValueError, LookupError, ArithmeticError, AssertionError,
    OSError, RuntimeError,
)  # fmt: skip


def names(kind: Kind) -> list[str]:
    """All names of a kind, sorted; their files may be broken."""
    return sorted(_places(kind))


def usable(kind: Kind) -> list[str]:
    """The names whose files can be loaded, for lists. Warns of the others, one line each."""
    loaded = []
    for name in names(kind):
        try:
            load(kind, name)
            loaded.append(name)
        except ValueError as error:
            left_out(error)
    return loaded


def left_out(error: ValueError) -> None:
    """Warns of a file that a list leaves out."""
    say(f"warning: left out: {error}", style="yellow")


def _places(kind: Kind) -> dict[str, list[str]]:
    """The folders that have a file of a name, by name: more than one if a plug-in has the name of another file."""
    places: dict[str, list[str]] = defaultdict(list)
    for folder in _package(kind).__path__:
        for module in pkgutil.iter_modules([folder]):
            if not module.name.startswith("_"):
                places[module.name].append(folder)
    return places


@overload
def load(kind: Literal["dataset"], name: str) -> DatasetModule: ...
@overload
def load(kind: Literal["decoder"], name: str) -> DecoderModule: ...
@overload
def load(kind: Literal["student"], name: str) -> StudentModule: ...
@overload
def load(kind: Literal["baseline"], name: str) -> BaselineModule | IterativeBaselineModule: ...
def load(kind: Kind, name: str) -> Any:
    """The module `name` of a kind.

    Raises LookupError for an unknown name, with the nearest ones, and ValueError for a plug-in that cannot be imported, a file
    that lacks a part of its contract, and what `check_known` refuses. Other errors come from importing a bundled file.
    """
    check_known(kind, name)
    module = _imported(kind, name)
    contracts = [getattr(importlib.import_module(path), contract) for path, contract in CONTRACTS[kind]]
    lacking = [missing_parts(module, contract) for contract in contracts]
    if all(lacking):
        fewest = [parts for parts in lacking if not any(set(other) < set(parts) for other in lacking)]
        parts = "; or ".join(map(", ".join, fewest))
        raise ValueError(f"{module.__file__} cannot be a {kind}: it lacks {parts} (see {CONTRACTS[kind][0][0]})")
    return module


def _imported(kind: Kind, name: str) -> ModuleType:
    """Raises ValueError, which names the file and the line, for a plug-in that cannot be imported."""
    path, [folder] = f"{PACKAGES[kind]}.{name}", _places(kind)[name]
    if folder == _package(kind).__path__[0]:
        return importlib.import_module(path)
    try:
        return importlib.import_module(path)
    except FAULTS as error:
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename.startswith(folder)]
        where = f"{frames[-1].filename}, line {frames[-1].lineno}," if frames else f"{folder}/{name}.py"
        raise ValueError(f"{where} cannot be imported: {type(error).__name__}: {error}") from error


def check_known(kind: Kind, name: str) -> None:
    """Raises LookupError for an unknown name, with the nearest ones, and ValueError for one that a file cannot have."""
    from vddbench.spec import NAME_PATTERN  # help needs no pydantic

    places = _places(kind)
    if len(places.get(name, ())) > 1:
        raise ValueError(f"plug-in {places[name][-1]}/{name}.py has the name of another {kind}; rename the file")
    if name in places and not re.fullmatch(NAME_PATTERN, name):
        raise ValueError(f"{places[name][0]}/{name}.py: rename the file: at most 40 lower-case letters, digits and _")
    if name not in places:
        if kind == "baseline" and (split := split_name(name)):
            method, preset = split
            raise LookupError(f"no baseline named {name!r}; did you mean {method} --preset {preset}, which tables call {name}?")
        raise LookupError(
            unknown(kind, name, sorted(places), add=f"{kind}s/{name[:40]}.py in a folder DIR and give --plugins DIR")
        )


def file_of(kind: Kind, name: str) -> Path:
    """The file of a name; nothing of it runs. Raises LookupError for an unknown name."""
    check_known(kind, name)
    allowed = (f"{name}.py", f"{name}/__init__.py")
    files = [file for folder in _package(kind).__path__ for inside in allowed if (file := Path(folder, inside)).is_file()]
    if not files:
        raise LookupError(f"{kind} {name} has no Python source; allowed: {' or '.join(allowed)}")
    return files[0]


@dataclass(frozen=True)
class Source:
    """What the source of a file says: of its values only plain ones, such as `PAPER = ""` or `RECIPE = Recipe(lr=0.01)`."""

    doc: str  # its docstring, "" without one
    values: dict[str, Any]  # plain values by name; of a call such as Recipe(lr=0.01) the keyword arguments, as a dict
    functions: frozenset[str]
    presets: tuple[str, ...]  # the keys of PRESETS = {...} and of PRESETS["name"] = ... that are written as text


def source_of(kind: Kind, name: str) -> Source:
    """Reads the file of `name` without running it, because most files import PyTorch.

    Raises LookupError for an unknown name, ValueError for broken Python.
    """
    path = file_of(kind, name)
    try:
        tree = ast.parse(path.read_bytes())
    except SyntaxError as error:
        raise ValueError(f"{path} is not Python: {error}") from None
    values = {}
    for node in tree.body:
        match node:
            case (
                ast.Assign(targets=[ast.Name(id=constant), *_], value=value)
                | ast.AnnAssign(target=ast.Name(id=constant), value=ast.expr() as value)
            ):
                with suppress(ValueError):
                    values[constant] = _plain(value)
    functions = frozenset(node.name for node in tree.body if isinstance(node, ast.FunctionDef))
    return Source((ast.get_docstring(tree) or "").strip(), values, functions, _presets(tree))


def _presets(tree: ast.Module) -> tuple[str, ...]:
    keys: list[ast.expr | None] = []
    for node in (node for node in tree.body if isinstance(node, ast.Assign | ast.AnnAssign)):
        target = node.targets[0] if isinstance(node, ast.Assign) else node.target
        if isinstance(target, ast.Name) and target.id == "PRESETS" and isinstance(node.value, ast.Dict):
            keys += node.value.keys
        elif isinstance(target, ast.Subscript) and isinstance(target.value, ast.Name) and target.value.id == "PRESETS":
            keys.append(target.slice)
    return tuple(key.value for key in keys if isinstance(key, ast.Constant) and isinstance(key.value, str))


def _plain(value: ast.expr) -> Any:
    """The value of an expression. Raises ValueError unless it is a constant, or a call with constant keyword arguments."""
    if isinstance(value, ast.Call) and not value.args and all(keyword.arg for keyword in value.keywords):
        return {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in value.keywords}
    return ast.literal_eval(value)


def missing_parts(value: object, contract: type) -> list[str]:
    """The names that the Protocol `contract` demands and `value` lacks, in the order of the contract."""
    demanded = [name for base in contract.__mro__ for name in (*inspect.get_annotations(base), *vars(base))]
    return [name for name in demanded if not name.startswith("_") and not hasattr(value, name)]


def plugin_folders() -> list[Path]:
    """The folders of plug-ins, in the order in which VDDBENCH_PLUGINS names them."""
    return [Path(folder).absolute() for folder in os.environ.get(PLUGINS, "").split(os.pathsep) if folder]


def check_plugins() -> None:
    """Raises LookupError for a folder of plug-ins that holds none of the four folders."""
    for folder in plugin_folders():
        if not any((folder / f"{kind}s").is_dir() for kind in PACKAGES):
            allowed = ", ".join(f"{kind}s/" for kind in PACKAGES)
            raise LookupError(f"plug-in folder {folder} has none of the folders {allowed}: put NAME.py into one of them")


def _package(kind: Kind) -> ModuleType:
    """The package of a kind, whose search path is its own folder and those of the plug-ins."""
    package = importlib.import_module(PACKAGES[kind])
    folders = [folder / f"{kind}s" for folder in plugin_folders()]
    package.__path__ = [package.__path__[0], *(str(folder) for folder in folders if folder.is_dir())]
    return package


def unknown(kind: str, name: str, known: list[str], add: str = "") -> str:
    """The message for an unknown name: similar names, all known names, and which file would add the name."""
    longer = [one for one in known if len(name) > 1 and one.startswith(f"{name}_")]  # such as dm_fast for dm
    near = longer[:3] or difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    hint = f"; did you mean {' or '.join(near)}?" if near else ""
    how = f"; to add one, write {add} (see CONTRIBUTING.md)" if add else ""
    return f"no {kind} named {name[:80]!r}{hint} (known: {', '.join(known) or 'none'}){how}"


def named_in_tables(method: str, preset: str | None) -> str:
    """A baseline's name in tables, e.g. dm or dm_fast, so that a quick preset is not mistaken for the published method."""
    return f"{method}_{preset}" if preset else method


def split_name(name: str) -> tuple[str, str] | None:
    """The baseline and the preset of a name in tables such as dm_fast; None for the name of a baseline and for other names."""
    known = names("baseline")
    for method in (one for one in known if name.startswith(f"{one}_") and name not in known):
        preset = name.removeprefix(f"{method}_")
        if preset in source_of("baseline", method).presets:
            return method, preset
    return None


def is_bundled(method: str) -> bool:
    """Whether tables use the name `method` for a baseline, with or without one of its presets."""
    return method in names("baseline") or split_name(method) is not None
