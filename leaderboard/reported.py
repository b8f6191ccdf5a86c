"""Results that papers report, with sources, from `published.csv`: shown beside measured rows, never ranked among them.

Papers differ from this benchmark, and from each other, in students, test clips and the choice of what to report; the caveat
of a row says what is known about that.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from tabulate import tabulate

from vddbench.spec import Task

FILE = Path(__file__).with_name("published.csv")
HEADERS = ("reported", "top-1 %", "std", "MB", "source", "caveat")


def reported(task: Task) -> pd.DataFrame:
    """The rows that papers report for a task, and for `full` of its dataset; best first."""
    rows = pd.read_csv(FILE)
    budget = rows["ipc"].isna() if task.ipc is None else rows["ipc"] == task.ipc
    of_task = rows[(rows["dataset"] == task.dataset) & rows["top1_mean"].notna() & (budget | (rows["method"] == "full"))]
    return of_task.sort_values(["top1_mean", "method"], ascending=[False, True], kind="stable").reset_index(drop=True)


def tasks() -> list[str]:
    """The tasks for which papers report something."""
    rows = pd.read_csv(FILE)
    rows = rows[rows["top1_mean"].notna() & rows["ipc"].notna()]
    return sorted({f"{row['dataset']}-ipc{int(row['ipc'])}" for row in rows.to_dict("records")})


def draw(task: Task, style: str) -> str:
    """The rows as a text table in a style of tabulate; empty if no paper reports anything."""
    rows = [
        [row["method"], f"{row['top1_mean']:.1f}", *(_number(row[name]) for name in ("top1_std", "storage_mb"))]
        + ["" if pd.isna(row[name]) else row[name] for name in ("source", "caveat")]
        for row in reported(task).to_dict("records")
    ]
    return tabulate(rows, HEADERS, style, disable_numparse=True) if rows else ""


def _number(value: float) -> str:
    return "-" if pd.isna(value) else f"{value:g}"
