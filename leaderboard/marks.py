"""The marks of an entry: what every table says about it besides numbers, in every format.

One list, MARKS, serves the terminal, Markdown, CSV, JSON, parquet, LaTeX and the site. To add a mark, add an entry here: the
formats and their common test (tests/leaderboard/test_marks.py) need no other change. A mark reads only an entry's records.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from vddbench.leaderboard.entry import MIN_SEEDS, Entry
from vddbench.records.record import FITTED
from vddbench.spec import FULL

SEEDS_SHOWN = 10


@dataclass(frozen=True)
class Mark:
    """A remark that applies to some entries.

    A table shows `name`, with the detail in brackets if there is one: "videos missing (12)".
    """

    name: str  # without commas and brackets: a row's marks are one text, joined by commas
    sign: str  # one or two letters, a superscript where there is no room for the name; unique
    sentence: str  # what it means, printed below a table
    detail: Callable[[Entry], str | None]  # None: the mark does not apply; "": it applies, without a detail


def some(count: int, total: int, noun: str = "student") -> str | None:
    """The detail "2 of 3 students"; None if `count` is 0."""
    return f"{count} of {total} {noun}{'' if total == 1 else 's'}" if count else None


def applies(is_so: bool) -> str | None:
    """The detail of a mark that has none."""
    return "" if is_so else None


def collapsed(entry: Entry) -> str | None:
    return some(sum(not record.checks.get("finite", False) for record in entry.records), len(entry.records))


def one_answer(entry: Entry) -> str | None:
    """Students that collapsed have a mark of their own."""
    finite = [one for of_set in entry.evaluated for one in of_set if one.record.checks.get("finite", False)]
    return some(sum(one.answers < 2 for one in finite), len(entry.records))


def unfitted(entry: Entry) -> str | None:
    return some(sum(record.fitted is False for record in entry.records), len(entry.records))


def suspect(entry: Entry) -> str | None:
    """The record with the most suspect clips."""
    worst = max(entry.records, key=lambda record: record.suspect_clips or 0)
    return some(worst.suspect_clips or 0, worst.compared_clips or 0, "clip")


def missing(entry: Entry) -> str | None:
    count = max(record.num_missing for record in entry.records)
    return f"{count}" if count else None


MARKS = (
    Mark(
        "external", "e", "The method used data or models from outside the training videos of the task.",
        lambda entry: applies(any(record.external for record in entry.records)),
    ),
    Mark("collapsed", "c", "The training of students diverged; they count as wrong on every video.", collapsed),
    Mark(
        "did not fit its own set", "n",
        f"After training, students got fewer than {FITTED:.0%} of the set's own clips right: the score may measure a failed "
        "training rather than the set.",
        unfitted,
    ),
    Mark(
        "looks like test videos", "t",
        "The referee compared the set's clips with all videos: these resemble a test video much more than any train video.",
        suspect,
    ),
    Mark(
        "trained without motion", "w",
        "Students were trained on the set with one frame of each clip repeated, or with its frames shuffled: never ranked.",
        lambda entry: f"{entry.one.trained_on} frames" if entry.one.trained_on else None,
    ),
    Mark("one answer for all", "o", "Students give the same class for every test video.", one_answer),
    Mark(
        f"under {MIN_SEEDS} students", "u", f"Fewer than {MIN_SEEDS} students were trained, so the entry has no rank.",
        lambda entry: applies(len(entry.records) < MIN_SEEDS),
    ),
    Mark(
        "seeds not 0..n-1", "s", "The claimed students may have been picked among others, so the entry has no rank.",
        lambda entry: " ".join(map(str, entry.chosen_seeds[:SEEDS_SHOWN])) or None,
    ),
    Mark(
        "repeated payload", "r", "Payloads of several distillation seeds are equal, or nearly so; they count once.",
        lambda entry: f"{entry.repeated} left out" if entry.repeated else None,
    ),
    Mark(
        "near-copy", "k", "Its students answer as those of an earlier entry of the same owner, so it has no rank.",
        lambda entry: f"of {entry.copy_of}" if entry.copy_of else None,
    ),
    Mark("videos missing", "m", "The prepared data lacks videos that were missing or unreadable.", missing),
    Mark(
        "one set", "d", "One distillation was evaluated: score, interval and rank are of this set, not of the method.",
        lambda entry: applies(len(entry.evaluated) == 1 and entry.one.method != FULL),
    ),
)  # fmt: skip
BY_NAME = {mark.name: mark for mark in MARKS}
SEPARATOR = ", "


def marked(entry: Entry) -> str:
    """The marks of an entry as one text, the column `flags` of `rank`: "external, videos missing (12)"."""
    details = [(mark, mark.detail(entry)) for mark in MARKS]
    return SEPARATOR.join(f"{mark.name} ({detail})" if detail else mark.name for mark, detail in details if detail is not None)


def marks_in(flags: str) -> list[tuple[Mark, str]]:
    """Each mark in a row's column `flags`, and its text there."""
    return [(BY_NAME[text.split(" (")[0]], text) for text in flags.split(SEPARATOR) if text]


def legend(flags: Iterable[str]) -> list[Mark]:
    """The marks that occur in the column `flags` of some rows, in the order of MARKS."""
    used = {mark.name for text in flags for mark, _ in marks_in(text)}
    return [mark for mark in MARKS if mark.name in used]
