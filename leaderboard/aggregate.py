"""All tables of a student in one: the mean share of the gap from `random` to `full` that a method closes.

Methods are sorted by that mean, which other entries do not change; the mean rank beside it does depend on them. A method is
compared if it is ranked in every table that has both references; the others are listed below, nothing is filled in.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import ndtr

from vddbench.leaderboard.bootstrap import Drawn
from vddbench.leaderboard.evidence import Evaluated
from vddbench.leaderboard.rank import NAN, Contender, draw_all, is_gap, order, placed, places, shares

COLUMNS = [
    "student", "track", "rank", "rank_low", "rank_high", "method", "gap_closed", "gap_low", "gap_high", "mean_rank", "tables",
    "of_tables", "missing",
]  # fmt: skip


@dataclass(frozen=True)
class Standing:
    """A method in one table."""

    rank: float
    share: float  # of the gap that it closes
    draws: np.ndarray  # of that share


Standings = Mapping[str, Standing]  # by method


def aggregate(evaluated: Sequence[Evaluated]) -> pd.DataFrame:
    """One row for each method of each student and track with at least two tables; methods that are in all of them first.

    Only budgeted tables count whose `full` is better than `random` beyond its uncertainty. Draws share test videos within a
    dataset. Raises ValueError for records that cannot share a table.
    """
    board = draw_all(evaluated)
    fields: dict[tuple[str, str], dict[str, Standings]] = defaultdict(dict)
    for key, table in board.tables.items():
        random, full = board.gap(table[0].entry)
        if random is not None and full is not None and is_gap(random, full):
            fields[key.student, key.track][key.task] = standings(table, random, full)
    rows = [
        row for (student, track), tables in sorted(fields.items()) if len(tables) > 1 for row in rows_of(student, track, tables)
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def standings(table: Sequence[Contender], random: Drawn, full: Drawn) -> Standings:
    """The ranked methods of a table, without those of which two payloads claim one distillation seed."""
    ranked = sorted((contender for contender in table if contender.entry.is_ranked), key=order)
    methods = [contender.entry.one.method for contender in ranked]
    found = {}
    for method, (_, drawn), place in zip(methods, ranked, placed(ranked), strict=True):
        if methods.count(method) == 1:
            share = (drawn.score - random.score) / (full.score - random.score)
            draws = np.zeros_like(drawn.video) if drawn is random else shares(drawn, random, full)
            found[method] = Standing(place.rank, share, draws)
    return found


def rows_of(student: str, track: str, tables: Mapping[str, Standings]) -> list[dict[str, object]]:
    """The rows of one student and track: methods in all tables, best first, then the others by name."""
    methods = sorted({method for table in tables.values() for method in table})
    whole = {m: [table[m] for table in tables.values()] for m in methods if all(m in table for table in tables.values())}
    mean_share = {method: float(np.mean([standing.share for standing in whole[method]])) for method in whole}
    best_first = sorted(whole, key=lambda method: (-mean_share[method], method))
    draws = [np.mean([standing.draws for standing in whole[method]], axis=0) for method in best_first]
    rows = []
    places_ = places(draws, lambda best, other: p_value(draws[best] - draws[other]))
    for method, of_method, place in zip(best_first, draws, places_, strict=True):
        gap_low, gap_high = np.percentile(of_method, [2.5, 97.5])
        rows.append(
            row_of(student, track, method, tables)
            | place._asdict()
            | {"gap_closed": mean_share[method], "gap_low": float(gap_low), "gap_high": float(gap_high)}
            | {"mean_rank": float(np.mean([standing.rank for standing in whole[method]]))}
        )
    return rows + [row_of(student, track, method, tables) for method in methods if method not in whole]


def row_of(student: str, track: str, method: str, tables: Mapping[str, Standings]) -> dict[str, object]:
    """The row of a method without its results."""
    missing = sorted(task for task, table in tables.items() if method not in table)
    return dict.fromkeys(COLUMNS, NAN) | {
        "student": student,
        "track": track,
        "method": method,
        "tables": len(tables) - len(missing),
        "of_tables": len(tables),
        "missing": " ".join(missing),
    }


def p_value(differences: np.ndarray) -> float:
    """Of a difference at least this large between equal entries, from the spread of its draws."""
    spread = float(differences.std())
    return float(2 * ndtr(-abs(float(differences.mean())) / spread)) if spread > 0 else float(differences[0] == 0)
