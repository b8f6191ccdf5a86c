"""Re-runs of records by others: did the number come out again? Computed from the two records, never believed. No torch.

Reviews stand in `reviews/` beside a results folder, `reviews/TASK/METHOD@SHA8/STUDENT/seedN.ADDRESS.json`.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import ValidationError
from scipy.special import stdtrit

from vddbench.records import MAX_JSON_BYTES, address, all_record_files, path_of, read_record
from vddbench.spec import Record, Review

SAME = ("task", "method", "distill_seed", "submission_sha256", "student", "seed", "store_digest", "protocol_hash")


@dataclass(frozen=True)
class Interval:
    """Where the top-1 of another student of the same submission is due in 95 % of the cases, on the same test videos."""

    low: float
    high: float
    students: int


@dataclass(frozen=True)
class Reviewed:
    """A review that its two records bear out."""

    kind: Literal["reproduced", "verified"]
    by: str
    date: str
    student: str
    seed: int
    original_top1: float
    top1: float
    inside: bool | None  # the prediction interval; None where one student tells nothing of its spread


def folder_of(root: Path) -> Path:
    """Of the reviews of a results folder."""
    return root.resolve().parent / "reviews"


def path_in(folder: Path, record: Record, text: bytes) -> Path:
    """Where the review of `record` with these bytes stands."""
    due = path_of(folder, record)
    return due.with_name(f"{due.stem}.{address(text)}.json")


def predicted(scores: Sequence[float], num_test: int) -> Interval | None:
    """From the top-1 of the students there are; None for fewer than two. Student's t of a new value. A score comes in steps of
    1 / num_test, so that its rounding (a variance of 1/12 of a step) counts as well: few students often have the same one."""
    n = len(scores)
    if n < 2:
        return None
    spread = float(np.hypot(np.std(scores, ddof=1), 1 / (num_test * np.sqrt(12))))
    mean, margin = float(np.mean(scores)), float(stdtrit(n - 1, 0.975)) * spread * float(np.sqrt(1 + 1 / n))
    return Interval(mean - margin, mean + margin, n)


def students_of(records: Iterable[Record]) -> dict[tuple[str, str], dict[int, float]]:
    """{(submission's sha256, student): {seed: top-1}}; of several records of one cell the earliest counts."""
    found: dict[tuple[str, str], dict[int, float]] = defaultdict(dict)
    for record in sorted(records, key=lambda record: record.date, reverse=True):
        found[record.submission_sha256, record.student][record.seed] = record.top1
    return found


def reviews(roots: Sequence[Path]) -> tuple[dict[str, list[Reviewed]], list[str]]:
    """Those that hold, by the submission's sha256, and one line for each file that does not."""
    files = [
        (folder, path) for folder in dict.fromkeys(map(folder_of, roots)) for path in sorted(folder.glob("*/*@*/*/seed*.json"))
    ]
    if not files:
        return {}, []
    records = _by_digest(roots)
    scores = students_of(records.values())
    found: dict[str, list[Reviewed]] = defaultdict(list)
    refused = []
    for folder, path in files:
        try:
            review, original, rerun = read_review(path, folder, records)
        except ValueError as error:
            refused.append(str(error))
            continue
        due = predicted(list(scores[original.submission_sha256, original.student].values()), original.num_test)
        inside = None if due is None else due.low <= rerun.top1 <= due.high
        found[original.submission_sha256].append(
            Reviewed(review.kind, review.by, review.date, rerun.student, rerun.seed, original.top1, rerun.top1, inside)
        )
    return dict(found), refused


def read_review(path: Path, folder: Path, records: dict[str, Record]) -> tuple[Review, Record, Record]:
    """(review, record, record of the re-run). Raises ValueError naming the file and what disagrees."""
    if path.stat().st_size > MAX_JSON_BYTES:
        raise ValueError(f"review {path} has {path.stat().st_size:,} bytes; at most {MAX_JSON_BYTES:,} are read")
    text = path.read_bytes()
    try:
        review = Review.model_validate_json(text)
    except ValidationError as error:
        raise ValueError(f"review {path} is not valid: {error.errors()[0]['msg'][:200]}") from error
    missing = [digest[:16] for digest in (review.of, review.rerun) if digest not in records]
    if missing:
        raise ValueError(f"review {path}: no valid record has the sha256 {', '.join(missing)}...; publish it beside the review")
    original, rerun = records[review.of], records[review.rerun]
    differ = [name for name in SAME if getattr(original, name) != getattr(rerun, name)]
    if differ or review.of == review.rerun:
        raise ValueError(f"review {path}: its records are not two of one cell ({', '.join(differ) or 'one and the same'})")
    if path_in(folder, original, text) != path:
        raise ValueError(f"review {path}: by its content it belongs at {path_in(folder, original, text)}")
    return review, original, rerun


def _by_digest(roots: Iterable[Path]) -> dict[str, Record]:
    """Every record that verifies, reruns included, by the sha256 of its file."""
    found = {}
    for root in roots:
        for path in all_record_files(root):
            try:
                found[hashlib.sha256(path.read_bytes()).hexdigest()] = read_record(path)[0]
            except (ValueError, OSError):
                continue  # ranking names it
    return found
