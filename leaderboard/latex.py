r"""Ranked rows as LaTeX tables (booktabs) to paste into a paper. Bold marks the first tie group, and nothing else."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

import pandas as pd

from vddbench.leaderboard.rank import TABLE

COLUMNS = ("Rank", "Method", r"Top-1 (\%)", r"95\,\%", "Over random", r"Gap closed (\%)", "Students", "MB")
SPECIAL = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
}  # fmt: skip


def escaped(text: str) -> str:
    """Text that LaTeX prints and never runs as a command; characters outside ASCII become question marks."""
    return "".join(SPECIAL.get(c, c if c.isascii() and c.isprintable() else "?") for c in text)


def latex(rows: pd.DataFrame) -> str:
    r"""One `tabular` for each task, student and track, after a comment with its name. Needs \usepackage{booktabs}."""
    parts = [tabular(" ".join(map(str, names)), part) for names, part in rows.groupby(TABLE, sort=True)]
    return "\n\n".join(parts)


def tabular(title: str, rows: pd.DataFrame) -> str:
    lines = [f"% {escaped(title)}", r"\begin{tabular}{rlrcrrrr}", r"\toprule", " & ".join(COLUMNS) + r" \\", r"\midrule"]
    lines += [" & ".join(cells(row)) + r" \\" for row in rows.to_dict("records")]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"])


def cells(row: Mapping[Hashable, object]) -> Sequence[str]:
    score = percent(row["top1"])
    return (
        number(row["rank"], "{:.0f}"),
        escaped(str(row["method"])),
        rf"\textbf{{{score}}}" if row["rank"] == 1 else score,
        between(row["low"], row["high"]),
        percent(row["gain"], "{:+.1f}"),
        percent(row["gap_closed"], "{:.0f}"),
        str(row["seeds"]),
        number(row["payload_bytes"], "{:.2f}", 1e-6),
    )


def between(low: object, high: object) -> str:
    return "--" if pd.isna(low) else f"{percent(low)} to {percent(high)}"  # type: ignore[call-overload]


def percent(value: object, form: str = "{:.1f}") -> str:
    return number(value, form, 100)


def number(value: object, form: str, times: float = 1) -> str:
    assert isinstance(value, int | float)
    return "--" if pd.isna(value) else form.format(value * times).replace("-", "$-$")
