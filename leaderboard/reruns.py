"""Re-runs: records that name who made them (`Record.by`), matched with the author's record of the same cell.

A cell is one submission, student and seed. Whether a re-run agrees with the author is computed from the predictions of both.
Students of maintainers on fresh seeds, which verify an entry, are no re-runs of a cell; see counting.py.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from vddbench.data.fingerprint import same_data
from vddbench.leaderboard.bootstrap import ScoreDifference, Variance, draw, score_difference
from vddbench.leaderboard.entry import MIN_SEEDS
from vddbench.leaderboard.evidence import Evaluated, Loaded
from vddbench.leaderboard.videos import drawn_videos
from vddbench.records.record import Record

Key = tuple[str, str, int]  # of a cell: sha256 of the submission, student, seed


@dataclass(frozen=True)
class Rerun:
    """A re-run of an author's record."""

    by: str
    date: str
    student: str
    seed: int
    original_top1: float
    top1: float
    inside: bool | None  # whether the 95 % interval of the difference contains 0; None: too few students for an interval


def reruns(loaded: Loaded) -> tuple[dict[str, list[Rerun]], list[str]]:
    """Re-runs by the sha256 of their submission, and one line for each record that is not a re-run of an author's record.

    If one person ran a cell several times, the earliest re-run counts.
    """
    authors = {key_of(one.record): one for one in loaded.evaluated if not one.is_verified}
    first: dict[tuple[str, Key], Evaluated] = {}
    refused = []
    for rerun in sorted(loaded.reruns, key=lambda one: (one.record.date, str(one.path))):
        key = key_of(rerun.record)
        if problem := "there is no author's record of this cell" if key not in authors else mismatch(authors[key], rerun):
            refused.append(f"re-run {rerun.path}: {problem}")
        else:
            first.setdefault((str(rerun.record.by), key), rerun)
    groups: dict[tuple[str, str, str], list[Evaluated]] = defaultdict(list)
    for (by, (sha256, student, _)), rerun in first.items():
        groups[by, sha256, student].append(rerun)
    by_submission: dict[str, list[Rerun]] = defaultdict(list)
    for (_, sha256, _), own in groups.items():
        by_submission[sha256] += _compared(own, authors)
    return {
        sha256: sorted(several, key=lambda one: (one.date, one.by, one.seed)) for sha256, several in by_submission.items()
    }, refused


def _compared(own: Sequence[Evaluated], authors: Mapping[Key, Evaluated]) -> list[Rerun]:
    """Re-runs of one student by one person, compared together with the author's records of the same cells."""
    claimed = [authors[key_of(rerun.record)] for rerun in own]
    of_student = [one.hits for key, one in authors.items() if key[:2] == key_of(own[0].record)[:2]]
    interval = difference(
        [one.hits for one in claimed], [one.hits for one in own], claimed[0].groups, claimed[0].labels, of_student
    )
    inside = None if np.isnan(interval.low) else interval.low <= 0 <= interval.high
    return [
        Rerun(
            by=str(rerun.record.by),
            date=rerun.record.date,
            student=rerun.record.student,
            seed=rerun.record.seed,
            original_top1=author.record.top1,
            top1=rerun.record.top1,
            inside=inside,
        )
        for author, rerun in zip(claimed, own, strict=True)
    ]


def key_of(record: Record) -> Key:
    """The cell of a record."""
    return record.submission_sha256, record.student, record.seed


def mismatch(author: Evaluated, rerun: Evaluated) -> str:
    """Why a record is not a re-run of the author's record of its cell; empty if it is one."""
    one, other = author.record, rerun.record
    fields = ("task", "method", "distill_seed", "protocol_hash")
    differ = [name for name in fields if getattr(one, name) != getattr(other, name)]
    differ += [] if same_data(one, other) else ["store_digest"]
    differ += [] if author.videos_digest == rerun.videos_digest else ["test videos"]
    if other.date < one.date:
        return f"it is dated {other.date}, before the author's record {author.path}, of {one.date}"
    if differ:
        return f"it differs from the author's record {author.path} in {', '.join(differ)}"
    return f"its machine and its times are those of {author.path}: it is a copy, not a re-run" if is_copy(one, other) else ""


def is_copy(one: Record, other: Record) -> bool:
    """Whether a record is a copy: two trainings never take exactly the same number of seconds."""
    return all(getattr(one, name) == getattr(other, name) for name in ("environment", "train_seconds", "test_seconds"))


def difference(
    claimed: Sequence[np.ndarray],
    own: Sequence[np.ndarray],
    groups: np.ndarray,
    labels: np.ndarray,
    of_student: Sequence[np.ndarray],
) -> ScoreDifference:
    """Claimed minus own top-1 of one payload and student, with its 95 % interval over test videos and students.

    The spread between students is estimated from the re-runs, because an author could widen the interval by claiming scattered
    scores. With fewer than MIN_SEEDS re-runs it is estimated from all claimed students. If these are too few as well, the
    interval is NaN.

    claimed, own: for each trained student [videos] bool, whether the answer is right. groups, labels: as in `drawn_videos`.
    of_student: as `claimed`, of all seeds of the student.
    """
    if len(claimed) == len(own) and all(np.array_equal(one, other) for one, other in zip(claimed, own, strict=True)):
        return ScoreDifference(0.0, 0.0, 0.0)
    videos = drawn_videos(groups, labels, "re-run", draws=0)
    claims, rerun = (draw([np.array(hits)], videos, key) for hits, key in ((claimed, "claimed"), (own, "own")))
    spread = own if len(own) >= MIN_SEEDS else of_student
    if len(spread) < MIN_SEEDS or videos.clusters < 2:
        return ScoreDifference(claims.score - rerun.score, np.nan, np.nan)
    students = draw([np.array(spread)], videos, "students")
    scale = len(spread) * (1 / len(claimed) + 1 / len(own))  # from one mean of len(spread) students to a difference of means
    claims = replace(claims, seeds=Variance(0.0, students.seeds.freedom), twice=0.0)
    rerun = replace(rerun, seeds=Variance(students.seeds.value * scale, students.seeds.freedom), twice=students.twice * scale)
    return score_difference(claims, rerun)
