"""The parts of a task's section that are computed: facts, charts, heat maps of classes and of students. No torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from vddbench.leaderboard import reported
from vddbench.leaderboard.power import note
from vddbench.leaderboard.site import charts
from vddbench.leaderboard.site.entries import Line, Table, class_accuracy
from vddbench.spec import DatasetSpec, Task

MAX_HEAT_LINES = 14  # rows of the map of classes, best first
MAX_TRANSFER_LINES = 60
MAX_PAIRED = 200  # lines of a table


@dataclass(frozen=True)
class HeatRow:
    """A line of a heat map: shares in [0, 1], NaN where nothing was measured."""

    line: Line
    values: tuple[float, ...]


@dataclass(frozen=True)
class Heat:
    """A heat map as a table: a method a row."""

    columns: tuple[str, ...]
    rows: tuple[HeatRow, ...]
    hidden: int  # lines left out


@dataclass(frozen=True)
class TableView:
    """A ranked table with what is drawn from it."""

    table: Table
    bytes_chart: str
    seeds_chart: str
    classes: Heat
    note: str  # what can't be told apart here

    @property
    def dotted(self) -> int:
        """Lines of the chart of students, beside `full`."""
        return min(len(self.table.lines), charts.MAX_DOTTED)


@dataclass(frozen=True)
class TaskView:
    """A section of the board."""

    task: Task
    tables: tuple[TableView, ...]
    facts: tuple[tuple[str, str], ...]
    transfer: Mapping[str, Heat]  # by track
    reported: tuple[dict[str, object], ...]

    @property
    def name(self) -> str:
        return str(self.task)

    @property
    def students(self) -> list[str]:
        return sorted({view.table.student for view in self.tables})

    @property
    def tracks(self) -> list[str]:
        return sorted({view.table.track for view in self.tables})


def task_view(name: str, tables: Sequence[Table], spec: DatasetSpec | None) -> TaskView:
    task = Task.parse(name)
    views = tuple(
        TableView(table, charts.bytes_chart(table), charts.seeds_chart(table), class_heat(table, spec), not_told(table))
        for table in tables
    )
    return TaskView(task, views, facts(task, tables[0], spec), transfers(tables), paper_rows(task))


def facts(task: Task, table: Table, spec: DatasetSpec | None) -> tuple[tuple[str, str], ...]:
    """What every entry of the task shares, from a record and, where it is at hand, the dataset's spec."""
    one = table.lines[0].evaluated[0].record
    found = [
        ("classes", f"{one.num_classes}"),
        ("test videos", f"{one.num_test:,}"),
        ("chance, 1/classes", f"{100 / one.num_classes:.1f} %"),
        ("budget", f"{one.budget_bytes:,} bytes" if one.budget_bytes else "none"),
        ("student steps", f"{one.student_steps:,}"),
    ]
    if spec is not None:
        found.insert(2, ("clips", f"{spec.frames} frames of {spec.size} x {spec.size}"))
    return (*found, ("protocol", one.protocol), ("prepared store", one.store_digest[:8]))


def not_told(table: Table) -> str:
    """Which differences its students and test videos are too few for; every pair of entries is looked at."""
    if len(table.lines) > MAX_PAIRED:
        return ""
    return note([one for line in table.lines for one in line.evaluated], [line.row["seeds"] for line in table.ranked])


def class_heat(table: Table, spec: DatasetSpec | None) -> Heat:
    """Method x class, of the best lines and `full`."""
    lines = [*table.lines[:MAX_HEAT_LINES], *table.full]
    one = lines[0].evaluated[0]
    num_classes = one.record.num_classes
    labels = one.labels
    names = spec.class_names if spec is not None else tuple(str(label) for label in range(num_classes))
    rows = tuple(HeatRow(line, tuple(class_accuracy(line, labels, num_classes).tolist())) for line in lines)
    return Heat(names, rows, max(0, len(table.lines) - MAX_HEAT_LINES))


def transfers(tables: Sequence[Table]) -> dict[str, Heat]:
    """Method x student of each track with several students; a method by its best score, best first."""
    found = {}
    for track in sorted({table.track for table in tables}):
        of_track = [table for table in tables if table.track == track]
        students = tuple(table.student for table in of_track)
        scores: dict[str, dict[str, Line]] = {}
        for table in of_track:
            for line in table.lines:  # of two payloads of one name, the better one
                scores.setdefault(line.method, {}).setdefault(table.student, line)
        if len(students) < 2:
            continue
        ordered = sorted(scores.values(), key=lambda row: -max(line.top1 for line in row.values()))
        rows = tuple(
            HeatRow(next(iter(row.values())), tuple(row[s].top1 if s in row else np.nan for s in students)) for row in ordered
        )
        found[track] = Heat(students, rows[:MAX_TRANSFER_LINES], max(0, len(rows) - MAX_TRANSFER_LINES))
    return found


def paper_rows(task: Task) -> tuple[dict[str, object], ...]:
    """What papers report for the task, best first; None where a paper says nothing."""
    rows = reported.reported(task).to_dict("records")
    return tuple({str(name): None if pd.isna(value) else value for name, value in row.items()} for row in rows)


def only_reported(measured: Sequence[str]) -> list[tuple[str, tuple[dict[str, object], ...]]]:
    """(task, rows) of tasks that papers report on and no record is of."""
    rows = pd.read_csv(reported.FILE)
    rows = rows[rows["top1_mean"].notna() & rows["ipc"].notna()]
    tasks = sorted({(str(row["dataset"]), int(row["ipc"])) for row in rows.to_dict("records")})
    named = [Task(dataset=dataset, ipc=ipc) for dataset, ipc in tasks]
    return [(str(task), paper_rows(task)) for task in named if str(task) not in measured]
