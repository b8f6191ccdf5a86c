"""Shows the plan and the status of a run on the terminal."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from vddbench.cluster.plan import Cell, Planned, Run
from vddbench.cluster.status import Status, status
from vddbench.cluster.submit import bundles
from vddbench.system.progress import clean, console, say

COLOURS = {"done": "green", "running": "cyan", "pending": "yellow", "failed": "red", "planned": "dim"}
BAR_WIDTH = 60
GROUPS_SHOWN, FAILURES_SHOWN, TAIL_LINES = 40, 8, 2
WATCH_SECONDS = 10.0


def duration(seconds: float) -> str:
    minutes, hours = round(seconds / 60), seconds / 3600
    return f"{seconds:.0f} s" if seconds < 90 else f"{minutes} min" if minutes < 90 else f"{hours:,.1f} h"


def show_plan(planned: Planned) -> None:
    """Prints the cells by task, method and student, and their expected durations, on stdout."""
    run = planned.run
    groups = _grouped(run.cells)
    durations = ("time per cell", "hours") if any(cell.seconds is not None for cell in run.cells) else ()
    table = Table("task", "method", "student", "cells", *durations, box=None)
    for names, cells in list(groups.items())[:GROUPS_SHOWN]:
        known = [cell.seconds for cell in cells if cell.seconds is not None]
        of_a_cell, hours = (duration(sum(known) / len(known)), f"{sum(known) / 3600:,.2f}") if known else ("?", "?")
        hours += " and more" if known and len(known) < len(cells) else ""
        table.add_row(*[Text(clean(text)) for text in (*names, f"{len(cells):,}", of_a_cell, hours)[: len(table.columns)]])
    Console().print(table)
    if len(groups) > GROUPS_SHOWN:
        say(f"and {len(groups) - GROUPS_SHOWN:,} more groups")
    known = [cell.seconds for cell in run.cells if cell.seconds is not None]
    todo = [cell for cell in run.cells if not os.path.exists(f"{run.path}/{run.makes(cell)}")]  # noqa: PTH110 - fast
    total = f"{sum(known) / 3600:,.2f} hours of one GPU or slot" if known else "no record says how long a cell takes"
    total += f" ({len(run.cells) - len(known):,} cells unknown)" if known and len(known) < len(run.cells) else ""
    say(f"{len(run.cells):,} cells, {planned.new:,} of them new, {planned.recorded:,} recorded already; {total}")
    for line in planned.basis:
        say(line)
    in_array = len(bundles(todo, None))
    say(f"{len(todo):,} to do; on Slurm they are {in_array:,} array task{'' if in_array == 1 else 's'}")


def _grouped(cells: Sequence[Cell]) -> dict[tuple[str, str, str], list[Cell]]:
    """The cells by task, method and work; all tasks and sets of a method together if the groups are too many to read."""
    groups: dict[tuple[str, str, str], list[Cell]] = {}
    for cell in cells:
        groups.setdefault((str(cell.task), cell.method, cell.work), []).append(cell)
    if len(groups) <= GROUPS_SHOWN:
        return groups
    together: dict[tuple[str, str], list[Cell]] = {}
    for cell in cells:
        method = cell.method.partition("-")[0]  # without the seed of its distillation
        together.setdefault((method, cell.work), []).append(cell)
    return {(_tasks_of(group), *names): group for names, group in together.items()}


def _tasks_of(cells: Sequence[Cell]) -> str:
    """The task of the cells, or how many tasks they have."""
    tasks = {str(cell.task) for cell in cells}
    return tasks.pop() if len(tasks) == 1 else f"{len(tasks)} tasks"


def show(status: Status) -> None:
    Console().print(screen(status))


def watch(run: Run) -> Status:
    """Shows the status until nothing runs or waits."""
    now = status(run)
    with Live(screen(now), console=console(), auto_refresh=False) as live:
        while now.counts["running"] + now.counts["pending"]:
            time.sleep(WATCH_SECONDS)
            now = status(run)
            live.update(screen(now), refresh=True)
    return now


def screen(status: Status) -> RenderableType:
    """Counts, speed, reasons for pending, the slowest cells, and failures with the end of their logs."""
    total = max(sum(status.counts.values()), 1)
    parts: list[RenderableType] = [
        Text(clean(status.run), style="bold"),
        Text.assemble(*_bar(status.counts, total)),
        Text.assemble(*[(f"{n:,} {state}   ", COLOURS[state]) for state, n in status.counts.items() if n or state == "done"]),
        Text(_speed(status)),
    ]
    if status.scheduler:
        parts.append(Text(clean(status.scheduler), style="yellow"))
    for reason, number in status.waiting.items():
        forever = reason in status.never
        note = ": waiting does not help: change the request, e.g. --partition or --time" if forever else ""
        parts.append(Text(f"{number:,} pending: {clean(reason)}{note}", style="red" if forever else "dim"))
    if status.slowest:
        parts.append(_slowest(status.slowest))
    return Group(*parts, *_failures(status))


def _bar(counts: dict[str, int], total: int) -> list[tuple[str, str]]:
    """A line in coloured pieces, whose lengths are the states' shares of the cells."""
    pieces, done, end = [], 0, 0
    for state, number in counts.items():
        done, start = done + number, end
        end = round(done / total * BAR_WIDTH)
        pieces.append(("\N{BOX DRAWINGS HEAVY HORIZONTAL}" * (end - start), COLOURS[state]))
    return pieces


def _speed(status: Status) -> str:
    rate = f"{status.cells_per_hour:,.1f} cells/h" if status.cells_per_hour is not None else "no cell done yet"
    eta = f", {duration(status.eta_seconds)} left" if status.eta_seconds else ""
    planned = f" of {status.hours_planned:,.2f} planned" if status.hours_planned is not None else ""
    return f"{rate}{eta}; {status.hours_spent:,.2f} GPU- or slot-hours spent{planned}"


def _slowest(rows: list[dict[str, Any]]) -> Table:
    table = Table("cell", "", "seconds", "tries", title="slowest", title_justify="left", box=None, padding=(0, 2, 0, 0))
    for row in rows:
        table.add_row(*[Text(clean(str(row[name]))) for name in ("cell", "title", "seconds", "attempts")])
    return table


def _failures(status: Status) -> list[RenderableType]:
    if not status.failures:
        return []
    classes = ", ".join(f"{number:,} {name}" for name, number in status.failed.items())
    parts: list[RenderableType] = [Text(f"failed: {classes}", style="red")]
    for row in status.failures[:FAILURES_SHOWN]:
        tries = "1 try" if row["attempts"] == 1 else f"{row['attempts']} tries"
        parts.append(Text(clean(f"  {row['cell']}  {row['title']}: {row['why']} after {tries}")))
        lines = [line for line in str(row["tail"]).splitlines() if line.strip()][-TAIL_LINES:]
        parts += [Text(clean(f"      {line[:200]}"), style="dim") for line in lines]
    if len(status.failures) > FAILURES_SHOWN:
        parts.append(Text(f"  and {len(status.failures) - FAILURES_SHOWN:,} more: vddbench batch status --json"))
    run = clean(status.run)
    parts.append(Text(f"vddbench batch logs {run} CELL shows a log"))
    parts.append(Text(f"vddbench batch retry {run} repeats what another try can help (--cluster local: on this machine)"))
    return parts
