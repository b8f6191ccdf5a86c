"""What `vddbench rank` prints: one table for each task, network, track and division, with its title and its notes."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import pandas as pd
from tabulate import tabulate

from vddbench.data.fingerprint import shared_table_notes
from vddbench.leaderboard import replayed, reported
from vddbench.leaderboard.aggregate import aggregate
from vddbench.leaderboard.divisions import DIVISIONS, NONE, OPEN, chosen, nobody, question, without_entries
from vddbench.leaderboard.entry import TableKey
from vddbench.leaderboard.evidence import Evaluated, load_listed, some
from vddbench.leaderboard.headline import headline
from vddbench.leaderboard.latex import latex
from vddbench.leaderboard.marks import legend
from vddbench.leaderboard.rank import TABLE, rank_tables
from vddbench.leaderboard.row_text import draw, number, place, with_interval
from vddbench.leaderboard.table_records import tables_of
from vddbench.spec import FULL, Task
from vddbench.system.progress import clean, say

FORMS = {"table": "simple", "md": "github", "csv": "", "json": "", "latex": "", "parquet": ""}  # format: its name in tabulate


class TextTable(NamedTuple):
    title: str
    text: str


def show(
    roots: Sequence[Path],
    task: str | None,
    student: str | None,
    form: str,
    track: str | None = None,
    papers: bool = False,
    division: str | None = None,
    chart: Path | None = None,
) -> None:
    """Prints the ranked tables of all records under `roots`. form: one of FORMS. papers: also print what papers report.

    division: `ipc` or `open`; by default both. chart: a file for the chart of accuracy against bytes of one table. Invalid
    records are listed on stderr and left out. Raises FileNotFoundError if there is nothing to print, LookupError for an unknown
    format, task, student or division, what `write_chart` raises, and, after the other tables are printed, ValueError naming the
    records that cannot share a table.
    """
    if form not in FORMS:
        raise LookupError(f"format {form!r} is unknown; allowed: {', '.join(FORMS)}")
    divisions = chosen(division)
    loaded = load_listed(roots)
    replays = replayed.selected(loaded.replayed, task, student, track) if FORMS[form] else {}
    if not loaded.evaluated:
        known = reported.tasks() if papers and FORMS[form] else []
        tasks = known if task is None else [task] if task in known else []
        if not replays and not tasks:
            some(loaded, roots)  # raises
        print_replayed(replays, [], papers, FORMS[form])
        print_reported(tasks, FORMS[form])
        return
    evaluated = loaded.evaluated
    for line in shared_table_notes(one.record for one in evaluated):
        say(line)
    rows, problems = rank_tables(tables_of(evaluated, task, student))
    if len(rows):
        of_track = rows if track is None else rows[rows["track"] == track].reset_index(drop=True)
        if chart is not None:
            from vddbench.leaderboard.site.chart_file import write_chart

            write_chart(of_track, evaluated, divisions, chart)
        print_rows(of_track, form, notes_of(of_track) if FORMS[form] else {}, divisions)
        if FORMS[form] and task is None and not problems:
            print_aggregate(evaluated, student, track, FORMS[form], divisions)
        print_replayed(replays, evaluated, papers, FORMS[form])
        if papers and FORMS[form]:
            print_reported(sorted({*rows["task"], *(table[0] for table in replays)}), FORMS[form])
    if problems:
        raise ValueError("\n".join(problems))


def print_replayed(
    replays: Mapping[replayed.Table, Sequence[Evaluated]], ranked: Sequence[Evaluated], papers: bool, style: str
) -> None:
    """Prints the tables of protocol sdd. papers: with what papers print, and with the scores of the ranked records."""
    for table, records in replays.items():
        print(f"\n{replayed.draw(table, records, ranked, papers, style)}")


def print_reported(tasks: Sequence[str], style: str) -> None:
    """Prints what papers report for tasks. style: of tabulate."""
    for task in tasks:
        if text := reported.draw(Task.parse(task), style):
            print(f"\n{task} as papers report it: other students, tests and choices; not ranked\n\n{text}")


def notes_of(rows: pd.DataFrame) -> dict[TableKey, str]:
    """The notes below each table: what its intervals cannot contain."""
    ranked = rows[rows["rank"].notna()]
    return {TableKey(*map(str, names)): f"\n\n{failures(part)}" for names, part in ranked.groupby(TABLE)}


def failures(ranked: pd.DataFrame) -> str:
    """A sentence: how many students may fail to train although none of the entry with the fewest did."""
    students = int(ranked["seeds"].min())
    unseen = 1 - 0.05 ** (1 / students)  # 95 % confidence that it is less
    return (
        f"Intervals cannot contain failures that did not occur: after {students} students without one, up to {unseen:.0%} of "
        "students may fail (95 % confidence)."
    )


def print_rows(rows: pd.DataFrame, form: str, notes: Mapping[TableKey, str], divisions: Sequence[str] = DIVISIONS) -> None:
    if FORMS[form]:
        for title, text in tables(rows, FORMS[form], notes, divisions):
            print(f"\n{title}\n\n{text}")
        return
    for key in empty(rows, divisions):
        say(nobody(Task.parse(key.task), key.division))
    rows = rows[rows["division"].isin([*divisions, NONE])].reset_index(drop=True)
    if form == "csv":
        print(rows.to_csv(index=False), end="")
    elif form == "json":
        print(rows.to_json(orient="records", indent=1, double_precision=15))
    elif form == "latex":
        print(latex(rows))
    else:
        if sys.stdout.isatty():
            raise LookupError("--format parquet is binary: send it to a file, vddbench rank --format parquet > ranks.parquet")
        rows.to_parquet(sys.stdout.buffer, index=False)


def empty(rows: pd.DataFrame, divisions: Sequence[str]) -> list[TableKey]:
    """The tables of these divisions that have no entries."""
    keys = (TableKey(*names) for names in rows[TABLE].drop_duplicates().to_numpy().tolist())
    return [key for key in without_entries(keys) if key.division in divisions]


def print_aggregate(
    evaluated: Sequence[Evaluated], student: str | None, track: str | None, style: str, divisions: Sequence[str]
) -> None:
    """Prints a combined table for each student, track and division in which at least two methods have a combined rank."""
    rows = aggregate(evaluated)
    rows = rows[rows["student"].eq(student or rows["student"]) & rows["track"].eq(track or rows["track"])]
    rows = rows[rows["division"].isin(divisions)]
    for (of_student, of_track, division), part in rows.groupby(["student", "track", "division"], sort=True):
        if part["rank"].notna().sum() < 2:
            continue
        lines = [
            [
                place(row),
                clean(row["method"]),
                with_interval(row, "gap_closed", "gap_low", "gap_high", "{:.0f}"),
                number(row["mean_rank"], "{:.1f}"),
                f"{row['tables']} of {row['of_tables']}",
                f"lacks {row['missing']}" if row["missing"] else "",
                clean(str(row["flags"])),
            ]
            for row in part.to_dict("records")
        ]
        print(f"\nall tables · network {of_student} · {of_track} labels · division {division}\n")
        print(
            tabulate(
                lines, ("rank", "method", "mean gap closed %", "mean rank", "tables", "", "marks"), style, disable_numparse=True
            )
        )


def tables(
    rows: pd.DataFrame,
    style: str,
    notes: Mapping[TableKey, str] = MappingProxyType({}),
    divisions: Sequence[str] = DIVISIONS,
    top: int | None = None,
) -> Iterator[TextTable]:
    """`style` is a tabulate format: "github" for Markdown, "simple" for a terminal. top: show only so many entries of a table.

    Above a table are the question of its division and its headline. A division without entries is a sentence, not a table. The
    reference `full` of the dataset is repeated at the foot of each of its tables; DATASET-full has a table of its own only
    if it is the dataset's only task or has other entries.
    """
    if rows.empty:
        return
    on_full = rows["task"] == rows["dataset"] + f"-{FULL}"
    is_reference = on_full & (rows["method"] == FULL) & (rows["track"] == "hard")
    parts = {TableKey(*map(str, names)): part for names, part in rows[~on_full].groupby(TABLE)}
    for key in sorted([*(key for key in parts if key.division in divisions), *empty(rows, divisions)]):
        task = Task.parse(key.task)
        title = clean(f"{key.task} · network {key.student} · {key.track} labels · division {key.division}")
        if key not in parts:
            yield TextTable(title, f"{question(task, key.division)}\n\n{nobody(task, key.division)}")
            continue
        foot = rows[is_reference & (rows["dataset"] == task.dataset) & (rows["student"] == key.student)]
        whole = pd.concat([parts[key].head(top), foot]) if top else pd.concat([parts[key], foot])
        sentences = headline(parts[key], with_curve=key.division == OPEN)
        text = draw(whole, style) + notes.get(key, "") + single_full(parts[key], foot) + explained(whole)
        yield TextTable(title, "\n\n".join(part for part in (question(task, key.division), sentences, text) if part))
    for (full_task, student), part in rows[on_full].groupby(["task", "student"], sort=True):
        budgeted = ~on_full & (rows["dataset"] == part["dataset"].iloc[0]) & (rows["student"] == student)
        if not budgeted.any() or not is_reference[part.index].all():
            shown = part.head(top) if top else part
            yield TextTable(clean(f"{full_task} · network {student}"), draw(shown, style) + explained(shown))


def single_full(part: pd.DataFrame, foot: pd.DataFrame) -> str:
    """A sentence if `full` has one student, whose spread is not known."""
    if part["gap_low"].isna().all() or not (foot["seeds"] == 1).any():
        return ""
    return "\n\n`full` has one student: intervals of the gap closed do not contain how much students of `full` vary."


def explained(rows: pd.DataFrame) -> str:
    """What the marks in these rows mean, as lines below the table."""
    lines = [f"{mark.name}: {mark.sentence}" for mark in legend(rows["flags"])]
    return "\n\n" + "\n".join(lines) if lines else ""
