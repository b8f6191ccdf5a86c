"""An entry (a row of a table: one method with all its distilled sets) and a table of the board."""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from vddbench import lookup
from vddbench.leaderboard.evidence import Evaluated
from vddbench.leaderboard.reruns import Rerun
from vddbench.records.record import Record
from vddbench.spec import Task
from vddbench.submissions.method_names import is_codec


@functools.cache
def naive_baselines() -> frozenset[str]:
    """Bundled one-shot baselines that follow no paper, such as `random`: which other methods must beat at equal bytes."""
    sources = {name: lookup.source_of("baseline", name) for name in lookup.names("baseline")}
    return frozenset(name for name, file in sources.items() if file.values.get("PAPER") == "" and "distill" in file.functions)


@dataclass(frozen=True)
class Entry:
    """A row of a table, and the records that it was computed from."""

    row: Mapping[str, Any]  # columns of `rank`
    evaluated: tuple[Evaluated, ...]
    students: tuple[str, ...]  # networks that were trained on the same distilled sets
    reruns: tuple[Rerun, ...]  # by others than its authors

    @property
    def method(self) -> str:
        return str(self.row["method"])

    @property
    def top1(self) -> float:
        return float(self.row["top1"])

    @property
    def is_ranked(self) -> bool:
        return not pd.isna(self.row["rank"])

    @property
    def is_full(self) -> bool:
        return Task.parse(str(self.row["task"])).is_full

    @property
    def is_baseline(self) -> bool:
        """Whether it is a reference: all training data, a naive baseline or a point of the codec curve."""
        return self.is_full or (self.row["track"] == "hard" and (self.method in naive_baselines() or is_codec(self.method)))

    @cached_property
    def pages(self) -> tuple[str, ...]:
        """Folders of the pages of its submissions."""
        return tuple(dict.fromkeys(page_of(one.record) for one in self.evaluated))

    @property
    def more_pages(self) -> list[tuple[str, int]]:
        """Pages and seeds of its distilled sets, without the first set."""
        seeds = {page_of(one.record): one.record.distill_seed for one in self.evaluated}
        return list(seeds.items())[1:]

    @property
    def verified_by(self) -> tuple[str, ...]:
        """Maintainers whose students on fresh seeds give the entry's score; none if it is ranked by its claimed students."""
        return tuple(dict.fromkeys(str(one.record.by) for one in self.evaluated if one.is_verified))

    @property
    def reproductions(self) -> int:
        """Number of re-runs that agree with the authors' records."""
        return sum(bool(rerun.inside) for rerun in self.reruns)


@dataclass(frozen=True)
class Table:
    """One task, student, track and division: its entries, best first, and the dataset's `full` below them."""

    task: str
    student: str
    track: str
    division: str
    entries: tuple[Entry, ...]
    full: tuple[Entry, ...]

    @property
    def ranked(self) -> list[Entry]:
        return [entry for entry in self.entries if entry.is_ranked]

    @property
    def unranked(self) -> list[Entry]:
        return [entry for entry in self.entries if not entry.is_ranked]

    @cached_property
    def random(self) -> float:
        """The score of the reference `random`; NaN if it has no record. Rounded, so that it is printed as in its own row."""
        return next((round(e.top1 - e.row["gain"], 12) for e in self.entries if not pd.isna(e.row["gain"])), np.nan)

    @cached_property
    def scale(self) -> tuple[float, float]:
        """The ends of the small bars beside scores: multiples of 10 % outside all intervals and references, never equal."""
        known = [self.random, *(value for e in (*self.entries, *self.full) for value in (e.row["low"], e.top1, e.row["high"]))]
        low, high = np.nanmin(known), np.nanmax(known)
        return min(0.9, max(0.0, float(np.floor(10 * low)) / 10)), min(1.0, float(np.floor(10 * high) + 1) / 10)

    @cached_property
    def hidden(self) -> tuple[str, ...]:
        """Columns (`data-key` in the templates) that say nothing in this table, and dates, for which there is little room."""
        rows = [entry.row for entry in (*self.entries, *self.full)]
        used = {
            "gap": any(not pd.isna(row["gap_closed"]) and row["method"] != "random" for row in rows),
            "gain": any(not pd.isna(row["gain"]) and row["method"] != "random" for row in rows),
            "students": any(len(entry.students) > 1 for entry in self.entries),
            "flags": any(row["flags"] for row in rows),
            "verified": any(entry.verified_by or entry.reproductions for entry in (*self.entries, *self.full)),
        }
        return (*(name for name, is_used in used.items() if not is_used), "date")

    @property
    def name(self) -> str:
        """Names its files: task, student and track, and the division if it has one."""
        return "-".join(filter(None, (self.task, self.student, self.track, self.division)))


def page_of(record: Record) -> str:
    """`s/TASK/METHOD@SHA8`: the folder of the page of a record's submission."""
    return f"s/{record.cell}"


def class_accuracy(entry: Entry, labels: np.ndarray, num_classes: int) -> np.ndarray:
    """[K] top-1 accuracy on the test videos of each class: mean over distilled sets of means over students. NaN for a class
    without test videos.

    labels: [V] of the test videos in the store's order.
    """
    hits_by_set: dict[str, list[np.ndarray]] = defaultdict(list)
    for one in entry.evaluated:
        hits_by_set[one.record.submission_sha256].append(one.hits)
    hits = np.mean([np.mean(hits, axis=0) for hits in hits_by_set.values()], axis=0)
    counts = np.bincount(labels, minlength=num_classes)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.bincount(labels, weights=hits, minlength=num_classes) / counts)
