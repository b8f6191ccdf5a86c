"""What `vddbench rank` prints: one table for each task, network, track and division, with its title and its notes."""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from tabulate import tabulate

from vddbench.data.fingerprint import shared_table_notes
from vddbench.leaderboard import replayed, reported
from vddbench.leaderboard.aggregate import aggregated
from vddbench.leaderboard.divisions import NONE, OPEN, chosen, nobody, question, without_entries
from vddbench.leaderboard.entry import TableKey
from vddbench.leaderboard.evidence import Evaluated, load_listed, none_valid, some
from vddbench.leaderboard.headline import headline
from vddbench.leaderboard.latex import latex
from vddbench.leaderboard.marks import legend
from vddbench.leaderboard.rank import as_frame, rank_tables
from vddbench.leaderboard.row_text import draw, number, place, with_interval
from vddbench.leaderboard.rows import Row, by_table, is_known, table_of
from vddbench.leaderboard.table_records import tables_of
from vddbench.lookup import unknown
from vddbench.protocol import SDD
from vddbench.records.record import Record
from vddbench.spec import DIVISIONS, FULL, Task
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
    format, task, student or division, for a track without records and for a format that does not show the only records, what
    `write_chart` raises, and, after the other tables are printed, ValueError naming the records that cannot share a table.
    """
    if form not in FORMS:
        raise LookupError(f"format {form!r} is unknown; allowed: {', '.join(FORMS)}")
    divisions = chosen(division)
    loaded = load_listed(roots)
    replays = replayed.selected(loaded.replayed, task, student, track)
    is_ranked = any(task in {None, str(one.record.task)} and student in {None, one.record.student} for one in loaded.evaluated)
    if replays and not is_ranked and not FORMS[form]:
        of = "".join(f" of {name}" for name in (task, student) if name is not None)
        raise LookupError(
            f"all records{of} in {', '.join(map(str, roots))} are of protocol {SDD.name}, which is not ranked: --format table "
            f"and --format md show them, and `vddbench table --protocol {SDD.name}` has all formats but parquet"
        )
    replays = replays if FORMS[form] else {}
    if not loaded.evaluated:
        known = reported.tasks() if papers and FORMS[form] else []
        if not replays and not known:
            some(loaded, roots)  # raises
        tasks = known if task is None else [task] if task in known else []
        if not replays:
            if not tasks:
                raise LookupError(unknown("task with reported numbers", str(task), known))
            say(none_valid(roots))
        problems = print_replayed(replays, [], papers, FORMS[form])
        print_reported(tasks, FORMS[form])
        refuse(problems)
        return
    evaluated = loaded.evaluated
    for line in shared_table_notes(one.record for one in evaluated):
        say(line)
    is_shown = is_ranked or not replays  # if not, protocol sdd has the only records of this task or network
    rows, problems = rank_tables(tables_of(evaluated, task, student)) if is_shown else ([], [])
    if rows or not is_shown:
        of_track = in_track(rows, track, task, may_be_none=bool(replays or problems))
        if chart is not None:
            from vddbench.leaderboard.site.chart_file import write_chart

            write_chart(of_track, evaluated, divisions, chart)
        print_rows(of_track, form, notes_of(of_track, evaluated) if FORMS[form] else {}, divisions)
        if rows and FORMS[form] and task is None and not problems:
            print_aggregate(evaluated, student, track, FORMS[form], divisions)
    problems = [*problems, *print_replayed(replays, evaluated, papers, FORMS[form])]
    if papers and FORMS[form]:
        print_reported(sorted({row["task"] for row in rows} | {table[0] for table in replays}), FORMS[form])
    refuse(problems)


def refuse(problems: Sequence[str]) -> None:
    """Raises ValueError with the tables that were refused, if there are any."""
    if problems:
        raise ValueError("\n".join(problems))


def in_track(rows: Sequence[Row], track: str | None, task: str | None, *, may_be_none: bool) -> list[Row]:
    """The rows of a track, or all. Raises LookupError for a track without records, unless there may be none."""
    found = [row for row in rows if track in {None, row["track"]}]
    if not (found or may_be_none):
        tracks = ", ".join(sorted({row["track"] for row in rows}))
        raise LookupError(f"no {track}-label records{f' of {task}' if task else ''}; tracks with records: {tracks}")
    return found


def print_replayed(
    replays: Mapping[replayed.Table, Sequence[Evaluated]], ranked: Sequence[Evaluated], papers: bool, style: str
) -> list[str]:
    """Prints the tables of protocol sdd, and returns a line for each whose records cannot share it.

    papers: with what papers print, and with the scores of the ranked records.
    """
    problems = []
    for table, records in replays.items():
        try:
            print(f"\n{replayed.draw(table, records, ranked, papers, style)}")
        except ValueError as error:
            problems.append(f"no table of {table[0]}, network {table[1]}, protocol {SDD.name}: {error}")
    return problems


def print_reported(tasks: Sequence[str], style: str) -> None:
    """Prints what papers report for tasks. style: of tabulate."""
    for task in tasks:
        if text := reported.draw(Task.parse(task), style):
            print(f"\n{task} as papers report it: other students, tests and choices; not ranked\n\n{text}")


def notes_of(rows: Sequence[Row], evaluated: Sequence[Evaluated]) -> dict[TableKey, str]:
    """The notes below each table: what its entries share, and what its intervals cannot contain."""
    records = {(str(one.record.task), one.record.student): one.record for one in evaluated}
    notes = {}
    for table, part in by_table(rows).items():
        ranked = [row for row in part if is_known(row["rank"])]
        shared = conditions(records[table.task, table.student])
        notes[table] = f"\n\n{shared}{f' {failures(ranked)}' if ranked else ''}"
    return notes


def conditions(record: Record) -> str:
    """A sentence: what all records of a table share."""
    return (
        f"Protocol {clean(record.protocol)}, {record.num_test:,} test videos of {record.num_classes} classes "
        f"(chance: {100 / record.num_classes:.1f} %)."
    )


def failures(ranked: Sequence[Row]) -> str:
    """A sentence: how many students may fail to train although none of the entry with the fewest did."""
    students = min(row["seeds"] for row in ranked)
    unseen = 1 - 0.05 ** (1 / students)  # 95 % confidence that it is less
    return (
        f"Intervals cannot contain failures that did not occur: after {students} students without one, up to {unseen:.0%} of "
        "students may fail (95 % confidence)."
    )


def print_rows(rows: Sequence[Row], form: str, notes: Mapping[TableKey, str], divisions: Sequence[str] = DIVISIONS) -> None:
    if FORMS[form]:
        for title, text in tables(rows, FORMS[form], notes, divisions):
            print(f"\n{title}\n\n{text}")
        return
    for key in empty(rows, divisions):
        say(nobody(Task.parse(key.task), key.division))
    rows = [row for row in rows if row["division"] in {*divisions, NONE}]
    if form == "csv":
        print(as_frame(rows).to_csv(index=False), end="")
    elif form == "json":
        print(as_frame(rows).to_json(orient="records", indent=1, double_precision=15))
    elif form == "latex":
        print(latex(rows))
    else:
        if sys.stdout.isatty():
            raise LookupError("--format parquet is binary: send it to a file, vddbench rank --format parquet > ranks.parquet")
        as_frame(rows).to_parquet(sys.stdout.buffer, index=False)


def empty(rows: Sequence[Row], divisions: Sequence[str]) -> list[TableKey]:
    """The tables of these divisions that have no entries."""
    return [key for key in without_entries({table_of(row) for row in rows}) if key.division in divisions]


def print_aggregate(
    evaluated: Sequence[Evaluated], student: str | None, track: str | None, style: str, divisions: Sequence[str]
) -> None:
    """Prints a combined table for each student, track and division in which at least two methods have a combined rank.

    Students whose records cannot be combined are listed on stderr.
    """
    parts: dict[tuple[str, str, str], list[Row]] = defaultdict(list)
    rows, problems = aggregated([one for one in evaluated if student in {None, one.record.student}])
    for line in problems:
        say(line)
    for row in rows:
        if track in {None, row["track"]} and row["division"] in divisions:
            parts[row["student"], row["track"], row["division"]].append(row)
    for (of_student, of_track, division), part in sorted(parts.items()):
        if sum(is_known(row["rank"]) for row in part) < 2:
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
            for row in part
        ]
        print(f"\nall tables · network {of_student} · {of_track} labels · division {division}\n")
        print(
            tabulate(
                lines, ("rank", "method", "mean gap closed %", "mean rank", "tables", "", "marks"), style, disable_numparse=True
            )
        )


def tables(
    rows: Sequence[Row],
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
    parts = by_table(row for row in rows if row["division"] != NONE)
    on_full: dict[tuple[str, str], list[Row]] = defaultdict(list)  # by dataset and student
    for row in rows:
        if row["division"] == NONE:
            on_full[row["dataset"], row["student"]].append(row)
    for key in sorted([*(key for key in parts if key.division in divisions), *empty(rows, divisions)]):
        task = Task.parse(key.task)
        title = clean(f"{key.task} · network {key.student} · {key.track} labels · division {key.division}")
        if key not in parts:
            yield TextTable(title, f"{question(task, key.division)}\n\n{nobody(task, key.division)}")
            continue
        foot = [row for row in on_full[task.dataset, key.student] if is_full_reference(row)]
        whole = [*parts[key][:top], *foot]
        sentences = headline(parts[key], with_curve=key.division == OPEN)
        text = draw(whole, style) + notes.get(key, "") + single_full(parts[key], foot) + explained(whole)
        yield TextTable(title, "\n\n".join(part for part in (question(task, key.division), sentences, text) if part))
    budgeted = {(Task.parse(key.task).dataset, key.student) for key in parts}
    for (dataset, student), part in sorted(on_full.items()):
        if part and ((dataset, student) not in budgeted or not all(map(is_full_reference, part))):
            yield TextTable(clean(f"{dataset}-{FULL} · network {student}"), draw(part[:top], style) + explained(part[:top]))


def is_full_reference(row: Row) -> bool:
    return bool(row["method"] == FULL and row["track"] == "hard")


def single_full(part: Sequence[Row], foot: Sequence[Row]) -> str:
    """A sentence if `full` has one student, whose spread is not known."""
    if not any(is_known(row["gap_low"]) for row in part) or all(row["seeds"] != 1 for row in foot):
        return ""
    return "\n\n`full` has one student: intervals of the gap closed do not contain how much students of `full` vary."


def explained(rows: Sequence[Row]) -> str:
    """What the marks in these rows mean, as lines below the table."""
    lines = [f"{mark.name}: {mark.sentence}" for mark in legend(row["flags"] for row in rows)]
    return "\n\n" + "\n".join(lines) if lines else ""
