"""Scores under protocol `sdd`, which replays the field's released code (docs/sdd.md): those to compare with published tables.

They have tables of their own and are never ranked, because of the faults that docs/sdd.md lists.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from tabulate import tabulate

from vddbench.leaderboard.entry import pooled_std
from vddbench.leaderboard.evidence import Evaluated
from vddbench.leaderboard.reported import reported
from vddbench.leaderboard.table_records import check_unmixed
from vddbench.protocol import SDD
from vddbench.records.record import Record
from vddbench.system.progress import clean

HEADERS = ("method", f"{SDD.name} top-1 %", "std", "students", "epochs")
PAPERS = ("papers print %", "ranked top-1 %")
STUDENT = "convnet3d"  # of the published tables
Table = tuple[str, str, str]  # task, student, track


class Score(NamedTuple):
    """Top-1 in [0, 1] of one method: the mean over its sets of means over students."""

    mean: float
    std: float  # over the students of one set, pooled over sets; NaN for single students
    students: int
    sets: int


def score(records: Sequence[Evaluated]) -> Score:
    sets: dict[str, list[float]] = defaultdict(list)
    for one in records:
        sets[one.record.submission_sha256].append(one.record.top1)
    means = [float(np.mean(scores)) for scores in sets.values()]
    return Score(float(np.mean(means)), pooled_std(list(sets.values())), len(records), len(sets))


def selected(
    replayed: Sequence[Evaluated], task: str | None, student: str | None, track: str | None
) -> dict[Table, list[Evaluated]]:
    """The records of each table, sorted by task, student and track. None selects all."""
    tables: dict[Table, list[Evaluated]] = defaultdict(list)
    for one in replayed:
        record = one.record
        if task in {None, str(record.task)} and student in {None, record.student} and track in {None, record.track}:
            tables[str(record.task), record.student, record.track].append(one)
    return dict(sorted(tables.items()))


def draw(table: Table, replayed: Sequence[Evaluated], ranked: Sequence[Evaluated], papers: bool, style: str) -> str:
    """One table as text, best first: a row per method, and per version of the protocol if it was replayed in several.

    papers: also what papers print and, on the same prepared store, the score of the ranked protocol. style: of tabulate.

    Raises ValueError, which names two records, if their prepared stores differ.
    """
    check_unmixed(replayed, ["store_digest"])  # versions of the protocol have rows of their own
    rows: dict[tuple[str, str], list[Evaluated]] = defaultdict(list)
    for one in replayed:
        rows[one.record.method, one.record.protocol_hash].append(one)
    scored = sorted(((score(records), records) for records in rows.values()), key=lambda row: -row[0].mean)
    lines = []
    for result, records in scored:
        first = records[0].record
        line = [
            clean(f"{first.title} ({first.method})" if first.title else first.method),
            f"{100 * result.mean:.1f}",
            "-" if np.isnan(result.std) else f"{100 * result.std:.1f}",
            f"{result.students}" + ("" if result.sets == 1 else f" on {result.sets} sets"),
            str(first.epochs),
        ]
        others = [one for one in ranked if beside(one) == (*table, first.method) and one.store == records[0].store]
        lines.append([*line, printed(records[0]), f"{100 * score(others).mean:.1f}" if others else "-"] if papers else line)
    title = f"{' · network '.join(table[:2])} · {table[2]} labels · protocol {SDD.name} of released code, replayed: not ranked"
    return f"{clean(title)}\n\n{tabulate(lines, (*HEADERS, *PAPERS) if papers else HEADERS, style, disable_numparse=True)}"


def beside(one: Evaluated) -> tuple[str, str, str, str]:
    """The table and the method of a record."""
    return str(one.record.task), one.record.student, one.record.track, one.record.method


def is_comparable(record: Record) -> bool:
    """Whether a record of protocol sdd has the network and the number of epochs of papers."""
    return record.student == STUDENT and record.epochs == SDD.epochs


def printed(one: Evaluated) -> str:
    """What papers print for the method."""
    record = one.record
    if not is_comparable(record):
        return "-"
    return ", ".join(row.with_spread() for row in reported(record.task) if row.method == record.method) or "-"
