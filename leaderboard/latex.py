r"""Ranked rows as LaTeX tables (booktabs) to paste into a paper. Bold marks the first tie group, and nothing else.

A method appears under its title if it has one. The marks of a row are superscripts, explained below the table; a comment at the
end of the line has the method's identifier and the marks in full.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from vddbench.leaderboard.divisions import question
from vddbench.leaderboard.entry import TableKey
from vddbench.leaderboard.marks import legend, marks_in
from vddbench.leaderboard.rows import Row, by_table, is_known
from vddbench.spec import Task

COLUMNS = (
    "Rank", "Method", r"Top-1 (\%)", r"95\,\%", r"Std students, sets (\%)", "Over random", r"Gap closed (\%)", "Students", "MB",
)  # fmt: skip
SPECIAL = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}",
    '"': "''",  # the closing one; \textquotedbl needs \usepackage[T1]{fontenc}
}  # fmt: skip
OPENING = re.compile(r"""(?<![^\s(\["])"(?=\S)""")  # at the beginning, after a space or a bracket


def escaped(text: str) -> str:
    """Text that LaTeX prints and never runs as a command; characters outside ASCII become question marks."""
    return "".join(SPECIAL.get(c, c if c.isascii() and c.isprintable() else "?") for c in OPENING.sub("``", text))


def latex(rows: Sequence[Row]) -> str:
    r"""One `tabular` for each task, student, track and division, after a comment with its name and its question.

    Needs \usepackage{booktabs}.
    """
    parts = [tabular(table, part) for table, part in by_table(rows).items()]
    return "\n\n".join(parts)


def tabular(table: TableKey, rows: Sequence[Row]) -> str:
    title = f"{table.task} {table.student} {table.track}" + (f", division {table.division}" if table.division else "")
    asked = question(Task.parse(table.task), table.division)
    lines = [f"% {escaped(text)}" for text in (title, asked) if text]
    lines += [r"\begin{tabular}{rlrccrrrr}", r"\toprule", " & ".join(COLUMNS) + r" \\", r"\midrule"]
    lines += [line(row) for row in rows]
    notes = [
        rf"{superscript([mark.sign])}\,{mark.name}: {escaped(mark.sentence)}" for mark in legend(row["flags"] for row in rows)
    ]
    below = [r"\par\smallskip{\footnotesize " + r" \quad ".join(notes) + r"\par}"] if notes else []
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", *below])


def line(row: Row) -> str:
    return " & ".join(cells(row)) + rf" \\  % {escaped(str(row['method']))}: {escaped(str(row['flags'])) or 'no marks'}"


def cells(row: Row) -> Sequence[str]:
    score = percent(row["top1"])
    return (
        place(row),
        escaped(str(row["title"] or row["method"])) + superscript([mark.sign for mark, _ in marks_in(str(row["flags"]))]),
        rf"\textbf{{{score}}}" if row["rank"] == 1 else score,
        between(row["low"], row["high"]),
        f"{percent(row['std_students'])}, {percent(row['std_distillations'])}",
        with_interval(row, "gain", "gain_low", "gain_high", "{:+.1f}"),
        with_interval(row, "gap_closed", "gap_low", "gap_high", "{:.0f}"),
        f"{row['seeds']} {row['basis']}" + ("" if row["distillations"] == 1 else f" on {row['distillations']}"),
        number(row["payload_bytes"], "{:.2f}", 1e-6),
    )


def superscript(signs: Sequence[str]) -> str:
    return rf"$^{{\mathrm{{{','.join(signs)}}}}}$" if signs else ""


def place(row: Row) -> str:
    """The rank, and where the entry comes in 95 % of the draws if that varies."""
    rank, low, high = (number(row[name], "{:.0f}") for name in ("rank", "rank_low", "rank_high"))
    return rank if low == high == rank else f"{rank} ({low}--{high})"


def with_interval(row: Row, value: str, low: str, high: str, form: str) -> str:
    bounds = f" ({between(row[low], row[high], form)})" if is_known(row[low]) else ""
    return percent(row[value], form) + bounds


def between(low: object, high: object, form: str = "{:.1f}") -> str:
    return f"{percent(low, form)} to {percent(high, form)}" if is_known(low) else "--"


def percent(value: object, form: str = "{:.1f}") -> str:
    return number(value, form, 100)


def number(value: object, form: str, times: float = 1) -> str:
    assert isinstance(value, int | float)
    return form.format(value * times).replace("-", "$-$") if is_known(value) else "--"
