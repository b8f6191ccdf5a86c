"""Results that papers report, with sources, from `published.csv`: shown beside measured rows, never ranked among them.

Papers differ from this benchmark, and from each other, in students, test clips and the choice of what to report. A row says
what its sources state about that: `student`, `selection` (how the result was chosen among several) and `caveat`; empty means
"not stated". `url` and `year` are those of `source`.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from tabulate import tabulate

from vddbench.leaderboard.rows import is_known
from vddbench.spec import Task

if TYPE_CHECKING:
    import pandas as pd

FILE = Path(__file__).with_name("published.csv")
HEADERS = ("reported", "top-1 %", "std", "MB", "source", "year", "student", "selection", "caveat")
NOT_STATED = "not stated"
ABOUT_MB = "MB: as the source states it, counted by its own rules; the budgets of this benchmark do not apply to it"


def read() -> pd.DataFrame:
    """All rows of `published.csv`; whole numbers are nullable integers."""
    import pandas as pd  # takes as long to import as a small board to rank

    return pd.read_csv(FILE, dtype={"ipc": "Int64", "year": "Int64"})


def methods() -> list[str]:
    """The methods of which papers report a number, in the order of `published.csv`."""
    rows = read()
    return list(dict.fromkeys(rows[rows["top1_mean"].notna()]["method"]))


def reported(task: Task) -> pd.DataFrame:
    """The rows that papers report for a task, and for `full` of its dataset; best first."""
    rows = read()
    budget = rows["ipc"].isna() if task.ipc is None else rows["ipc"].eq(task.ipc).fillna(False)
    of_task = rows[(rows["dataset"] == task.dataset) & rows["top1_mean"].notna() & (budget | (rows["method"] == "full"))]
    return of_task.sort_values(["top1_mean", "method"], ascending=[False, True], kind="stable").reset_index(drop=True)


def tasks() -> list[str]:
    """The tasks for which papers report something."""
    rows = read()
    rows = rows[rows["top1_mean"].notna() & rows["ipc"].notna()]
    return sorted({f"{row['dataset']}-ipc{int(row['ipc'])}" for row in rows.to_dict("records")})


def draw(task: Task, style: str) -> str:
    """The rows as a text table in a style of tabulate, with a note for each source; empty if no paper reports anything."""
    of_task = reported(task).to_dict("records")
    sources: dict[str, int] = {}  # note: its number
    for row in of_task:
        sources.setdefault(_note(row), len(sources) + 1)
    rows = [
        [
            row["method"],
            f"{row['top1_mean']:.1f}",
            f"{row['top1_std']:.1f}" if is_known(row["top1_std"]) else "-",
            f"{row['storage_mb']:g}" if is_known(row["storage_mb"]) else "-",
            f"[{sources[_note(row)]}]",
            *(stated(row[name]) for name in ("year", "student", "selection")),
            row["caveat"] if is_known(row["caveat"]) else "",
        ]
        for row in of_task
    ]
    if not rows:
        return ""
    notes = [ABOUT_MB, *(f"[{number}] {source}" for source, number in sources.items())]
    listed = "".join(f"\n* {note}" if style == "github" else f"\n{note}" for note in notes)
    return f"{tabulate(rows, HEADERS, style, disable_numparse=True)}\n{listed}"


def _note(row: Mapping[Hashable, object]) -> str:
    return f"{row['source']}; {row['url']}"


def stated(value: object) -> str:
    """A fact about a paper, or "not stated"."""
    return str(value) if is_known(value) else NOT_STATED
