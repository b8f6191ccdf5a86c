"""How many students does it take to detect a difference of two sets? Estimated from the spread of existing records.

A difference is detected if its 95 % interval excludes 0; a power of 80 % means: in four of five repetitions. More students
reduce the variance between students; the variance over test videos remains, however many are trained. The spread of existing
records is itself uncertain: its upper confidence limit is used, so that the answer is rarely too small. No record shows how
often students fail in a way that none of them did yet. Sets of one method differ, too, and no number of students makes
up for that.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.special import chdtri  # quantile of chi-squared, given its upper tail

from vddbench.leaderboard.bootstrap import Variance, half_interval, residual
from vddbench.leaderboard.counting import entries
from vddbench.leaderboard.divisions import NONE, chosen, in_divisions, once
from vddbench.leaderboard.entry import Entry, TableKey
from vddbench.leaderboard.evidence import Evaluated, load_valid
from vddbench.leaderboard.table_records import tables_of
from vddbench.leaderboard.videos import Videos, drawn_videos
from vddbench.system.progress import clean

POWER = 0.8
MAX_STUDENTS = 1000  # per set; if more are needed, the answer is that no number is enough
MAX_COMPARED = 200  # sets of a table; more of them would take a tenth of the time of ranking 1,000 entries
SURE = 0.8  # confidence that a spread is at most the limit that is used


@dataclass(frozen=True)
class Spread:
    """Variances of a typical difference of two sets in one table."""

    student: Variance  # between students of one set
    video: Variance  # of the difference, over test videos alone
    methods: int

    def upper(self) -> Spread:
        """The upper confidence limits of the variances, which are above the true ones with a probability of SURE each."""
        return Spread(upper_limit(self.student), upper_limit(self.video), self.methods)


def upper_limit(variance: Variance) -> Variance:
    return Variance(float(variance.value * variance.freedom / chdtri(variance.freedom, SURE)), variance.freedom)


def students_needed(spread: Spread, delta: float) -> int | None:
    """Students per set to detect a difference of `delta` (in [0, 1]); None if no number of them is enough."""
    return next((n for n in range(2, MAX_STUDENTS + 1) if detectable(spread, n) <= delta), None)


def detectable(spread: Spread, students: int) -> float:
    """The smallest difference (in [0, 1]) that two sets with this many students each detect with a power of POWER."""
    of_students = Variance(2 * spread.student.value / students, 2.0 * (students - 1))
    half = half_interval([spread.video, of_students])
    missed = half_interval([spread.video, of_students], 2 * (1 - POWER))  # so far above the interval's half in POWER of cases
    return float(half + missed)


def spread_of(evaluated: Sequence[Evaluated]) -> Spread | None:
    """The spread in one table; None for fewer than two distillations of at least two students, or one cluster of videos."""
    return spread_of_entries(entries(evaluated))


def spread_of_entries(table: Sequence[Entry]) -> Spread | None:
    """As `spread_of`, of the table's entries. Of many sets only some are compared, spread evenly over the table."""
    of_sets = [of_set for entry in table for of_set in entry.evaluated if len(of_set) > 1]
    if len(of_sets) < 2:
        return None
    of_sets = of_sets[:: math.ceil(len(of_sets) / MAX_COMPARED)]
    first = of_sets[0][0]
    videos = drawn_videos(first.groups, first.labels, "power", draws=0)
    if videos.clusters < 2:
        return None
    return spread_of_hits([np.array([one.hits for one in of_set]) for of_set in of_sets], videos)


def spread_of_hits(sets: Sequence[np.ndarray], videos: Videos) -> Spread:
    """The spread of at least two sets. sets: for each [students, V] bool, whether the answer is right."""
    students = [hits.astype(float) for hits in sets]
    moves = np.array([videos.influence(hits.mean(0)[None])[0] for hits in students])
    twice = np.array([residual(hits, videos) for hits in students])
    products = moves @ moves.T
    own = np.diag(products) - twice
    of_pairs = np.maximum(0.0, own[:, None] + own - 2 * products)[np.triu_indices(len(sets), 1)]
    student = float(np.mean([hits.mean(1).var(ddof=1) for hits in students]))
    freedom = float(sum(len(hits) - 1 for hits in students))
    return Spread(Variance(student, freedom), Variance(float(of_pairs.mean()), videos.freedom), len(sets))


def show(
    roots: Sequence[Path], delta: float, task: str | None, student: str | None, division: str | None = None,
    as_json: bool = False,
) -> None:  # fmt: skip
    """Prints, for each table, how many students detect `delta`, in points. Raises LookupError, FileNotFoundError."""
    spreads = spreads_of(roots, task, student, division)
    if as_json:
        print(json.dumps([{**key._asdict(), **in_points(spread, delta)} for key, spread in spreads], indent=1))
        return
    for key, spread in spreads:
        of_division = f", division {key.division}" if key.division else ""
        print(clean(f"{key.task} {key.student} {key.track} labels{of_division}: {answer(spread, delta)}"))


def spreads_of(
    roots: Sequence[Path], task: str | None, student: str | None, division: str | None
) -> list[tuple[TableKey, Spread]]:
    """The spread in each table that has one. Raises LookupError, also if none has one, FileNotFoundError."""
    found = []
    divisions = chosen(division)
    for table in tables_of(load_valid(roots), task, student):
        first = table[0].record
        for track in ("hard", "soft"):
            own = [one for one in table if (one.record.task, one.record.track) == (first.task, track)]
            parts = {name: part for name, part in in_divisions(own).items() if name in {*divisions, NONE}}
            for name, part in once(parts).items():
                if (spread := spread_of(part)) is not None:
                    found.append((TableKey(str(first.task), first.student, track, name), spread))
    if not found:
        of_task = f" of {task}" if task else ""
        raise LookupError(f"no table{of_task} has two sets of 2 or more students: evaluate more with `vddbench evaluate`")
    return found


def in_points(spread: Spread, delta: float) -> dict[str, float | int | None]:
    """What `answer` says, in points of top-1. students: per set; None if no number of them is enough."""
    limits = spread.upper()
    return {
        "delta": delta,
        "students": students_needed(limits, delta / 100),
        "sets": spread.methods,
        "std_students": 100 * float(spread.student.value) ** 0.5,
        "std_students_limit": 100 * float(limits.student.value) ** 0.5,
        "std_videos": 100 * float(spread.video.value) ** 0.5,
        "std_videos_limit": 100 * float(limits.video.value) ** 0.5,
    }


def answer(spread: Spread, delta: float) -> str:
    limits = spread.upper()
    needed = students_needed(limits, delta / 100)
    student, video = (
        f"{100 * variance.value**0.5:.1f} (at most {100 * limit.value**0.5:.1f})"
        for variance, limit in ((spread.student, limits.student), (spread.video, limits.video))
    )
    spreads = (
        f"standard deviations over {spread.methods} sets: {student} points between students, {video} of a difference over test "
        f"videos; planned with the limits, which hold with {SURE:.0%} confidence"
    )
    if needed is None:
        return f"no number of students detects a difference of {delta:g} points: there are too few test videos ({spreads})"
    return f"{needed} students of each set detect a difference of {delta:g} points between two sets with 80 % power ({spreads})"
