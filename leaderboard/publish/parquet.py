"""The published tables as parquet with native types: numbers are numbers, dates are timestamps, lists are lists. No torch."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_origin

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from vddbench.leaderboard import reported
from vddbench.leaderboard.aggregate import COLUMNS as AGGREGATED
from vddbench.leaderboard.rank import COLUMNS as RANKED
from vddbench.leaderboard.site.board import Board
from vddbench.records.files import all_record_files, read_record
from vddbench.records.record import Environment, Record

TEXT, WHOLE, REAL, YES_NO = pa.string(), pa.int64(), pa.float64(), pa.bool_()
MOMENT, TEXTS = pa.timestamp("s", tz="UTC"), pa.list_(pa.string())
PLAIN = {str: TEXT, int: WHOLE, float: REAL, bool: YES_NO}
LISTS = {"flags": ", ", "sha256": " ", "missing": " "}  # columns of several texts, and what stands between them
WHOLES = {"rank", "rank_low", "rank_high", "distillations", "seeds", "payload_bytes", "tables", "of_tables"}
NAMES = {"task", "dataset", "student", "track", "method"}
REVIEWED = (("verified_by", TEXTS), ("reproductions", WHOLE))
REPORTED = {"ipc": WHOLE, "top1": REAL, "top1_std": REAL, "storage_mb": REAL}
RECORD_LINE = (("path", TEXT), ("sha256", TEXT), ("counts", YES_NO))


def tables(board: Board, records: Path) -> dict[str, bytes]:
    """{file name: parquet} of every table that has rows. `records`: the folder that the board is of."""
    made = {
        "leaderboard": leaderboard(board),
        "aggregate": aggregated(board),
        "records": all_records(records, {one.path: one.record for one in board.evaluated}),
        "reported": papers(),
    }
    return {f"{name}.parquet": written(table) for name, table in made.items() if table.num_rows}


def written(table: pa.Table) -> bytes:
    """The same bytes for the same rows."""
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    return buffer.getvalue()


def leaderboard(board: Board) -> pa.Table:
    """A row for each entry, as `vddbench rank` has it, and who has run it again."""
    of_line = {
        (line.row["task"], line.row["student"], line.row["track"], line.row["method"], line.row["sha256"]): line
        for table in board.tables
        for line in (*table.lines, *table.full)
    }
    rows = []
    for row in board.rows.to_dict("records"):
        line = of_line[row["task"], row["student"], row["track"], row["method"], row["sha256"]]
        rows.append({**row, "verified_by": list(line.verified_by), "reproductions": line.reproductions})
    return pa.Table.from_pylist([native(row) for row in rows], schema=pa.schema([*map(column, RANKED), *REVIEWED]))


def aggregated(board: Board) -> pa.Table:
    """All tables of a student in one."""
    rows = [native(row) for row in board.together.to_dict("records")]
    return pa.Table.from_pylist(rows, schema=pa.schema(list(map(column, AGGREGATED))))


def column(name: str) -> tuple[str, pa.DataType]:
    """Of the ranked tables, by name."""
    if name in LISTS:
        return name, TEXTS
    if name == "date":
        return name, MOMENT
    return name, TEXT if name in NAMES else WHOLE if name in WHOLES else REAL


def native(row: Mapping[Any, Any]) -> dict[str, Any]:
    """A ranked row as Python values; what is not known is None."""
    values: dict[str, Any] = {}
    for name, value in row.items():
        if name in LISTS:
            values[name] = [] if pd.isna(value) else [part for part in value.split(LISTS[name]) if part]
        elif isinstance(value, list):
            values[name] = value
        elif pd.isna(value):
            values[name] = None
        else:
            values[name] = pd.Timestamp(value) if name == "date" else int(value) if name in WHOLES else value
    return values


def all_records(folder: Path, counted: Mapping[Path, Record]) -> pa.Table:
    """A row for each record that verifies, re-runs and further records of a cell included. counted: those that rank, which
    were verified when they were loaded."""
    rows = []
    for path in all_record_files(folder):
        try:
            record = counted[path] if path in counted else read_record(path)[0]
        except (ValueError, OSError):
            continue  # the board names it
        values = record.model_dump(exclude={"environment", "checks"})
        values |= {f"environment_{name}": value for name, value in record.environment.model_dump().items()}
        values |= {"finite": record.checks["finite"], "date": pd.Timestamp(record.date)}
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        rows.append({**values, "path": path.relative_to(folder).as_posix(), "sha256": sha256, "counts": path in counted})
    return pa.Table.from_pylist(rows, schema=record_schema())


def record_schema() -> pa.Schema:
    of_record = {name: field.annotation for name, field in Record.model_fields.items()}
    of_machine = {f"environment_{name}": field.annotation for name, field in Environment.model_fields.items()}
    del of_record["environment"], of_record["checks"]
    fields = [(name, MOMENT if name == "date" else arrow(kind)) for name, kind in (of_record | of_machine).items()]
    return pa.schema([*RECORD_LINE, *fields, ("finite", YES_NO)])


def arrow(annotation: Any) -> pa.DataType:
    """Of a field of a record: text, whole number, number or yes/no, possibly absent."""
    if annotation in PLAIN:
        return PLAIN[annotation]
    if get_origin(annotation) is Annotated:
        return arrow(get_args(annotation)[0])
    if get_origin(annotation) is Literal:
        return arrow(type(get_args(annotation)[0]))
    [kind] = {part for part in get_args(annotation) if part is not NoneType}
    return arrow(kind)


def papers() -> pa.Table:
    """What papers report; scores in [0, 1] as everywhere else."""
    rows = pd.read_csv(reported.FILE).rename(columns={"top1_mean": "top1"})
    rows[["top1", "top1_std"]] = (rows[["top1", "top1_std"]] / 100).round(6)
    values = [{name: None if pd.isna(value) else value for name, value in row.items()} for row in rows.to_dict("records")]
    for row in values:
        row["ipc"] = None if row["ipc"] is None else int(row["ipc"])
    return pa.Table.from_pylist(values, schema=pa.schema([(str(name), REPORTED.get(str(name), TEXT)) for name in rows.columns]))
