"""How many students does it take to detect a difference of two methods? Estimated from the spread of existing records.

A difference is detected if its 95 % interval excludes 0; a power of 80 % means: in four of five repetitions. More students
reduce the variance between students; the variance over test videos remains, however many are trained.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
from scipy.special import nctdtrinc, stdtrit  # Student's t: noncentrality for a given power, and its quantile

from vddbench.leaderboard.bootstrap import drawn_videos, residual
from vddbench.leaderboard.counting import entries
from vddbench.leaderboard.evidence import Evaluated, load_valid, tables_of
from vddbench.system.progress import clean

POWER = 0.8
MAX_STUDENTS = 1000  # per method; if more are needed, the answer is that no number is enough


@dataclass(frozen=True)
class Spread:
    """Variances of a typical difference of two methods in one table."""

    student: float  # between students of one method
    video: float  # of the difference, over test videos alone
    clusters: int  # number of groups of test videos
    methods: int


def students_needed(spread: Spread, delta: float) -> int | None:
    """Students per method to detect a difference of `delta` (in [0, 1]); None if no number of them is enough."""
    return next((n for n in range(2, MAX_STUDENTS + 1) if detectable(spread, n) <= delta), None)


def detectable(spread: Spread, students: int) -> float:
    """The smallest difference (in [0, 1]) that two methods with this many students each detect with a power of POWER."""
    of_students = 2 * spread.student / students
    variance = spread.video + of_students
    freedom = variance**2 / (spread.video**2 / (spread.clusters - 1) + of_students**2 / (2 * (students - 1)) or 1e-30)
    return float(nctdtrinc(freedom, 1 - POWER, stdtrit(freedom, 0.975)) * np.sqrt(variance))


def note(evaluated: Sequence[Evaluated], student_counts: Sequence[int]) -> str:
    """A sentence to print below a table: the difference that its students can detect. Empty if their spread is unknown."""
    spread = spread_of(evaluated)
    if spread is None or spread.clusters < 2 or not student_counts:
        return ""
    students = int(np.median(student_counts))
    return (
        f"With {students} students of each of two methods, a difference of {100 * detectable(spread, students):.1f} points is "
        "detected in 4 of 5 cases, a smaller one less often."
    )


def spread_of(evaluated: Sequence[Evaluated]) -> Spread | None:
    """The spread in one table; None if fewer than two distillations have at least two students."""
    of_sets = [of_set for entry in entries(evaluated) for of_set in entry.evaluated if len(of_set) > 1]
    if len(of_sets) < 2:
        return None
    videos = drawn_videos(evaluated[0].groups, "power")
    sets = [np.array([one.hits for one in of_set], np.float32) for of_set in of_sets]
    draws = [(videos.weights @ hits.mean(0), residual(hits, videos)) for hits in sets]
    by_video = [max(0.0, float(np.var(a - b)) - own_a - own_b) for (a, own_a), (b, own_b) in combinations(draws, 2)]
    student = float(np.mean([hits.mean(1).var(ddof=1) for hits in sets]))
    return Spread(student, float(np.mean(by_video)), videos.clusters, len(sets))


def show(roots: Sequence[Path], delta: float, task: str | None, student: str | None) -> None:
    """Prints, for each table, how many students detect `delta`, in points. Raises LookupError, FileNotFoundError."""
    for table in tables_of(load_valid(roots), task, student):
        first = table[0].record
        for track in ("hard", "soft"):
            own = [one for one in table if (one.record.task, one.record.track) == (first.task, track)]
            if own and (spread := spread_of(own)) is not None:
                print(clean(f"{first.task} {first.student} {track} labels: {answer(spread, delta)}"))


def answer(spread: Spread, delta: float) -> str:
    needed = students_needed(spread, delta / 100)
    spreads = (
        f"standard deviations over {spread.methods} sets: {100 * spread.student**0.5:.1f} points between students, "
        f"{100 * spread.video**0.5:.1f} of a difference over test videos"
    )
    if needed is None:
        return f"no number of students detects a difference of {delta:g} points: there are too few test videos ({spreads})"
    return f"{needed} students of each method detect a difference of {delta:g} points in 4 of 5 cases ({spreads})"
