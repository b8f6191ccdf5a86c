"""Is one method better than another? The difference of their top-1 on the same test videos, with its interval. No torch."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from vddbench import lookup
from vddbench.leaderboard.bootstrap import Hits, apart, draw, drawn_videos
from vddbench.leaderboard.evidence import Evaluated, check_unmixed, load, name, tables_of
from vddbench.leaderboard.rank import MIN_SEEDS
from vddbench.records.record import Record
from vddbench.system.progress import say


@dataclass(frozen=True, kw_only=True)
class Difference:
    """First method minus second, of top-1: a mean over distillations of means over students. `low` and `high` bound its 95 %
    interval: NaN where students are too few, or the videos of one group, so that there is nothing to tell luck from."""

    top1: float
    low: float
    high: float
    first: float
    second: float
    runs: tuple[int, int]  # trained students of each
    sets: tuple[int, int]  # distillations of each


def difference(first: Hits, second: Hits, groups: np.ndarray) -> Difference:
    """groups: [V] str, "" for a video that stands alone. With one distillation seed the interval is of that set alone:
    nothing says how others would vary."""
    videos = drawn_videos(groups, "two")
    drawn = [draw(hits, videos, key) for hits, key in ((first, "first"), (second, "second"))]
    found = apart(*drawn)
    low, high = max(found.low, -1.0), min(found.high, 1.0)
    runs, sets = (sum(map(len, first)), sum(map(len, second))), (len(first), len(second))
    if min(runs) < MIN_SEEDS or min(len(hits) for hits in (*first, *second)) < 2 or videos.clusters < 2:
        low = high = np.nan
    return Difference(
        top1=found.difference,
        low=low,
        high=high,
        first=drawn[0].score,
        second=drawn[1].score,
        runs=runs,
        sets=sets,
    )


@dataclass(frozen=True)
class Pair:
    """The records of two methods in one table."""

    task: str
    student: str
    track: str
    first: list[Evaluated]
    second: list[Evaluated]

    def difference(self) -> Difference:
        return difference(_hits(self.first), _hits(self.second), self.first[0].groups)

    def per_class(self) -> pd.DataFrame:
        """A row for each class of the test videos: `label`, `videos`, and the difference on them alone, largest first."""
        first, second = _hits(self.first), _hits(self.second)
        labels, groups = self.first[0].labels, self.first[0].groups
        rows = []
        for label in np.unique(labels):
            of_class = labels == label
            found = difference([hits[:, of_class] for hits in first], [hits[:, of_class] for hits in second], groups[of_class])
            rows.append({"label": int(label), "videos": int(of_class.sum()), **vars(found)})
        return pd.DataFrame(rows).sort_values(["top1", "label"], ascending=[False, True], ignore_index=True)


def pairs(roots: Sequence[Path], first: str, second: str, task: str | None = None, student: str | None = None) -> list[Pair]:
    """Every task, student and track in which both methods have records.

    Raises LookupError for a task, student or method without records or when methods meet nowhere, ValueError for records of
    different stores, protocols or recipes.
    """
    cells: dict[tuple[str, str, str], dict[str, list[Evaluated]]] = defaultdict(lambda: defaultdict(list))
    loaded = load(roots)
    for refused in loaded.refused:
        say(f"left out: {refused}")
    tables_of(loaded.evaluated, task, student)  # says which tasks and students there are
    for each in loaded.evaluated:
        record = each.record
        if task in {None, str(record.task)} and student in {None, record.student}:
            cells[str(record.task), record.student, record.track][record.method].append(each)
    known = {method for methods in cells.values() for method in methods}
    for method in (first, second):
        if method not in known:
            raise LookupError(lookup.unknown("method with records", method, sorted(known)))
    common = {key: methods for key, methods in sorted(cells.items()) if {first, second} <= methods.keys()}
    if not common:
        raise LookupError(
            f"{first} and {second} have no task, student and track in common: evaluate both on one task with one student; "
            "hard and soft labels are never compared"
        )
    for methods in common.values():
        check_unmixed(each for method in (first, second) for each in methods[method])
    return [Pair(*key, methods[first], methods[second]) for key, methods in common.items()]


def compare(
    roots: Sequence[Path], first: str, second: str, task: str | None = None, student: str | None = None
) -> pd.DataFrame:
    """A row for each of `pairs`: `first` minus `second`. Raises as it does, and ValueError for two sets of one distillation
    seed."""
    rows = [
        {"task": pair.task, "student": pair.student, "track": pair.track, **vars(pair.difference())}
        for pair in pairs(roots, first, second, task, student)
    ]
    return pd.DataFrame(rows)


def _hits(evaluated: Sequence[Evaluated]) -> Hits:
    """Of each distillation. Raises ValueError for two sets of one distillation seed."""
    by_set: dict[int, list[np.ndarray]] = defaultdict(list)
    first: dict[int, Record] = {}
    for each in sorted(evaluated, key=lambda each: (each.record.distill_seed, each.record.seed)):
        record = each.record
        other = first.setdefault(record.distill_seed, record)
        if other.submission_sha256 != record.submission_sha256:
            raise ValueError(
                f"two sets are {record.method} of distillation seed {record.distill_seed}: {name(other)} and {name(record)}; "
                "compare from a folder with one of them"
            )
        by_set[record.distill_seed].append(each.hits)
    return [np.array(hits) for hits in by_set.values()]
