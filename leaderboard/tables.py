"""Ranked rows as text: one table per task, student and track."""

from __future__ import annotations

import sys
from collections.abc import Hashable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import pandas as pd
from tabulate import tabulate

from vddbench.data.fingerprint import shared_table_notes
from vddbench.leaderboard import reported
from vddbench.leaderboard.aggregate import aggregate
from vddbench.leaderboard.evidence import Evaluated, load, tables_of
from vddbench.leaderboard.latex import latex
from vddbench.leaderboard.power import note
from vddbench.leaderboard.rank import TABLE, rank
from vddbench.spec import FULL, Task
from vddbench.system.progress import clean, say

FORMS = {"table": "simple", "md": "github", "csv": "", "json": "", "latex": "", "parquet": ""}  # tabulate's name

HEADERS = (
    "rank",
    "method",
    "top-1 %",
    "95 %",
    "over random",
    "gap closed %",
    "students",
    "MB",
    "of budget %",
    "clips/class",
    "",
)


Notes = Mapping[tuple[str, str, str], str]  # by (task, student, track)


def tables(rows: pd.DataFrame, style: str, notes: Notes = MappingProxyType({})) -> Iterator[tuple[str, str]]:
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
        note = notes.get((str(task), str(student), str(track)), "")
        yield clean(f"{task} · student {student} · {track} labels"), draw(pd.concat([part, foot]), style) + note
    for (task, student), part in rows[on_full].groupby(["task", "student"], sort=True):
        budgeted = ~on_full & (rows["dataset"] == part["dataset"].iloc[0]) & (rows["student"] == student)
        if not budgeted.any() or not is_reference[part.index].all():
            yield clean(f"{task} · student {student}"), draw(part, style)


def draw(rows: pd.DataFrame, style: str) -> str:
    return tabulate([line(row) for row in rows.to_dict("records")], HEADERS, style, disable_numparse=True)


def line(row: Mapping[Hashable, object]) -> list[str]:
    """One entry as text; "-" for what is not known."""
    return [
        place(row),
        clean(str(row["method"])),
        number(row["top1"], "{:.1f}", 100),
        interval(row["low"], row["high"], "{:.1f}"),
        known(row, ("gain", "gain_low", "gain_high"), "{:+.1f}"),
        known(row, ("gap_closed", "gap_low", "gap_high"), "{:.0f}"),
        f"{row['seeds']}" if row["distillations"] == 1 else f"{row['seeds']} on {row['distillations']}",
        number(row["payload_bytes"], "{:.3f}", 1e-6),
        number(row["budget_share"], "{:.1f}", 100),
        number(row["clips_per_class"], "{:g}"),
        clean(str(row["flags"])),
    ]


def place(row: Mapping[Hashable, object]) -> str:
    """`1`, and where the entry comes in 95 % of the draws when that is not always there."""
    rank, low, high = (number(row[name], "{:.0f}") for name in ("rank", "rank_low", "rank_high"))
    return rank if low == high == rank else f"{rank} ({low}-{high})"


def interval(low: object, high: object, form: str) -> str:
    """Of shares, in percent."""
    return f"({number(low, form, 100)} to {number(high, form, 100)})" if not pd.isna(low) else "-"  # type: ignore[call-overload]


def known(row: Mapping[Hashable, object], names: tuple[str, str, str], form: str) -> str:
    """A share in percent with its interval, as far as they are known."""
    value, low, high = (row[name] for name in names)
    return f"{number(value, form, 100)} {interval(low, high, form)}".removesuffix(" -")


def number(value: object, form: str, times: float = 1) -> str:
    assert isinstance(value, int | float)
    return "-" if pd.isna(value) else form.format(value * times)


def show(
    roots: Sequence[Path], task: str | None, student: str | None, form: str, track: str | None = None, papers: bool = False
) -> None:
    """Prints the ranked tables of all records under `roots`. `form`: of FORMS; papers: with what they report, as text.

    Records that don't verify are named on stderr and left out. Raises FileNotFoundError when there is nothing to rank,
    LookupError for a format, task or student that there is not, and, after the other tables, ValueError naming the records
    that can't share one.
    """
    if form not in FORMS:
        raise LookupError(f"format {form!r} is unknown; allowed: {', '.join(FORMS)}")
    loaded = load(roots)
    for refused in loaded.refused:
        say(f"left out: {refused}")
    for line in shared_table_notes(one.record for one in loaded.evaluated):
        say(line)
    if not loaded.evaluated:
        folders = ", ".join(map(str, roots))
        raise FileNotFoundError(
            f"no valid records in {folders}; make some with `vddbench evaluate`, or name a folder with --results"
        )
    ranked, problems = [], []
    notes: dict[tuple[str, str, str], str] = {}
    for found in tables_of(loaded.evaluated, task, student):
        try:
            rows = rank(found)
            ranked.append(rows)
            notes |= notes_of(found, rows)
        except ValueError as error:
            one = found[0].record
            problems.append(f"no table of {one.task}, student {one.student}: {error}")
    if ranked:
        rows = pd.concat(ranked).drop_duplicates([*TABLE, "method", "sha256"], ignore_index=True)
        print_rows(rows if track is None else rows[rows["track"] == track].reset_index(drop=True), form, notes)
        if FORMS[form] and task is None and not problems:
            print_aggregate(loaded.evaluated, student, track, FORMS[form])
        for name in sorted(set(rows["task"])) if papers and FORMS[form] else ():
            if text := reported.draw(Task.parse(name), FORMS[form]):
                print(f"\n{name} as papers report it: other students, tests and choices; not ranked\n\n{text}")
    if problems:
        raise ValueError("\n".join(problems))


def notes_of(found: Sequence[Evaluated], rows: pd.DataFrame) -> dict[tuple[str, str, str], str]:
    """Below each table, what its students and videos can't tell apart."""
    notes = {}
    for (task, student, track), part in rows[rows["rank"].notna()].groupby(TABLE):
        table = (Task.parse(str(task)), student, track)
        own = [each for each in found if (each.record.task, each.record.student, each.record.track) == table]
        if text := note(own, part["seeds"].tolist()):
            notes[str(task), str(student), str(track)] = f"\n\n{text}"
    return notes


def print_aggregate(found: Sequence[Evaluated], student: str | None, track: str | None, style: str) -> None:
    """All tables of each student in one; nothing where no method but `random` is in all of two or more."""
    rows = aggregate(found)
    rows = rows[rows["student"].eq(student or rows["student"]) & rows["track"].eq(track or rows["track"])]
    for (of_student, of_track), part in rows.groupby(["student", "track"], sort=True):
        if part["rank"].notna().sum() < 2:
            continue
        lines = [
            [
                place(row),
                clean(row["method"]),
                known(row, ("gap_closed", "gap_low", "gap_high"), "{:.0f}"),
                number(row["mean_rank"], "{:.1f}"),
                f"{row['tables']} of {row['of_tables']}",
                f"lacks {row['missing']}" if row["missing"] else "",
            ]
            for row in part.to_dict("records")
        ]
        print(f"\nall tables · student {of_student} · {of_track} labels\n")
        print(tabulate(lines, ("rank", "method", "mean gap closed %", "mean rank", "tables", ""), style, disable_numparse=True))


def print_rows(rows: pd.DataFrame, form: str, notes: Notes) -> None:
    if form == "csv":
        print(rows.to_csv(index=False), end="")
    elif form == "json":
        print(rows.to_json(orient="records", indent=1))
    elif form == "latex":
        print(latex(rows))
    elif form == "parquet":
        if sys.stdout.isatty():
            raise LookupError("--format parquet is no text: send it to a file, vddbench rank --format parquet > ranks.parquet")
        rows.to_parquet(sys.stdout.buffer, index=False)
    else:
        for title, text in tables(rows, FORMS[form], notes):
            print(f"\n{title}\n\n{text}")
