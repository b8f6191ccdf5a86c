"""`vddbench rank --chart FILE`: the chart of accuracy against bytes of one table, as a picture for a paper or a talk."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from pathlib import Path

import vl_convert

from vddbench.leaderboard.divisions import OPEN
from vddbench.leaderboard.evidence import Evaluated
from vddbench.leaderboard.frontier import curve_of_records, sentence
from vddbench.leaderboard.rows import Row
from vddbench.leaderboard.site.board import assembled
from vddbench.leaderboard.site.charts import bytes_chart
from vddbench.leaderboard.site.entries import Table
from vddbench.system.files import write_whole
from vddbench.system.progress import clean

COLOURS = {"ink": "#1d1b18", "muted": "#6c665c", "rule": "#e3ded3", "accent": "#1b5e7a", "second": "#a2561f"}  # of page.css
FORMATS = (".png", ".svg")
MAX_NAMED = 10  # tables in an error
LINE = 76  # letters of a line above the chart
PNG_SCALE = 3  # pixels of the picture for each of the chart's


def write_chart(rows: Sequence[Row], evaluated: Sequence[Evaluated], divisions: Sequence[str], path: Path) -> None:
    """Writes the chart of the only table in `divisions`; if one is in both, of its division `open`.

    rows: of `rank`, computed from the records `evaluated`. Raises LookupError unless it is one table, or for another ending
    than .png or .svg, and OSError if the file cannot be written.
    """
    if path.suffix not in FORMATS:
        raise LookupError(f"--chart {str(path)[:200]!r}: the name must end in {' or '.join(FORMATS)}")
    tables = [table for table in assembled(rows, evaluated, {}).tables if table.division in divisions]
    tables = [table for table in tables if table.division == OPEN] or tables
    if len(tables) != 1:
        names = "; ".join(f"{table.task}, {table.student}, {table.track} labels" for table in tables[:MAX_NAMED]) or "none"
        raise LookupError(
            f"--chart draws one table, and {len(tables)} are chosen ({names}); choose with --task, --student, --track"
        )
    data = picture(tables[0], path.suffix)
    write_whole(path, data)


def picture(table: Table, ending: str) -> bytes:
    """The chart of a table as the contents of a file. ending: one of FORMATS."""
    is_open = table.division == OPEN
    curve = curve_of_records([one for entry in table.ranked for one in entry.evaluated]) if is_open else None
    text = bytes_chart(table, curve, heading(table))
    text = re.sub(r"var\(--(\w+)\)", lambda match: COLOURS[match[1]], text)
    text = re.sub(r'\s(tabindex|href)="[^"]*"', "", text)  # links lead to pages of the site
    text = re.sub(r"<svg[^>]*>", lambda match: match[0] + '<rect width="100%" height="100%" fill="#ffffff"/>', text, count=1)
    return text.encode() if ending == ".svg" else bytes(vl_convert.svg_to_png(text, scale=PNG_SCALE))


def heading(table: Table) -> list[str]:
    """The lines above the chart: which table it shows, and how to read it."""
    title = f"{table.task} · network {table.student} · {table.track} labels · division {table.division}"
    about = "Top-1 accuracy against bytes, with 95 % intervals. The grey steps are the Pareto front."
    if table.division == OPEN and table.ranked:
        about += f" {sentence([entry.row for entry in table.ranked])}"
    return [clean(title), *textwrap.wrap(clean(about), LINE)]
