"""Each table as files to download: CSV for a spreadsheet, LaTeX for a paper."""

from __future__ import annotations

from vddbench.leaderboard.entry import TableKey
from vddbench.leaderboard.latex import tabular
from vddbench.leaderboard.rank import as_frame
from vddbench.leaderboard.site.entries import Table
from vddbench.leaderboard.site.page_writer import PageWriter


def write_downloads(writer: PageWriter, table: Table) -> None:
    """Writes `tables/NAME.csv` with the columns of `vddbench rank --format csv`, and `tables/NAME.tex`."""
    rows = [entry.row for entry in (*table.entries, *table.full)]
    key = TableKey(table.task, table.student, table.track, table.division)
    writer.file(f"tables/{table.name}.csv", as_frame(rows).to_csv(index=False).encode())
    writer.file(f"tables/{table.name}.tex", f"{tabular(key, rows)}\n".encode())
