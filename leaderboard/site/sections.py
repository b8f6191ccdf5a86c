"""The section of a task on the front page: facts, charts, heat maps of classes and of students."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from vddbench import lookup
from vddbench.leaderboard.divisions import OPEN, without_entries
from vddbench.leaderboard.entry import TableKey
from vddbench.leaderboard.evidence import Evaluated
from vddbench.leaderboard.frontier import Curve, curve_of_records
from vddbench.leaderboard.headline import sentences
from vddbench.leaderboard.replayed import Score, is_comparable, score
from vddbench.leaderboard.reported import Reported, reported
from vddbench.leaderboard.site import charts
from vddbench.leaderboard.site.entries import Entry, Table, class_accuracy
from vddbench.spec import FULL, DatasetSpec, Task

MAX_HEAT_ROWS = 14  # of the map of classes, best first
MAX_TRANSFER_ROWS = 60
FIRST = "miniucf"  # the dataset that every paper of the field reports


@dataclass(frozen=True)
class HeatRow:
    """An entry's row of a heat map: accuracies in [0, 1], NaN where nothing was measured."""

    entry: Entry
    values: tuple[float, ...]


@dataclass(frozen=True)
class HeatMap:
    """A table of shaded cells with a method in each row."""

    columns: tuple[str, ...]
    rows: tuple[HeatRow, ...]
    num_hidden: int  # rows left out


@dataclass(frozen=True)
class TableSection:
    """A ranked table and its charts."""

    table: Table
    bytes_chart: str
    students_chart: str
    classes: HeatMap
    headline: tuple[str, ...]  # what `sentences` returns
    has_curve: bool  # whether the chart of bytes shows the codec curve

    @property
    def num_charted(self) -> int:
        """Entries in the chart of students, without `full`."""
        return min(len(self.table.entries), charts.MAX_STUDENT_ROWS)


@dataclass(frozen=True, kw_only=True)
class PaperRow(Reported):
    """What papers report for a method, and what was measured of it: entries, and scores under protocol sdd by name."""

    measured: tuple[Entry, ...]
    replayed: tuple[tuple[str, Score], ...]


@dataclass(frozen=True)
class TaskSection:
    """All that the front page shows of a task."""

    task: Task
    about: str
    tables: tuple[TableSection, ...]
    empty: tuple[TableKey, ...]  # tables without entries
    facts: tuple[tuple[str, str], ...]
    transfer: Mapping[tuple[str, str], HeatMap]  # by track and division
    reported: tuple[PaperRow, ...]
    commands: str = ""  # that would fill a task without records

    @property
    def name(self) -> str:
        return str(self.task)

    @property
    def num_entries(self) -> int:
        """Methods with a record."""
        return len({entry.method for part in self.tables for entry in part.table.entries})


def task_section(
    name: str, tables: Sequence[Table], spec: DatasetSpec | None, replayed: Sequence[Evaluated] = ()
) -> TaskSection:
    task = Task.parse(name)
    sections = tuple(
        TableSection(
            table,
            charts.bytes_chart(table, curve),
            charts.students_chart(table),
            class_map(table, spec),
            tuple(sentences([entry.row for entry in table.entries], with_curve=table.division == OPEN)),
            curve is not None,
        )
        for table, curve in ((table, codec_curve(table)) for table in tables)
    )
    empty = tuple(without_entries(TableKey(table.task, table.student, table.track, table.division) for table in tables))
    papers = paper_rows(task, tables, replayed)
    return TaskSection(task, about(task), sections, empty, facts(tables[0], spec), transfer_maps(tables), papers)


def about(task: Task) -> str:
    """What the task's name means."""
    if task.ipc is None:
        return f"Dataset {task.dataset} without a budget: students are trained on the real training videos."
    clips = f"{task.ipc} uncompressed {'clip' if task.ipc == 1 else 'clips'}"
    return f"Dataset {task.dataset}; a distilled set may take as many bytes as {clips} per class."


def facts(table: Table, spec: DatasetSpec | None) -> tuple[tuple[str, str], ...]:
    """What all entries of a task share, from a record and, if available, the dataset's spec."""
    record = table.entries[0].evaluated[0].record
    clips = [] if spec is None else [("clips", f"{spec.frames} frames of {spec.size} × {spec.size} pixels")]
    return (
        ("classes", f"{record.num_classes}"),
        ("test videos", f"{record.num_test:,}"),
        *clips,
        ("accuracy of guessing", f"{100 / record.num_classes:.1f} %"),
        ("budget", f"{record.budget_bytes:,} bytes" if record.budget_bytes else "none"),
        ("training steps", f"{record.student_steps:,}"),
        ("protocol", record.protocol),
        ("prepared data", record.store_digest[:8]),
    )


def codec_curve(table: Table) -> Curve | None:
    """The codec curve of a table of division `open`."""
    if table.division != OPEN:
        return None
    return curve_of_records([one for entry in table.ranked for one in entry.evaluated])


def class_map(table: Table, spec: DatasetSpec | None) -> HeatMap:
    """Accuracy of the best entries and of `full` on each class."""
    entries = [*table.entries[:MAX_HEAT_ROWS], *table.full]
    first = entries[0].evaluated[0]
    num_classes = first.record.num_classes
    names = spec.class_names if spec is not None else tuple(str(label) for label in range(num_classes))
    rows = tuple(HeatRow(entry, tuple(class_accuracy(entry, first.labels, num_classes).tolist())) for entry in entries)
    return HeatMap(names, rows, max(0, len(table.entries) - MAX_HEAT_ROWS))


def transfer_maps(tables: Sequence[Table]) -> dict[tuple[str, str], HeatMap]:
    """Accuracy of every method with every student, by track and division, if these have several students; methods by their best
    score."""
    maps = {}
    for track, division in sorted({(table.track, table.division) for table in tables}):
        of_track = [table for table in tables if (table.track, table.division) == (track, division)]
        students = tuple(table.student for table in of_track)
        methods: dict[str, dict[str, Entry]] = {}
        for table in of_track:
            for entry in table.entries:  # if two payloads have one name, the better one comes first
                methods.setdefault(entry.method, {}).setdefault(table.student, entry)
        if len(students) < 2:
            continue
        ordered = sorted(methods.values(), key=lambda row: -max(entry.top1 for entry in row.values()))
        rows = tuple(
            HeatRow(next(iter(row.values())), tuple(row[s].top1 if s in row else np.nan for s in students)) for row in ordered
        )
        maps[track, division] = HeatMap(students, rows[:MAX_TRANSFER_ROWS], max(0, len(rows) - MAX_TRANSFER_ROWS))
    return maps


def paper_rows(task: Task, tables: Sequence[Table] = (), replayed: Sequence[Evaluated] = ()) -> tuple[PaperRow, ...]:
    """What papers report for the task, best first, beside what was measured of the paper's method, also with other settings."""
    entries = {entry.pages[0]: entry for table in tables for entry in (*table.entries, *table.full)}
    rows = []
    for row in reported(task):
        names = names_in_tables(row.method)
        measured = tuple(entry for entry in entries.values() if entry.method in names)
        rows.append(PaperRow(**vars(row), measured=measured, replayed=scores_of(task, names, replayed)))
    return tuple(rows)


def scores_of(task: Task, names: Collection[str], replayed: Sequence[Evaluated]) -> tuple[tuple[str, Score], ...]:
    """Method and score under protocol sdd, of records that can be compared with papers: their network and their epochs.

    `full` has the records of DATASET-full. Records of different versions of the protocol or of the data are not averaged.
    """
    full = Task(dataset=task.dataset, ipc=None)
    scored: dict[tuple[str, ...], list[Evaluated]] = defaultdict(list)
    for one in replayed:
        record = one.record
        if record.method in names and record.task == (full if record.method == FULL else task) and is_comparable(record):
            scored[record.method, record.track, record.protocol_hash, *one.store].append(one)
    return tuple((key[0], score(records)) for key, records in sorted(scored.items()))


def names_in_tables(method: str) -> set[str]:
    """The name of a method, and those with its presets if it is a bundled baseline."""
    presets = lookup.source_of("baseline", method).presets if method in lookup.names("baseline") else ()
    return {lookup.named_in_tables(method, preset) for preset in (None, *presets)}


def in_order(sections: Sequence[TaskSection]) -> list[TaskSection]:
    """MiniUCF first, the field's usual dataset; then datasets with most entries; tasks of a dataset by budget, `full` last."""
    most: dict[str, int] = defaultdict(int)
    for section in sections:
        most[section.task.dataset] = max(most[section.task.dataset], section.num_entries)
    return sorted(
        sections,
        key=lambda section: (
            section.task.dataset != FIRST,
            -most[section.task.dataset],
            section.task.dataset,
            section.task.is_full,
            section.task,
        ),
    )
