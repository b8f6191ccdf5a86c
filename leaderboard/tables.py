"""Ranked rows as text: one table per task, student and track."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from pathlib import Path

import pandas as pd
from tabulate import tabulate

from leaderboard.rank import ENTRY, load, rank, tables_of
from vddbench.progress import clean, say
from vddbench.spec import FULL

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

    The reference `full` of the dataset is repeated at the foot of each of its tables; DATASET-full has a table of its own
    when it stands alone or holds other entries.
    """
    if rows.empty:
        return
    on_full = rows["task"] == rows["dataset"] + f"-{FULL}"
    is_reference = on_full & (rows["method"] == FULL) & (rows["track"] == "hard")
    for (task, student, track), part in rows[~on_full].groupby(["task", "student", "track"], sort=True):
        foot = rows[is_reference & (rows["dataset"] == part["dataset"].iloc[0]) & (rows["student"] == student)]
        yield clean(f"{task} · student {student} · {track} labels"), draw(pd.concat([part, foot]), style)
    for (task, student), part in rows[on_full].groupby(["task", "student"], sort=True):
        budgeted = ~on_full & (rows["dataset"] == part["dataset"].iloc[0]) & (rows["student"] == student)
        if not budgeted.any() or not is_reference[part.index].all():
            yield clean(f"{task} · student {student}"), draw(part, style)


def draw(rows: pd.DataFrame, style: str) -> str:
    return tabulate([line(row) for row in rows.to_dict("records")], HEADERS, style, disable_numparse=True)


def line(row: Mapping[Hashable, object]) -> list[str]:
    """One entry as text; "-" for what is not known. Distillation seed N > 0 shows as METHOD-sN, like its folder."""
    return [
        number(row["rank"], "{:.0f}"),
        clean(f"{row['method']}-s{row['distill_seed']}" if row["distill_seed"] else str(row["method"])),
        number(row["top1"], "{:.1f}", 100),
        number(row["half_width"], "{:.1f}", 100),
        number(row["gain"], "{:+.1f}", 100),
        number(row["recovery"], "{:.0f}", 100),
        str(row["seeds"]),
        number(row["payload_bytes"], "{:.3f}", 1e-6),
        number(row["budget_share"], "{:.1f}", 100),
        number(row["clips_per_class"], "{:g}"),
        clean(str(row["flags"])),
    ]


def number(value: object, form: str, times: float = 1) -> str:
    assert isinstance(value, int | float)
    return "-" if pd.isna(value) else form.format(value * times)


def show(roots: Sequence[Path], task: str | None, student: str | None, form: str) -> None:
    """Prints the ranked tables of all records under `roots`. `form`: table, md, csv or json.

    Records that don't verify are named on stderr and left out. Raises FileNotFoundError when there is nothing to rank,
    LookupError for a format, task or student that there is not, and, after the other tables, ValueError naming the records
    that can't share one.
    """
    if form not in FORMS:
        raise LookupError(f"format {form!r} is unknown; allowed: {', '.join(FORMS)}")
    loaded = load(roots)
    for refused in loaded.refused:
        say(f"left out: {refused}")
    if not loaded.records:
        folders = ", ".join(map(str, roots))
        raise FileNotFoundError(
            f"no valid records in {folders}; make some with `vddbench evaluate`, or name a folder with --results"
        )
    ranked, problems = [], []
    for records in tables_of(loaded.records, task, student):
        try:
            ranked.append(rank(records))
        except ValueError as error:
            problems.append(f"no table of {records[0].task}, student {records[0].student}: {error}")
    if ranked:
        print_rows(pd.concat(ranked).drop_duplicates(ENTRY, ignore_index=True), form)
    if problems:
        raise ValueError("\n".join(problems))


def print_rows(rows: pd.DataFrame, form: str) -> None:
    if form == "csv":
        print(rows.to_csv(index=False), end="")
    elif form == "json":
        print(rows.to_json(orient="records", indent=1))
    else:
        for title, text in tables(rows, FORMS[form]):
            print(f"\n{title}\n\n{text}")
