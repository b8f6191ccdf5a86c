"""Records -> a ranked table: scores, how sure they are, honest ranks. Reads records and their predictions only; no torch.

A score is a mean over distillations of means over students. An entry belongs to a tie group when its paired difference to the
group's best is not separated from 0 (95 %, Holm over the entries below that best). Ranks are never computed across protocols,
prepared stores, tracks, tasks or students.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from vddbench.leaderboard.bootstrap import Drawn, Hits, Videos, apart, draw, drawn_videos, holm
from vddbench.leaderboard.evidence import RANDOM, Evaluated, check_references, check_unmixed, is_reference, name
from vddbench.records.record import Record
from vddbench.spec import FULL, Task

MIN_SEEDS = 3  # trained students; entries of fewer are shown, marked, and not ranked
LEVEL = 0.05  # of the tests that separate tie groups
TABLE = ["task", "student", "track"]
COLUMNS = [
    *TABLE, "rank", "rank_low", "rank_high", "method", "top1", "low", "high", "gain", "gain_low", "gain_high",
    "gap_closed", "gap_low", "gap_high", "distillations", "seeds", "payload_bytes", "budget_share", "clips_per_class",
    "flags", "date", "sha256", "dataset",
]  # fmt: skip
NOTHING = (float("nan"),) * 3
ZERO = (0.0, float("nan"), float("nan"))  # no interval: it is so by definition
References = dict[tuple[str, str, str], Drawn]  # by (RANDOM or FULL, task or dataset, student)


@dataclass(frozen=True)
class Entry:
    """A method in one table: its records, distillation by distillation."""

    evaluated: tuple[tuple[Evaluated, ...], ...]

    @property
    def one(self) -> Record:
        return self.evaluated[0][0].record

    @cached_property
    def records(self) -> list[Record]:
        return [each.record for of_set in self.evaluated for each in of_set]

    @property
    def table(self) -> tuple[str, str, str]:
        return str(self.one.task), self.one.student, self.one.track

    @property
    def dataset(self) -> str:
        return self.one.task.dataset

    @property
    def hits(self) -> Hits:
        return [np.array([each.hits for each in of_set]) for of_set in self.evaluated]

    @property
    def is_ranked(self) -> bool:
        return len(self.records) >= MIN_SEEDS and not self.one.task.is_full

    def drawn(self, videos: Videos) -> Drawn:
        """Random numbers follow from what the entry is, not from what else is in the table."""
        key = "/".join([*self.table, self.one.method, *sorted({record.submission_sha256 for record in self.records})])
        return draw(self.hits, videos, key)


def rank(found: Sequence[Evaluated]) -> pd.DataFrame:
    """One row for each entry (task, student, track, method), best first inside each table, reference rows included.

    A method's distillations are one entry (those of at least 3 students, where there are any); where it has two payloads of
    one distillation seed, each payload is one. `gain` is over `random` of the same task and student, `gap_closed` the share
    of what `full` gains; NaN without those rows. Ranks are competition ranks of tie groups over entries of at least 3
    students; `rank_low` to `rank_high` is where an entry comes in 95 % of the draws, and its rank. DATASET-full is a reference
    and never ranked. Inside a group entries stand by score, then fewer bytes, then the earlier date. Raises ValueError for
    records that can't share a table.
    """
    drawn = draw_all(found)
    rows = [row for _, table in sorted(drawn.tables.items()) for row in rows_of(table, drawn.references)]
    return pd.DataFrame(rows, columns=COLUMNS)


@dataclass(frozen=True)
class DrawnAll:
    """Every entry with its draws, by (task, student, track), and the references they are held against."""

    tables: dict[tuple[str, str, str], list[tuple[Entry, Drawn]]]
    references: References


def draw_all(found: Sequence[Evaluated]) -> DrawnAll:
    """Test videos are drawn jointly for all entries of a dataset. Raises ValueError for records that can't share a table."""
    found = sorted(found, key=lambda each: (name(each.record), each.record.distill_seed, each.record.track))
    check_unmixed(found)
    check_references(each.record for each in found)
    videos: dict[str, Videos] = {}
    tables: dict[tuple[str, str, str], list[tuple[Entry, Drawn]]] = defaultdict(list)
    references: References = {}
    for entry in entries(found):
        if entry.dataset not in videos:
            videos[entry.dataset] = drawn_videos(entry.evaluated[0][0].groups, entry.dataset)
        drawn = entry.drawn(videos[entry.dataset])
        tables[entry.table].append((entry, drawn))
        if is_reference(entry.one):
            kind = (FULL, entry.dataset) if entry.one.task.is_full else (RANDOM, str(entry.one.task))
            references[*kind, entry.one.student] = drawn
    return DrawnAll(tables, references)


def entries(found: Iterable[Evaluated]) -> list[Entry]:
    """A method of a table, or one payload of it where two claim the same distillation seed."""
    methods: dict[tuple[Task, str, str, str], dict[tuple[int, str], list[Evaluated]]] = defaultdict(lambda: defaultdict(list))
    for each in found:
        r = each.record
        methods[r.task, r.student, r.track, r.method][r.distill_seed, r.submission_sha256].append(each)
    made = []
    for sets in methods.values():
        of_sets = [tuple(sorted(of_set, key=lambda each: each.record.seed)) for _, of_set in sorted(sets.items())]
        if len({seed for seed, _ in sets}) == len(sets):
            enough = [of_set for of_set in of_sets if len(of_set) >= MIN_SEEDS]  # one lucky student is no distillation
            made.append(Entry(tuple(enough or of_sets)))
        else:
            made += [Entry((of_set,)) for of_set in of_sets]
    return made


def rows_of(table: list[tuple[Entry, Drawn]], references: References) -> list[dict[str, object]]:
    """The rows of one table, in order."""
    ranked = sorted((pair for pair in table if pair[0].is_ranked), key=order)
    ranks = dict(zip([id(entry) for entry, _ in ranked], placed(ranked), strict=True))
    rows = []
    for entry, drawn in sorted(table, key=order):
        rows.append(row_of(entry, drawn, ranks.get(id(entry), NOTHING), references))
    return rows


def order(pair: tuple[Entry, Drawn]) -> tuple[object, ...]:
    """Best first; equal scores by fewer bytes, then the earlier date; by name only so that the order is always the same."""
    entry, drawn = pair
    one = entry.one
    first = min(record.date for record in entry.records)
    return -drawn.score, one.payload_bytes, first, one.method, one.submission_sha256


def placed(ranked: Sequence[tuple[Entry, Drawn]]) -> list[tuple[float, float, float]]:
    """(rank, low, high) of each entry, best first. Entries of a tie group share its first place, which their intervals hold."""
    if not ranked:
        return []
    draws = np.stack([drawn.scores() for _, drawn in ranked])
    places = pd.DataFrame(-draws).rank(axis=0, method="min").to_numpy()  # of each draw
    low, high = np.percentile(places, [2.5, 97.5], axis=1, method="closest_observation")
    first = groups_of([drawn for _, drawn in ranked])
    return [(float(a), float(min(a, b)), float(max(a, c))) for a, b, c in zip(first, low, high, strict=True)]


def groups_of(drawn: Sequence[Drawn]) -> list[int]:
    """Of each entry, best first, the place of its tie group's best: 1, 1, 3, ..."""
    places: list[int] = []
    while len(places) < len(drawn):
        best = len(places)
        below = [apart(drawn[best], other).p for other in drawn[best + 1 :]]
        tied = 1
        for p in holm(below):
            if p < LEVEL:
                break
            tied += 1
        places += [best + 1] * tied
    return places


def row_of(entry: Entry, drawn: Drawn, place: tuple[float, float, float], references: References) -> dict[str, object]:
    one, records = entry.one, entry.records
    low, high = np.percentile(drawn.scores(), [2.5, 97.5]) if drawn.freedom > 0 else (np.nan, np.nan)
    gain, gap = over(entry, drawn, references)
    return {
        **dict(zip(TABLE, entry.table, strict=True)),
        **dict(zip(("rank", "rank_low", "rank_high"), place, strict=True)),
        "method": one.method,
        "top1": drawn.score,
        "low": max(0.0, float(low)) if drawn.freedom > 0 else np.nan,
        "high": min(1.0, float(high)) if drawn.freedom > 0 else np.nan,
        **dict(zip(("gain", "gain_low", "gain_high"), gain, strict=True)),
        **dict(zip(("gap_closed", "gap_low", "gap_high"), gap, strict=True)),
        "distillations": len(entry.evaluated),
        "seeds": len(records),
        "payload_bytes": max(record.payload_bytes for record in records),
        "budget_share": max(r.payload_bytes for r in records) / one.budget_bytes if one.budget_bytes else np.nan,
        "clips_per_class": max(record.clips_per_class for record in records),
        "flags": ", ".join(flags(records, min(each.answers for of_set in entry.evaluated for each in of_set))),
        "date": min(record.date for record in records),
        "sha256": " ".join(dict.fromkeys(record.submission_sha256 for record in records)),
        "dataset": entry.dataset,
    }


def over(entry: Entry, drawn: Drawn, references: References) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """(gain over `random`, share of the gap from `random` to `full` that is closed), each with its interval."""
    random = references.get((RANDOM, str(entry.one.task), entry.one.student))
    full = references.get((FULL, entry.dataset, entry.one.student))
    if random is None:
        return NOTHING, NOTHING
    if drawn is random:
        return ZERO, ZERO
    found = apart(drawn, random)
    gain = (found.difference, found.low, found.high)
    if full is None or not is_gap(random, full):
        return gain, NOTHING
    closed = (drawn.score - random.score) / (full.score - random.score)
    if not min(drawn.freedom, random.freedom) > 0:
        return gain, (closed, np.nan, np.nan)
    return gain, (closed, *(float(q) for q in np.percentile(shares(drawn, random, full), [2.5, 97.5])))


def is_gap(random: Drawn, full: Drawn) -> bool:
    """Is `full` told from `random`? Without a gap no share of it means anything."""
    return random.freedom > 0 and float(np.percentile(_gap(random, full), 2.5)) > 0


def _gap(random: Drawn, full: Drawn) -> np.ndarray:
    of_full = full.scores() if full.freedom > 0 else full.score + full.video  # one student: its luck is not known
    return np.asarray(of_full - random.scores())


def shares(drawn: Drawn, random: Drawn, full: Drawn) -> np.ndarray:
    """[draws] of the share of the gap from `random` to `full` that is closed."""
    return np.asarray((drawn.scores() - random.scores()) / _gap(random, full))


def flags(records: Sequence[Record], fewest_answers: int) -> list[str]:
    """What a reader has to know of an entry. fewest_answers: classes that a student of it ever answered."""
    found = []
    if any(record.external for record in records):
        found.append("external")
    if not all(record.checks.get("finite", False) for record in records):
        found.append("collapsed")
    elif fewest_answers < 2:
        found.append("one answer for all")
    if len(records) < MIN_SEEDS:
        found.append(f"under {MIN_SEEDS} students")
    if missing := max(record.num_missing for record in records):
        found.append(f"{missing} videos missing")
    return found
