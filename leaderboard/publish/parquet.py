"""The published tables as parquet with native types: numbers are numbers, dates are timestamps, lists are lists."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_origin

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from vddbench.leaderboard.aggregate import COLUMNS as AGGREGATED
from vddbench.leaderboard.rank import COLUMNS as RANKED
from vddbench.leaderboard.rank import TABLE
from vddbench.leaderboard.reported import Reported, read
from vddbench.leaderboard.site.board import Board
from vddbench.records.files import all_record_files, read_record
from vddbench.records.record import Environment, Record
from vddbench.spec import Task

TEXT, INTEGER, REAL, BOOLEAN = pa.string(), pa.int64(), pa.float64(), pa.bool_()
TIMESTAMP, TEXTS = pa.timestamp("s", tz="UTC"), pa.list_(pa.string())
ARROW_TYPES = {str: TEXT, Task: TEXT, int: INTEGER, float: REAL, bool: BOOLEAN}
SEPARATORS = {"flags": ", ", "sha256": " ", "missing": " "}  # of the columns that hold several texts
INTEGERS = {"rank", "rank_low", "rank_high", "distillations", "seeds", "payload_bytes", "tables", "of_tables"}
NAMES = {"task", "dataset", "student", "track", "division", "method", "title", "basis"}
RERUN_COLUMNS = (("verified_by", TEXTS), ("reproductions", INTEGER))
REPORTED_TYPES = {"ipc": INTEGER, "year": INTEGER, "top1": REAL, "top1_std": REAL, "storage_mb": REAL}
RECORD_FILE_COLUMNS = (("path", TEXT), ("sha256", TEXT), ("counts", BOOLEAN))


def tables(board: Board, records: Path) -> dict[str, bytes]:
    """{file name: parquet} of every table that has rows. `records`: the folder that the board was read from."""
    entries = [entry for table in board.tables for entry in (*table.entries, *table.full)]
    by_name = {
        "leaderboard": leaderboard_table(board),
        "aggregate": aggregate_table(board),
        "records": records_table(records, {one.path: one.record for entry in entries for one in entry.evaluated}),
        "reported": reported_table(),
    }
    return {f"{name}.parquet": parquet_bytes(table) for name, table in by_name.items() if table.num_rows}


def parquet_bytes(table: pa.Table) -> bytes:
    """The table as parquet. The same rows give the same bytes."""
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    return buffer.getvalue()


def leaderboard_table(board: Board) -> pa.Table:
    """A row for each entry and division: the columns of `vddbench rank`, and who ran it again."""
    key = (*TABLE, "method", "sha256")
    entries = {
        tuple(entry.row[name] for name in key): entry for table in board.tables for entry in (*table.entries, *table.full)
    }
    rows = []
    for row in board.rows:
        entry = entries[tuple(row[name] for name in key)]
        rows.append({**native(row), "verified_by": list(entry.verified_by), "reproductions": entry.reproductions})
    return pa.Table.from_pylist(rows, schema=pa.schema([*map(column, RANKED), *RERUN_COLUMNS]))


def aggregate_table(board: Board) -> pa.Table:
    """All tables of a student combined."""
    rows = [native(row) for row in board.aggregated]
    return pa.Table.from_pylist(rows, schema=pa.schema(list(map(column, AGGREGATED))))


def column(name: str) -> tuple[str, pa.DataType]:
    """Name and type of a column of the ranked tables."""
    if name in SEPARATORS:
        return name, TEXTS
    if name == "date":
        return name, TIMESTAMP
    if name in {"may_be_best", "pareto"}:
        return name, BOOLEAN
    return name, TEXT if name in NAMES else INTEGER if name in INTEGERS else REAL


def native(row: Mapping[Any, Any]) -> dict[str, Any]:
    """A ranked row as Python values; unknown values are None."""
    values: dict[str, Any] = {}
    for name, value in row.items():
        if name in SEPARATORS:
            values[name] = [] if pd.isna(value) else [part for part in value.split(SEPARATORS[name]) if part]
        elif pd.isna(value):
            values[name] = None
        else:
            values[name] = pd.Timestamp(value) if name == "date" else int(value) if name in INTEGERS else value
    return values


def records_table(folder: Path, ranked: Mapping[Path, Record]) -> pa.Table:
    """A row for each valid record, also for those that no entry counts, such as re-runs and further records of a cell.

    ranked: the records that are ranked; they were verified when the board was read.
    """
    rows = []
    for path in all_record_files(folder):
        try:
            record = ranked[path] if path in ranked else read_record(path)[0]
        except (ValueError, OSError):
            continue  # the board lists it as left out
        values = record.model_dump(exclude={"environment", "checks"})
        values |= {f"environment_{name}": value for name, value in record.environment.model_dump().items()}
        values |= {"finite": record.checks["finite"], "date": pd.Timestamp(record.date)}
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        rows.append({**values, "path": path.relative_to(folder).as_posix(), "sha256": sha256, "counts": path in ranked})
    return pa.Table.from_pylist(rows, schema=record_schema())


def record_schema() -> pa.Schema:
    """Columns of the table of records, from the fields of a record."""
    record = {name: field.annotation for name, field in Record.model_fields.items() if name not in {"environment", "checks"}}
    machine = {f"environment_{name}": field.annotation for name, field in Environment.model_fields.items()}
    fields = [(name, TIMESTAMP if name == "date" else arrow_type(kind)) for name, kind in (record | machine).items()]
    return pa.schema([*RECORD_FILE_COLUMNS, *fields, ("finite", BOOLEAN)])


def arrow_type(annotation: Any) -> pa.DataType:
    """The column type of a record's field, which may be optional."""
    if annotation in ARROW_TYPES:
        return ARROW_TYPES[annotation]
    if get_origin(annotation) is Annotated:
        return arrow_type(get_args(annotation)[0])
    if get_origin(annotation) is Literal:
        return arrow_type(type(get_args(annotation)[0]))
    [kind] = {part for part in get_args(annotation) if part is not NoneType}
    return arrow_type(kind)


def reported_table() -> pa.Table:
    """What papers report, with accuracies in [0, 1] as everywhere else."""
    names = ["top1" if field.name == "top1_mean" else field.name for field in fields(Reported)]
    rows = [native(vars(row) | {"top1": row.top1, "top1_std": row.std}) for row in read()]
    return pa.Table.from_pylist(rows, schema=pa.schema([(name, REPORTED_TYPES.get(name, TEXT)) for name in names]))
