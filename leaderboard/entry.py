"""An entry of a table: one method with the records of all sets that it distilled for a task."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from vddbench.leaderboard.bootstrap import Drawn, Hits, Videos, draw
from vddbench.leaderboard.evidence import Evaluated
from vddbench.records.record import Record

MIN_SEEDS = 3  # trained students; entries with fewer are shown and flagged, but not ranked


class TableKey(NamedTuple):
    """One table. `task` is text, as in the rows of `rank`."""

    task: str
    student: str
    track: str


@dataclass(frozen=True)
class Entry:
    """A method in one table: its records, grouped by distillation."""

    evaluated: tuple[tuple[Evaluated, ...], ...]

    @property
    def one(self) -> Record:
        return self.evaluated[0][0].record

    @cached_property
    def records(self) -> list[Record]:
        return [one.record for of_set in self.evaluated for one in of_set]

    @property
    def table(self) -> TableKey:
        return TableKey(str(self.one.task), self.one.student, self.one.track)

    @property
    def dataset(self) -> str:
        return self.one.task.dataset

    @property
    def hits(self) -> Hits:
        return [np.array([one.hits for one in of_set]) for of_set in self.evaluated]

    @property
    def is_ranked(self) -> bool:
        return len(self.records) >= MIN_SEEDS and not self.one.task.is_full

    def drawn(self, videos: Videos) -> Drawn:
        """Bootstrap draws of the score. Their random numbers depend on the entry alone, not on the rest of the table."""
        key = "/".join([*self.table, self.one.method, *sorted({record.submission_sha256 for record in self.records})])
        return draw(self.hits, videos, key)


def entries(evaluated: Iterable[Evaluated]) -> list[Entry]:
    """The methods of each table; a method with two payloads of one distillation seed becomes one entry per payload."""
    methods: dict[tuple[object, ...], dict[tuple[int, str], list[Evaluated]]] = defaultdict(lambda: defaultdict(list))
    for one in evaluated:
        r = one.record
        methods[r.task, r.student, r.track, r.method][r.distill_seed, r.submission_sha256].append(one)
    made = []
    for sets in methods.values():
        of_sets = [tuple(sorted(of_set, key=lambda one: one.record.seed)) for _, of_set in sorted(sets.items())]
        if len({seed for seed, _ in sets}) == len(sets):
            enough = [of_set for of_set in of_sets if len(of_set) >= MIN_SEEDS]  # one student could be lucky
            made.append(Entry(tuple(enough or of_sets)))
        else:
            made += [Entry((of_set,)) for of_set in of_sets]
    return made
