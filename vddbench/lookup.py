"""Finds a dataset, decoder, student or baseline by its file's name. The file is the registration."""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from types import ModuleType

PACKAGES = {
    "dataset": "vddbench.data.datasets",
    "decoder": "vddbench.submissions.decoders",
    "student": "vddbench.evaluation.students",
    "baseline": "vddbench.baselines",
}


def names(kind: str) -> list[str]:
    """All names of a kind, sorted."""
    package = importlib.import_module(PACKAGES[kind])
    return sorted(m.name for m in pkgutil.iter_modules(package.__path__) if not m.name.startswith("_"))


def load(kind: str, name: str) -> ModuleType:
    """The module `name` of a kind. An unknown name raises LookupError with the nearest ones; a broken file its own error."""
    known = names(kind)
    if name not in known:
        raise LookupError(unknown(kind, name, known, add=f"{PACKAGES[kind].replace('.', '/')}/{name[:40]}.py"))
    return importlib.import_module(f"{PACKAGES[kind]}.{name}")


def unknown(kind: str, name: str, known: list[str], add: str = "") -> str:
    """The message for a wrong name: what, nearest, allowed, and which file would add it."""
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    hint = f"; did you mean {' or '.join(near)}?" if near else ""
    how = f"; to add one, write {add} (see CONTRIBUTING.md)" if add else ""
    return f"no {kind} named {name[:80]!r}{hint} (known: {', '.join(known) or 'none'}){how}"


def named_in_tables(method: str, preset: str | None) -> str:
    """dm, dm_fast: a quick run is not a row of the method as published."""
    return f"{method}_{preset}" if preset else method


def is_bundled(method: str) -> bool:
    """Is it the name in tables of a bundled baseline, with any of its settings?"""
    return any(
        method == named_in_tables(name, preset)
        for name in names("baseline")
        for preset in (None, *getattr(load("baseline", name), "PRESETS", {}))
    )
