"""Results that papers report, with sources, from `published.csv`: shown beside measured rows, never ranked among them.

Papers differ from this benchmark, and from each other, in students, test clips and the choice of what to report. A row says
what its sources state about that: `student`, `selection` (how the result was chosen among several) and `caveat`; empty means
"not stated". `url` and `year` are those of `source`.
"""

from __future__ import annotations

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
    """The rows as a text table in a style of tabulate; empty if no paper reports anything."""
    rows = [
        [
            row["method"],
            f"{row['top1_mean']:.1f}",
            *(_number(row[name]) for name in ("top1_std", "storage_mb")),
            f"{row['source']} {row['url']}",
            *(stated(row[name]) for name in ("year", "student", "selection")),
            row["caveat"] if is_known(row["caveat"]) else "",
        ]
        for row in reported(task).to_dict("records")
    ]
    return tabulate(rows, HEADERS, style, disable_numparse=True) if rows else ""


def _number(value: float) -> str:
    return f"{value:g}" if is_known(value) else "-"


def stated(value: object) -> str:
    """A fact about a paper, or "not stated"."""
    return str(value) if is_known(value) else NOT_STATED
