"""An entry of a table: one method with the records of all sets that it distilled for a task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple

import numpy as np

from vddbench.leaderboard.bootstrap import Drawn, Hits, draw
from vddbench.leaderboard.evidence import Evaluated
from vddbench.leaderboard.videos import Videos
from vddbench.records.record import Record

MIN_SEEDS = 3  # trained students; entries with fewer are shown and flagged, but not ranked


class TableKey(NamedTuple):
    """One table. `task` is text, as in the rows of `rank`."""

    task: str
    student: str
    track: str
    division: str  # divisions.py; "" for DATASET-full


@dataclass(frozen=True)
class Entry:
    """A method in one table: its records, grouped by distillation."""

    evaluated: tuple[tuple[Evaluated, ...], ...]  # the students that count, of each distillation
    repeated: int = 0  # distillations that are left out because their payload is that of another one, or nearly so
    copy_of: str = ""  # an earlier entry of the same owner whose students give the same answers

    @property
    def one(self) -> Record:
        return self.evaluated[0][0].record

    @property
    def std_students(self) -> float:
        """Standard deviation of top-1 over students of one distillation, pooled over distillations; NaN for single students."""
        return pooled_std([[one.record.top1 for one in of_set] for of_set in self.evaluated])

    @property
    def std_distillations(self) -> float:
        """Standard deviation over distillations of the mean top-1 of their students; NaN for a single distillation."""
        means = [np.mean([one.record.top1 for one in of_set]) for of_set in self.evaluated]
        return float(np.std(means, ddof=1)) if len(means) > 1 else float("nan")

    @cached_property
    def records(self) -> list[Record]:
        return [one.record for of_set in self.evaluated for one in of_set]

    @property
    def contest(self) -> tuple[str, str, str]:
        """Task, student and track, which its tables in both divisions have in common."""
        return str(self.one.task), self.one.student, self.one.track

    @property
    def dataset(self) -> str:
        return self.one.task.dataset

    @property
    def payload_bytes(self) -> int:
        """Of its largest distillation."""
        return max(record.payload_bytes for record in self.records)

    @property
    def hits(self) -> Hits:
        return [np.array([one.hits for one in of_set]) for of_set in self.evaluated]

    @property
    def basis(self) -> Literal["claimed", "verified"]:
        """Who trained the students: the authors say so, or maintainers did it on fresh seeds."""
        return "verified" if self.evaluated[0][0].is_verified else "claimed"

    @property
    def chosen_seeds(self) -> list[int]:
        """Claimed seeds of the first distillation whose seeds are not 0, 1, ..., n-1: the others may have been left out."""
        claimed = [[one.record.seed for one in of_set if not one.is_verified] for of_set in self.evaluated]
        return next((seeds for seeds in claimed if sorted(seeds) != list(range(len(seeds)))), [])

    @property
    def is_ranked(self) -> bool:
        if self.one.trained_on or self.one.task.is_full:  # references
            return False
        return len(self.records) >= MIN_SEEDS and not (self.chosen_seeds or self.copy_of)

    def drawn(self, videos: Videos) -> Drawn:
        """Bootstrap draws of the score. Their random numbers depend on the entry alone, not on the rest of the table or on the
        division."""
        key = "/".join([*self.contest, self.one.method, *sorted({record.submission_sha256 for record in self.records})])
        return draw(self.hits, videos, key)


def pooled_std(sets: Sequence[Sequence[float]]) -> float:
    """The standard deviation within sets of scores, pooled over the sets; NaN if each has a single score."""
    scores = [np.array(of_set) for of_set in sets]
    freedom = sum(len(of_set) - 1 for of_set in scores)
    squares = sum(((of_set - of_set.mean()) ** 2).sum() for of_set in scores)
    return float(np.sqrt(squares / freedom)) if freedom else float("nan")
