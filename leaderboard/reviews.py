"""Re-runs of records by others: did the number come out again? Computed from the two records, never believed. No torch.

Reviews stand in `reviews/` beside a results folder, `reviews/TASK/METHOD@SHA8/STUDENT/seedN.ADDRESS.json`.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import ValidationError
from scipy.special import stdtrit

from vddbench.data.fingerprint import same_data
from vddbench.records.files import MAX_JSON_BYTES, address, all_record_files, path_of, read_record
from vddbench.records.predictions import Predictions
from vddbench.records.record import Record, Review
from vddbench.system.files import parse_json

SAME = ("task", "method", "distill_seed", "submission_sha256", "student", "seed", "protocol_hash")
MEASURED = ("environment", "train_seconds", "test_seconds")
MISS = 0.05  # of honest students are outside the interval


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
    inside: bool | None  # see `is_inside`


@dataclass(frozen=True)
class Known:
    """A record that verified."""

    record: Record
    answers: str  # see `answers_digest`


def folder_of(root: Path) -> Path:
    """Of the reviews of a results folder."""
    return root.resolve().parent / "reviews"


def path_in(folder: Path, record: Record, text: bytes) -> Path:
    """Where the review of `record` with these bytes stands."""
    due = path_of(folder, record)
    return due.with_name(f"{due.stem}.{address(text)}.json")


def predicted(scores: Sequence[float], num_test: int, miss: float = MISS) -> Interval | None:
    """From the top-1 of the students there are; None for fewer than two. Student's t of a new value. A score comes in steps of
    1 / num_test, so that its rounding (a variance of 1/12 of a step) counts as well: few students often have the same one.

    miss: the share of honest students that come out elsewhere.
    """
    n = len(scores)
    if n < 2:
        return None
    spread = rounded_spread(scores, num_test)
    mean, margin = float(np.mean(scores)), float(stdtrit(n - 1, 1 - miss / 2)) * spread * float(np.sqrt(1 + 1 / n))
    return Interval(mean - margin, mean + margin, n)


def rounded_spread(scores: Sequence[float], num_test: int) -> float:
    """Standard deviation of two or more scores, with that of their rounding to steps of 1 / num_test."""
    return float(np.hypot(np.std(scores, ddof=1), 1 / (num_test * np.sqrt(12))))


def is_inside(due: Interval | None, top1: float, identical: bool) -> bool | None:
    """Did a re-run come out? One that answered all videos as the record did, to the bit, has; any other when it is in the
    prediction interval. None: there is none, one student tells nothing of its spread."""
    if identical:
        return True
    return None if due is None else due.low <= top1 <= due.high


def answers_digest(predictions: Predictions) -> str:
    """The same for predictions that are equal in every array, whatever the widths of their types."""
    digest = hashlib.sha256(predictions.videos_digest().encode())
    for values, kind in ((predictions.top5, "<i8"), (predictions.centre_top1, "<i8"), (predictions.true_probability, "<f8")):
        digest.update(np.ascontiguousarray(values, kind).tobytes())
    return digest.hexdigest()


def students_of(records: Mapping[str, Record], reruns: Collection[str] = ()) -> dict[tuple[str, str], dict[int, float]]:
    """{(submission's sha256, student): {seed: top-1}}; of several records of one cell the earliest counts, one that a review
    calls a re-run never before one that is none.

    records: by the sha256 of their files.
    """
    found: dict[tuple[str, str], dict[int, float]] = defaultdict(dict)
    for _, record in sorted(records.items(), key=lambda each: (each[0] in reruns, each[1].date), reverse=True):
        found[record.submission_sha256, record.student][record.seed] = record.top1
    return found


def reviews(roots: Sequence[Path]) -> tuple[dict[str, list[Reviewed]], list[str]]:
    """Those that hold, by the submission's sha256, and one line for each file that does not. Of several by one person of one
    record the earliest counts."""
    files = [(folder, path) for folder in dict.fromkeys(map(folder_of, roots)) for path in review_files(folder)]
    if not files:
        return {}, []
    known = _by_digest(roots)
    held, refused = [], []
    for folder, path in files:
        try:
            held.append(read_review(path, folder, known))
        except (ValueError, OSError) as error:
            refused.append(str(error))
    scores = students_of({digest: each.record for digest, each in known.items()}, {review.rerun for review in held})
    found: dict[str, list[Reviewed]] = defaultdict(list)
    for review in _first_ones(held):
        original, rerun = known[review.of], known[review.rerun]
        record, again = original.record, rerun.record
        due = predicted(list(scores[record.submission_sha256, record.student].values()), record.num_test)
        inside = is_inside(due, again.top1, original.answers == rerun.answers)
        found[record.submission_sha256].append(
            Reviewed(review.kind, review.by, review.date, record.student, record.seed, record.top1, again.top1, inside)
        )
    return dict(found), refused


def _first_ones(held: Iterable[Review]) -> list[Review]:
    """One of each kind, person and record."""
    first: dict[tuple[str, str, str], Review] = {}
    for review in sorted(held, key=lambda review: review.date):
        first.setdefault((review.kind, review.by, review.of), review)
    return list(first.values())


def review_files(folder: Path, cell: str = "*/*@*") -> list[Path]:
    """Of a folder of reviews; cell: only those of TASK/METHOD@SHA8."""
    return sorted(folder.glob(f"{cell}/*/seed*.json"))


def reruns(folder: Path, cell: str = "*/*@*") -> set[str]:
    """sha256 of the records that readable reviews in a folder call re-runs, whether or not anything bears them out."""
    found = set()
    for path in review_files(folder, cell):
        try:
            found.add(parsed(path)[0].rerun)
        except (ValueError, OSError):
            continue  # `reviews` names it
    return found


def parsed(path: Path) -> tuple[Review, bytes]:
    """(review, its file). Raises ValueError naming the file, OSError."""
    if not path.is_file():
        raise ValueError(f"review {path} is no file")
    if path.stat().st_size > MAX_JSON_BYTES:
        raise ValueError(f"review {path} has {path.stat().st_size:,} bytes; at most {MAX_JSON_BYTES:,} are read")
    text = path.read_bytes()
    try:
        parse_json(text, MAX_JSON_BYTES)
        return Review.model_validate_json(text), text
    except ValidationError as error:
        raise ValueError(f"review {path} is not valid: {error.errors()[0]['msg'][:200]}") from error
    except ValueError as error:
        raise ValueError(f"review {path} is not valid JSON: {str(error)[:200]}") from error


def read_review(path: Path, folder: Path, known: Mapping[str, Known]) -> Review:
    """A review that its two records bear out. Raises ValueError naming the file and what disagrees, OSError."""
    review, text = parsed(path)
    missing = [digest[:16] for digest in (review.of, review.rerun) if digest not in known]
    if missing:
        raise ValueError(f"review {path}: no valid record has the sha256 {', '.join(missing)}...; publish it beside the review")
    original, rerun = known[review.of], known[review.rerun]
    differ = [name for name in SAME if getattr(original.record, name) != getattr(rerun.record, name)]
    if not same_data(original.record, rerun.record):
        differ.append("store_digest")
    if differ or review.of == review.rerun:
        raise ValueError(f"review {path}: its records are not two of one cell ({', '.join(differ) or 'one and the same'})")
    if is_copy(original, rerun):
        raise ValueError(
            f"review {path}: its second record has the first one's answers, seconds and machine: a copy, not a re-run"
        )
    if path_in(folder, original.record, text) != path:
        raise ValueError(f"review {path}: by its content it belongs at {path_in(folder, original.record, text)}")
    return review


def is_copy(one: Known, other: Known) -> bool:
    """Two trainings may answer the same to the bit, but never take the same seconds to the last digit."""
    same = all(getattr(one.record, name) == getattr(other.record, name) for name in MEASURED)
    return same and one.answers == other.answers


def _by_digest(roots: Iterable[Path]) -> dict[str, Known]:
    """Every record that verifies, reruns included, by the sha256 of its file."""
    found = {}
    for root in roots:
        for path in all_record_files(root):
            try:
                record, predictions = read_record(path)
                found[hashlib.sha256(path.read_bytes()).hexdigest()] = Known(record, answers_digest(predictions))
            except (ValueError, OSError):
                continue  # ranking names it
    return found
