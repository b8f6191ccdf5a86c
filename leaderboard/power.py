"""How many students would tell two methods apart? From the spread of the records there are. No torch.

A difference is told when it is larger than its 95 % interval; with a power of 80 %, in four of five repetitions. More students
shrink what is due to students; what is due to the test videos stays, whatever is spent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
from scipy.special import nctdtrinc, stdtrit  # Student's t, not central: what a test of it finds

from vddbench.leaderboard.bootstrap import drawn_videos, residual
from vddbench.leaderboard.evidence import Evaluated, load, tables_of
from vddbench.leaderboard.rank import entries
from vddbench.system.progress import clean, say

POWER = 0.8
MOST = 1000  # students a method; more is "never"


@dataclass(frozen=True)
class Spread:
    """Of one table: variances of a typical difference of two methods."""

    student: float  # of one student of one method
    video: float  # of the difference, by test videos alone
    clusters: int
    methods: int


def students_needed(spread: Spread, delta: float) -> int | None:
    """Students a method, for a difference of `delta` (in [0, 1]) to be told; None when no number of them is enough."""
    for n in range(2, MOST + 1):
        if least_told(spread, n) <= delta:
            return n
    return None


def least_told(spread: Spread, students: int) -> float:
    """The smallest difference (in [0, 1]) that this many students of each of two methods tell."""
    of_students = 2 * spread.student / students
    variance = spread.video + of_students
    freedom = variance**2 / (spread.video**2 / (spread.clusters - 1) + of_students**2 / (2 * (students - 1)) or 1e-30)
    return float(nctdtrinc(freedom, 1 - POWER, stdtrit(freedom, 0.975)) * np.sqrt(variance))


def note(found: Sequence[Evaluated], student_counts: Sequence[int]) -> str:
    """What the students and test videos of a table can't tell apart; empty when nothing tells their spread."""
    spread = spread_of(found)
    if spread is None or spread.clusters < 2 or not student_counts:
        return ""
    students = int(np.median(student_counts))
    return (
        f"Of two methods of {students} students each, a difference of {100 * least_told(spread, students):.1f} points is told "
        "in 4 of 5 cases, a smaller one less often."
    )


def spread_of(found: Sequence[Evaluated]) -> Spread | None:
    """Of the entries of one table; None when they are fewer than two of at least two students of one distillation."""
    of_sets = [of_set for entry in entries(found) for of_set in entry.evaluated if len(of_set) > 1]
    if len(of_sets) < 2:
        return None
    videos = drawn_videos(found[0].groups, "power")
    sets = [np.array([each.hits for each in of_set], np.float32) for of_set in of_sets]
    draws = [(videos.weights @ hits.mean(0), residual(hits, videos)) for hits in sets]
    by_video = [max(0.0, float(np.var(a - b)) - own_a - own_b) for (a, own_a), (b, own_b) in combinations(draws, 2)]
    student = float(np.mean([hits.mean(1).var(ddof=1) for hits in sets]))
    return Spread(student, float(np.mean(by_video)), videos.clusters, len(sets))


def show(roots: Sequence[Path], delta: float, task: str | None, student: str | None) -> None:
    """Prints, for each table, how many students tell `delta`, in points. Raises LookupError, FileNotFoundError."""
    loaded = load(roots)
    for refused in loaded.refused:
        say(f"left out: {refused}")
    if not loaded.evaluated:
        raise FileNotFoundError(
            f"no valid records in {', '.join(map(str, roots))}; make some with `vddbench evaluate`, or name a folder with "
            "--results"
        )
    for table in tables_of(loaded.evaluated, task, student):
        for track in ("hard", "soft"):
            one = table[0].record
            found = [each for each in table if (each.record.task, each.record.track) == (one.task, track)]
            if found and (spread := spread_of(found)) is not None:
                print(clean(f"{one.task} {one.student} {track} labels: {told(spread, delta)}"))


def told(spread: Spread, delta: float) -> str:
    needed = students_needed(spread, delta / 100)
    spreads = f"of {spread.methods} sets: students spread by {100 * spread.student**0.5:.1f} points, a difference by "
    spreads += f"{100 * spread.video**0.5:.1f} by its test videos"
    if needed is None:
        return f"no number of students tells {delta:g} points apart: there are too few test videos ({spreads})"
    return f"{needed} students of each tell {delta:g} points apart in 4 of 5 cases ({spreads})"
