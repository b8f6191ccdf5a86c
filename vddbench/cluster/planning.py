"""`vddbench batch plan`: what there is to do, what is recorded already, what it is expected to take."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from vddbench import lookup
from vddbench.cluster.estimates import measured, timings, with_estimates
from vddbench.cluster.plan import RESULTS, Cell, Run, distillations, evaluations, write_plan
from vddbench.cluster.screen import duration
from vddbench.cluster.submit import bundles
from vddbench.spec import Task
from vddbench.system.home import home
from vddbench.system.progress import clean, say

GROUPS_SHOWN = 30


def evaluate_plan(
    paths: Sequence[Path],
    students: Sequence[str],
    seeds: Iterable[int],
    results: Path,
    out: Path,
    measure: bool = False,
) -> tuple[Run, int, int]:
    """(run, new cells, cells that `results` has already). Raises ValueError, LookupError before anything is written.

    measure: what takes how long is measured here where no record tells.
    """
    for student in students:
        if student not in (known := lookup.names("student")):
            raise LookupError(lookup.unknown("student", student, known))
    cells = list(evaluations(paths, students, seeds))
    left = [cell for cell in cells if not os.path.exists(f"{results}{cell.makes.removeprefix(RESULTS)}")]  # noqa: PTH110 - fast
    left = with_estimates(left, timings([results, out / RESULTS]))
    if measure:
        left = with_estimates(left, measured(left))
    run, new = write_plan(out, left, home())
    return run, new, len(cells) - len(left)


def distill_plan(
    methods: Sequence[str], task: Task, seeds: Iterable[int], preset: str | None, out: Path
) -> tuple[Run, int, int]:
    """(run, new cells, 0). Raises LookupError for unknown names."""
    for method in methods:
        if method not in (known := lookup.names("baseline")):
            raise LookupError(lookup.unknown("baseline", method, known))
    run, new = write_plan(out, distillations(methods, task, seeds, preset), home())
    return run, new, 0


def show(run: Run, new: int, recorded: int) -> None:
    """On stdout: cells by task, method and student, and what they are expected to take."""
    table = Table("task", "method", "student", "cells", "a cell", "hours", box=None)
    groups: dict[tuple[str, str, str], list[Cell]] = {}
    for cell in run.cells:
        groups.setdefault((cell.task, cell.method, cell.student or "distill"), []).append(cell)
    for names, cells in list(groups.items())[:GROUPS_SHOWN]:
        known = [cell.seconds for cell in cells if cell.seconds is not None]
        each = duration(known[0]) if known else "?"
        shown = [*names, f"{len(cells):,}", each, f"{sum(known) / 3600:,.2f}" if known else "?"]
        table.add_row(*[Text(clean(text)) for text in shown])
    Console().print(table)
    if len(groups) > GROUPS_SHOWN:
        say(f"and {len(groups) - GROUPS_SHOWN:,} more groups")
    known = [cell.seconds for cell in run.cells if cell.seconds is not None]
    todo = [cell for cell in run.cells if not os.path.exists(f"{run.path}/{cell.makes}")]  # noqa: PTH110 - fast
    hours = f"{sum(known) / 3600:,.2f} hours of one GPU or slot" if known else "no record tells how long a cell takes"
    hours += f" ({len(run.cells) - len(known):,} cells unknown)" if known and len(known) < len(run.cells) else ""
    say(f"{len(run.cells):,} cells, {new:,} of them new, {recorded:,} recorded already; {hours}")
    say(f"{len(todo):,} to do in {len(bundles(todo, None)):,} tasks; next: vddbench batch submit {run.path}")
