"""Writes the tables of docs/baselines.md from the records: `python -m tests.tools.baseline_tables`. A test holds them to it.

A table and the line below it, the headline of `vddbench rank`, follow a line that begins with `Division` or `Soft labels`.
"""

from __future__ import annotations

import re
from pathlib import Path

from tabulate import tabulate

from vddbench.leaderboard.divisions import IPC, OPEN
from vddbench.leaderboard.evidence import load
from vddbench.leaderboard.headline import headline
from vddbench.leaderboard.rank import rank
from vddbench.leaderboard.row_text import FRONT, line, on_front
from vddbench.leaderboard.rows import Row

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "baselines.md"
HEADERS = ("rank", "method", "top-1 % (95 %)", "over random", "bytes", "clips per class")
TABLES = (  # heading, task, the line before the table, track, division
    ("## movingshapes, IPC 1", "movingshapes-ipc1", "Division `ipc`", "hard", IPC),
    ("## movingshapes, IPC 1", "movingshapes-ipc1", "Division `open`", "hard", OPEN),
    ("## movingshapes, IPC 1", "movingshapes-ipc1", "Soft labels", "soft", IPC),
    ("### 10 letters, IPC 1", "avletters10-ipc1", "Division `ipc`", "hard", IPC),
    ("### 10 letters, IPC 1", "avletters10-ipc1", "Division `open`", "hard", OPEN),
    ("### 10 letters, IPC 1", "avletters10-ipc1", "Soft labels", "soft", IPC),
    ("## smarthome17, IPC 1", "smarthome17-ipc1", "Division `ipc`", "hard", IPC),
)


def written(page: str) -> str:
    """The page with the tables that the records give."""
    evaluated = load([ROOT / "leaderboard" / "results"]).evaluated
    for heading, task, before, track, division in TABLES:
        ranked = rank([one for one in evaluated if str(one.record.task) == task]).to_dict("records")
        rows = [row for row in ranked if (row["track"], row["division"], row["student"]) == (track, division, "convnet3d")]
        shown = [row for row in rows if division == IPC or adds(row)]
        text = f"{table(shown, division)}\n\n{headline(rows, with_curve=division == OPEN)}\n"
        place = re.compile(rf"(\n{re.escape(heading)}\n.*?\n{re.escape(before)}[^\n]*\n\n)(?:\|[^\n]*\n)+\n[^\n]*\n", re.DOTALL)
        page, count = place.subn(lambda found, text=text: found[1] + text, page, count=1)
        if not count:
            raise LookupError(f"{PAGE.name} has no table after {heading!r} and {before!r}")
    return page


def adds(row: Row) -> bool:
    """Whether a row of division `open` says more than that of its set in `ipc`. All tables are of IPC 1."""
    return row["clips_per_class"] > 1 or row["method"] == "random" or on_front(row).startswith("yes")


def table(rows: list[Row], division: str) -> str:
    """The rows in Markdown. Most entries are one set, as the page says, so the mark for it is left out."""
    headers, lines = [*HEADERS, *([FRONT] if division == OPEN else []), "marks"], []
    for row in rows:
        place, method, top1, between, gain, _, _, size, _, clips, marks = line(row)
        cells = [place, f"`{method}`", f"{top1} {between}", "" if method == "random" else gain, f"{size} MB", clips]
        cells += [on_front(row)] if division == OPEN else []
        lines.append([*cells, ", ".join(mark for mark in marks.split(", ") if mark != "one set")])
    rule = "|" + "---|" * len(headers)
    drawn = tabulate(lines, headers, "github", disable_numparse=True).splitlines()
    return "\n".join([tight(drawn[0]), rule, *map(tight, drawn[2:])])


def tight(row: str) -> str:
    return "| " + " | ".join(cell.strip() for cell in row.strip("|").split("|")) + " |"


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text()))
