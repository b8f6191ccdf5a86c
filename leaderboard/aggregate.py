"""All tables of a student in one: the mean share of the gap from `random` to `full` that a method closes. No torch.

Methods stand in order of that mean, which no other entry of a table moves; the mean rank beside it does move with the field. A
method counts when it is ranked in every table that has both references; the others are listed apart, nothing is filled in.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import ndtr

from vddbench.leaderboard.bootstrap import Drawn, holm
from vddbench.leaderboard.evidence import RANDOM, Evaluated
from vddbench.leaderboard.rank import LEVEL, Entry, draw_all, is_gap, order, placed, shares
from vddbench.spec import FULL

COLUMNS = [
    "student", "track", "rank", "rank_low", "rank_high", "method", "gap_closed", "gap_low", "gap_high", "mean_rank", "tables",
    "of_tables", "missing",
]  # fmt: skip


@dataclass(frozen=True)
class Standing:
    """Of a method in one table."""

    task: str
    rank: float
    share: float  # of the gap that is closed
    draws: np.ndarray  # of that share


def aggregate(found: Sequence[Evaluated]) -> pd.DataFrame:
    """One row for each method of each student and track that has two tables or more; those ranked in all of them first.

    Tables are those of one budget with `random` and a `full` that is told from it. Intervals are of draws that share test
    videos within a dataset.
    Raises ValueError for records that can't share a table.
    """
    drawn = draw_all(found)
    fields: dict[tuple[str, str], dict[str, dict[str, Standing]]] = defaultdict(dict)
    for (task, student, track), table in drawn.tables.items():
        random = drawn.references.get((RANDOM, task, student))
        full = drawn.references.get((FULL, table[0][0].dataset, student))
        if random is not None and full is not None and is_gap(random, full):
            fields[student, track][task] = standings(table, random, full)
    rows = [
        row for (student, track), tables in sorted(fields.items()) if len(tables) > 1 for row in rows_of(student, track, tables)
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def standings(table: list[tuple[Entry, Drawn]], random: Drawn, full: Drawn) -> dict[str, Standing]:
    """By method. A method of which two sets claim one distillation seed has none: which of them it is, is not known."""
    ranked = sorted((pair for pair in table if pair[0].is_ranked), key=order)
    methods = [entry.one.method for entry, _ in ranked]
    found = {}
    for (entry, drawn), (rank, _, _) in zip(ranked, placed(ranked), strict=True):
        if methods.count(entry.one.method) == 1:
            share = (drawn.score - random.score) / (full.score - random.score)
            draws = np.zeros_like(drawn.video) if drawn is random else shares(drawn, random, full)
            found[entry.one.method] = Standing(str(entry.one.task), rank, share, draws)
    return found


def rows_of(student: str, track: str, tables: dict[str, dict[str, Standing]]) -> list[dict[str, object]]:
    """Of one student and track: methods in all tables, best first, then the others by name."""
    methods = sorted({method for table in tables.values() for method in table})
    whole = {m: [table[m] for table in tables.values()] for m in methods if all(m in table for table in tables.values())}
    best_first = sorted(whole, key=lambda m: (-mean_share(whole[m]), m))
    draws = {m: np.mean([standing.draws for standing in whole[m]], axis=0) for m in best_first}
    places = places_of([draws[m] for m in best_first])
    rows = []
    for method, (rank, low, high) in zip(best_first, places, strict=True):
        gap_low, gap_high = np.percentile(draws[method], [2.5, 97.5])
        rows.append(
            row(student, track, method, tables)
            | {"rank": rank, "rank_low": low, "rank_high": high, "gap_closed": mean_share(whole[method])}
            | {"gap_low": float(gap_low), "gap_high": float(gap_high)}
            | {"mean_rank": float(np.mean([standing.rank for standing in whole[method]]))}
        )
    return rows + [row(student, track, method, tables) for method in methods if method not in whole]


def row(student: str, track: str, method: str, tables: dict[str, dict[str, Standing]]) -> dict[str, object]:
    missing = sorted(task for task, table in tables.items() if method not in table)
    return dict.fromkeys(COLUMNS, float("nan")) | {
        "student": student,
        "track": track,
        "method": method,
        "tables": len(tables) - len(missing),
        "of_tables": len(tables),
        "missing": " ".join(missing),
    }


def mean_share(of_method: Sequence[Standing]) -> float:
    return float(np.mean([standing.share for standing in of_method]))


def places_of(draws: Sequence[np.ndarray]) -> list[tuple[float, float, float]]:
    """(rank, low, high), best first, as in a table; tie groups by the draws of paired differences."""
    if not draws:
        return []
    of_each = pd.DataFrame(-np.stack(draws)).rank(axis=0, method="min").to_numpy()
    low, high = np.percentile(of_each, [2.5, 97.5], axis=1, method="closest_observation")
    first: list[int] = []
    while len(first) < len(draws):
        best = len(first)
        tied = 1
        for p in holm([p_of(draws[best] - other) for other in draws[best + 1 :]]):
            if p < LEVEL:
                break
            tied += 1
        first += [best + 1] * tied
    return [(float(a), float(min(a, b)), float(max(a, c))) for a, b, c in zip(first, low, high, strict=True)]


def p_of(differences: np.ndarray) -> float:
    """Of a difference this far from 0 between equals, by the spread of its draws."""
    spread = float(differences.std())
    return float(2 * ndtr(-abs(float(differences.mean())) / spread)) if spread > 0 else float(differences[0] == 0)
