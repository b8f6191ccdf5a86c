"""A record beside its re-run: what came of it, in words and as a review that others can count."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Literal

from vddbench.leaderboard.exchange.rerun import One, marker, of_cell, one
from vddbench.leaderboard.reviews import (
    Interval,
    answers_digest,
    folder_of,
    is_inside,
    parsed,
    path_in,
    predicted,
    review_files,
    students_of,
)
from vddbench.records.record import Record, Review
from vddbench.system.files import replacing
from vddbench.system.progress import clean

USER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}")


@dataclass(frozen=True)
class Compared:
    """A record and its re-run."""

    before: One
    after: One
    scores: tuple[float, ...]  # claimed top-1 of the submission's students
    differing: int  # test videos that were answered differently

    @property
    def due(self) -> Interval | None:
        """Where another student is due; None: one alone tells nothing of its spread."""
        return predicted(self.scores, self.before.record.num_test)

    @cached_property
    def identical(self) -> bool:
        """To the bit, in every array of the predictions."""
        return answers_digest(self.before.predictions) == answers_digest(self.after.predictions)

    @property
    def inside(self) -> bool | None:
        return is_inside(self.due, self.after.record.top1, self.identical)


def user_name(by: str) -> str:
    """A name that a review can bear. Raises LookupError."""
    if not USER.fullmatch(by):
        raise LookupError(f"--by {by[:80]!r}: a user name of the Hub; letters, digits, - . _")
    return by


def weighed(before: One, after: One, students: Mapping[str, Record], reruns: Collection[str] = ()) -> Compared:
    """students: records of the submission by the sha256 of their files, whose top-1 says where another one is due."""
    scores = students_of(students, {*reruns, after.digest})[before.record.submission_sha256, before.record.student]
    differing = (before.predictions.top5[:, 0] != after.predictions.top5[:, 0]).sum()
    return Compared(before, after, tuple(scores.values()), int(differing))


def verdict(found: Compared) -> list[str]:
    """In words."""
    due = found.due
    if due is None:
        interval = "one student alone tells nothing of its spread: evaluate more seeds for a prediction interval"
    else:
        elsewhere = "outside" if found.identical else "OUTSIDE"
        said = "inside" if is_inside(due, found.after.record.top1, identical=False) else elsewhere
        ends = f"{max(due.low, 0):.1%} to {min(due.high, 1):.1%}"
        interval = f"{said} the 95 % prediction interval {ends} ({due.students} students)"
    answers = f"{found.differing} of {found.before.record.num_test} videos answered differently"
    bits = "predictions identical to the bit" if found.identical else answers
    return [
        f"{found.before.name}",
        *(_line(name, each) for name, each in (("record", found.before), ("re-run", found.after))),
        f"  {interval}; {bits}",
    ]


def _line(name: str, each: One) -> str:
    record = each.record
    flag = "" if record.checks.get("finite", True) else ", collapsed (NaN)"
    device = " ".join(clean(record.environment.device).split())[:60]  # a stranger's text, on one line
    return f"  {name}  top-1 {record.top1:.2%}{flag}  {record.date}  {device}  {each.path}"


def write_review(found: Compared, kind: Literal["reproduced", "verified"], by: str, results: Path) -> Path:
    """Says that the re-run was made; the note that it was begun goes. The same review again is the one that is there."""
    folder = folder_of(results)
    due = (kind, by, found.after.digest)
    there = reviews_of(found.before, folder)
    path = next((path for path, said in there if (said.kind, said.by, said.rerun) == due), None)
    if path is None:
        date = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        review = Review(kind=kind, by=by, of=found.before.digest, rerun=found.after.digest, date=date)
        data = review.model_dump_json(indent=1).encode() + b"\n"
        path = path_in(folder, found.before.record, data)
        with replacing(path) as file:
            file.write(data)
    marker(results, found.before).unlink(missing_ok=True)
    return path


def reviews_of(claim: One, folder: Path) -> list[tuple[Path, Review]]:
    """Those of this record that can be read, in the folder of reviews."""
    found = []
    for path in review_files(folder, claim.cell):
        try:
            review, _ = parsed(path)
        except (ValueError, OSError):
            continue  # ranking names it
        if review.of == claim.digest:
            found.append((path, review))
    return found


def reviewed(claim: One, kind: Literal["reproduced", "verified"], by: str, results: Path) -> One | None:
    """The re-run of an earlier review of this record by the same person, when both are there."""
    runs = {hashlib.sha256(path.read_bytes()).hexdigest(): path for path in of_cell(results, claim.record)}
    for _, review in reviews_of(claim, folder_of(results)):
        if (review.kind, review.by) == (kind, by) and review.rerun in runs:
            return one(runs[review.rerun])
    return None
