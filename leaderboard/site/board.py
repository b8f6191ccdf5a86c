"""What the site shows: ranked tables task by task, with the records and re-runs behind every row. No torch."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from vddbench.leaderboard.aggregate import COLUMNS, aggregate
from vddbench.leaderboard.evidence import Evaluated, load, majority, tables_of
from vddbench.leaderboard.rank import TABLE, rank
from vddbench.leaderboard.reruns import Rerun, local_maintainers, reruns
from vddbench.leaderboard.site.entries import Line, Table, page_of
from vddbench.spec import FULL, Task

Cell = tuple[str, str, str, str]  # task, student, track, method


@dataclass(frozen=True)
class Overall:
    """All tables of a student and track in one."""

    student: str
    track: str
    rows: tuple[Mapping[str, Any], ...]  # of `aggregate`

    @property
    def of_tables(self) -> int:
        return int(self.rows[0]["of_tables"])


@dataclass(frozen=True)
class Board:
    """Everything measured."""

    rows: pd.DataFrame  # of `rank`, all tables
    together: pd.DataFrame  # of `aggregate`, all students
    tables: tuple[Table, ...]
    evaluated: tuple[Evaluated, ...]
    reruns: Mapping[str, Sequence[Rerun]]  # by the submission's sha256
    left_out: tuple[str, ...]  # records that were refused, tables that can't be made

    @cached_property
    def overall(self) -> tuple[Overall, ...]:
        """Of each student and track where two methods or more are in all tables."""
        parts: dict[tuple[str, str], list[Mapping[str, Any]]] = defaultdict(list)
        for row in self.together.to_dict("records"):
            parts[str(row["student"]), str(row["track"])].append({str(name): value for name, value in row.items()})
        return tuple(
            Overall(student, track, tuple(rows))
            for (student, track), rows in parts.items()
            if sum(not pd.isna(row["rank"]) for row in rows) > 1
        )

    def tasks(self) -> dict[str, list[Table]]:
        """By task, those with most lines first."""
        found: dict[str, list[Table]] = defaultdict(list)
        for table in self.tables:
            found[table.task].append(table)
        return dict(sorted(found.items(), key=lambda item: (-max(len(table.lines) for table in item[1]), item[0])))

    def submissions(self) -> dict[str, list[Evaluated]]:
        """Records by the page of their submission. Of two payloads whose hashes begin alike, the one evaluated first has it."""
        found: dict[str, list[Evaluated]] = defaultdict(list)
        for one in sorted(self.evaluated, key=lambda one: one.record.date):
            of_page = found[page_of(one.record)]
            if not of_page or of_page[0].record.submission_sha256 == one.record.submission_sha256:
                of_page.append(one)
        return dict(sorted(found.items()))


def board_of(roots: Sequence[Path], maintainers: Collection[str] = ()) -> Board:
    """The board of all records under results folders. Raises FileNotFoundError when none is valid.

    maintainers: user names whose re-runs verify an entry, beside those in MAINTAINERS files beside the folders.
    """
    loaded = load(roots)
    if not loaded.evaluated:
        raise FileNotFoundError(
            f"no valid records in {', '.join(map(str, roots))}; make some with `vddbench evaluate`, or name a folder with "
            f"--results{''.join(f'; left out: {line}' for line in loaded.refused[:5])}"
        )
    again, refused = reruns(loaded, {*maintainers, *local_maintainers(roots)})
    found, others = majority(loaded.evaluated)
    rows, problems = ranked(found)
    together, more = aggregated(found)
    return assembled(rows, found, again, together, [*loaded.refused, *others, *refused, *problems, *more])


def aggregated(found: Sequence[Evaluated]) -> tuple[pd.DataFrame, list[str]]:
    """All tables of each student in one, and one line for each student whose records can't share one."""
    parts, problems = [], []
    for student in sorted({one.record.student for one in found}):
        try:
            parts.append(aggregate([one for one in found if one.record.student == student]))
        except ValueError as error:  # two payloads of one reference
            problems.append(f"no table over all tasks of student {student}: {error}")
    filled = [part for part in parts if len(part)]
    return pd.concat(filled, ignore_index=True) if filled else pd.DataFrame(columns=COLUMNS), problems


def ranked(found: Sequence[Evaluated]) -> tuple[pd.DataFrame, list[str]]:
    """The rows of all tables that can be made, and one line for each that can't."""
    parts, problems = [], []
    for evaluated in tables_of(found):
        try:
            parts.append(rank(evaluated))
        except ValueError as error:
            one = evaluated[0].record
            problems.append(f"no table of {one.task}, student {one.student}: {error}")
    if not parts:
        return rank([]), problems
    rows = pd.concat(parts).drop_duplicates([*TABLE, "method", "sha256"], ignore_index=True)
    return rows, problems


def assembled(
    rows: pd.DataFrame,
    found: Sequence[Evaluated],
    again: Mapping[str, Sequence[Rerun]],
    together: pd.DataFrame | None = None,
    left_out: Sequence[str] = (),
) -> Board:
    """Rows with the records they are of."""
    together = pd.DataFrame(columns=COLUMNS) if together is None else together
    of_cell: dict[Cell, dict[str, list[Evaluated]]] = defaultdict(lambda: defaultdict(list))
    students: dict[str, set[str]] = defaultdict(set)
    for one in found:
        r = one.record
        of_cell[str(r.task), r.student, r.track, r.method][r.submission_sha256].append(one)
        students[r.submission_sha256].add(r.student)
    groups: dict[tuple[str, str, str], list[Line]] = defaultdict(list)
    for row in rows.to_dict("records"):
        hashes = str(row["sha256"]).split()
        of_line = of_cell[row["task"], row["student"], row["track"], row["method"]]
        line = Line(
            row={str(name): value for name, value in row.items()},
            evaluated=tuple(one for sha in hashes for one in of_line[sha]),
            students=tuple(sorted(set().union(*(students[sha] for sha in hashes)))),
            reruns=tuple(each for sha in hashes for each in again.get(sha, ()) if each.student == row["student"]),
        )
        groups[row["task"], row["student"], row["track"]].append(line)
    return Board(rows, together, tuple(_tables(groups)), tuple(found), again, tuple(left_out))


def _tables(groups: Mapping[tuple[str, str, str], list[Line]]) -> list[Table]:
    """DATASET-full has a table of its own only when it stands alone or holds more than the reference."""
    made = []
    datasets = {(Task.parse(task).dataset, student) for task, student, _ in groups if not Task.parse(task).is_full}
    for (task, student, track), lines in sorted(groups.items()):
        dataset = Task.parse(task).dataset
        references = groups.get((f"{dataset}-{FULL}", student, "hard"), [])
        full = tuple(line for line in references if line.method == FULL)
        if not Task.parse(task).is_full:
            made.append(Table(task, student, track, tuple(lines), full))
        elif (dataset, student) not in datasets or tuple(lines) != full:
            made.append(Table(task, student, track, tuple(lines), ()))
    return made
