"""What a table says in words above its rows, in every format that has words; columns of `rank` hold the same numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from vddbench.leaderboard import frontier
from vddbench.leaderboard.bootstrap import Drawn
from vddbench.leaderboard.entry import Entry
from vddbench.leaderboard.power import detectable, spread_of_entries
from vddbench.leaderboard.rows import Row, is_known
from vddbench.leaderboard.winner import corrected
from vddbench.system.progress import clean

BEST_SHOWN = 8  # methods of a confidence set that are named
NAN = float("nan")


class HeadlineColumns(NamedTuple):
    """What `rank` says about a table besides its entries' own scores."""

    corrected: float = NAN  # top-1 of the table's first entry, corrected for having been selected as the best; NaN for others
    corrected_low: float = NAN  # and its 95 % interval
    corrected_high: float = NAN
    detectable: float = NAN  # smallest difference of two sets that as many students detect with 80 % power; equal in all rows


def columns(table: Sequence[Entry], ranked: Sequence[Drawn], may_be_best: Sequence[bool]) -> list[HeadlineColumns]:
    """The columns of a table's ranked entries, best first. table: all its entries, also those without a rank."""
    if not ranked:
        return []
    spread = spread_of_entries(table)
    counts = [(len(entry.records), len(entry.evaluated)) for entry in table if entry.is_ranked]
    smallest = NAN if spread is None else detectable(spread.upper(), students_of_a_set(counts))
    first = HeadlineColumns(*corrected(ranked, may_be_best), smallest)
    return [first, *[HeadlineColumns(detectable=smallest)] * (len(ranked) - 1)]


def students_of_a_set(counts: Sequence[tuple[int, int]]) -> int:
    """The median, over entries, of the students of one set. counts: for each entry (all its students, its sets)."""
    return int(np.median([students / sets for students, sets in counts]))


def headline(rows: Sequence[Row], *, with_curve: bool) -> str:
    """The sentences above a table. Empty if nothing in it is ranked. Arguments: of `sentences`."""
    return " ".join(sentences(rows, with_curve=with_curve))


def sentences(rows: Sequence[Row], *, with_curve: bool) -> list[str]:
    """The sentences above a table: who may be the best, then how sure that is. Empty if nothing in it is ranked.

    rows: of one table of `rank`. with_curve: whether methods are compared with the codec curve, as in division `open`.
    """
    ranked = [row for row in rows if is_known(row["rank"])]
    if not ranked:
        return []
    texts = [best_of(ranked), corrected_best(ranked), resolution(ranked)]
    texts += [frontier.sentence(ranked)] if with_curve else []
    return [text for text in (*texts, ties(ranked)) if text]


def best_of(ranked: Sequence[Row]) -> str:
    """The confidence set of the best. Empty for a single entry."""
    if len(ranked) < 2:
        return ""
    methods = [clean(row["method"]) for row in ranked if row["may_be_best"]]
    more = f" and {len(methods) - BEST_SHOWN} more" if len(methods) > BEST_SHOWN else ""
    kind = "set" if any(row["distillations"] == 1 for row in ranked) else "method"
    names = f"{', '.join(methods[:BEST_SHOWN])}{more}"
    return f"{len(methods)} of {len(ranked)} entries may be the best {kind} with 95 % confidence: {names}."


def corrected_best(ranked: Sequence[Row]) -> str:
    """The best score, corrected. Empty for a single entry, which was not selected, and if it has no interval."""
    first = ranked[0]
    if len(ranked) < 2 or not is_known(first["corrected"]):
        return ""
    raw, value, low, high = (f"{100 * first[name]:.1f}" for name in ("top1", "corrected", "corrected_low", "corrected_high"))
    return f"The best score, {raw} %, is {value} % ({low} to {high}) once corrected for having been selected as the best."


def resolution(ranked: Sequence[Row]) -> str:
    """Which difference of two sets the students of a table can detect. Empty if their spread is not known.

    Of sets, not of methods: how much sets of one method differ is not in it.
    """
    smallest = ranked[0]["detectable"]
    if not is_known(smallest):
        return ""
    students = students_of_a_set([(row["seeds"], row["distillations"]) for row in ranked])
    return (
        f"With {students} students of each set, differences of {100 * smallest:.1f} points or more between two sets are "
        "detected with 80 % power."
    )


def ties(ranked: Sequence[Row]) -> str:
    """Explains entries of rank 1 that are not among those that may be the best. Empty if there are none."""
    more = sum(row["rank"] == 1 and not row["may_be_best"] for row in ranked)
    if not more:
        return ""
    return f"Rank 1 is shared with {more} more: ranks compare all pairs of a table together, which separates fewer entries."
