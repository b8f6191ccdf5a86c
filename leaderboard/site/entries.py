"""A row of a table and a table of the board, with the records and re-runs they stand on. No torch."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from vddbench.leaderboard.evidence import Evaluated
from vddbench.leaderboard.reruns import Rerun
from vddbench.records.files import path_of
from vddbench.records.record import Record
from vddbench.spec import Task

BASELINES_AS_LINES = ("random", "random_jpeg", "random_still", "noise")  # what clever methods are held against at equal bytes


@dataclass(frozen=True)
class Line:
    """A row of a table and what it stands on."""

    row: Mapping[str, Any]  # of `rank`
    evaluated: tuple[Evaluated, ...]
    students: tuple[str, ...]  # networks with records of the same distilled sets
    reruns: tuple[Rerun, ...]

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
    def is_line(self) -> bool:
        """Drawn as a line across charts: a naive baseline or all data."""
        return self.is_full or (self.method in BASELINES_AS_LINES and self.row["track"] == "hard")

    @cached_property
    def pages(self) -> tuple[str, ...]:
        """Folders of its submissions' pages."""
        return tuple(dict.fromkeys(page_of(one.record) for one in self.evaluated))

    @property
    def more_pages(self) -> list[tuple[str, int]]:
        """Those of its later distillations, with their seeds."""
        seeds = {page_of(one.record): one.record.distill_seed for one in self.evaluated}
        return list(seeds.items())[1:]

    @property
    def verified_by(self) -> tuple[str, ...]:
        """Maintainers whose re-run came out; where that can't be told, it has not."""
        return tuple(dict.fromkeys(each.by for each in self.reruns if each.kind == "verified" and each.inside))

    @property
    def reproductions(self) -> int:
        """Re-runs by others whose number came out, one of each record and person."""
        return sum(each.kind == "reproduced" and bool(each.inside) for each in self.reruns)


@dataclass(frozen=True)
class Table:
    """One student and one track of a task: its lines, best first, and the dataset's `full` below them."""

    task: str
    student: str
    track: str
    lines: tuple[Line, ...]
    full: tuple[Line, ...]

    @property
    def ranked(self) -> list[Line]:
        return [line for line in self.lines if line.is_ranked]

    @property
    def unranked(self) -> list[Line]:
        return [line for line in self.lines if not line.is_ranked]

    @cached_property
    def scale(self) -> float:
        """The upper end of the small bars beside scores: the next tenth above every interval."""
        ends = [line.row["high"] if not pd.isna(line.row["high"]) else line.top1 for line in (*self.lines, *self.full)]
        return min(1.0, float(np.ceil(max(ends) * 10 + 1e-9)) / 10)

    @property
    def id(self) -> str:
        return f"{self.task}.{self.student}.{self.track}"


def page_of(record: Record) -> str:
    """`s/TASK/METHOD@SHA8`: where the page of a record's submission stands."""
    return f"s/{path_of(Path(), record).parents[1].as_posix()}"


def class_accuracy(line: Line, labels: np.ndarray, num_classes: int) -> np.ndarray:
    """[K] share of each class's test videos answered right, mean over distillations of means over students; NaN for a class
    without test videos.

    labels: [V] of the test videos in the store's order.
    """
    of_sets: dict[str, list[np.ndarray]] = defaultdict(list)
    for one in line.evaluated:
        of_sets[one.record.submission_sha256].append(one.hits)
    hits = np.mean([np.mean(of_set, axis=0) for of_set in of_sets.values()], axis=0)
    counts = np.bincount(labels, minlength=num_classes)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.bincount(labels, weights=hits, minlength=num_classes) / counts)
