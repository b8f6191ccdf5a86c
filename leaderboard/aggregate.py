"""Combines all tables of a student: the mean share of the gap from `random` to `full` that each method closes.

Methods are sorted by this mean. Other entries cannot change it, but they do change the mean rank that is shown beside it. A
method gets a rank if it is ranked in every table that has both references. The other methods are listed below without a rank;
missing results are not filled in.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from vddbench.leaderboard.bootstrap import Drawn
from vddbench.leaderboard.comparisons import compared_draws
from vddbench.leaderboard.evidence import Evaluated
from vddbench.leaderboard.gains import is_gap, shares
from vddbench.leaderboard.marks import SEPARATOR, legend, marked
from vddbench.leaderboard.rank import NAN, Contender, draw_all, order, placed, places
from vddbench.leaderboard.rows import Row

COLUMNS = [
    "student", "track", "division", "rank", "rank_low", "rank_high", "may_be_best", "method", "gap_closed", "gap_low",
    "gap_high", "mean_rank", "tables", "of_tables", "missing", "flags",
]  # fmt: skip


@dataclass(frozen=True)
class Standing:
    """A method in one table."""

    rank: float
    share: float  # of the gap that the method closes
    draws: np.ndarray  # bootstrap draws of `share`
    flags: str  # as in the rows of `rank`


Standings = Mapping[str, Standing]  # by method


class Field(NamedTuple):
    """The tables that are combined: those of one student, track and division."""

    student: str
    track: str
    division: str


def aggregated(evaluated: Sequence[Evaluated]) -> tuple[list[Row], list[str]]:
    """All tables of each student combined, and one line for each student whose records cannot be combined."""
    rows: list[Row] = []
    problems = []
    for student in sorted({one.record.student for one in evaluated}):
        try:
            rows += aggregate([one for one in evaluated if one.record.student == student])
        except ValueError as error:
            problems.append(f"no table over all tasks of network {student}: {error}")
    return rows, problems


def aggregate(evaluated: Sequence[Evaluated]) -> list[Row]:
    """One row for each student, track, division and method, if student, track and division have at least two tables.

    Methods that are ranked in all these tables come first. A table counts if its task has a budget, the 95 % interval of the
    gap from `random` to `full` is above 0, and its protocol is that of the newest record of the student. All tables of a
    dataset use the same draws of its test videos. Raises ValueError for records that cannot share a table.
    """
    by_date = sorted(evaluated, key=lambda one: one.record.date)
    newest = {one.record.student: one.record.protocol_hash for one in by_date}
    if len({one.record.task for one in evaluated if not one.record.task.is_full}) < 2:
        return []
    board = draw_all([one for one in evaluated if one.record.protocol_hash == newest[one.record.student]])
    fields: dict[Field, dict[str, Standings]] = defaultdict(dict)
    for key, table in board.tables.items():
        random, full = board.gap(table[0])
        if random is not None and full is not None and is_gap(random, full):
            fields[Field(key.student, key.track, key.division)][key.task] = standings(table, random, full)
    return [row for field, tables in sorted(fields.items()) if len(tables) > 1 for row in rows_of(field, tables)]


def standings(table: Sequence[Contender], random: Drawn, full: Drawn) -> Standings:
    """The ranked methods of a table. Leaves out a method if two of its payloads claim the same distillation seed."""
    ranked = sorted((contender for contender in table if contender.entry.is_ranked), key=order)
    methods = [contender.entry.one.method for contender in ranked]
    by_method = {}
    for method, (entry, drawn, _), place in zip(methods, ranked, placed(ranked), strict=True):
        if methods.count(method) == 1:
            share = (drawn.score - random.score) / (full.score - random.score)
            draws = np.zeros_like(drawn.scores) if drawn is random else shares(drawn, random, full)
            by_method[method] = Standing(place.rank, share, draws, marked(entry))
    return by_method


def rows_of(field: Field, tables: Mapping[str, Standings]) -> list[Row]:
    """The rows of combined tables: methods in all tables, best first, then the others by name."""
    methods = sorted({method for table in tables.values() for method in table})
    whole = {m: [table[m] for table in tables.values()] for m in methods if all(m in table for table in tables.values())}
    mean_share = {method: float(np.mean([standing.share for standing in whole[method]])) for method in whole}
    best_first = sorted(whole, key=lambda method: (-mean_share[method], method))
    draws = [np.mean([standing.draws for standing in whole[method]], axis=0) for method in best_first]
    rows: list[Row] = []
    for method, of_method, place in zip(best_first, draws, places(draws, compared_draws(draws)), strict=True):
        gap_low, gap_high = np.percentile(of_method, [2.5, 97.5])
        rows.append(
            row_of(field, method, tables)
            | place._asdict()
            | {"gap_closed": mean_share[method], "gap_low": float(gap_low), "gap_high": float(gap_high)}
            | {"mean_rank": float(np.mean([standing.rank for standing in whole[method]]))}
        )
    return rows + [row_of(field, method, tables) for method in methods if method not in whole]


def row_of(field: Field, method: str, tables: Mapping[str, Standings]) -> dict[str, object]:
    """The row of a method without its results."""
    missing = sorted(task for task, table in tables.items() if method not in table)
    return dict.fromkeys(COLUMNS, NAN) | {
        **field._asdict(),
        "method": method,
        "tables": len(tables) - len(missing),
        "of_tables": len(tables),
        "missing": " ".join(missing),
        "flags": SEPARATOR.join(
            mark.name for mark in legend(table[method].flags for table in tables.values() if method in table)
        ),
    }
