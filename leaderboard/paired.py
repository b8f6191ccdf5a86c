"""Compares two methods: the difference of their top-1 on the same test videos, with its interval."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd

from vddbench import lookup
from vddbench.leaderboard.bootstrap import Hits, draw, score_difference
from vddbench.leaderboard.counting import entries
from vddbench.leaderboard.divisions import NONE, chosen, in_divisions, once
from vddbench.leaderboard.entry import MIN_SEEDS, TableKey
from vddbench.leaderboard.evidence import Evaluated, load_valid
from vddbench.leaderboard.table_records import check_unmixed, name, tables_of
from vddbench.leaderboard.videos import drawn_videos


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Top-1 of the first method minus that of the second; each is a mean over distillations of means over students.

    `low` and `high` bound its 95 % interval. They are NaN if there are too few students, or if all test videos form one group.
    """

    top1: float
    low: float
    high: float
    first: float
    second: float
    runs: tuple[int, int]  # trained students of each method
    sets: tuple[int, int]  # distillations of each method


def difference(first: Hits, second: Hits, groups: np.ndarray, labels: np.ndarray) -> Difference:
    """Compares two methods. groups, labels: [V], see `drawn_videos`.

    If a method has a single distillation, the interval does not include the variance between distillations.
    """
    videos = drawn_videos(groups, labels, "two", draws=0)
    drawn = [draw(hits, videos, key) for hits, key in ((first, "first"), (second, "second"))]
    apart = score_difference(*drawn)
    low, high = apart.low, apart.high
    runs, sets = (sum(map(len, first)), sum(map(len, second))), (len(first), len(second))
    if min(runs) < MIN_SEEDS or min(len(hits) for hits in (*first, *second)) < 2 or videos.clusters < 2:
        low = high = np.nan
    scores = {"first": drawn[0].score, "second": drawn[1].score}
    return Difference(top1=apart.difference, low=low, high=high, **scores, runs=runs, sets=sets)


@dataclass(frozen=True)
class Pair:
    """The records of two methods in one table."""

    table: TableKey  # its division is BOTH if the records are the same in both
    first: list[Evaluated]
    second: list[Evaluated]

    def difference(self) -> Difference:
        return difference(_hits(self.first), _hits(self.second), self.first[0].groups, self.first[0].labels)

    def per_class(self) -> pd.DataFrame:
        """A row for each class: `label`, `videos`, and the `Difference` on its test videos; the largest difference first."""
        first, second = _hits(self.first), _hits(self.second)
        labels, groups = self.first[0].labels, self.first[0].groups
        rows = []
        for label in np.unique(labels):
            of_class = labels == label
            own = difference(
                [hits[:, of_class] for hits in first],
                [hits[:, of_class] for hits in second],
                groups[of_class],
                labels[of_class],
            )
            rows.append({"label": int(label), "videos": int(of_class.sum()), **vars(own)})
        return pd.DataFrame(rows).sort_values(["top1", "label"], ascending=[False, True], ignore_index=True)


def pairs(
    roots: Sequence[Path],
    first: str,
    second: str,
    task: str | None = None,
    student: str | None = None,
    division: str | None = None,
) -> list[Pair]:
    """Every task, student, track and division in which both methods have records.

    division: only this one. Raises FileNotFoundError without valid records, LookupError for a task, student or method without
    records, for an unknown division and for methods without a common table, ValueError for records of different stores,
    protocols or recipes.
    """
    divisions = chosen(division)
    evaluated = load_valid(roots)
    tables_of(evaluated, task, student)  # refuses unknown tasks and students
    wanted = [one for one in evaluated if task in {None, str(one.record.task)} and student in {None, one.record.student}]
    known = {one.record.method for one in wanted}
    for method in (first, second):
        if method not in known:
            raise LookupError(lookup.unknown("method with records", method, sorted(known)))
    contests: dict[tuple[str, str, str], list[Evaluated]] = defaultdict(list)
    for one in wanted:
        if one.record.method in {first, second}:
            contests[str(one.record.task), one.record.student, one.record.track].append(one)
    matched = []
    for contest, of_both in sorted(contests.items()):
        parts = {shown: part for shown, part in in_divisions(of_both).items() if shown in {*divisions, NONE}}
        for shown, part in once(parts).items():
            own = {method: [one for one in part if one.record.method == method] for method in (first, second)}
            if own[first] and own[second]:
                check_unmixed(part)
                matched.append(Pair(TableKey(*contest, shown), own[first], own[second]))
    if not matched:
        raise LookupError(
            f"{first} and {second} have no task, student and track{f' of division {division}' if division else ''} in common: "
            "evaluate both on one task with one student; hard and soft labels are never compared"
            + ("; a set with more than ipc clips per class is in division open only" if division else "")
        )
    return matched


def _hits(evaluated: Sequence[Evaluated]) -> Hits:
    """The correct answers of the students by which `rank` ranks a method, by distillation.

    Raises ValueError if two payloads claim one distillation seed.
    """
    found = entries(evaluated)
    if len(found) > 1:
        both = combinations([entry.one for entry in found], 2)
        one, other = next((one, other) for one, other in both if one.distill_seed == other.distill_seed)
        raise ValueError(
            f"two sets are {one.method} of distillation seed {one.distill_seed}: {name(one)} and {name(other)}; "
            "use a results folder that contains only one of them"
        )
    return found[0].hits
