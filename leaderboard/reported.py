"""Results that papers report, with sources, from `published.csv`: shown beside measured rows, never ranked among them.

Papers differ from this benchmark, and from each other, in students, test clips and the choice of what to report. A row says
what its sources state about that: `student`, `selection` (how the result was chosen among several) and `caveat`; empty means
"not stated". `url` and `year` are those of `source`.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pydantic import TypeAdapter
from tabulate import tabulate

from vddbench.spec import FULL, Task

FILE = Path(__file__).with_name("published.csv")
HEADERS = ("reported", "top-1 %", "std", "MB", "source", "year", "student", "selection", "caveat")
NOT_STATED = "not stated"
SAME_IN_PAPERS = {"hmdb51_sdd": "hmdb51"}  # papers name the dataset, not which of its splits
ABOUT_MB = "MB: as the source states it, counted by its own rules; the budgets of this benchmark do not apply to it"


@dataclass(frozen=True, kw_only=True)
class Reported:
    """A row of `published.csv`; None: not stated."""

    method: str
    dataset: str
    ipc: int | None  # None: of `full`
    top1_mean: float | None  # in %; None: the sources have no number of this task
    top1_std: float | None
    storage_mb: float | None
    source: str
    url: str
    year: int | None
    student: str | None
    selection: str | None
    caveat: str | None

    @property
    def top1(self) -> float:
        """In [0, 1], as measured numbers; NaN without a number."""
        return share(self.top1_mean)

    @property
    def std(self) -> float:
        return share(self.top1_std)

    def with_spread(self, sign: str = "±") -> str:
        """The number and its standard deviation, in %: `15.3 ± 1.1`."""
        return f"{self.top1_mean:.1f}" + (f" {sign} {self.top1_std:.1f}" if self.top1_std is not None else "")


def share(percent: float | None) -> float:
    return float("nan") if percent is None else round(percent / 100, 6)


@cache
def read() -> tuple[Reported, ...]:
    """All rows of `published.csv`."""
    with FILE.open(newline="", encoding="utf-8") as file:
        rows = [{name: text or None for name, text in row.items()} for row in csv.DictReader(file)]
    return TypeAdapter(tuple[Reported, ...]).validate_python(rows)


def methods() -> list[str]:
    """The methods of which papers report a number, in the order of `published.csv`."""
    return list(dict.fromkeys(row.method for row in read() if row.top1_mean is not None))


def of_method(method: str) -> list[Reported]:
    """The rows of a method, also those without a number."""
    return [row for row in read() if row.method == method]


def reported(task: Task) -> list[Reported]:
    """The rows that papers report for a task, and for `full` of its dataset; best first."""
    dataset = SAME_IN_PAPERS.get(task.dataset, task.dataset)
    numbers = (row for row in read() if row.dataset == dataset and row.top1_mean is not None)
    of_task = [row for row in numbers if row.ipc == task.ipc or row.method == FULL]
    return sorted(of_task, key=lambda row: (-row.top1, row.method))


def tasks() -> list[str]:
    """The tasks for which papers report something."""
    return sorted({f"{row.dataset}-ipc{row.ipc}" for row in read() if row.top1_mean is not None and row.ipc is not None})


def draw(task: Task, style: str) -> str:
    """The rows as a text table in a style of tabulate, with a note for each source; empty if no paper reports anything."""
    of_task = reported(task)
    sources: dict[str, int] = {}  # note: its number
    for row in of_task:
        sources.setdefault(_note(row), len(sources) + 1)
    rows = [
        [
            row.method,
            f"{row.top1_mean:.1f}",
            f"{row.top1_std:.1f}" if row.top1_std is not None else "-",
            f"{row.storage_mb:g}" if row.storage_mb is not None else "-",
            f"[{sources[_note(row)]}]",
            *map(stated, (row.year, row.student, row.selection)),
            row.caveat or "",
        ]
        for row in of_task
    ]
    if not rows:
        return ""
    notes = [ABOUT_MB, *(f"[{number}] {source}" for source, number in sources.items())]
    listed = "".join(f"\n* {note}" if style == "github" else f"\n{note}" for note in notes)
    return f"{tabulate(rows, HEADERS, style, disable_numparse=True)}\n{listed}"


def _note(row: Reported) -> str:
    return f"{row.source}; {row.url}"


def stated(value: object) -> str:
    """A fact about a paper, or "not stated"."""
    return NOT_STATED if value is None else str(value)
