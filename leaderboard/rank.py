"""Ranks records: scores, their uncertainty, and ranks that entries share in a tie. Reads only records and predictions.

A score is a mean over distillations of means over students. An entry belongs to a tie group if neither it nor one above it in
the group differs significantly from the group's best entry, in comparisons that hold for all pairs of a table (comparisons.py).
Ranks never mix protocols, prepared stores, tracks, tasks or students. Each division (divisions.py) has ranks and references of
its own.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from vddbench.leaderboard.bootstrap import Drawn
from vddbench.leaderboard.comparisons import Comparisons, compared
from vddbench.leaderboard.counting import entries
from vddbench.leaderboard.divisions import OPEN, in_divisions
from vddbench.leaderboard.entry import Entry, TableKey
from vddbench.leaderboard.evidence import Evaluated
from vddbench.leaderboard.frontier import NOTHING, FrontierColumns, Sized, frontier
from vddbench.leaderboard.gains import gain_of, gap_closed
from vddbench.leaderboard.headline import HeadlineColumns
from vddbench.leaderboard.headline import columns as headline_columns
from vddbench.leaderboard.marks import marked
from vddbench.leaderboard.rows import Row
from vddbench.leaderboard.table_records import check_references, check_unmixed, is_reference, name
from vddbench.leaderboard.videos import Videos, drawn_videos

if TYPE_CHECKING:
    import pandas as pd

TABLE = list(TableKey._fields)
LOST = ("lost_still", "lost_shuffled", "lost_reversed")  # what a probe loses; fields of records without "lost_", with "_top1"
COLUMNS = [
    *TABLE, "rank", "rank_low", "rank_high", "may_be_best", "method", "title", "top1", "low", "high", "gain", "gain_low",
    "gain_high", "gap_closed", "gap_low", "gap_high", "distillations", "seeds", "basis", "std_students", "std_distillations",
    *LOST, *HeadlineColumns._fields, *FrontierColumns._fields,
    "payload_bytes", "budget_share", "clips_per_class", "flags", "date", "sha256", "dataset",
]  # fmt: skip
NAN = float("nan")


class Place(NamedTuple):
    """The place of an entry in its table."""

    rank: float  # of its tie group's best entry
    rank_low: float  # in 95 % of the draws the entry comes from rank_low to rank_high; both contain `rank`
    rank_high: float
    may_be_best: bool | None  # whether it is in the 95 % confidence set of the best entry


NOT_RANKED = Place(NAN, NAN, NAN, None)


class InTable(NamedTuple):
    """What a row says that depends on the other entries of its table."""

    place: Place = NOT_RANKED
    of_headline: HeadlineColumns = HeadlineColumns()
    of_frontier: FrontierColumns = NOTHING


class Contender(NamedTuple):
    """An entry in one of its tables, and the draws of its score, which are the same in all of them."""

    entry: Entry
    drawn: Drawn
    table: TableKey


def rank(evaluated: Sequence[Evaluated]) -> pd.DataFrame:
    """`ranked_rows` as a table of pandas."""
    return as_frame(ranked_rows(evaluated))


def as_frame(rows: Sequence[Row]) -> pd.DataFrame:
    import pandas as pd  # takes as long to import as a small board to rank

    return pd.DataFrame(rows, columns=COLUMNS)


def ranked_rows(evaluated: Sequence[Evaluated]) -> list[Row]:
    """One row for each entry (task, student, track, division, method), best first within each table. Includes reference rows.

    An entry of division `ipc` has a row in `open`, too, where it has other competitors. DATASET-full has the division "".

    All distillations of a method form one entry; if some have at least 3 students, the others are left out. If a method has
    two payloads of one distillation seed, each payload is an entry of its own.

    `gain` is the score minus that of `random` for the same task, student and division. `gap_closed` is the share of the gap
    from `random` to `full`. Both are NaN if the reference rows are missing. Ranks are competition ranks of tie groups among
    entries with at least 3 students that count (see counting.py). `basis`: whether these are claimed by the authors or verified
    by maintainers. In 95 % of the draws an entry's place is between `rank_low` and `rank_high`. The entries of
    `may_be_best` are a 95 % confidence set of the best. `corrected` to `detectable` are explained in headline.py; `pareto` to
    `over_codec_high`, which are of division `open` only, in frontier.py. DATASET-full is a reference and never ranked. Entries
    without a rank come last in their table. Entries of equal score are sorted by bytes, then by date.

    Raises ValueError for records that cannot share a table.
    """
    board = draw_all(evaluated)
    return [row for _, table in sorted(board.tables.items()) for row in rows_of(table, board)]


class Ranking(NamedTuple):
    """Rows of several tables, and one line for each table whose records cannot share one."""

    rows: list[Row]
    problems: list[str]


def rank_tables(tables: Iterable[Sequence[Evaluated]]) -> Ranking:
    """Ranks the tables of `tables_of` one by one, so that a table that is refused does not affect the others."""
    rows: dict[tuple[object, ...], Row] = {}  # the reference `full` is in several
    problems = []
    for table in tables:
        try:
            for row in ranked_rows(table):
                rows.setdefault(tuple(row[name] for name in (*TABLE, "method", "sha256")), row)
        except ValueError as error:
            first = table[0].record
            problems.append(f"no table of {first.task}, network {first.student}: {error}")
    return Ranking(list(rows.values()), problems)


@dataclass(frozen=True)
class DrawnBoard:
    """All entries with their draws, by table, and the references that they are compared with."""

    tables: dict[TableKey, list[Contender]]
    random: dict[tuple[str, str, str], Drawn]  # by task, student and division
    full: dict[tuple[str, str], Drawn]  # by dataset and student
    # by the entries of a table, all and ranked: the divisions of a task often have the same
    compared: dict[tuple[int, ...], tuple[list[Place], list[HeadlineColumns]]] = field(default_factory=dict)

    def gap(self, contender: Contender) -> tuple[Drawn | None, Drawn | None]:
        """The draws of `random` and of `full` for an entry's task, student and division."""
        task, student, _, division = contender.table
        return self.random.get((task, student, division)), self.full.get((contender.entry.dataset, student))


def draw_all(evaluated: Sequence[Evaluated]) -> DrawnBoard:
    """Draws the scores of all entries. Entries of one dataset share the draws of its test videos.

    Raises ValueError for records that cannot share a table.
    """
    evaluated = sorted(evaluated, key=lambda one: (name(one.record), one.record.distill_seed, one.record.track))
    check_unmixed(evaluated)
    check_references(one.record for one in evaluated)
    videos: dict[str, Videos] = {}
    known: dict[tuple[int, ...], Drawn] = {}  # by the students that count: an entry is drawn once for both divisions
    board = DrawnBoard(defaultdict(list), {}, {})
    of_records: dict[tuple[int, ...], list[Entry]] = {}  # divisions often have the same records
    for division, part in in_divisions(evaluated).items():
        records = tuple(map(id, part))
        if records not in of_records:
            of_records[records] = entries(part)
        for entry in of_records[records]:
            one, first = entry.one, entry.evaluated[0][0]
            if entry.dataset not in videos:
                videos[entry.dataset] = drawn_videos(first.groups, first.labels, entry.dataset)
            students = tuple(map(id, entry.records))
            if students not in known:
                known[students] = entry.drawn(videos[entry.dataset])
            table = TableKey(*entry.contest, division)
            board.tables[table].append(Contender(entry, known[students], table))
            if is_reference(one) and one.task.is_full:
                board.full[entry.dataset, one.student] = known[students]
            elif is_reference(one):
                board.random[table.task, table.student, division] = known[students]
    return board


def rows_of(table: Sequence[Contender], board: DrawnBoard) -> list[Row]:
    """The rows of one table, in order."""
    ranked = sorted((contender for contender in table if contender.entry.is_ranked), key=order)
    in_table = dict(zip([id(contender.entry) for contender in ranked], compared_in(table, ranked, board), strict=True))
    return [row_of(contender, in_table.get(id(contender.entry), InTable()), board) for contender in sorted(table, key=order)]


def compared_in(table: Sequence[Contender], ranked: Sequence[Contender], board: DrawnBoard) -> list[InTable]:
    """What the rows of a table's ranked entries say about each other. ranked: best first."""
    key = tuple(id(contender.entry) for contender in (*table, *ranked))
    if key not in board.compared:
        of_places, drawn = placed(ranked), [contender.drawn for contender in ranked]
        in_headline = headline_columns([c.entry for c in table], drawn, [bool(place.may_be_best) for place in of_places])
        board.compared[key] = of_places, in_headline
    of_places, in_headline = board.compared[key]
    of_frontier = [NOTHING] * len(ranked)
    if ranked and ranked[0].table.division == OPEN:
        of_frontier = frontier([Sized(c.entry.one.method, c.entry.payload_bytes, c.drawn) for c in ranked])
    return [InTable(*columns) for columns in zip(of_places, in_headline, of_frontier, strict=True)]


def order(contender: Contender) -> tuple[object, ...]:
    """Sort key: ranked entries first, then best first. Equal scores by bytes, then by date.

    The last two fields make the order unambiguous.
    """
    one = contender.entry.one
    first = min(record.date for record in contender.entry.records)
    return not contender.entry.is_ranked, -contender.drawn.score, one.payload_bytes, first, one.method, one.submission_sha256


def placed(ranked: Sequence[Contender]) -> list[Place]:
    """The places of a table's ranked entries, best first."""
    drawn = [contender.drawn for contender in ranked]
    return places([one.scores for one in drawn], compared(drawn))


def places(scores: Sequence[np.ndarray], comparisons: Comparisons) -> list[Place]:
    """The place of each entry, best first. Entries of a tie group share its first rank, which their intervals contain.

    scores: [draws] of each entry.
    """
    if not scores:
        return []
    ranks = np.stack([places_in(draw) for draw in np.stack(scores, axis=1)], axis=1)  # [entries, draws]
    low, high = np.percentile(ranks, [2.5, 97.5], axis=1, method="closest_observation")
    rows = zip(comparisons.groups, low, high, comparisons.may_be_best.tolist(), strict=True)
    return [Place(first + 1.0, float(min(first + 1, a)), float(max(first + 1, b)), best) for first, a, b, best in rows]


def places_in(scores: np.ndarray) -> np.ndarray:
    """[entries] places by score in one draw: 1 for the highest. Equal scores share the first of their places."""
    return np.asarray(1 + np.searchsorted(np.sort(-scores), -scores), np.int32)


def row_of(contender: Contender, in_table: InTable, board: DrawnBoard) -> Row:
    entry, drawn = contender.entry, contender.drawn
    one, records = entry.one, entry.records
    low, high = drawn.interval
    random, full = board.gap(contender)
    gain, gap = gain_of(drawn, random), gap_closed(drawn, random, full)
    return {
        **contender.table._asdict(),
        **in_table.place._asdict(),
        "method": one.method,
        "title": one.title or "",
        "top1": drawn.score,
        "low": low,
        "high": high,
        **dict(zip(("gain", "gain_low", "gain_high"), gain, strict=True)),
        **dict(zip(("gap_closed", "gap_low", "gap_high"), gap, strict=True)),
        "distillations": len(entry.evaluated),
        "seeds": len(records),
        "basis": entry.basis,
        "std_students": entry.std_students,
        "std_distillations": entry.std_distillations,
        **{name: lost(entry, f"{name.removeprefix('lost_')}_top1") for name in LOST},
        **in_table.of_headline._asdict(),
        **in_table.of_frontier._asdict(),
        "payload_bytes": entry.payload_bytes,
        "budget_share": entry.payload_bytes / one.budget_bytes if one.budget_bytes else NAN,
        "clips_per_class": max(record.clips_per_class for record in records),
        "flags": marked(entry),
        "date": min(record.date for record in records),
        "sha256": " ".join(dict.fromkeys(record.submission_sha256 for record in records)),
        "dataset": entry.dataset,
    }


def lost(entry: Entry, probe: str) -> float:
    """Top-1 minus that on test videos with changed frames, a field of records; the mean over students that were probed."""
    losses = [record.top1 - getattr(record, probe) for record in entry.records if getattr(record, probe) is not None]
    return float(np.mean(losses)) if losses else NAN
