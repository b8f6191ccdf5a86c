"""Ranked rows as text: one table per task, student and track."""

from __future__ import annotations

import sys
from collections.abc import Hashable, Iterator, Mapping, Sequence
from pathlib import Path

import pandas as pd
from tabulate import tabulate

from leaderboard.rank import load, rank

FORMS = {"table": "simple", "md": "github", "csv": "", "json": ""}  # with tabulate's name where it draws

HEADERS = (
    "rank",
    "method",
    "top-1 %",
    "95 % +-",
    "over random",
    "recovery %",
    "seeds",
    "MB",
    "of budget %",
    "clips/class",
    "",
)


def tables(rows: pd.DataFrame, style: str) -> Iterator[tuple[str, str]]:
    """(title, text) of each table. `style` is a tabulate format: "github" for Markdown, "simple" for a terminal.

    The dataset's `full` rows are repeated at the foot of each of its tables, as a reference.
    """
    budgeted = rows[rows["task"] != rows["dataset"] + "-full"] if len(rows) else rows
    for (task, student, track), part in budgeted.groupby(["task", "student", "track"], sort=True):
        dataset = part["dataset"].iloc[0]
        full = rows[(rows["task"] == f"{dataset}-full") & (rows["student"] == student)]
        lines = [line(row) for row in pd.concat([part, full]).to_dict("records")]
        yield f"{task} · student {student} · {track} labels", tabulate(lines, HEADERS, style, disable_numparse=True)
    for (task, student), part in rows[~rows.index.isin(budgeted.index)].groupby(["task", "student"], sort=True):
        if not len(budgeted[(budgeted["dataset"] == part["dataset"].iloc[0]) & (budgeted["student"] == student)]):
            lines = [line(row) for row in part.to_dict("records")]
            yield f"{task} · student {student}", tabulate(lines, HEADERS, style, disable_numparse=True)


def line(row: Mapping[Hashable, object]) -> list[str]:
    """One entry as text; "-" for what is not known."""
    return [
        number(row["rank"], "{:.0f}"),
        str(row["method"]),
        number(row["top1"], "{:.1f}", 100),
        number(row["half_width"], "{:.1f}", 100),
        number(row["gain"], "{:+.1f}", 100),
        number(row["recovery"], "{:.0f}", 100),
        str(row["seeds"]),
        number(row["payload_bytes"], "{:.3f}", 1e-6),
        number(row["budget_share"], "{:.1f}", 100),
        number(row["clips_per_class"], "{:g}"),
        str(row["flags"]),
    ]


def number(value: object, form: str, times: float = 1) -> str:
    assert isinstance(value, int | float)
    return "-" if pd.isna(value) else form.format(value * times)


def show(roots: Sequence[Path], task: str | None, student: str | None, form: str) -> None:
    """Prints the ranked tables of all records under `roots`. `form`: table, md, csv or json.

    Raises FileNotFoundError when there is nothing to rank, LookupError for an unknown form. Records that don't verify are
    named on stderr and left out.
    """
    if form not in FORMS:
        raise LookupError(f"format {form!r} is unknown; allowed: {', '.join(FORMS)}")
    loaded = load(roots)
    for line_ in loaded.refused:
        print(f"left out: {line_}", file=sys.stderr)
    if not loaded.records:
        folders = ", ".join(map(str, roots))
        raise FileNotFoundError(
            f"no valid records in {folders}; make some with `vddbench evaluate`, or name a folder with --results"
        )
    rows = rank(loaded.records)
    rows = rows[(rows["task"] == (task or rows["task"])) | (rows["task"] == rows["dataset"] + "-full")]
    rows = rows[rows["student"] == (student or rows["student"])]
    if form == "csv":
        print(rows.to_csv(index=False), end="")
    elif form == "json":
        print(rows.to_json(orient="records", indent=1))
    else:
        for title, text in tables(rows, FORMS[form]):
            print(f"\n{title}\n\n{text}")
