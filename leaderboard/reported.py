"""What papers report, from `published.csv` with their sources: shown beside measured rows, never ranked among them. No torch.

Their students, test clips and ways of choosing what to report differ from this benchmark's and from each other's; the caveat of
a row says what is known of it.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from tabulate import tabulate

from vddbench.spec import Task

FILE = Path(__file__).with_name("published.csv")
HEADERS = ("reported", "top-1 %", "std", "MB", "source", "caveat")


def reported(task: Task) -> pd.DataFrame:
    """Rows of papers for a task, and those of the dataset's `full`; best first."""
    rows = pd.read_csv(FILE)
    budget = rows["ipc"].isna() if task.ipc is None else rows["ipc"] == task.ipc
    mine = rows[(rows["dataset"] == task.dataset) & rows["top1_mean"].notna() & (budget | (rows["method"] == "full"))]
    return mine.sort_values(["top1_mean", "method"], ascending=[False, True], kind="stable").reset_index(drop=True)


def draw(task: Task, style: str) -> str:
    """As text; empty when no paper reports anything."""
    rows = [
        [row["method"], f"{row['top1_mean']:.1f}", *(_number(row[name]) for name in ("top1_std", "storage_mb"))]
        + ["" if pd.isna(row[name]) else row[name] for name in ("source", "caveat")]
        for row in reported(task).to_dict("records")
    ]
    return tabulate(rows, HEADERS, style, disable_numparse=True) if rows else ""


def _number(value: float) -> str:
    return "-" if pd.isna(value) else f"{value:g}"
