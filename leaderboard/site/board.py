"""The data of the board: ranked tables by task, with the records behind every entry."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from vddbench.leaderboard.aggregate import Field, aggregated
from vddbench.leaderboard.counting import payload_of
from vddbench.leaderboard.divisions import NONE
from vddbench.leaderboard.entry import TableKey
from vddbench.leaderboard.evidence import Evaluated, load
from vddbench.leaderboard.rank import rank_tables
from vddbench.leaderboard.reruns import Rerun, reruns
from vddbench.leaderboard.rows import Row, is_known, table_of
from vddbench.leaderboard.site.entries import Entry, Table, page_of
from vddbench.leaderboard.table_records import majority, tables_of
from vddbench.spec import FULL, Task


@dataclass(frozen=True)
class Aggregate:
    """All tables of a student, track and division combined."""

    student: str
    track: str
    division: str
    rows: tuple[Row, ...]  # columns of `aggregate`

    @property
    def of_tables(self) -> int:
        return int(self.rows[0]["of_tables"])


@dataclass(frozen=True)
class Board:
    """Everything that was measured."""

    rows: Sequence[Row]  # of `rank`, all tables
    aggregated: Sequence[Row]  # of `aggregate`, all students
    tables: tuple[Table, ...]
    evaluated: tuple[Evaluated, ...]
    reruns: Mapping[str, Sequence[Rerun]]  # by the submission's sha256
    left_out: tuple[str, ...]  # one line for each refused record and each table that could not be made
    replayed: tuple[Evaluated, ...] = ()  # records of protocol sdd, shown beside what papers report

    @cached_property
    def aggregates(self) -> tuple[Aggregate, ...]:
        """One for each student, track and division in which at least two methods are in all tables."""
        parts: dict[Field, list[Row]] = defaultdict(list)
        for row in self.aggregated:
            parts[Field(*(row[name] for name in Field._fields))].append(row)
        return tuple(
            Aggregate(*field, tuple(rows)) for field, rows in parts.items() if sum(is_known(row["rank"]) for row in rows) > 1
        )

    def tables_by_task(self) -> dict[str, list[Table]]:
        """Tasks with the longest tables first."""
        tables: dict[str, list[Table]] = defaultdict(list)
        for table in self.tables:
            tables[table.task].append(table)
        return dict(sorted(tables.items(), key=lambda item: (-max(len(table.entries) for table in item[1]), item[0])))

    def entries_by_page(self) -> dict[str, list[tuple[Table, Entry]]]:
        """The rows of tables in which the set of a page counts."""
        rows: dict[str, list[tuple[Table, Entry]]] = defaultdict(list)
        for table in self.tables:
            for entry in table.entries:
                for page in entry.pages:
                    rows[page].append((table, entry))
        return rows

    def submissions(self) -> dict[str, list[Evaluated]]:
        """Records by page. If the hashes of two submissions begin alike, only the one evaluated first has a page."""
        pages: dict[str, list[Evaluated]] = defaultdict(list)
        for one in sorted(self.evaluated, key=lambda one: one.record.date):
            on_page = pages[page_of(one.record)]
            if not on_page or on_page[0].record.submission_sha256 == one.record.submission_sha256:
                on_page.append(one)
        return dict(sorted(pages.items()))


def board_of(roots: Sequence[Path], maintainers: Collection[str] = ()) -> Board:
    """The board of all records under results folders. Raises FileNotFoundError if no record is valid.

    maintainers: as for `load`.
    """
    loaded = load(roots, maintainers)
    if not loaded.evaluated:
        raise FileNotFoundError(
            f"no valid records in {', '.join(map(str, roots))}; make some with `vddbench evaluate`, or name a folder with "
            f"--results{''.join(f'; left out: {line}' for line in loaded.refused[:5])}"
        )
    again, refused = reruns(loaded)
    counted = majority(loaded.evaluated)
    rows, problems = rank_tables(tables_of(counted.evaluated))
    together, more = aggregated(counted.evaluated)
    left_out = [*loaded.refused, *counted.refused, *refused, *problems, *more]
    return replace(assembled(rows, counted.evaluated, again, together, left_out), replayed=loaded.replayed)


def assembled(
    rows: Sequence[Row],
    evaluated: Sequence[Evaluated],
    again: Mapping[str, Sequence[Rerun]],
    together: Sequence[Row] = (),
    left_out: Sequence[str] = (),
) -> Board:
    """The board of ranked rows and the records that they were computed from."""
    records: dict[tuple[str, ...], list[Evaluated]] = defaultdict(list)  # by task, student, track, method and sha256
    students: dict[str, set[str]] = defaultdict(set)
    for one in sorted(evaluated, key=lambda one: one.record.distill_seed):
        r = one.record
        of_payload = records[str(r.task), r.student, r.track, r.method, r.submission_sha256]
        if not of_payload or of_payload[0].record.distill_seed == r.distill_seed:  # a payload counts once
            of_payload.append(one)
        students[r.submission_sha256].add(r.student)
    entries: dict[TableKey, list[Entry]] = defaultdict(list)
    for row in rows:
        key, hashes = table_of(row), str(row["sha256"]).split()
        entry = Entry(
            row=row,
            evaluated=tuple(one for sha in hashes for one in payload_of(records[*key[:3], row["method"], sha]).counted),
            students=tuple(sorted(set().union(*(students[sha] for sha in hashes)))),
            reruns=tuple(rerun for sha in hashes for rerun in again.get(sha, ()) if rerun.student == row["student"]),
        )
        entries[key].append(entry)
    return Board(rows, together, tuple(_tables(entries)), tuple(evaluated), again, tuple(left_out))


def _tables(entries: Mapping[TableKey, Sequence[Entry]]) -> list[Table]:
    """One table for each key. DATASET-full has its own only if it has other methods, or if no budgeted table shows it."""
    tables = []
    budgeted = {(Task.parse(key.task).dataset, key.student) for key in entries if not Task.parse(key.task).is_full}
    for key, of_table in sorted(entries.items()):
        dataset = Task.parse(key.task).dataset
        full = tuple(e for e in entries.get(TableKey(f"{dataset}-{FULL}", key.student, "hard", NONE), ()) if e.method == FULL)
        if not Task.parse(key.task).is_full:
            tables.append(Table(*key, tuple(of_table), full))
        elif (dataset, key.student) not in budgeted or tuple(of_table) != full:
            tables.append(Table(*key, tuple(of_table), ()))
    return tables
